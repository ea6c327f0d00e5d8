"""Resident memory of a connected agent that has come to rest, in KiB, against budgets.

Where code exceeds one, a function of daily work may be in the wrong part: Scripts/sdk/code-order says how to see.
"""

import base64
import pathlib
import re
import resource
import sys
import time

import pytest

from harness.certificates import Authority
from harness.configuration import configuration, status, tls
from harness.waiting import DEADLINE, wait_until

pytestmark = [
    pytest.mark.native,
    pytest.mark.skipif(resource.getpagesize() != 4096, reason="the budgets are for pages of 4 KiB"),
]

# With the code of daily work, what was touched of the buffers, and a stack as deep as a turn of the loop.
PLAIN_KIB_MAX, TLS_KIB_MAX = 136, 208
# What it ever has for itself, without pages of its file: the kernel maps those along that are in its cache, more or
# fewer of them in each run, and takes them back when it likes. While a configuration is read, while a certificate of
# usual size is checked, and while the largest chain is.
OWN_KIB_MAX, OWN_TLS_KIB_MAX, OWN_LARGE_CHAIN_KIB_MAX = 96, 136, 192
# What all of a distribution's authorities may take more than a file with one: the noise of a measurement.
BUNDLE_KIB_MAX = 24
SYSTEM_BUNDLE = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
# The largest chain of certificates that a server can send, in bytes: docs/limits.md.
CHAIN_BYTES_MAX = 16 * 1024
# Without what starting, and reading a configuration, took of it.
STACK_KIB_MAX = 32


def mappings_by_place(process):
    """Where each mapping of a process begins: its name, and its resident KiB."""
    found, place, name = {}, None, None
    for line in pathlib.Path(f"/proc/{process}/smaps").read_text().splitlines():
        words = line.split()
        if re.match(r"[0-9a-f]+-[0-9a-f]+$", words[0]):
            place, name = words[0], words[5] if len(words) > 5 else ""
        elif words[0] == "Rss:":
            found[place] = name, int(words[1])
    return found


def mappings(agent):
    """Each mapping's name and resident KiB."""
    return list(mappings_by_place(agent.pid).values())


def resident(agent, part=""):
    return sum(kib for name, kib in mappings(agent) if part in name)


def highest(agent):
    """The most KiB that were ever resident."""
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{agent.pid}/status").read_text())[1])


def settles(agent, kib_max):
    """The agent comes to rest within its budgets, and sends its events meanwhile."""
    try:
        wait_until(lambda: resident(agent) <= kib_max and resident(agent, "[stack]") <= STACK_KIB_MAX,
                   DEADLINE, "rest")
    except AssertionError:
        raise AssertionError(f"{resident(agent)} KiB of {kib_max}: {mappings(agent)}\n{agent.log}") from None


def stays_settled(agent, platform, kib_max, seconds=1.5):
    """Events bring nothing back, however many there are."""
    platform.forget()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        platform.next_event("status")
    assert resident(agent) <= kib_max, mappings(agent)


def sections(value="21.5"):
    return status("300ms", 1, load="loadavg:1", uptime="uptime", free="memory:available", value=f"constant:{value}")


@pytest.mark.seconds(15)
def test_a_plain_connection_at_rest_takes_little_memory(broker, platform, run_agent):
    agent = run_agent(broker.port, sections())
    platform.next_event("status")
    settles(agent, PLAIN_KIB_MAX)
    # The clocks are looked at every ten seconds.
    stays_settled(agent, platform, PLAIN_KIB_MAX, seconds=12)


def test_a_tls_connection_at_rest_takes_little_memory(tls_broker, join_platform, run_agent, authority):
    platform = join_platform(tls_broker)
    agent = run_agent(tls_broker.port, {**sections(), **tls(tls_broker.port, authority)})
    platform.next_event("status")
    settles(agent, TLS_KIB_MAX)
    stays_settled(agent, platform, TLS_KIB_MAX)


