"""Fixtures of the end-to-end tests; see CONTRIBUTING.md for how they are run."""

import pathlib
import platform as machine
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from harness.agent import Agent, Program  # noqa: E402
from harness.broker import Mosquitto, Platform  # noqa: E402
from harness.configuration import configuration  # noqa: E402
from harness.peer import ScriptedBroker  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from harness.running import joining, keep  # noqa: E402

pytest_plugins = ["harness.plugin"]

ROOT = pathlib.Path(__file__).resolve().parents[2]
EMULATORS = {"aarch64": "qemu-aarch64-static", "armv7": "qemu-arm-static", "armv6": "qemu-arm-static"}
EMULATED_PATIENCE = 4


def pytest_addoption(parser):
    parser.addoption("--arch", default=None, help="the device binary to test (default: this machine's own)")
    parser.addoption("--mote", default=None, help="another binary to test")


def pytest_collection_modifyitems(config, items):
    emulated = config.getoption("--arch") in EMULATORS and config.getoption("--arch") != machine.machine()
    keep(config, items, [item for item in items if not emulated or item.get_closest_marker("core")])


@pytest.fixture(scope="session")
def architecture(pytestconfig):
    return pytestconfig.getoption("--arch") or machine.machine()


@pytest.fixture(scope="session")
def program(pytestconfig, architecture):
    """The program under test."""
    binary = pathlib.Path(pytestconfig.getoption("--mote") or ROOT / "build" / architecture / "mote")
    assert binary.exists(), f"{binary} is missing; Scripts/build makes it"
    if architecture == machine.machine():
        return Program([str(binary)], 1)
    emulator = shutil.which(EMULATORS[architecture])
    assert emulator, f"{EMULATORS[architecture]} is missing; Scripts/setup installs it"
    return Program([emulator, str(binary)], EMULATED_PATIENCE)


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


@pytest.fixture
def start_agent(closing, program):
    """Starts the program with any arguments."""
    return joining(closing, lambda *arguments, **options: Agent(program, *arguments, **options))


@pytest.fixture(scope="session")
def server_certificate(authority):
    """A certificate that is right in every respect, for localhost."""
    return authority.issue()


@pytest.fixture
def tls_broker(start_broker, server_certificate):
    """A Mosquitto with TLS."""
    return start_broker(certificate=server_certificate)


def pytest_report_header(config):
    return f"under test: {config.getoption('--mote') or config.getoption('--arch') or machine.machine()}"
