"""TLS: what is trusted, what is refused and with which reason, resumption."""

import ssl
import subprocess

import pytest

from harness import packets
from harness.agent import seconds
from harness.certificates import Authority
from harness.configuration import status, tls
from harness.waiting import free_port


def with_tls(port, authority, **server):
    return {**status("300ms", 1, a="constant:1"), **tls(port, authority, **server)}


def refused(agent, reason):
    """The agent gives up on the link for this reason, and does not hammer."""
    line = agent.wait_log("warning", "link", "failed", reason=reason)
    assert not agent.find("info", "mqtt", "connected")
    assert seconds(line.fields["retry-in"]) >= 1
    return line


@pytest.mark.core
def test_an_event_arrives_over_tls_1_3(tls_broker, join_platform, run_agent, authority):
    platform = join_platform(tls_broker)
    agent = run_agent(tls_broker.port, with_tls(tls_broker.port, authority))
    assert platform.next_event("status").data == {"a": 1}
    line = agent.wait_connected()
    assert (line.fields["tls"], line.fields["resumed"]) == ("TLSv1.3", "no")
    assert agent.stop() == 0


@pytest.mark.core
def test_tls_1_2_is_spoken_where_the_server_has_no_more(
        start_broker, join_platform, run_agent, authority, server_certificate):
    broker = start_broker(certificate=server_certificate, only_tls_1_2=True)
    platform = join_platform(broker)
    agent = run_agent(broker.port, with_tls(broker.port, authority))
    platform.next_event("status")
    assert agent.wait_connected().fields["tls"] == "TLSv1.2"


def test_rsa_signatures_are_understood_in_tls_1_2(start_broker, join_platform, run_agent, tmp_path):
    root = Authority(tmp_path / "root", "Test Root", "rsa")
    broker = start_broker(certificate=root.issue(algorithm="rsa"), listener_options="tls_version tlsv1.2")
    platform = join_platform(broker)
    run_agent(broker.port, with_tls(broker.port, root))
    platform.next_event("status")


@pytest.mark.parametrize("algorithm", ["rsa", "p384"])
def test_other_kinds_of_keys_and_a_chain_are_accepted(start_broker, join_platform, run_agent, tmp_path, algorithm):
    root = Authority(tmp_path / "root", "Test Root", algorithm)
    between = Authority(tmp_path / "between", "Test Intermediate", algorithm, parent=root)
    broker = start_broker(certificate=between.issue(algorithm=algorithm, chain=[between]))
    platform = join_platform(broker)
    run_agent(broker.port, with_tls(broker.port, root))
    platform.next_event("status")


def test_wildcard_names_match_one_label(start_broker, run_agent, authority):
    broker = start_broker(certificate=authority.issue("DNS:*.messaging.example.test"))
    agent = run_agent(broker.port, with_tls(broker.port, authority, server_name="ab12cd.messaging.example.test"))
    agent.wait_connected()


@pytest.mark.parametrize("name", ["messaging.example.test", "a.b.messaging.example.test"])
def test_wildcard_names_match_no_more_than_one_label(start_broker, run_agent, authority, name):
    broker = start_broker(certificate=authority.issue("DNS:*.messaging.example.test"))
    refused(run_agent(broker.port, with_tls(broker.port, authority, server_name=name)), "tls-wrong-name")


@pytest.mark.core
def test_an_unknown_issuer_is_refused(tls_broker, run_agent, tmp_path):
    other = Authority(tmp_path / "other", "Another CA")
    line = refused(run_agent(tls_broker.port, with_tls(tls_broker.port, other)), "tls-unknown-issuer")
    assert "Test CA" in line.text, "the issuer that nobody trusts is named"


def test_an_issuer_of_the_same_name_with_another_key_is_refused(tls_broker, run_agent, tmp_path):
    impostor = Authority(tmp_path / "impostor", "Test CA")
    refused(run_agent(tls_broker.port, with_tls(tls_broker.port, impostor)), "tls-unknown-issuer")


@pytest.mark.core
def test_a_wrong_name_is_refused(start_broker, run_agent, authority):
    broker = start_broker(certificate=authority.issue("DNS:elsewhere.test"))
    refused(run_agent(broker.port, with_tls(broker.port, authority)), "tls-wrong-name")


def test_an_expired_certificate_is_refused(start_broker, run_agent, authority):
    broker = start_broker(certificate=authority.issue(days_from=-30, days_to=-1))
    refused(run_agent(broker.port, with_tls(broker.port, authority)), "tls-expired")


def test_a_certificate_that_is_not_yet_valid_is_refused(start_broker, run_agent, authority):
    broker = start_broker(certificate=authority.issue(days_from=2, days_to=30))
    refused(run_agent(broker.port, with_tls(broker.port, authority)), "tls-not-yet-valid")


def test_dates_past_2038_are_understood(start_broker, run_agent, authority):
    broker = start_broker(certificate=authority.issue(days_to=365 * 20))
    run_agent(broker.port, with_tls(broker.port, authority)).wait_connected()


def test_a_peer_that_refuses_us_is_told_apart(start_broker, run_agent, authority, server_certificate):
    broker = start_broker(
        certificate=server_certificate, listener_options=f"require_certificate true\ncafile {authority.certificate}")
    agent = run_agent(broker.port, with_tls(broker.port, authority))
    # In TLS 1.3 the alert comes after our side of the handshake is done: the connection ends before CONNACK.
    assert agent.wait_log("warning", "mqtt", "disconnected").fields["reason"] == "tls-refused-by-peer"


