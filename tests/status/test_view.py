"""What `status` shows, drawn from the documents that the exporter's own API makes."""

import re
from typing import Any

import pytest

from exporter.client import Status
from exporter.fleet.departure import LossReason
from exporter.fleet.model import Fleet
from exporter.status.alike import common
from exporter.status.command import drawn
from exporter.status.view import screen
from exporter.terminal import Paper
from exporter.web.documents import agent_document, fleet_document
from tests.factories import (
    NOW,
    WALL_NOW,
    make_drain,
    make_facts,
    make_fleet,
    make_memory,
    make_outlook,
    make_reading,
    make_scaler,
    make_snapshot,
)

URL = "http://127.0.0.1:9850"
UNSEEN = "connection refused on 127.0.10.1:9464"


def status(*fleets: Fleet, not_ready: str = "") -> Status:
    """Make what an exporter with these fleets says."""
    agents = [dict(agent_document(agent, NOW, WALL_NOW)) for fleet in fleets for agent in fleet.agents]
    return Status(WALL_NOW, not_ready, [dict(fleet_document(fleet)) for fleet in fleets], agents)


def lines(shown: Status, width: int = 110) -> list[str]:
    """Draw it without colours."""
    return screen(URL, shown, Paper(width, colours=False))


def fleet_with(*others: Any, name: str = "etl") -> Fleet:
    """Make a fleet of two agents that are well, and others."""
    return make_fleet([make_snapshot("a-1"), make_snapshot("a-2"), *others], name=name)


def test_a_fleet_that_is_well() -> None:
    """One line a fleet, and one that says that nobody needs anything."""
    assert lines(status(fleet_with(name="a"), fleet_with(name="other")), 110) == [
        "http://127.0.0.1:9850  2026-01-01 02:30:00 UTC",
        "2 fleets ok; none of 4 agents needs attention",
        "",
        "FLEET            HEALTH  AGENTS  RUNNING  OF  FREE  QUEUED  HELD  DEMAND  DESIRED  HPA  RESTARTS  MEMORY",
        "matillion/a      ok      2 of 2       24  40    16       0     0      24        2    2         ?       ?",
        "matillion/other  ok      2 of 2       24  40    16       0     0      24        2    2         ?       ?",
    ]


def test_the_load_is_of_the_agents_that_have_the_slots() -> None:
    """A task on an agent that lost the control plane runs, and fills no slot: the bar is the fleet's utilization."""
    lost = [make_snapshot(f"b-{number}", reading=make_reading(16, connected=False)) for number in range(3)]
    [line] = [line for line in lines(status(fleet_with(*lost)), width=140) if line.startswith("matillion/etl")]
    assert "██████░░░░" in line, "24 tasks on 40 slots"
    assert "72" in line, "all that run"


def test_an_untrusted_fleet_shows_no_demand() -> None:
    """The figures that may not be acted on are withheld, and why stands below; what is not known is no number."""
    silent = [make_snapshot(f"a-{number}", never_read=True, error=UNSEEN) for number in range(3)]
    text = lines(status(make_fleet(silent)), 140)
    figures = text[4].split()
    assert figures[-10:] == ["?", "0", "0", "?", "48", "withheld", "withheld", "stays", "?", "?"]
    assert text[5].startswith("  not trusted: only 0 of 3 agents respond")
    assert text[5].endswith("; its demand is withheld from autoscalers")


def test_agents_that_need_attention() -> None:
    """The worst first, each with its figures, and below it its reason in the exporter's words."""
    facts = make_facts(restarts=3)
    silent = make_snapshot("b-1", age=42.0, error=UNSEEN, facts=facts, usage=make_memory(3.0 * 1024**3))
    lost = make_snapshot("b-2", reading=make_reading(connected=False))
    text = lines(status(fleet_with(lost, silent)))
    assert text[1].endswith("; 2 of 4 agents need attention")
    assert text[-5:] == [
        "AGENT          STATE         TASKS  RESTARTS  MEMORY",
        "matillion/b-1  unreachable       ?         3     75%",
        f"    not scraped for 42 s: {UNSEEN}",
        "matillion/b-2  disconnected     12         ?       ?",
        "    not connected to the control plane, 12 tasks active",
    ]


