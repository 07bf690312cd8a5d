"""The report of a chaos run tells what was checked, what failed, and how to have it again."""

import json
from pathlib import Path

from tests.chaos.report import KEPT, Report


def report() -> Report:
    """Return the report of a run in which one invariant held and one did not."""
    made = Report(seed=7, minutes=5.0, agents=150, scale=1.0)
    made.faults["disk: full"] += 2
    made.left_out["wall clock: an hour ahead"] = "libfaketime is not installed"
    made.judge("holds", iter([None, None]), 1.0, "one", lambda: ())
    made.judge("fails", iter([None, *["it is wrong"] * (KEPT + 5)]), 12.34, "two", lambda: ("during a fault", "a line"))
    made.judge("has nothing to judge", iter([]), 1.0, "one", lambda: ())
    made.figures["pages"] = 3
    return made


def test_it_counts_all_and_keeps_some() -> None:
    """Every check counts; only the first violations are kept in full, with what was going on."""
    made = report()
    assert made.checks == {"holds": 2, "fails": KEPT + 6, "has nothing to judge": 0}
    assert made.failed == {"fails": KEPT + 5}
    assert len(made.violations) == KEPT
    first = made.violations[0]
    assert (first.offset, first.replica, first.what, first.context) == (
        12.3, "two", "it is wrong", ("during a fault", "a line"),
    )  # fmt: skip


def test_the_table_says_how_to_have_it_again() -> None:
    """Seed and sizes are in a command; what was left out has its reason; what was never judged is there with 0."""
    lines = str(report()).splitlines()
    assert lines[0] == 'again: make chaos ARGS="--seed 7 --minutes 5 --agents 150 --scale 1"'
    rows = {line[:52].strip(): line[52:].split() for line in lines}
    assert rows["holds"] == ["2", "0"]
    assert rows["fails"] == [str(KEPT + 6), str(KEPT + 5)]
    assert rows["has nothing to judge"] == ["0", "0"]
    assert "  left out: wall clock: an hour ahead, because libfaketime is not installed" in lines
    assert lines.count("VIOLATED at 12.3 s by two: fails") == KEPT


def test_it_is_json(tmp_path: Path) -> None:
    """Everything is in the file."""
    report().write(tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["seed"] == 7
    assert written["faults"] == {"disk: full": 2}
    assert written["failed"] == {"fails": KEPT + 5}
    assert written["violations"][0]["what"] == "it is wrong"