@pytest.fixture
def run_watched(run_agent, tmp_path):
    """Runs an agent until it is connected; gives the most KiB that it ever had for itself."""
    def run(port, sections):
        file = tmp_path / "peak"
        peak = pathlib.Path(__file__).parent / "harness/peak.py"
        agent = run_agent(port, sections, prefix=[sys.executable, peak, file])
        agent.wait_log("info", "mqtt", "connected")
        agent.stop()
        return int(file.read_text())
    return run


def test_what_it_ever_has_for_itself_is_little(broker, tls_broker, run_watched, authority):
    assert run_watched(broker.port, sections()) <= OWN_KIB_MAX
    assert run_watched(tls_broker.port, {**sections(), **tls(tls_broker.port, authority)}) <= OWN_TLS_KIB_MAX


def test_a_large_bundle_of_authorities_takes_no_more_than_one(tls_broker, run_watched, authority, tmp_path):
    bundle = tmp_path / "bundle.pem"
    # The one that is needed comes last.
    bundle.write_text(SYSTEM_BUNDLE.read_text() + authority.certificate.read_text())
    assert bundle.stat().st_size > 150_000
    one, many = (run_watched(tls_broker.port, {**sections(), **tls(tls_broker.port, authority, ca_file=trusted)})
                 for trusted in (authority.certificate, bundle))
    assert many - one <= BUNDLE_KIB_MAX, (one, many)


@pytest.mark.seconds(8)
@pytest.mark.parametrize("only_tls_1_2", [False, True], ids=["1.3", "1.2"])
def test_the_largest_chain_and_store_take_no_more_than_that(start_broker, run_watched, tmp_path, only_tls_1_2):
    root = Authority(tmp_path / "root", "Root", "rsa4096")
    names = "DNS:localhost" + "".join(f",DNS:host{number}.example-of-a-long-name.org" for number in range(375))
    certificate = root.issue(names, algorithm="rsa4096", chain=[root])
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----\n(.*?)-----END", certificate.certificate.read_text(), re.DOTALL)
    chain = sum(len(base64.b64decode(block)) for block in blocks)
    assert 0.95 * CHAIN_BYTES_MAX < chain < CHAIN_BYTES_MAX - 64, chain
    # 1.7 MB: what a distribution trusts, eight times over, and ours at its end.
    store = tmp_path / "store.pem"
    store.write_text(SYSTEM_BUNDLE.read_text() * 8 + root.certificate.read_text())
    broker = start_broker(certificate=certificate, only_tls_1_2=only_tls_1_2)
    most = run_watched(broker.port, {**sections(), **tls(broker.port, root, ca_file=store)})
    assert OWN_TLS_KIB_MAX < most <= OWN_LARGE_CHAIN_KIB_MAX


def test_a_reload_leaves_no_memory_behind(broker, platform, run_agent):
    agent = run_agent(broker.port, sections())
    platform.next_event("status")
    settles(agent, PLAIN_KIB_MAX)
    for count, value in enumerate((22, 23), 1):
        # The kernel keeps the highest amount from now on.
        pathlib.Path(f"/proc/{agent.pid}/clear_refs").write_text("5")
        agent.configuration.write_text(configuration(broker.port, sections(value)))
        agent.reload()
        agent.wait_log("info", "agent", "reloaded", connection="kept", count=count)
        assert highest(agent) > PLAIN_KIB_MAX, "a reload is seen to take memory for a while"
        settles(agent, PLAIN_KIB_MAX)
    stays_settled(agent, platform, PLAIN_KIB_MAX)


def test_the_keeper_of_a_program_has_no_copy_of_what_the_agent_works_with(broker, platform, run_agent, tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho begun\nexec sleep 3600\n")
    program.chmod(0o755)
    agent = run_agent(broker.port, {**sections(), "command stay": {"run": program}})
    platform.next_event("status")
    place = max((kib, place) for place, (name, kib) in mappings_by_place(agent.pid).items() if not name)[1]
    platform.command("stay")
    children = pathlib.Path(f"/proc/{agent.pid}/task/{agent.pid}/children")
    wait_until(lambda: children.read_text(), DEADLINE, "a keeper")
    keeper = int(children.read_text())
    wait_until(lambda: mappings_by_place(keeper)[place] == ("", 0), DEADLINE, "a keeper without the agent's memory")
    assert mappings_by_place(agent.pid)[place][1] >= 32
