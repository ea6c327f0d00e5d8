"""What is put on a board beside the program: it must fit the program, and what the README says."""

import pathlib
import re
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.native

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOARD = ROOT / "Boards/generic"


@pytest.fixture(scope="module")
def unit():
    """The unit's settings by their names, comments left out."""
    lines = re.findall(r"^([A-Z]\w+)=(.*)$", (BOARD / "mote.service").read_text(), re.MULTILINE)
    return dict(lines)


@pytest.fixture(scope="module")
def state_folder():
    """Where the program keeps the last known time."""
    source = (ROOT / "Sources/mote/Run.swift").read_text()
    return pathlib.Path(re.search(r'stateFolder: StaticString = "(.*)"', source)[1])


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path):
    text = (BOARD / "mote.service").read_text()
    (tmp_path / "mote.service").write_text(text.replace("/usr/bin/mote", shutil.which("true")))
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "mote.service"], capture_output=True, text=True,
                          timeout=60, check=False)
    complaints = [line for line in done.stderr.splitlines() if "mote.service" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


def test_the_state_folder_is_there_and_ours(unit, state_folder):
    # All else is read-only under ProtectSystem=strict.
    assert pathlib.Path("/var/lib") / unit["StateDirectory"] == state_folder
    script = (BOARD / "mote.init").read_text()
    assert f"STATE={state_folder}\n" in script and 'mkdir -p "$STATE" && chown "$USER" "$STATE"' in script


def test_the_readme_makes_the_user_that_the_unit_wants(unit):
    readme = (ROOT / "README.md").read_text()
    steps = readme[readme.index("## Put it on a board"):readme.index("## Configuration")]
    assert re.search(rf"useradd .*--user-group .*\b{unit['User']}'?$", steps, re.MULTILINE)
    # The folder is made before anything is copied into it.
    assert steps.index("mkdir -p /etc/mote") < steps.index("root@board:/etc/mote/mote.conf")
    # The token is for the unit's group, and the check is the user's: root may read everything.
    assert f"chown root:{unit['Group']}" in steps and f"runuser -u {unit['User']} -- mote check" in steps
