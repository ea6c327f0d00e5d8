"""A time that was stored and is wrong: what proves it takes it back, and log and check say so.

The state folder has one place, so each agent has a file system of its own there. Whether this machine's clock counts as
synchronised is not ours to choose: either the system itself or the server's certificate is the proof.
"""

import calendar
import datetime
import os
import struct
import subprocess
import time

import pytest

from harness.configuration import status, tls
from harness.waiting import DEADLINE

pytestmark = pytest.mark.native
YEAR = 365 * 86400
HINT = "set the clock, or remove /var/lib/mote/clock-floor if it is right"


def crc32c(data):
    check = 0xFFFFFFFF
    for byte in data:
        check ^= byte
        for _ in range(8):
            check = check >> 1 ^ (0x82F63B78 if check & 1 else 0)
    return check ^ 0xFFFFFFFF


def record(seconds, source=None):
    """The file of the clock floor, as Storage/FORMAT.md has it; without a source as earlier versions wrote it."""
    content = struct.pack(">Q", int(seconds)) + (b"" if source is None else bytes([source]))
    header = b"MoRe" + struct.pack(">II", 1 << 16 | 1, len(content))
    return header + struct.pack(">I", crc32c(header + content)) + content


@pytest.fixture
def state(tmp_path):
    """A state folder, and the words in front of a program that sees it at its place."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = f"mount -t tmpfs none /var/lib && mkdir /var/lib/mote && mount --bind {folder} /var/lib/mote"
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    return folder / "clock-floor", ["unshare", "--mount", *user, "sh", "-c", f'{mount} && exec "$@"', "sh"]


def stored(file):
    """The seconds and the source that the record has."""
    content = file.read_bytes()[16:]
    assert file.read_bytes() == record(struct.unpack(">Q", content[:8])[0], *content[8:9])
    return struct.unpack(">Q", content[:8])[0], content[8] if len(content) > 8 else None


@pytest.mark.parametrize("source", [None, 1, 2], ids=["of-an-earlier-version", "certificate", "synchronised"])
def test_a_wrong_time_that_was_stored_is_taken_back(tls_broker, join_platform, run_agent, authority, state, source):
    file, prefix = state
    file.write_bytes(record(time.time() + 9 * YEAR, source))
    platform = join_platform(tls_broker)
    sections = {**status("200ms", 1, a="constant:1"), **tls(tls_broker.port, authority)}
    agent = run_agent(tls_broker.port, sections, prefix=prefix)
    given_up = agent.wait_log("warning", "clock", "stored-time-given-up")
    assert given_up.fields["known-by"] == {None: "unknown", 1: "certificate", 2: "synchronised"}[source]
    if given_up.fields["proven-by"] == "certificate":
        assert agent.wait_log("warning", "clock", "disbelieved").fields["hint"] == HINT
        assert agent.find("warning", "link", "failed", reason="tls-expired")
    agent.wait_connected()
    # Events have their time again.
    event = platform.next_event("status", where=lambda event: "ts" in event.json)
    then = datetime.datetime.strptime(event.json["ts"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert abs((datetime.datetime.utcnow() - then).total_seconds()) < 60
    assert agent.stop() == 0
    # The next start knows nothing of it.
    assert stored(file)[0] <= time.time()
    again = run_agent(tls_broker.port, sections, prefix=prefix)
    again.wait_connected()
    assert not again.find("warning", "clock", "disbelieved") and not again.find("warning", "link", "failed")


def test_what_is_stored_is_what_the_certificates_or_the_system_vouch_for(tls_broker, run_agent, authority, state):
    file, prefix = state
    began = time.time()
    agent = run_agent(tls_broker.port, {**status("1h", 1, a="constant:1"), **tls(tls_broker.port, authority)},
                      prefix=prefix)
    agent.wait_connected()
    assert agent.stop() == 0
    seconds, source = stored(file)
    elapsed = time.time() - began
    if source == 1:
        # The authority's own is the newest of the chain.
        told = subprocess.run(["openssl", "x509", "-noout", "-startdate", "-in", authority.certificate],
                              capture_output=True, text=True, check=True).stdout
        start = calendar.timegm(time.strptime(told.strip(), "notBefore=%b %d %H:%M:%S %Y GMT"))
        assert start <= seconds <= start + elapsed + 1
    else:
        assert source == 2 and began - 1 <= seconds <= time.time()


def test_check_says_that_the_clock_is_not_believed(program, write_configuration, state):
    file, prefix = state
    path = write_configuration(1883, status("1h", 1, a="constant:1"))

    def check(*strictness, status=0):
        done = subprocess.run([*prefix, *program.command, "check", "--config", path, *strictness], text=True,
                              capture_output=True, timeout=DEADLINE, check=False)
        assert done.returncode == status and ("[device]" in done.stdout) == (status == 0), done.stdout + done.stderr
        return [line for line in done.stderr.splitlines() if " clock " in line]

    assert check() == check("--strict") == []
    wrong = record(time.time() + 9 * YEAR, 2)
    file.write_bytes(wrong)
    (line,) = check()
    year = datetime.datetime.now().year + 9
    if "disbelieved" in line:
        assert line.startswith("warning clock disbelieved time=") and f'hint="{HINT}"' in line
        assert f" earlier-than={year}-" in line or f" earlier-than={year - 1}-" in line
        assert " known-by=synchronised " in line
    else:
        assert line.startswith("warning clock stored-time-given-up stored=") and line.endswith("=synchronised")
    assert check("--strict", status=78) != []
    assert file.read_bytes() == wrong, "a check changes nothing"
