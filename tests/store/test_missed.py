"""Tasks lost while no exporter ran: what an earlier process read last, against what this one saw first."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.departure import Departure, LossReason
from exporter.fleet.last_reading import LastReading
from exporter.fleet.model import PodFacts, Target
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, WALL_NOW, make_facts, make_reading, make_target

SOURCE = "kubernetes"


def noted(pod: str = "a", tasks: float = 7, **fields: Any) -> LastReading:
    of = {"status": 1, "restarts": 0, "last_terminated_time": None, "draining_time": None} | fields
    return LastReading(f"uid-{pod}", "matillion", "etl", pod, tasks, **of)


def pod(name: str = "a", **facts: Any) -> Target:
    return make_target(name, address=name, facts=make_facts(**facts))


def ended(exit_code: int, reason: str = "Error", **facts: Any) -> dict[str, Any]:
    end = {"last_exit_code": exit_code, "last_terminated_reason": reason, "last_terminated_time": WALL_NOW}
    return end | facts


class World:
    """The store of a new process, with one idle agent."""

    def __init__(self, *pods: Target, finished: Mapping[str, PodFacts] = {}) -> None:
        self.store = SnapshotStore(POLICY, monotonic=lambda: NOW, wall=lambda: WALL_NOW)
        self.departures = self.store.departures
        self.departures.expect_earlier_readings()
        self.store.expect([SOURCE])
        self.store.replace(SOURCE, [pod("stays"), *pods], finished)

    def read(self, target: Target, tasks: float) -> None:
        self.store.scraped(target, make_reading(tasks), url="http://agent", seconds=0.1)

    def count(self, *readings: LastReading) -> dict[LossReason, float]:
        """Compare the readings, count what was missed, and return the fleet's count."""
        for missed in self.departures.missed(readings):
            self.departures.count_missed(missed, now=NOW, wall_now=WALL_NOW)
        return self.lost()

    def lost(self) -> dict[LossReason, float]:
        counts = self.departures.lost(("matillion", "etl"))
        assert counts is not None
        assert sum(counts.values()) == self.departures.total_lost
        return {reason: tasks for reason, tasks in counts.items() if tasks}

    @property
    def last(self) -> Departure:
        return self.departures.latest()[-1]


def test_an_agent_that_is_as_it_was_lost_nothing() -> None:
    assert World(pod()).count(noted()) == {}
    assert World(pod(restarts=3)).count(noted(restarts=3)) == {}
    assert World(pod(draining_time=WALL_NOW)).count(noted()) == {}


def test_a_pod_that_vanished() -> None:
    """It lost its tasks, and is on record."""
    world = World()
    assert world.count(noted()) == {LossReason.DELETED: 7}
    assert (world.last.pod, world.last.tasks_lost, world.last.ended_time) == ("a", 7, WALL_NOW)


def test_a_draining_pod_that_vanished() -> None:
    """Whether it had finished its tasks is unknown: that is on record and counts nothing."""
    world = World()
    assert world.count(noted(draining_time=WALL_NOW - 60)) == {}
    assert (world.last.pod, world.last.tasks_lost, world.last.requested_time) == ("a", None, WALL_NOW - 60)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (ended(137, "OOMKilled", restarts=1), LossReason.OOM_KILLED),
        (ended(1, restarts=1), LossReason.ERROR),
        (ended(137, started_time=None), LossReason.ERROR),
        ({"restarts": 1}, LossReason.ERROR),
        (ended(143, draining_time=WALL_NOW - 60), None),
    ],
)
def test_a_container_that_ended(facts: dict[str, Any], reason: LossReason | None) -> None:
    """The pod says how; after its deletion was requested, an end by itself is clean."""
    assert World(pod(**facts)).count(noted()) == ({reason: 7} if reason else {})


def test_a_draining_pod_whose_container_was_killed() -> None:
    """The loss becomes part of the departure that is under way."""
    world = World(pod(**ended(137, "OOMKilled", draining_time=WALL_NOW - 60)))
    assert world.count(noted(draining_time=WALL_NOW - 60)) == {LossReason.OOM_KILLED: 7}
    assert [(one.tasks_lost, one.ended_time) for one in world.departures.latest()] == [(7, None)]


