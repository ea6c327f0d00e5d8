"""Fixtures of the platform's end-to-end tests; see CONTRIBUTING.md for how they are run."""

import pathlib
import socket
import sys
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/EndToEnd"))
sys.path.insert(0, str(ROOT / "Tests/Platform"))

from harness.running import joining  # noqa: E402
import sdk  # noqa: E402
import service as platform_service  # noqa: E402

pytest_plugins = ["harness.plugin"]


def pytest_addoption(parser):
    parser.addoption("--motectl", default=str(ROOT / ".build/debug/motectl"), help="the program to test")


@pytest.fixture(scope="session")
def motectl(pytestconfig):
    """The program under test."""
    program = pathlib.Path(pytestconfig.getoption("--motectl"))
    assert program.exists(), f"{program} is missing; 'swift build --product motectl' makes it"
    return program


@pytest.fixture(scope="session")
def mote(program):
    """The agent."""
    return program


@pytest.fixture
def start_service(closing, motectl, tmp_path):
    """Starts a platform that ends with the test."""
    return joining(closing, lambda *arguments, **options: platform_service.Service(
        motectl, tmp_path / f"platform{len(closing)}", *arguments, **options))


@pytest.fixture
def service(start_service):
    """A platform in memory."""
    return start_service()


@pytest.fixture
def durable(start_service):
    """A platform with a database."""
    return start_service("--rates", "unlimited", durable=True)


@pytest.fixture
def join(closing):
    """Connects any client."""
    return joining(closing, platform_service.Client)


@pytest.fixture
def device(closing):
    """Connects a registered device."""
    return joining(closing, platform_service.device)


@pytest.fixture
def gateway(closing):
    """Connects the registered gateway."""
    return joining(closing, platform_service.gateway)


@pytest.fixture
def application(closing):
    """Connects an application."""
    return joining(closing, platform_service.application)


@pytest.fixture
def sdk_domain(monkeypatch):
    """The platform's host names are this machine."""
    look_up = socket.getaddrinfo

    def here(host, *arguments, **options):
        return look_up("127.0.0.1" if str(host).endswith(platform_service.DOMAIN) else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@pytest.fixture
def sdk_connect(closing, sdk_domain, monkeypatch):
    """Connects a client of the vendor's SDK, which takes no host names but the platform's."""
    class DaemonTimer(threading.Timer):
        """The SDK manages again after an hour, and would keep the tests from ending until then."""

        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.daemon = True

    monkeypatch.setattr(threading, "Timer", DaemonTimer)

    return lambda service, *arguments, **options: sdk.connect(service, closing, *arguments, **options)


@pytest.fixture
def browser(service, closing):
    """A browser; nothing may be in its console at the end."""
    opened = pytest.importorskip("browser", reason="Scripts/setup test installs selenium").Browser(service)
    closing.append(opened)
    yield opened
    assert opened.problems() == []
