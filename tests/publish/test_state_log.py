"""The log: one line per change of state, none while nothing changes."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.fleet.departure import Departure, LossReason
from exporter.fleet.model import Fleet
from exporter.publish.state_log import StateLog
from tests.factories import NOW, WALL_NOW, make_facts, make_fleet, make_reading, make_scaler, make_snapshot
from tests.web.serving import StaticDepartures


class Source:
    """Fleets set by hand."""

    def __init__(self) -> None:
        self.current: Sequence[Fleet] = ()
        self.missing: str | None = None
        self.departures = StaticDepartures()

    def fleets(self) -> Sequence[Fleet]:
        return self.current

    def fleet_keys(self) -> Sequence[tuple[str, str]]:
        return [(fleet.namespace, fleet.name) for fleet in self.current]

    def fleet(self, key: tuple[str, str]) -> Fleet | None:
        return next((fleet for fleet in self.current if (fleet.namespace, fleet.name) == key), None)

    def now(self) -> float:
        return NOW

    def wall_now(self) -> float:
        return WALL_NOW

    def not_ready_reason(self) -> str | None:
        return self.missing


class Watched:
    """A StateLog and what it says of each new set of fleets."""

    def __init__(self) -> None:
        self.source = Source()
        self.log = StateLog(self.source)

    def sees(self, *fleets: Fleet) -> list[dict[str, Any]]:
        self.source.current = fleets
        with capture_logs() as lines:
            self.log.check()
        return [dict(line) for line in lines]


@pytest.fixture
def watched() -> Watched:
    watched = Watched()
    watched.sees(make_fleet([make_snapshot("a"), make_snapshot("b")]))
    return watched


def test_a_new_agent_is_logged() -> None:
    """A fleet and each of its agents are announced when they are first seen."""
    lines = Watched().sees(make_fleet([make_snapshot("a")]))
    assert [line["event"] for line in lines] == ["fleet found", "agent is serving"]
    assert lines[1]["pod"] == "a"
    assert lines[1]["was"] is None


def test_nothing_is_logged_while_nothing_changes(watched: Watched) -> None:
    """New readings in the same state are no news."""
    agents = [make_snapshot("a", reading=make_reading(17)), make_snapshot("b", age=10)]
    assert watched.sees(make_fleet(agents)) == []


def test_a_change_of_state_is_one_line_with_its_reason(watched: Watched) -> None:
    """An agent that lost its control plane is a warning that names it and says why."""
    agents = [make_snapshot("a", reading=make_reading(connected=False)), make_snapshot("b")]
    [line] = watched.sees(make_fleet(agents))
    assert line["event"] == "agent is disconnected"
    assert line["log_level"] == "warning"
    assert (line["namespace"], line["fleet"], line["pod"], line["was"]) == ("matillion", "etl", "a", "serving")
    assert "not connected to the control plane" in line["reason"]
    assert watched.sees(make_fleet(agents)) == []


def test_what_is_expected_is_no_warning(watched: Watched) -> None:
    """A drain is the normal end of an agent."""
    agents = [make_snapshot("a", facts=make_facts(draining_time=WALL_NOW - 60)), make_snapshot("b")]
    [line] = watched.sees(make_fleet(agents))
    assert (line["event"], line["log_level"]) == ("agent is draining", "info")


def test_trust_lost_and_found_again(watched: Watched) -> None:
    """Withholding the demand is said with its reason, and so is its end."""
    unseen = make_fleet([make_snapshot("a", age=60), make_snapshot("b", age=60)])
    withheld = [line for line in watched.sees(unseen) if line["event"].startswith("fleet")]
    assert [line["event"] for line in withheld] == ["fleet is not trusted, its demand is withheld"]
    assert withheld[0]["reason"] == "only 0 of 2 agents respond, 50% are required"
    again = watched.sees(make_fleet([make_snapshot("a"), make_snapshot("b")]))
    assert again[0]["event"] == "fleet is trusted again"


def test_a_removal_is_logged_once(watched: Watched) -> None:
    """Agents and fleets that go are one line each."""
    empty = make_fleet([], scalers=())
    lines = watched.sees(empty)
    assert sorted(line["event"] for line in lines) == ["agent is gone", "agent is gone", "fleet has no agents left"]
    assert {line["log_level"] for line in lines} == {"info"}
    assert watched.sees(empty) == []
    assert [line["event"] for line in watched.sees()] == ["fleet is forgotten"]
    assert watched.sees() == []


def test_a_fleet_that_lost_its_agents_is_a_warning_if_it_should_have_any(watched: Watched) -> None:
    """And it is said when they are back."""
    missing = make_fleet([], scalers=[make_scaler()])
    [line] = [line for line in watched.sees(missing) if line["event"].startswith("fleet")]
    assert (line["event"], line["log_level"]) == ("fleet has no agents left", "warning")
    lines = watched.sees(make_fleet([make_snapshot("a"), make_snapshot("b")]))
    assert lines[0]["event"] == "fleet has agents again"


def test_the_same_name_is_not_the_same_agent(watched: Watched) -> None:
    """A pod made anew under its name is one that went and one that came."""
    lines = watched.sees(make_fleet([make_snapshot("a", uid="another"), make_snapshot("b")]))
    assert [line["event"] for line in lines] == ["agent is serving", "agent is gone"]


@pytest.mark.looptime
async def test_the_first_round_is_waited_for() -> None:
    """After a start nothing is said until every agent was asked once: not yet scraped is not unreachable."""
    source = Source()
    source.current, source.missing = (make_fleet([make_snapshot(never_read=True)]),), "first scrape round"
    with capture_logs() as lines:
        running = asyncio.create_task(StateLog(source).run())
        await asyncio.sleep(10)
        assert lines == []
        source.current, source.missing = (make_fleet([make_snapshot()]),), None
        await asyncio.sleep(3)
        running.cancel()
    assert [line["event"] for line in lines] == ["fleet found", "agent is serving"]


def test_a_loss_is_logged_once() -> None:
    """Which pod, how many tasks, and why; an end without a loss and a drain under way are no warning."""
    watched = Watched()

    def left(pod: str, tasks: float | None, reason: LossReason | None, ended: float | None = WALL_NOW) -> Departure:
        return Departure(
            uid=pod, namespace="matillion", fleet="etl", pod=pod, node="n", ended_time=ended, tasks_lost=tasks,
            reason=reason,
        )  # fmt: skip

    clean, killed = left("a", 0, None), left("b", 7, LossReason.OOM_KILLED)
    watched.source.departures.gone = (clean, killed, left("c", None, None, ended=None))
    assert [line for line in watched.sees() if line["log_level"] == "warning"] == [
        {
            "event": "running tasks were lost",
            "log_level": "warning",
            "namespace": "matillion",
            "fleet": "etl",
            "pod": "b",
            "tasks": 7,
            "reason": "OOMKilled",
            "node": "n",
        }
    ]
    watched.source.departures.gone = (killed, left("d", None, LossReason.GRACE_EXCEEDED))
    lines = watched.sees()
    assert [(line["event"], line["pod"]) for line in lines] == [
        ("agent ended; whether tasks were lost is unknown", "d")
    ]
    assert watched.sees() == []
