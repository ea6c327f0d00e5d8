"""A real systemd, as a user's manager in namespaces of its own: it hears that the agent is ready and lives."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from harness.configuration import seldom, status
from harness.waiting import DEADLINE, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where systemd looks for its processes, with which it needs nothing else of control groups.
GROUPS = pathlib.Path("/sys/fs/cgroup/systemd")
pytestmark = [pytest.mark.native, pytest.mark.seconds(20), pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("systemctl") or not pathlib.Path("/lib/systemd/systemd").exists()
    or not (GROUPS / "cgroup.procs").exists() or pathlib.Path("/run/systemd/system").exists(),
    reason="no systemd can be started beside")]
SETUP = """set -e
mkdir -p /run/systemd; mount -t tmpfs tmpfs /run/systemd; mkdir -p /run/systemd/system
mkdir {group}; echo $$ > {group}/cgroup.procs
/lib/systemd/systemd --user --log-target=null >/dev/null 2>&1 &
set +e
"""


class Systemd:
    """A shell in the namespaces of a systemd. What it is told it answers."""

    def __init__(self):
        # A socket's path is short.
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="sd", dir="/tmp"))
        self._folder.chmod(0o700)
        self.units = self._folder / ".config/systemd/user"
        self.units.mkdir(parents=True)
        self._group = GROUPS / f"mote-test-{os.getpid()}"
        self._shell = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(self._folder), "XDG_RUNTIME_DIR": str(self._folder)})
        self._shell.stdin.write(SETUP.format(group=self._group))
        wait_until(lambda: self("systemctl --user is-system-running") in ("running", "degraded"), DEADLINE, "systemd")

    def __call__(self, command):
        """Runs a command in it; gives what it says."""
        self._shell.stdin.write(f"{command}\necho; echo =$?\n")
        self._shell.stdin.flush()
        said = []
        for line in self._shell.stdout:
            if line.startswith("="):
                return "".join(said).strip()
            said.append(line)
        raise AssertionError(f"the shell has ended: {said}")

    def show(self, unit):
        """What it knows of a unit."""
        names = "ActiveState,SubState,StatusText,NRestarts,MainPID"
        return dict(line.split("=", 1) for line in self(f"systemctl --user show {unit} -p {names}").splitlines())

    def close(self):
        self._shell.kill()
        self._shell.wait(timeout=DEADLINE)
        shutil.rmtree(self._folder)
        wait_until(lambda: not (self._group / "cgroup.procs").read_text(), DEADLINE, "all have ended")
        self._group.rmdir()


def settings(name):
    return dict(re.findall(r"^([A-Z]\w+)=(.+)$", (ROOT / "Boards/generic" / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize("is_supervised", [False, True], ids=["alone", "supervised"])
def test_what_hangs_is_started_anew(broker, program, write_configuration, closing, is_supervised):
    systemd = Systemd()
    closing.append(systemd)
    unit, more = settings("mote.service"), settings("supervised.conf") if is_supervised else {}
    path = write_configuration(broker.port, {"agent": {"control-socket": "no"}, **status(seldom(), 0, a="constant:1")})
    words = "supervise run" if is_supervised else "run"
    (systemd.units / "mote.service").write_text(
        f"[Service]\nType={unit['Type']}\nExecReload={unit['ExecReload']}\nRestart={unit['Restart']}\n"
        f"RestartSec=100ms\nNotifyAccess={more.get('NotifyAccess', 'main')}\nWatchdogSec=2s\n"
        f"ExecStart={program.command[0]} {words} --config {path}\n")
    # It returns once the agent has said that it is ready.
    assert systemd("systemctl --user start mote") == ""
    wait_until(lambda: systemd.show("mote")["StatusText"] == "connected", DEADLINE, "it says that it is connected")
    assert systemd("systemctl --user reload mote") == ""
    # Twice as long as it is patient.
    systemd("sleep 4")
    shown = systemd.show("mote")
    assert (shown["ActiveState"], shown["SubState"], shown["NRestarts"]) == ("active", "running", "0")
    process = shown["MainPID"]
    hanging = systemd(f"cat /proc/{process}/task/{process}/children").split()[0] if is_supervised else process
    systemd(f"kill -STOP {hanging}")
    wait_until(lambda: systemd.show("mote")["NRestarts"] == "1", DEADLINE, "it is started anew")
    wait_until(lambda: systemd.show("mote")["StatusText"] == "connected", DEADLINE, "the new one is connected")
    assert systemd.show("mote")["MainPID"] != process
    assert systemd("systemctl --user stop mote") == ""
    assert systemd.show("mote")["ActiveState"] == "inactive"