def test_a_pod_that_is_left_as_finished() -> None:
    """It runs no more, but says how it ended."""
    finished = {"uid-a": make_facts(disruption="Evicted", **ended(137))}
    assert World(finished=finished).count(noted()) == {LossReason.EVICTED: 7}
    finished = {"uid-a": make_facts(draining_time=WALL_NOW, **ended(0))}
    assert World(finished=finished).count(noted(draining_time=WALL_NOW)) == {}


def test_what_this_process_has_counted_itself() -> None:
    """An end that it saw is not counted again, however late the comparison comes."""
    world = World(pod(), pod("b"))
    for target in (pod(), pod("b")):
        world.read(target, 5)
    world.store.upsert(SOURCE, pod(**ended(1, restarts=1)))
    world.store.upsert(SOURCE, pod(**ended(1, restarts=2)))
    world.store.remove(SOURCE, "uid-b", make_facts())
    assert world.lost() == {LossReason.ERROR: 5, LossReason.DELETED: 5}
    assert world.count(noted(), noted("b")) == {LossReason.ERROR: 5, LossReason.DELETED: 5}


def test_what_ended_before_this_process_read_it() -> None:
    """It was there at first sight, but its tasks are known from the earlier process alone."""
    world = World(pod(), pod("b"), pod("c"))
    world.store.upsert(SOURCE, pod(**ended(137, "OOMKilled", restarts=1)))
    world.store.remove(SOURCE, "uid-b", make_facts(disruption="Evicted"))
    world.store.replace(SOURCE, [pod("stays"), pod(**ended(137, "OOMKilled", restarts=1))])
    assert world.count(noted(), noted("b", 3), noted("c", 2)) == {
        LossReason.OOM_KILLED: 7, LossReason.EVICTED: 3, LossReason.DELETED: 2,
    }  # fmt: skip


def test_a_pod_that_is_no_longer_selected() -> None:
    """It runs on."""
    world = World(pod())
    world.store.remove(SOURCE, "uid-a")
    assert world.count(noted()) == {}


def test_the_comparison_is_made_once() -> None:
    """Afterwards nothing is kept for it."""
    world = World(pod())
    assert world.count() == {}
    world.store.remove(SOURCE, "uid-a", make_facts())
    assert world.lost() == {}


FATES = st.sampled_from(["stays", "vanishes", "restarts", "drains away", "ends cleanly", "is new"])


@given(st.dictionaries(st.sampled_from([f"agent-{n}" for n in range(9)]), st.tuples(FATES, st.integers(1, 30))))
def test_each_loss_counts_once(agents: dict[str, tuple[str, int]]) -> None:
    """Whatever happens to agents while no exporter runs, and again while this one does."""
    readings = [
        noted(name, tasks, draining_time=WALL_NOW - 9 if fate == "drains away" else None)
        for name, (fate, tasks) in agents.items()
        if fate != "is new"
    ]
    facts: dict[str, dict[str, Any]] = {
        "stays": {}, "is new": {}, "restarts": ended(1, restarts=1), "ends cleanly": ended(143, draining_time=WALL_NOW),
    }  # fmt: skip
    there = {name: pod(name, **facts[fate]) for name, (fate, _) in agents.items() if fate in facts}
    world = World(*there.values())
    lost = sum(tasks for fate, tasks in agents.values() if fate in ("vanishes", "restarts"))
    assert sum(world.count(*readings).values()) == lost
    for target in there.values():
        world.read(target, 2)
        world.store.remove(SOURCE, target.uid, make_facts(**ended(137, last_terminated_time=WALL_NOW + 9)))
    world.store.replace(SOURCE, [pod("stays")])
    assert sum(world.lost().values()) == lost + 2 * len(there)


def test_a_loss_of_a_fleet_without_pods_is_kept() -> None:
    """It shows as soon as the fleet has a pod again."""
    world = World()
    [missed] = world.departures.missed([replace(noted(), fleet="other")])
    world.departures.count_missed(missed, now=NOW, wall_now=WALL_NOW)
    world.store.upsert(SOURCE, make_target("b", fleet="other", address="b", facts=make_facts()))
    assert [sum((fleet.tasks_lost or {}).values()) for fleet in world.store.fleets()] == [0, 7]
