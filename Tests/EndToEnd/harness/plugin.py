"""What all configurations of end-to-end tests share, as a plugin of pytest: the agent's program and its architecture,
parts, a limit of time for each test, what ends with its test, what a failed one shows."""

import pathlib
import platform as machine
import shutil
import signal

import pytest

from .agent import Agent, Program
from .certificates import Authority
from .running import joining, keep

ROOT = pathlib.Path(__file__).resolve().parents[3]
EMULATORS = {"aarch64": "qemu-aarch64-static", "armv7": "qemu-arm-static", "armv6": "qemu-arm-static"}
EMULATED_PATIENCE = 4
# No test may hang the run: one may take this long, or three times what its mark says.
TEST_SECONDS_MAX = 150


def pytest_addoption(parser):
    parser.addoption("--arch", default=None, help="the device binary to test (default: this machine's own)")
    parser.addoption("--mote", default=None, help="another binary to test")
    parser.addoption("--part", default=None, help="K/N: run only the K-th of N parts of the tests")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    emulated = config.getoption("--arch") in EMULATORS and config.getoption("--arch") != machine.machine()
    keep(config, items, [item for item in items if not emulated or item.get_closest_marker("core")])
    if part := config.getoption("--part"):
        number, count = map(int, part.split("/"))
        keep(config, items, parts(items, count)[number - 1])


def seconds_of(item):
    """How long a test takes, as its mark says; most take about one."""
    mark = item.get_closest_marker("seconds")
    return mark.args[0] if mark else 1


def parts(items, count):
    """The tests in `count` parts that take about equally long, the longest tests first."""
    shares, loads = [[] for _ in range(count)], [0] * count
    for item in sorted(items, key=seconds_of, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(item)
        loads[least] += seconds_of(item)
    return shares


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    limit = max(TEST_SECONDS_MAX, 3 * seconds_of(item))

    def expire(*_):
        raise TimeoutError(f"test ran longer than {limit} s")

    signal.signal(signal.SIGALRM, expire)
    signal.alarm(limit)
    yield
    signal.alarm(0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failed test shows what its agents logged and its applications received: many a failure comes only once."""
    report = (yield).get_result()
    if report.failed:
        for thing in item.funcargs.get("closing", []):
            if hasattr(thing, "story"):
                report.sections.append((type(thing).__name__, thing.story))


def pytest_report_header(config):
    return f"under test: {config.getoption('--mote') or config.getoption('--arch') or machine.machine()}"


@pytest.fixture(scope="session")
def architecture(pytestconfig):
    return pytestconfig.getoption("--arch") or machine.machine()


@pytest.fixture(scope="session")
def program(pytestconfig, architecture):
    """The agent's program."""
    binary = pathlib.Path(pytestconfig.getoption("--mote") or ROOT / "build" / architecture / "mote")
    assert binary.exists(), f"{binary} is missing; Scripts/build makes it"
    if architecture == machine.machine():
        return Program([str(binary)], 1)
    emulator = shutil.which(EMULATORS[architecture])
    assert emulator, f"{EMULATORS[architecture]} is missing; Scripts/setup installs it"
    return Program([emulator, str(binary)], EMULATED_PATIENCE)


@pytest.fixture
def start_agent(closing, program):
    """Starts the program with any arguments."""
    return joining(closing, lambda *arguments, **options: Agent(program, *arguments, **options))


@pytest.fixture
def closing():
    """A list of things whose `close()` is called at the end of the test, last first."""
    things = []
    yield things
    for thing in reversed(things):
        thing.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """The certificate authority that programs under test are told to trust."""
    return Authority(tmp_path_factory.mktemp("ca") / "trusted")
