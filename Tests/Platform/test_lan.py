"""A board meets its network's platform in two commands: `motectl platform --lan`, `motectl device add … --config`."""

import os
import pathlib
import re
import shutil
import socket
import ssl
import stat
import subprocess

import pytest

from harness.waiting import DEADLINE, end_process
from operating import Running
from test_strangers import exchange

# A board's view of another machine, on this one's loopback.
ADDRESS = "127.0.0.2"
FILES = {"api-key", "authority.pem", "authority-key.pem", "certificate.pem", "certificate-key.pem", "profile"}


class Lan:
    """A platform of a network, as a person starts it: in a home of their own, and with no more than they must say."""

    def __init__(self, motectl, home, *arguments, prefix=()):
        self.motectl, self.home, self.arguments, self.prefix = motectl, pathlib.Path(home), arguments, list(prefix)
        self.home.mkdir(exist_ok=True)
        self.folder = self.home / ".local/share/motectl/platform"
        self.environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
        self.start()

    def start(self, *arguments):
        """Starts it; returns when it has said what to do next."""
        line = self.line("platform", "--lan", "--mqtts", "0", "--https", "0", *self.arguments, *arguments)
        self.running = Running(line, self.environment)
        self.running.wait_text("log in there", 2 * DEADLINE)
        self.ports = {name: int(port) for name, port in re.findall(r"(mqtts|https)=[\d.]+:(\d+)", self.running.text)}

    def line(self, *words):
        return [str(word) for word in (*self.prefix, self.motectl, *words)]

    def run(self, *words, status=0):
        """Runs a command to its end, and gives all that it wrote."""
        done = subprocess.run(self.line(*words), env=self.environment, capture_output=True, text=True,
                              timeout=2 * DEADLINE, check=False, cwd=self.home)
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def add(self, name, *options):
        """Adds a device with a configuration, and gives its file."""
        path = self.home / f"{name}.conf"
        self.run("device", "add", "edge", name, "--config", path.name, "--install-as", path, *options)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        # The first connection would come after a random time.
        with path.open("a", encoding="utf-8") as file:
            file.write("\n[mqtt]\nconnect-delay-max = 0s\n")
        return path

    def stop(self):
        assert self.running.interrupt() == 0, self.running.text

    def close(self):
        self.running.close()


@pytest.fixture
def lan(closing, motectl, tmp_path):
    """A platform of a network."""
    made = Lan(motectl, tmp_path / "home", "--bind", ADDRESS)
    closing.append(made)
    return made


def modes(folder):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}


def test_board_meets_platform(lan, mote, start_agent):
    """Two commands, and the agent is there: over TLS, at the address that was printed, with a token."""
    assert f"mqtts://{ADDRESS}:{lan.ports['mqtts']}" in lan.running.text
    said = lan.run("device", "add", "edge", "e1", "--config", "mote.conf")
    assert said.startswith("registered edge e1\nwrote mote.conf.")
    assert "scp mote.conf root@BOARD:/etc/mote/mote.conf" in said
    text = (lan.home / "mote.conf").read_text()
    assert f"host = {ADDRESS}\nport = {lan.ports['mqtts']}\n" in text and "ca-file = /etc/mote/mote.conf\n" in text
    assert re.search("auth-token = ([^ ]+)\n", text)[1] not in said
    path = lan.add("e2")
    checked = mote.run("check", "--config", path)
    assert checked.returncode == 0 and "warning" not in checked.stderr, checked.stderr
    agent = start_agent("run", "--config", path)
    agent.wait_connected()
    connecting, = agent.find("info", "agent", "starting")
    assert connecting.fields["tls"] == "yes" and connecting.fields["server"] == f"{ADDRESS}:{lan.ports['mqtts']}"
    event = lan.run("events", "--id", "e2", "--count", "1", "--for", "20s")
    assert " edge e2 status json " in event and '"cpu_usage":' in event
    assert lan.run("command", "edge", "e2", "ping", "--wait") == "ok\n"


def test_only_registered_devices(lan, mote, start_agent):
    """Nobody else gets in: not Quickstart, not without TLS, not with another token."""
    path = lan.add("e1")
    assert "quickstart" not in lan.running.text
    path.write_text(re.sub("auth-token = .*", "auth-token = another-one-altogether", path.read_text()))
    agent = start_agent("run", "--config", path)
    agent.wait_log("error", "mqtt", "refused")
    listening = re.search("listening (.*)", lan.running.text)[1]
    assert re.fullmatch(r"mqtts=127\.0\.0\.2:\d+ https=127\.0\.0\.2:\d+", listening)