def test_equal_reasons_are_told_once() -> None:
    """For all agents that they apply to, of which the first few are shown; another fleet's are its own."""
    silent = [make_snapshot(f"b-{number}", age=40.0 + 30 * number, error=UNSEEN) for number in range(9)]
    other = make_snapshot("c-1", age=42.0, error=UNSEEN, fleet="other")
    text = lines(status(fleet_with(*silent), make_fleet([other], name="other")))
    at = text.index("and 4 more")
    assert [line.split()[0] for line in text[at - 5 : at]] == [f"matillion/b-{number}" for number in range(5)]
    assert text[at + 1] == f"    not scraped for 40 s to 5 min: {UNSEEN}"
    assert text[at + 3] == f"    not scraped for 42 s: {UNSEEN}"


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        (["a 3 b"], "a 3 b"),
        (["serving 3 tasks, 2 queued", "serving 20 tasks, 2 queued"], "serving 3 to 20 tasks, 2 queued"),
        (["for 42 s: refused", "for 50 s: refused"], "for 42 to 50 s: refused"),
        (["for 110 s", "for 2 h", "for 3 min"], "for 110 s to 2 h"),
        (["memory at 91% of", "memory at 9% of"], "memory at 9 to 91% of"),
        (["on 10.0.3.7:9464", "on 10.0.3.8:9464"], "on …"),
        (["since 02:29 UTC", "since 02:30 UTC"], "since … UTC"),
        (["by agent-1x", "by agent-2x"], "by …"),
    ],
)
def test_what_reasons_have_in_common(reasons: list[str], expected: str) -> None:
    """Numbers become a range; of anything else that differs nothing is claimed."""
    assert common(reasons) == expected


def test_a_drain_that_was_cut_short_comes_first() -> None:
    """Only its minutes count; an agent that does not answer can wait."""
    silent = make_snapshot("b-1", age=42.0, error=UNSEEN)
    ending = make_snapshot("b-2", facts=make_drain(60, granted=600), tasks_active=7)
    text = lines(status(fleet_with(silent, ending)))
    at = next(at for at, line in enumerate(text) if line.startswith("matillion/b-2  draining"))
    assert text[at + 1].startswith("    killed in 9 min with 7 tasks: draining since 02:29 UTC")
    assert text[at + 2].startswith("matillion/b-1  unreachable")


def test_the_worst_fleet_comes_first() -> None:
    """With its health in a word, and what is wrong in sentences."""
    shown = status(fleet_with(), fleet_with(name="b"), fleet_with(name="c"))
    shown.fleets[1] |= {"health": "degraded", "problems": ["one thing", "another"], "remarks": ["another", "more"]}
    shown.fleets[2] |= {"health": "down", "problems": ["none of its 2 agents serves"]}
    text = lines(shown)
    assert text[1] == "1 of 3 fleets down, 1 degraded; none of 6 agents needs attention"
    assert [line.split()[:2] for line in text if line.startswith("matillion/")] == [
        ["matillion/c", "down"],
        ["matillion/b", "degraded"],
        ["matillion/etl", "ok"],
    ]
    assert "  down: none of its 2 agents serves" in text
    at = text.index("  degraded: one thing")
    assert text[at + 1 : at + 3] == ["            another", "  note: more"]
    del shown.fleets[0]["health"]  # an exporter of another version
    assert any(line.split()[:2] == ["matillion/etl", "?"] for line in lines(shown))


def test_lost_tasks_are_below_their_fleet() -> None:
    """With the command that lists the agents; a fleet that lost none, or is not in Kubernetes, has no such line."""
    counts = dict.fromkeys(LossReason, 0.0)
    text = lines(
        status(
            make_fleet(tasks_lost=counts | {LossReason.OOM_KILLED: 18.0, LossReason.EVICTED: 2.0}),
            make_fleet(name="one", tasks_lost=counts | {LossReason.ERROR: 1.0}),
            make_fleet(name="none", tasks_lost=counts),
        )
    )
    assert [line.strip() for line in text if "lost" in line] == [
        "lost: 20 running tasks lost since the exporter started; fleet-exporter ledger lists the agents",
        "lost: 1 running task lost since the exporter started; fleet-exporter ledger lists the agents",
    ]


def test_a_fleet_that_its_scaler_keeps_small() -> None:
    """The sentence stands below the fleet's line."""
    fleet = make_fleet([make_snapshot(reading=make_reading(286.0))], scalers=[make_scaler()])
    text = lines(status(fleet))
    assert "  degraded: desires 18 agents, but its HPA etl-prod allows at most 12" in text


