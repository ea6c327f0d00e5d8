"""What is put on a board beside the program: it must fit the program, and what the README says."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from harness.configuration import status
from harness.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.native

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOARD = ROOT / "Boards/generic"


@pytest.fixture(scope="module")
def unit():
    """The unit's settings by their names, comments left out."""
    lines = re.findall(r"^([A-Z]\w+)=(.*)$", (BOARD / "mote.service").read_text(), re.MULTILINE)
    return dict(lines)


@pytest.fixture(scope="module")
def state_folder():
    """Where the program keeps the last known time."""
    source = (ROOT / "Sources/mote/Run.swift").read_text()
    return pathlib.Path(re.search(r'stateFolder: StaticString = "(.*)"', source)[1])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    text = (BOARD / "mote.service").read_text()
    (tmp_path / "mote.service").write_text(text.replace("/usr/bin/mote", shutil.which("true")))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "mote.service"], capture_output=True, text=True,
                          timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if "mote.service" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


def test_the_unit_hears_who_speaks(unit):
    assert unit["Type"] == "notify" and "WatchdogSec" in unit
    # The program that says that it lives is not the main process there.
    assert "\nNotifyAccess=all\n" in (BOARD / "supervised.conf").read_text()


def test_the_state_folder_is_there_and_ours(unit, state_folder):
    # All else is read-only under ProtectSystem=strict.
    assert pathlib.Path("/var/lib") / unit["StateDirectory"] == state_folder
    script = (BOARD / "mote.init").read_text()
    assert f"STATE={state_folder}\n" in script and 'mkdir -p "$STATE" && chown "$USER" "$STATE"' in script


def test_the_readme_makes_the_user_that_the_unit_wants(unit):
    readme = (ROOT / "README.md").read_text()
    steps = readme[readme.index("## Put it on a board"):readme.index("## Configuration")]
    assert re.search(rf"useradd .*--user-group .*\b{unit['User']}'?$", steps, re.MULTILINE)
    # The folder is made before anything is copied into it.
    assert steps.index("mkdir -p /etc/mote") < steps.index("root@board:/etc/mote/mote.conf")
    # The token is for the unit's group, and the check is the user's: root may read everything.
    assert f"chown root:{unit['Group']}" in steps and f"runuser -u {unit['User']} -- mote check" in steps


class Board:
    """A folder with what the start script names, for a start-stop-daemon and a shell of one kind."""

    USER = "nobody"

    def __init__(self, kind, program, write_configuration):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="board"))
        # The agent's user may look into it, which it may not into the test's own folders.
        self.folder.chmod(0o755)
        self.program = self.folder / "mote"
        shutil.copy(program.command[0], self.program)
        self.configuration = self.folder / "mote.conf"
        shutil.copy(write_configuration(9, status("1h", 0, a="constant:1")), self.configuration)
        self.configuration.chmod(0o600)
        shutil.chown(self.configuration, self.USER)
        script = (BOARD / "mote.init").read_text()
        self.log = self.folder / "log"
        for name, value in {"PROGRAM": self.program, "CONFIG": self.configuration, "LOG": self.log,
                            "PIDFILE": self.folder / "pid", "STATE": self.folder / "state", "USER": self.USER}.items():
            script, count = re.subn(rf"^{name}=.*$", f"{name}={value}", script, flags=re.MULTILINE)
            assert count == 1, f"{name} is not set once"
        (self.folder / "S90mote").write_text(script)
        tools = self.folder / "tools"
        tools.mkdir()
        if kind == "busybox":
            for name in ("sh", "start-stop-daemon", "tr", "cat", "sleep"):
                (tools / name).symlink_to(shutil.which("busybox"))
        self.shell = [tools / "sh"] if kind == "busybox" else ["/bin/sh"]
        self.environment = {"PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"}

    def call(self, word):
        """Calls the script; gives its exit status, and keeps what it said."""
        with open(self.folder / "said", "w+", encoding="utf-8") as said:
            # No pipe: a daemon that kept it open would hold the test up.
            done = subprocess.run([*self.shell, self.folder / "S90mote", word], env=self.environment, stdout=said,
                                  stderr=said, stdin=subprocess.DEVNULL, timeout=DEADLINE, check=False)
            said.seek(0)
            self.said = said.read()
        return done.returncode

    def agents(self):
        """The numbers of all agents that run with this folder's configuration; their children look like them."""
        found = {folder.name: parent_of(folder) for folder in pathlib.Path("/proc").glob("[0-9]*")
                 if command_line(folder).startswith(f"{self.program} run ")}
        return [int(process) for process, parent in found.items() if parent not in found]

    def agent(self):
        """The number of the only one; the shell that becomes it may not have done so yet."""
        [process] = wait_until(self.agents, DEADLINE, "an agent runs")
        return process

    def close(self):
        for process in self.agents():
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: not self.agents(), DEADLINE, "all agents have ended")
        shutil.rmtree(self.folder)


