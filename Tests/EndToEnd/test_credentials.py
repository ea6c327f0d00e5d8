"""Tokens: used as the platform wants, refused without hammering, and never shown."""

import time

import pytest

from harness import packets
from harness.agent import seconds
from harness.configuration import TOKEN, status, tls

USER = "use-token-auth"


def with_token(port, authority, **device):
    return {"device": device, **status("300ms", 1, a="constant:1"), **tls(port, authority)}


@pytest.fixture
def guarded(start_broker, server_certificate):
    """A broker with TLS and a password file."""
    return start_broker(certificate=server_certificate, users={USER: TOKEN})


@pytest.mark.core
def test_the_right_token_is_let_in(guarded, join_platform, run_agent, authority):
    platform = join_platform(guarded)
    run_agent(guarded.port, with_token(guarded.port, authority))
    platform.next_event("status")


def test_the_token_may_come_from_a_file_or_the_environment(
        guarded, join_platform, run_agent, authority, tmp_path):
    platform = join_platform(guarded)
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN + "\n")
    from_file = {"auth-token": None, "auth-token-file": token}
    agent = run_agent(guarded.port, with_token(guarded.port, authority, **from_file))
    platform.next_event("status")
    assert agent.stop() == 0
    platform.forget()
    run_agent(guarded.port, with_token(guarded.port, authority, **{"auth-token": None}),
              environment={"WIOTP_AUTH_TOKEN": TOKEN})
    platform.next_event("status")


def test_a_wrong_token_is_not_tried_again_soon(guarded, run_agent, authority):
    agent = run_agent(guarded.port, with_token(guarded.port, authority, **{"auth-token": "wrong"}))
    line = agent.wait_log("error", "mqtt", "refused", code=5, reason="not-authorized")
    assert seconds(line.fields["retry-in"]) >= 60
    time.sleep(4)
    assert len(agent.find("info", "link", "connecting")) == 1
    assert agent.is_running()
    assert agent.stop() == 0


def test_secrets_are_in_no_log_and_on_no_command_line(guarded, join_platform, run_agent, authority):
    platform = join_platform(guarded)
    agent = run_agent(guarded.port, with_token(guarded.port, authority), "--log-level", "debug")
    platform.next_event("status")
    agent.reload()
    agent.wait_log("info", "agent", "reloaded")
    with open(f"/proc/{agent.pid}/cmdline", "rb") as file:
        assert TOKEN.encode() not in file.read()
    assert agent.stop() == 0
    assert TOKEN not in agent.log and agent.output == b""


def test_a_token_without_tls_is_sent_only_by_choice_and_warned_about(start_peer, run_agent):
    peer = start_peer()
    agent = run_agent(peer.port)
    fields = peer.accept().expect(packets.CONNECT).connect
    assert (fields["user"], fields["password"]) == (USER, TOKEN.encode())
    agent.wait_connected()
    assert len(agent.find("warning", "server", "plaintext-token")) == 1
    assert TOKEN not in agent.log
