"""Why it does not connect: each reason has a word in the log, and each word a remedy in docs/troubleshooting.md."""

import pathlib
import re
import socket
import ssl

import pytest

from harness import packets
from harness.certificates import Authority
from harness.configuration import seldom, status, tls

ROOT = pathlib.Path(__file__).parents[2]
HTTP = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.2\r\n"
ALERTS = {"handshake-failure": 40, "bad-certificate": 42, "illegal-parameter": 47, "unknown-ca": 48,
          "access-denied": 49, "protocol-version": 70, "insufficient-security": 71, "internal-error": 80,
          "unrecognized-name": 112, "certificate-required": 116, "99": 99}
pytestmark = pytest.mark.native


def page_words():
    """The words of each table of the page, by its headline."""
    page = (ROOT / "docs/troubleshooting.md").read_text()
    tables = {}
    for part in page.split("\n## ")[1:]:
        headline, *lines = part.splitlines()
        tables[headline.strip("`")] = [found[1] for line in lines if (found := re.match(r"\| `([^`]+)`", line))]
    return list(tables.values())


def source(path, begin, end):
    return (ROOT / "Sources" / path).read_text().split(begin, 1)[1].split(end, 1)[0]


def test_the_page_has_every_word_and_no_other():
    links = source("HostInterface/Links.swift", "public enum LinkFailure", "\x00")
    causes = source("CMbedTLS/tls.c", "mote_tls_cause(", "\n}")
    passed_over = source("LinuxHost/Link/TLSConnection.swift", "func describeFailure", "\n  }\n")
    alerts = source("CMbedTLS/tls.c", "mote_tls_alert_name(", "\n}")
    faults = source("MQTT/PeerFault.swift", "static var words", "\n  }\n")
    outbox = "".join(source(f"Agent/Outbox/{name}.swift", f"struct {name}", "\x00")
                     for name in ("Outbox", "FlashDrain"))
    check = source("mote/Inspection.swift", "// MARK: Words", "\x00")
    clock = source("Agent/Clock/ClockFloor.swift", "public struct", "\x00")
    log = "".join(source(path, "public struct", "\x00")
                  for path in ("Agent/Log/LogWriter.swift", "LinuxHost/System/LogSink.swift"))
    reasons, cause_words, alert_words, fault_words, event_words, own_words, check_words, failure_words, *_ = (
        page_words())
    failures = source("Agent/Management/PendingAction.swift", "enum ActionFailure", "\n  }\n")
    assert sorted(reasons) == sorted(re.findall(r'case \.\w+: "([^"]+)"', links))
    assert sorted(cause_words) == sorted(
        re.findall(r'return "([^"]+)"', causes) + re.findall(r'cause=([^"]+)"', passed_over))
    assert sorted(alert_words) == sorted(re.findall(r'return "([^"]+)"', alerts)) == sorted(ALERTS.keys() - {"99"})
    found = re.findall(r'log\.begin\(\.(?:error|warning), "([^"]+)"', outbox)
    assert sorted(event_words) == sorted(set(found))
    words = re.findall(r'var \w+Words: WordList {\s+WordList\("([^"]+)"\)', check)
    obstacles = source("HostInterface/Firmware.swift", "public enum FirmwareObstacle", "\n  }\n")
    words += [word for word in re.findall(r'case \.\w+: "([^"]+)"', obstacles) if word != "not-supervised"]
    assert len(words) == 9 and set(check_words) == set("|".join(words).split("|"))
    assert own_words == (
        re.findall(r'log\.begin\(\.warning, "([^"]+)"', clock) + re.findall(r'logAnswer\(answer, "([^"]+)"', clock)
        + re.findall(r'"(?:warning )?(log lines-[a-z-]+)[" ]', log))
    assert failure_words == re.findall(r'case \.\w+: "([^"]+)"', failures)
    assert fault_words == re.findall(r'the server speaks [^|\\]+', faults)


def test_the_page_has_every_word_about_images():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    receiver = source("Agent/Firmware/ImageReceiver.swift", "struct ImageReceiver", "\x00")
    reasons = set(re.findall(r'(?:status|orFail): [245], "([a-z-]+)"', receiver))
    assert len(reasons) > 10
    supervisor = source("LinuxHost/Firmware/Supervisor.swift", "public struct Supervisor", "\x00")
    events = set(re.findall(r'tell\((?:record.trial == nil \? )?"([a-z-]+)"(?: : "([a-z-]+)")?', supervisor))
    reverts = source("Firmware/SlotRecord.swift", "public enum RevertReason", "\n  }\n")
    words = reasons | {f"supervise {event}" for pair in events for event in pair if event}
    words |= set(re.findall(r'case \.\w+: "([^"]+)"', reverts)) - {"none"}
    for word in words:
        assert f"`{word}`" in page, word


def test_the_page_has_every_warning():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    code = "".join(path.read_text() for path in sorted((ROOT / "Sources/Agent").rglob("*.swift")))
    warnings = set(re.findall(r'\((?:outcome[^:]*: )?\.(?:warning|error), (?:outcome[^"]*)?"([a-z-]+ [a-z-]+)"', code))
    assert len(warnings) > 20
    for words in warnings:
        component, event = words.split()
        # Those of some components have a headline with it.
        assert f"`{words}" in page or (component in ("firmware", "management") and f"`{event}" in page), words