def test_files(lan):
    """What it keeps is its user's alone; it is there once, and used again."""
    assert stat.S_IMODE(lan.folder.stat().st_mode) == 0o700
    found = modes(lan.folder)
    assert FILES <= set(found) and set(found.values()) == {0o600}
    before = {name: (lan.folder / name).read_bytes() for name in FILES}
    lan.stop()
    lan.start()
    after = {name: (lan.folder / name).read_bytes() for name in FILES}
    assert all(before[name] == after[name] for name in FILES - {"profile"})
    # Another address, another certificate, of the same authority.
    lan.stop()
    lan.arguments = ("--bind", "127.0.0.3")
    lan.start()
    assert (lan.folder / "authority.pem").read_bytes() == before["authority.pem"]
    assert (lan.folder / "certificate.pem").read_bytes() != before["certificate.pem"]
    lan.stop()
    # Boards trust this authority: it is not replaced by another one in silence.
    (lan.folder / "authority-key.pem").unlink()
    said = lan.run("platform", "--lan", "--bind", ADDRESS, status=78)
    assert "authority.pem cannot be used: its key" in said
    assert (lan.folder / "authority.pem").read_bytes() == before["authority.pem"]


def test_certificate(lan):
    """Others can check it: its names, what it is for, and who made it."""
    context = ssl.create_default_context(cafile=lan.folder / "authority.pem")
    # As strict as the standard (RFC 5280) has it.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for name in (ADDRESS, "127.0.0.1", "::1", "localhost"):
        with socket.create_connection((ADDRESS, lan.ports["https"]), timeout=DEADLINE) as plain:
            with context.wrap_socket(plain, server_hostname=name) as peer:
                answer = exchange(peer, f"GET /health HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\r\n")
                assert answer.startswith("HTTP/1.1 200 ")
    with socket.create_connection((ADDRESS, lan.ports["https"]), timeout=DEADLINE) as plain:
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(plain, server_hostname="platform.example")


def test_operators_need_not_say_who(lan, tmp_path):
    """This user's tools find the platform by themselves; what is said otherwise counts."""
    lan.run("device", "add", "edge", "e1", "--create-type")
    assert "e1" in lan.run("devices")
    assert "--token-file" in lan.run("devices", "--key", "a-local0-x", status=78)
    lan.environment["HOME"] = str(tmp_path)
    lan.run("devices", status=78)
    assert "e1" in lan.run("devices", "--profile", lan.folder / "profile")


def test_configuration_is_not_overwritten(lan):
    """A file that is there stays as it is, and nothing is registered for it."""
    path = lan.home / "mote.conf"
    path.write_text("mine")
    assert "File exists" in lan.run("device", "add", "edge", "e1", "--config", path, status=78)
    assert path.read_text() == "mine" and lan.run("devices").splitlines()[1:] == []
    # Nor is one left behind where there is no such device.
    lan.add("e1")
    lan.run("device", "add", "edge", "e1", "--config", "twice.conf", status=65)
    assert not (lan.home / "twice.conf").exists()


def test_every_address(closing, motectl, mote, start_agent, tmp_path):
    """All addresses of the machine, and the one that is printed is the one in the configuration."""
    enter = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("ip") or subprocess.run([*enter, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no network of one's own can be made here")
    network = subprocess.Popen([*enter, "sh", "-c", """
        ip link set lo up && ip address add 192.0.2.7/32 dev lo && echo ready && exec cat"""],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert network.stdout.readline() == b"ready\n"
        prefix = ["nsenter", "--target", str(network.pid), "--user", "--net", "--preserve-credentials"]
        lan = Lan(motectl, tmp_path / "home", prefix=prefix)
        closing.append(lan)
        assert f"Boards:    mqtts://192.0.2.7:{lan.ports['mqtts']}" in lan.running.text
        assert f"Browsers:  https://192.0.2.7:{lan.ports['https']}/fleet/" in lan.running.text
        path = lan.add("e1")
        assert "host = 192.0.2.7\n" in path.read_text()
        start_agent("run", "--config", path, prefix=prefix).wait_connected()
        assert lan.run("command", "edge", "e1", "ping", "--wait") == "ok\n"
        lan.close()
    finally:
        end_process(network)
        network.stdin.close()
        network.stdout.close()
