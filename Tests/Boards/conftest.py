"""Fixtures of the tests on emulated boards; Scripts/test-boards runs them."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("EndToEnd", "Platform", "Boards"):
    sys.path.insert(0, str(ROOT / "Tests" / folder))

from emulated.site import Site  # noqa: E402

pytest_plugins = ["harness.plugin"]


def pytest_addoption(parser):
    parser.addoption("--motectl", default=str(ROOT / ".build/debug/motectl"), help="the host tool to test with")
    parser.addoption("--all", action="store_true", help="those on request, too")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--all"):
        skipped = [item for item in items if item.get_closest_marker("on_request")]
        config.hook.pytest_deselected(items=skipped)
        items[:] = [item for item in items if item not in skipped]


@pytest.fixture(scope="session")
def motectl(pytestconfig):
    """The program under test."""
    program = pathlib.Path(pytestconfig.getoption("--motectl"))
    assert program.exists(), f"{program} is missing; 'swift build --product motectl' makes it"
    return program


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """A pair of keys that sign firmware."""
    folder = tmp_path_factory.mktemp("keys")
    for arguments in (["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", folder / "private.pem"],
                      ["pkey", "-in", folder / "private.pem", "-pubout", "-out", folder / "public.pem"]):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def make_site(motectl, keys, tmp_path_factory):
    """Makes boards, each with a platform of its own."""
    made = []

    def make(kind, **options):
        made.append(Site(kind, motectl, keys, tmp_path_factory.mktemp("site"), **options))
        return made[-1]

    yield make
    for site in reversed(made):
        site.close()