def test_a_forecast_is_below_its_fleet() -> None:
    """How much, how far ahead, from which days, how well, and what a scaler gets of it."""
    silent = [make_snapshot(age=99.0, error=UNSEEN)]
    text = lines(
        status(
            make_fleet(outlook=make_outlook()),
            make_fleet(silent, name="dark", outlook=make_outlook(1, lead_time=75.4, like_days="", skill=None)),
            make_fleet(name="none"),
            make_fleet(name="old", outlook=make_outlook(past_read_time=WALL_NOW - 3 * 3600)),
        ),
        width=140,
    )
    assert [line.strip() for line in text if "forecast" in line] == [
        "forecast: 1 task within 75 s, skill ?; demand ahead withheld",
        "forecast: 48 tasks within 3 min (as on the last 14 days), skill 0.9; demand ahead 48",
        (
            "forecast: 48 tasks within 3 min (as on the last 14 days), skill 0.9; demand ahead 48; "
            "its past was last read 3 h ago"
        ),
    ]


def test_a_forecast_that_is_withheld_says_why() -> None:
    """The reason is the exporter's; a foreign server's text cannot move the cursor."""
    outlook = make_outlook(None, reason="2 days of history,\x1b[2J at least 3 are needed", like_days="", slots=())
    text = lines(status(make_fleet(outlook=outlook)))
    assert text[5] == "  no forecast: 2 days of history,\N{REPLACEMENT CHARACTER}[2J at least 3 are needed"
    forecast = {"tasks": None, "withheld_reason": None}
    shown = status(make_fleet())
    shown.fleets[0]["forecast"] = forecast
    assert "  no forecast: ?" in lines(shown)
    shown.fleets[0]["forecast"] = {"tasks": 3.0}
    assert "  forecast: 3 tasks within ?, skill ?; demand ahead 12" in lines(shown)


def test_not_ready_and_empty() -> None:
    """Before its first sync an exporter knows nothing, and says what is missing."""
    assert lines(status(not_ready="no list of pods yet")) == [
        "http://127.0.0.1:9850  2026-01-01 02:30:00 UTC",
        "not ready yet: no list of pods yet",
        "",
        "No fleet was found.",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_narrow_terminals(width: int) -> None:
    """Names are shortened in the middle and columns given up: no line is too long, and no number is cut."""
    long = "production-of-a-company-with-a-long-name-in-eu-west-1"
    silent = [make_snapshot(f"{long}-{number}", never_read=True, error=UNSEEN) for number in range(3)]
    busy = make_snapshot(f"{long}-9", tasks_active=123456.0, error=UNSEEN)
    text = lines(status(make_fleet([busy, make_snapshot("a-2")], name=long), make_fleet(silent, name="dark")), width)
    assert max(map(len, text)) <= width
    at = next(at for at, line in enumerate(text) if line.startswith("FLEET"))
    heading = text[at].split()
    rows = [line.split() for line in text[at + 1 : text.index("", at)] if line.startswith("m")]
    [dark] = [row for row in rows if "withheld" in row]
    [loaded] = [row for row in rows if "withheld" not in row]
    assert {"withheld", "?"} <= set(dark), "what is withheld is said"
    assert {"123468", "0"} <= set(loaded), "what is known is whole"
    assert {"RUNNING", "QUEUED", "DEMAND"} <= set(heading)
    assert width < 60 or "HEALTH" in heading, "it is given up last"


def test_colours_move_nothing() -> None:
    """With colours the same text stands at the same places."""
    shown = status(fleet_with(make_snapshot("b-1", age=42.0, error=UNSEEN)))
    coloured = screen(URL, shown, Paper(110, colours=True))
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == lines(shown)
    assert coloured != lines(shown)


def test_hostile_names() -> None:
    """Names and reasons of a foreign server cannot move the cursor."""
    shown = status(make_fleet([make_snapshot("pod\x1b[2J", age=50.0, error="\x1b]0;owned\x07")], name="x\x1b[1A"))
    assert "\x1b" not in "".join(lines(shown))


def test_a_screen_that_is_too_low() -> None:
    """What has no room is counted; what stood in a row is cleared before its line, of which nothing is cleared then."""
    text = drawn([f"line {number}" for number in range(9)], 5)
    assert text == (
        "\x1b[H\x1b[Kline 0\n\x1b[Kline 1\n\x1b[Kline 2\n\x1b[K\N{HORIZONTAL ELLIPSIS} 6 more lines\n\x1b[J"
    )
    assert drawn(["one"], 5) == "\x1b[H\x1b[Kone\n\x1b[J"


def test_pods_that_are_no_agents_are_shown_even_without_a_fleet() -> None:
    """A selector that finds something else is why there is none."""
    remark = "1 pod matches the selector but is not an agent: matillion/ssh-0 (it has no port)"
    assert lines(Status(WALL_NOW, "", [], [], remarks=[remark])) == [
        "http://127.0.0.1:9850  2026-01-01 02:30:00 UTC",
        f"note: {remark}",
        "",
        "No fleet was found.",
    ]
