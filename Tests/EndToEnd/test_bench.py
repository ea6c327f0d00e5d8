"""What Scripts/bench says about its measurements; it counts nothing here."""

import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "Tests/Bench"))

import bench as scripts_bench  # noqa: E402
import budgets  # noqa: E402
import growth  # noqa: E402
import measure  # noqa: E402
import tables  # noqa: E402

pytestmark = pytest.mark.native


@pytest.fixture
def jobs(tmp_path):
    """All that is measured."""
    class Broker:
        port = 1

    measured = object.__new__(scripts_bench.Bench)
    measured.folder, measured.trust = tmp_path, tmp_path
    measured.plain = measured.secure = measured.older = Broker
    measured.equip("x86_64")
    return measured.jobs()


@pytest.mark.parametrize("row", budgets.ROWS, ids=lambda row: row.name)
def test_each_budget_is_measured(row, jobs):
    assert [job for job in jobs if job.serves(row)]


def test_a_budget_is_measured_without_the_others(jobs):
    (row,) = [row for row in budgets.ROWS if row.name.endswith("armv7")]
    assert [job.path for job in jobs if job.serves(row)] == [row.path[:-1]]


def test_names_are_different():
    names = [row.name for row in budgets.ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("value", "verdict"), [
    (None, "not measured"), (6000.1, "EXCEEDED"), (6000.004, "within"), (5000.1, "within"), (5000, "aim reached")])
def test_a_verdict_is_told(value, verdict):
    assert budgets.Row("work", ("work",), 18100, 6000, 5000).verdict(value) == verdict


def test_growth_is_told_where_all_of_it_is_measured():
    results = {"together": {"1": 10, "8": 9, "32": 12, "64": 6}, "queue": {"32 KB": 4, "256 KB": 2, "1 MB": 3},
               "sensors": {"1": 0, "10": 10, "100": 100, "200": 400}, "beside": {"alone": 10, "beside": 11}}
    growth.derive(results)
    assert results["together"]["rise"] == 12 / 9 and results["queue"]["growth"] == 2
    assert results["sensors"]["growth"] == 3 and results["beside"]["growth"] == 1.1
    part = {"together": {"1": 10, "8": 9}}
    growth.derive(part)
    assert "rise" not in part["together"]


def test_callgrinds_file_is_taken_apart(tmp_path):
    path = tmp_path / "callgrind.out"
    path.write_text("positions: line\nevents: Ir\nfn=(1) main\n0 5\ncfn=(2) malloc\ncalls=3 0\n0 40\n+1 2\n\n"
                    "fn=(2)\n0 30\ncfn=(3) base64\ncalls=1 0\n* 10\n\nfn=(3)\n0 6\n-1 4\ntotals: 47\n")
    costs = measure.read_callgrind(path)
    assert costs.instructions == 47 and costs.own == {"main": 7, "malloc": 30, "base64": 10}
    assert costs.called(measure.ALLOCATOR) == 3 and costs.spent(scripts_bench.DECODING) == 10


def first_cells(text):
    """Tables of a text, by the first cells of their lines, and all cells of their heads."""
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text + "\n", re.MULTILINE):
        lines = block.splitlines()
        found.append((lines[0], [line.split(" | ")[0] for line in lines[2:]]))
    return found


def test_the_readme_has_the_benchs_tables():
    readme = first_cells((ROOT / "README.md").read_text())
    for table in first_cells(tables.readme({})):
        assert table in readme, f"{table[0]}: Scripts/bench --markdown prints another table"