def command_line(folder):
    try:
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def parent_of(folder):
    try:
        return (folder / "stat").read_text().rsplit(")", 1)[1].split()[1]
    except OSError:
        return ""


@pytest.fixture(params=["debian", "busybox"])
def board(request, program, write_configuration):
    if os.getuid() != 0:
        pytest.skip("only root can start an agent as another user")
    assert shutil.which("busybox"), "busybox is missing; Scripts/setup installs it"
    made = Board(request.param, program, write_configuration)
    yield made
    made.close()


def test_the_start_script_starts_one_agent_and_ends_it(board):
    assert (board.call("status"), board.agents()) == (3, [])
    # What is not there needs no stop, and is not told to read its configuration.
    assert (board.call("stop"), board.call("reload")) == (0, 7)
    assert board.call("start") == 0, board.said
    process = board.agent()
    assert board.call("status") == 0 and str(process) in board.said
    assert pathlib.Path(f"/proc/{process}").owner() == board.USER
    # One that runs is started.
    assert board.call("start") == 0 and board.agents() == [process]
    assert board.call("reload") == 0
    wait_until(lambda: "reloaded" in board.log.read_text(), DEADLINE, "the configuration has been read again")
    assert board.call("restart") == 0
    assert board.agent() != process
    assert (board.call("stop"), board.agents(), board.call("status")) == (0, [], 3)


@pytest.mark.seconds(9)
def test_the_start_script_is_not_misled(board):
    # A number that is another process's by now.
    (board.folder / "pid").write_text(f"{os.getpid()}\n")
    assert board.call("status") == 1
    assert board.call("start") == 0, board.said
    process = board.agent()
    # A configuration that none could start with ends no agent that runs.
    good = board.configuration.read_text()
    board.configuration.write_text(good.replace("org = ", "orc = "))
    for word in ("restart", "reload"):
        assert board.call(word) == 78 and "orc" in board.said, board.said + board.log.read_text()
    assert board.agents() == [process]
    # One that does not end when it is asked to.
    board.configuration.write_text(good)
    os.kill(process, signal.SIGSTOP)
    assert (board.call("stop"), board.agents()) == (0, [])
    board.configuration.write_text(good.replace("org = ", "orc = "))
    assert board.call("start") == 78 and "orc" in board.said and board.agents() == []


def test_the_upgrade_of_the_readme_works_while_the_agent_runs(board):
    readme = (ROOT / "README.md").read_text()
    steps = readme[readme.index("To upgrade"):readme.index("## Configuration")]
    [copied] = re.findall(r"scp build/\S+/mote +root@board:(/usr/bin/\S+)", steps)
    [command] = re.findall(r"ssh root@board '(.*) && systemctl restart mote'", steps)
    assert board.call("start") == 0, board.said
    process = board.agent()
    # Whoever copies over it fails.
    with pytest.raises(OSError, match="Text file busy"):
        board.program.write_bytes(b"")
    shutil.copy(board.program, f"{board.program}{copied.removeprefix('/usr/bin/mote')}")
    subprocess.run(command.replace("/usr/bin", str(board.folder)), shell=True, check=True)
    # The start script still knows the agent whose file has gone, and starts the new one.
    assert board.call("status") == 0 and board.agents() == [process]
    assert board.call("restart") == 0, board.said
    second = board.agent()
    assert second != process and os.stat(f"/proc/{second}/exe").st_ino == board.program.stat().st_ino