def stranger(*, first=b"", reply=b""):
    """What says `first` by itself, `reply` to the first bytes, and closes; the agent never gets further."""
    def talk(stream):
        stream.sendall(first)
        if stream.recv(4096):
            stream.sendall(reply)
        stream.shutdown(socket.SHUT_WR)
        # Until the agent has closed: an end here would be a reset that takes what was sent with it.
        while stream.recv(4096):
            pass
        raise OSError
    return talk


def start_tls(certificate, **settings):
    def talk(stream):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT@SECLEVEL=0")
        context.load_cert_chain(certificate.certificate, certificate.key)
        for name, value in settings.items():
            setattr(context, name, value)
        return context.wrap_socket(stream, server_side=True)
    return talk


@pytest.fixture
def meet(start_peer, run_agent, authority):
    """Runs an agent with or without TLS against a peer that begins so."""
    def begin(talk, *, with_tls=True, trusted=authority):
        peer = start_peer(start_tls=talk)
        protection = tls(peer.port, trusted) if with_tls else {}
        return run_agent(peer.port, {**status(seldom(), 0, a="constant:1"), **protection})
    return begin


@pytest.mark.parametrize("words", [{"first": SSH}, {"reply": HTTP}], ids=["ssh", "http"])
def test_other_protocols_at_the_port_are_named(meet, words):
    line = meet(stranger(**words), with_tls=False).wait_log("error", "mqtt", "fault")
    assert "the server speaks no MQTT at this port" in line.text
    meet(stranger(**words)).wait_log("warning", "link", "failed", reason="tls-failed", cause="not-tls")


def test_tls_at_a_plain_port_is_named(meet, server_certificate):
    alert = stranger(reply=b"\x15\x03\x01\x00\x02\x02\x46")
    line = meet(alert, with_tls=False).wait_log("error", "mqtt", "fault")
    assert "the server speaks TLS at this port" in line.text
    # OpenSSL closes without a word.
    meet(start_tls(server_certificate), with_tls=False).wait_log(
        "warning", "mqtt", "disconnected", reason="closed-unanswered")


def test_mqtt_without_tls_where_it_is_expected_is_named(broker, run_agent, authority):
    agent = run_agent(broker.port, {**status(seldom(), 0, a="constant:1"), **tls(broker.port, authority)})
    agent.wait_log("warning", "link", "failed", reason="closed-unanswered")


@pytest.mark.parametrize("name", ALERTS)
def test_alerts_are_named(meet, name):
    alert = stranger(reply=b"\x15\x03\x03\x00\x02\x02" + bytes([ALERTS[name]]))
    meet(alert).wait_log("warning", "link", "failed", reason="tls-refused-by-peer", alert=name)


def test_an_alert_behind_the_handshake_is_named(meet, server_certificate):
    # In TLS 1.3 the client is done before the server looks for a certificate.
    agent = meet(start_tls(server_certificate, verify_mode=ssl.CERT_REQUIRED))
    agent.wait_log("warning", "mqtt", "disconnected", reason="tls-refused-by-peer", alert="certificate-required")


@pytest.mark.parametrize(("options", "cause"), [
    ({"usage": "clientAuth"}, "not-for-servers"), ({"algorithm": "rsa1024"}, "weak-certificate"),
    ({"algorithm": "rsa4608"}, "key-unsupported")])
def test_certificates_that_will_not_do_are_named(meet, authority, options, cause):
    agent = meet(start_tls(authority.issue(**options)))
    agent.wait_log("warning", "link", "failed", reason="tls-failed", cause=cause)


def test_a_chain_that_is_too_long_is_named(meet, authority, tmp_path):
    chain = []
    for number in range(9):
        parent = chain[0] if chain else authority
        chain.insert(0, Authority(tmp_path / f"between{number}", f"Between {number}", parent=parent))
    agent = meet(start_tls(chain[0].issue(chain=chain)))
    agent.wait_log("warning", "link", "failed", reason="tls-failed", cause="chain-too-long")


def test_a_chain_that_is_too_large_is_named(meet, authority):
    names = "DNS:localhost" + "".join(f",DNS:host{number}.example-of-a-long-name.org" for number in range(480))
    agent = meet(start_tls(authority.issue(names)))
    agent.wait_log("warning", "link", "failed", reason="tls-failed", cause="message-too-large")


def test_two_devices_of_one_identity_are_named(start_peer, run_agent):
    # What a server does with the one that came first, whenever the other comes back.
    peer = start_peer()
    agent = run_agent(peer.port, status(seldom(), 0, a="constant:1"))
    for _ in range(3):
        connection = peer.accept()
        connection.expect(packets.CONNECT)
        connection.expect(packets.SUBSCRIBE)
        connection.close()
    agent.wait_log("warning", "mqtt", "disconnected", reason="closed-by-peer")
    agent.wait_log("warning", "agent", "duplicate-identity")
