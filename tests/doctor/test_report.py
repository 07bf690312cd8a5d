"""The report reads well on a terminal and off it, and its JSON is stable."""

import json

import pytest

from exporter import __version__
from exporter.doctor.check import Check, Examined, Finding, failed, not_checked, ok, warning
from exporter.doctor.report import Report, document, text
from exporter.terminal import Paper

LONG = "the selector finds no pod, which may be because the agents have other labels than those of the vendor's chart"


async def _never() -> list[Finding]:
    raise AssertionError("a report examines nothing")


def report(**subjects: list[Finding]) -> Report:
    """Make a report of one check a subject."""
    return Report([Examined(Check(subject, "check", _never), found, 0.0123) for subject, found in subjects.items()])


SOME = report(
    Kubernetes=[
        ok("API server", "it responds in 3 ms"),
        failed("pods", LONG, "see which labels the agents have, " * 4),
    ],
    CloudWatch=[warning("clock", "it is 2 min behind AWS's", "see chrony"), not_checked("spool", "it is off")],
)


def test_for_a_person() -> None:
    """Aligned, wrapped to the width, what to do below what was found, and a last line that says how it went."""
    assert text(SOME, Paper(80, colours=False)) == (
        "Kubernetes\n"
        "  ok           API server  it responds in 3 ms\n"
        "  failed       pods        the selector finds no pod, which may be because the\n"
        "                           agents have other labels than those of the vendor's\n"
        "                           chart\n"
        "               fix: see which labels the agents have, see which labels the\n"
        "                    agents have, see which labels the agents have, see which\n"
        "                    labels the agents have,\n"
        "\n"
        "CloudWatch\n"
        "  warning      clock       it is 2 min behind AWS's\n"
        "               fix: see chrony\n"
        "  not checked  spool       it is off\n"
        "\n"
        "Something failed: 1 ok, 1 warning, 1 failed, 1 not checked.\n"
    )


def test_colours_change_nothing_but_the_colour() -> None:
    """On a terminal the same stands at the same places."""
    coloured = text(SOME, Paper(80, colours=True))
    plain = text(SOME, Paper(80, colours=False))
    assert "\x1b[1;31mfailed     \x1b[0m" in coloured
    for code in ("0", "1", "2", "32", "33", "1;31"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain


def test_a_name_longer_than_its_column() -> None:
    """A long name stands on a line of its own and moves nothing else."""
    name = "a name that is much longer than any of the others here"
    lines = text(report(agents=[ok("short", "found"), ok(name, "found")]), Paper(100, colours=False)).splitlines()
    assert lines[2].endswith(name)
    assert lines[3].strip() == "found"
    assert lines[3].index("found") == lines[1].index("found")


def test_a_narrow_terminal() -> None:
    """Where beside the names there is no room, what was found stands below them."""
    text_lines = text(SOME, Paper(50, colours=False)).splitlines()
    assert text_lines[1:3] == ["  ok           API server", "      it responds in 3 ms"]
    assert max(map(len, text_lines[:-1])) <= 50


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    """Neither a long name, nor a command in a fix, nor the last line."""
    name = "OpenTelemetry of matillion/production-of-a-company-with-a-long-name-in-eu-west-1"
    command = "kubectl -n matillion logs production-of-a-company-with-a-long-name-6d5f7c9b8d-x2k4q --previous"
    many = [failed(name, LONG, command), warning("b", LONG), warning("c", "x"), not_checked("d", "x"), ok("e", "x")]
    shown = text(report(agents=many), Paper(width, colours=False))
    assert max(map(len, shown.splitlines())) <= width
    assert "1 ok, 2 warnings, 1 failed, 1 not checked." in " ".join(shown.split())


def test_what_came_from_a_cluster_moves_no_cursor() -> None:
    """A name or a message with control characters in it is shown, and not obeyed."""
    shown = text(
        report(agents=[ok("pod\x1b[2J", "it says \x1b]0;owned\x07 \u202e and\r\nmore")]), Paper(80, colours=True)
    )
    assert not {"\x1b[2J", "\x07", "\r", "\u202e"} & {
        part for part in ("\x1b[2J", "\x07", "\r", "\u202e") if part in shown
    }


def test_as_json() -> None:
    """Machines get the same findings, with names that do not change."""
    assert json.loads(json.dumps(document(SOME))) == {
        "version": __version__,
        "good": False,
        "counts": {"ok": 1, "warning": 1, "failed": 1, "not_checked": 1},
        "checks": [
            {
                "subject": "Kubernetes", "name": "API server", "outcome": "ok",
                "found": "it responds in 3 ms", "fix": None, "seconds": 0.012,
            },
            {
                "subject": "Kubernetes", "name": "pods", "outcome": "failed",
                "found": LONG, "fix": "see which labels the agents have, " * 4, "seconds": 0.012,
            },
            {
                "subject": "CloudWatch", "name": "clock", "outcome": "warning",
                "found": "it is 2 min behind AWS's", "fix": "see chrony", "seconds": 0.012,
            },
            {
                "subject": "CloudWatch", "name": "spool", "outcome": "not_checked",
                "found": "it is off", "fix": None, "seconds": 0.012,
            },
        ],
    }  # fmt: skip


def test_nothing_failed() -> None:
    """Warnings and what was not checked are no failure."""
    good = report(agents=[warning("a", "x"), warning("b", "x"), not_checked("c", "x")])
    assert good.good
    assert text(good, Paper(80, colours=False)).endswith("Nothing failed: 2 warnings, 1 not checked.\n")
