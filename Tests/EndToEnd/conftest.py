"""Fixtures of the end-to-end tests; see CONTRIBUTING.md for how they are run."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.agent import Agent  # noqa: E402
from harness.broker import Mosquitto, Platform  # noqa: E402
from harness.configuration import configuration  # noqa: E402
from harness.peer import ScriptedBroker  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from harness.running import joining  # noqa: E402

pytest_plugins = ["harness.plugin"]

@pytest.fixture
def start_broker(closing, tmp_path):
    """Starts a Mosquitto that ends with the test."""
    return joining(closing, lambda **options: Mosquitto(tmp_path / f"broker{len(closing)}", **options))


@pytest.fixture
def broker(start_broker):
    """A plain Mosquitto."""
    return start_broker()


@pytest.fixture
def join_platform(closing, program):
    """Connects an application to a broker."""
    return joining(closing, lambda broker: Platform(broker.side_port, patience=program.patience))


@pytest.fixture
def platform(broker, join_platform):
    """An application connected to the plain broker."""
    return join_platform(broker)


@pytest.fixture
def start_proxy(closing):
    """Starts a proxy to a port."""
    return joining(closing, Proxy)


@pytest.fixture
def start_peer(closing, program):
    """Starts a scripted broker."""
    return joining(closing, lambda **options: ScriptedBroker(patience=program.patience, **options))


@pytest.fixture
def write_configuration(tmp_path):
    """Writes a configuration file, readable by nobody else, and gives its path."""
    def write(port_or_text, sections=None, name="mote.conf"):
        text = port_or_text if isinstance(port_or_text, str) else configuration(port_or_text, sections)
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path
    return write


@pytest.fixture
def run_agent(closing, program, write_configuration):
    """Starts `mote run` with a configuration for a broker on `port`."""
    def run(port, sections=None, *arguments, environment=None, prefix=()):
        path = write_configuration(port, sections)
        agent = Agent(program, "run", "--config", path, *arguments, environment=environment, prefix=prefix)
        agent.configuration = path
        closing.append(agent)
        return agent
    return run


@pytest.fixture(scope="session")
def server_certificate(authority):
    """A certificate that is right in every respect, for localhost."""
    return authority.issue()


@pytest.fixture
def tls_broker(start_broker, server_certificate):
    """A Mosquitto with TLS."""
    return start_broker(certificate=server_certificate)