def test_a_peer_that_refuses_us_in_tls_1_2_is_told_apart(start_broker, run_agent, authority, server_certificate):
    broker = start_broker(
        certificate=server_certificate, only_tls_1_2=True,
        listener_options=f"require_certificate true\ncafile {authority.certificate}")
    refused(run_agent(broker.port, with_tls(broker.port, authority)), "tls-refused-by-peer")


def test_a_trust_file_that_is_none_is_named(tls_broker, run_agent, authority, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate in here\n")
    agent = run_agent(tls_broker.port, with_tls(tls_broker.port, authority, ca_file=empty))
    line = agent.wait_log("warning", "link", "failed", reason="tls-trust-unreadable")
    assert str(empty) in line.text


def test_an_unverified_server_is_a_choice_that_is_warned_about(start_broker, run_agent, authority):
    broker = start_broker(certificate=authority.issue("DNS:elsewhere.test", days_from=-30, days_to=-1))
    agent = run_agent(broker.port, with_tls(broker.port, authority, allow_unverified_server="yes", ca_file=None))
    agent.wait_connected()
    assert len(agent.find("warning", "server", "unverified")) == 1


# Both hashes that secrets of TLS 1.3 are derived with; Mosquitto's own choice is SHA-384.
@pytest.mark.parametrize(("version", "suite"), [
    ("TLSv1.3", None), ("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"), ("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    ("TLSv1.2", None)])
@pytest.mark.core
def test_a_reconnect_resumes_the_session(
        start_broker, join_platform, start_proxy, run_agent, authority, server_certificate, version, suite):
    broker = start_broker(certificate=server_certificate, only_tls_1_2=version == "TLSv1.2",
                          listener_options=f"ciphers_tls1.3 {suite}" if suite else "")
    platform = join_platform(broker)
    proxy = start_proxy(broker.port)
    agent = run_agent(proxy.port, with_tls(proxy.port, authority))
    platform.next_event("status")
    first = agent.wait_connected().fields
    assert (first["tls"], first["resumed"]) == (version, "no")
    proxy.cut()
    again = agent.wait_connected(2).fields
    assert (again["tls"], again["resumed"]) == (version, "yes")
    platform.forget()
    platform.next_event("status")


@pytest.mark.core
def test_a_server_that_sends_many_tickets_and_resumes_none_is_served(
        start_peer, run_agent, authority, server_certificate):
    def start_tls(stream):
        # A new context knows no session of an earlier one.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(server_certificate.certificate, server_certificate.key)
        context.num_tickets = 40
        return context.wrap_socket(stream, server_side=True)

    peer = start_peer(start_tls=start_tls)
    agent = run_agent(peer.port, with_tls(peer.port, authority))
    for count in (1, 2):
        connection = peer.accept()
        assert agent.wait_connected(count).fields["resumed"] == "no"
        connection.expect(packets.PUBLISH)
        connection.close()


def test_a_session_is_not_offered_twice_where_the_server_hangs_up_on_it(
        start_peer, run_agent, authority, server_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_certificate.certificate, server_certificate.key)
    offered = []

    def start_tls(stream):
        wrapped = context.wrap_socket(stream, server_side=True)
        offered.append(wrapped.session_reused)
        if wrapped.session_reused:
            wrapped.close()
            raise OSError
        return wrapped

    peer = start_peer(start_tls=start_tls)
    agent = run_agent(peer.port, with_tls(peer.port, authority))
    first = peer.accept()
    first.expect(packets.PUBLISH)
    first.close()
    agent.wait_connected(2)
    assert offered == [False, True, False]


class KeyChanger:
    """openssl's server with a person at its keys: what is typed goes to the client, `K` and `k` change the key with and
    without asking the client to do the same (RFC 8446 4.6.3)."""

    def __init__(self, certificate):
        self.port = free_port()
        self._process = subprocess.Popen(
            ["openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-tls1_3", "-cert", certificate.certificate,
             "-key", certificate.key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._shown = b""
        self.wait_for(b"ACCEPT")

    def type(self, keys):
        self._process.stdin.write(keys)
        self._process.stdin.flush()

    def wait_for(self, text):
        """Reads on until there is `text` in what was not looked at yet."""
        while text not in self._shown:
            piece = self._process.stdout.read1()
            assert piece, f"the server ended before {text}: {self._shown}"
            self._shown += piece
        self._shown = self._shown.split(text, 1)[1]

    def close(self):
        self._process.kill()
        self._process.communicate()


@pytest.mark.core
def test_a_server_that_changes_its_key_is_followed(run_agent, authority, server_certificate, closing):
    server = KeyChanger(server_certificate)
    closing.append(server)
    agent = run_agent(server.port, with_tls(server.port, authority) | status("200ms", 0, a="constant:1"))
    server.wait_for(b"MQTT")
    server.type(packets.connack())
    ping = packets.command("ping", b"")
    for keys in [b"K\n", b"k\n", b"K\n", b"K\n", b"k\n"]:
        server.wait_for(b"iot-2/evt/status")
        server.type(keys)
        server.wait_for(b"SSL_do_handshake -> 1")
        # What the agent sends is understood, and it understands what it gets, both with the keys of now.
        server.wait_for(b"iot-2/evt/status")
        server.type(ping)
        server.wait_for(b"iot-2/evt/command")
    assert not agent.find("warning", "mqtt", "disconnected")


@pytest.mark.core
def test_one_byte_at_a_time_over_tls(tls_broker, join_platform, start_proxy, run_agent, authority):
    platform = join_platform(tls_broker)
    proxy = start_proxy(tls_broker.port)
    proxy.piece_bytes = 1
    run_agent(proxy.port, with_tls(proxy.port, authority))
    platform.next_event("status")
    platform.command("ping")
    assert platform.outcome("ping")["outcome"] == "ok"
