"""Departures in the store: each lost task is counted once, whatever order Kubernetes reports the end in."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.departure import Departure, LossReason
from exporter.fleet.losses import LATELY_SECONDS
from exporter.fleet.model import PodFacts, Target
from exporter.store.departures import KEPT
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, POLICY, WALL_NOW, make_facts, make_reading, make_target

SOURCE = "kubernetes"
DRAINING = {"draining_time": WALL_NOW, "drain_deadline_time": WALL_NOW + 43_200}


class World:
    """A store on clocks that are moved by hand, with one fleet."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = SnapshotStore(POLICY, monotonic=lambda: self.now, wall=lambda: WALL_NOW + self.now - NOW)
        self.store.expect([SOURCE])
        self.store.replace(SOURCE, [make_target("stays", facts=make_facts())])

    def pod(self, name: str = "agent-1", tasks: float | None = 7, **facts: Any) -> Target:
        """Add or update a pod; read it unless `tasks` is None."""
        target = make_target(name, facts=make_facts(**facts))
        self.store.upsert(SOURCE, target)
        if tasks is not None:
            self.read(target, tasks)
        return target

    def read(self, target: Target, tasks: float) -> None:
        self.store.scraped(target, make_reading(tasks), url="http://agent", seconds=0.1)

    def gone(self, name: str = "agent-1", last: PodFacts | None = None, **facts: Any) -> None:
        self.store.remove(SOURCE, f"uid-{name}", last or make_facts(**({"draining_time": WALL_NOW} | facts)))

    def lost(self) -> dict[LossReason, float]:
        """Return the fleet's count without the reasons that have none."""
        [fleet] = self.store.fleets()
        assert fleet.tasks_lost is not None
        assert tuple(fleet.tasks_lost) == tuple(LossReason)
        return {reason: tasks for reason, tasks in fleet.tasks_lost.items() if tasks}

    def latest(self) -> Departure:
        return self.store.departures.latest()[-1]


@pytest.fixture
def world() -> World:
    return World()


def ended(exit_code: int = 137, reason: str = "Error", at: float = WALL_NOW, **facts: Any) -> dict[str, Any]:
    return {"last_exit_code": exit_code, "last_terminated_reason": reason, "last_terminated_time": at} | facts


def test_an_oom_kill_counts_once_however_often_it_is_reported(world: World) -> None:
    """Terminated, waiting, started again, terminated again without a reading in between: one loss."""
    world.pod()
    killed = ended(reason="OOMKilled")
    world.pod(tasks=None, started_time=None, **killed)
    world.pod(tasks=None, started_time=None, waiting_reason="CrashLoopBackOff", **killed)
    world.pod(tasks=None, restarts=1, **killed)
    world.pod(tasks=None, restarts=1, **ended(reason="OOMKilled", at=WALL_NOW + 9))
    world.gone()
    assert world.lost() == {LossReason.OOM_KILLED: 7}


def test_a_loss_is_news_for_a_quarter_of_an_hour(world: World) -> None:
    """And of its own fleet only."""
    world.pod()
    world.pod(tasks=None, **ended(reason="OOMKilled", restarts=1))
    [fleet] = world.store.fleets()
    assert fleet.tasks_lost_lately == 7
    assert world.store.departures.lost_since(("matillion", "other"), 0.0) == 0
    world.now += LATELY_SECONDS + 1
    [fleet] = world.store.fleets()
    assert (fleet.tasks_lost_lately, world.lost()) == (0, {LossReason.OOM_KILLED: 7})


def test_a_restart_seen_only_as_a_count_is_a_loss(world: World) -> None:
    """Where nothing says how the container ended, it ended all the same; the next run is counted by itself."""
    world.pod()
    world.pod(tasks=4, restarts=1)
    assert world.lost() == {LossReason.ERROR: 7}
    world.pod(tasks=None, restarts=2)
    assert world.lost() == {LossReason.ERROR: 11}


def test_a_scrape_that_was_under_way_does_not_bring_the_tasks_back(world: World) -> None:
    """Its page may be of the container that ended; counting it would count the tasks twice."""
    before = world.pod()
    world.pod(tasks=None, started_time=None, **ended())
    world.read(before, 7)
    world.pod(tasks=None, restarts=1, **ended())
    world.gone(**ended())
    assert world.lost() == {LossReason.ERROR: 7}


def test_a_clean_drain_loses_nothing(world: World) -> None:
    """Deleted with 7 tasks, which finish; the record shows both."""
    world.pod()
    target = world.pod(tasks=None, **DRAINING)
    world.now += 600
    world.read(target, 1)
    world.pod(tasks=None, started_time=None, **DRAINING, **ended(143))
    world.gone(**DRAINING, **ended(143))
    assert world.lost() == {}
    record = world.latest()
    assert (record.tasks_at_request, record.tasks_lost, record.reason) == (7, 0, None)
    assert (record.requested_time, record.ended_time) == (WALL_NOW, WALL_NOW + 600)


def test_a_drain_that_is_under_way_is_on_record(world: World) -> None:
    """It has no end yet; it was a scale-in if no newer template existed, else a rollout."""
    world.pod(template="a")
    world.pod(tasks=None, template="a", **DRAINING)
    assert (world.latest().ended_time, world.latest().replaced) == (None, False)
    world.pod("newer", template="b", created_time=WALL_NOW)
    world.pod("agent-2", template="a")
    world.pod("agent-2", tasks=None, template="a", **DRAINING)
    assert (world.latest().pod, world.latest().replaced) == ("agent-2", True)


def test_a_drain_that_is_killed_loses_what_still_ran(world: World) -> None:
    """SIGKILL at the end of the grace period."""
    target = world.pod(**DRAINING)
    world.now += 590
    world.read(target, 3)
    world.gone(**DRAINING, **ended(137))
    assert world.lost() == {LossReason.GRACE_EXCEEDED: 3}
    assert (world.latest().tasks_at_request, world.latest().tasks_lost) == (None, 3)


def test_a_forced_deletion_is_a_loss(world: World) -> None:
    """No drain was ever seen."""
    world.pod()
    world.gone(drain_deadline_time=WALL_NOW)
    assert world.lost() == {LossReason.DELETED: 7}


def test_an_eviction_is_a_loss(world: World) -> None:
    """The pod stays behind as Failed, which ends it; its deletion later is no second end."""
    world.pod()
    world.gone(last=make_facts(disruption="Evicted", **ended()))
    world.gone()
    assert world.lost() == {LossReason.EVICTED: 7}


def test_a_pod_that_is_missing_in_the_next_list_is_a_loss(world: World) -> None:
    """The watch was down: its reading counts if it was current when the pods were last known."""
    target = world.pod()
    world.now += 300
    world.store.replace(SOURCE, [make_target("stays", facts=make_facts())])
    assert world.lost() == {LossReason.DELETED: 7}
    world.store.replace(SOURCE, [make_target("stays", facts=make_facts()), target])
    world.now += 300
    world.store.replace(
        SOURCE, [make_target("stays", facts=make_facts())], {target.uid: make_facts(disruption="Evicted")}
    )
    assert world.lost() == {LossReason.DELETED: 7}, "it was not read again"


def test_a_reading_that_was_too_old_is_not_known(world: World) -> None:
    """An agent that was unreachable for minutes lost what it had, which is unknown: no count, but a record."""
    world.pod(**DRAINING)
    world.now += POLICY.stale_after + 1
    world.gone(**DRAINING, **ended())
    assert world.lost() == {}
    assert (world.latest().tasks_lost, world.latest().reason) == (None, LossReason.GRACE_EXCEEDED)


def test_a_node_that_is_lost_takes_the_tasks_of_the_last_reading(world: World) -> None:
    """Kubernetes deletes its pods minutes after the last reading."""
    world.pod()
    world.now += 400
    world.pod(tasks=None, ready=False, **DRAINING)
    world.gone(disruption="DeletionByPodGC", **DRAINING)
    assert world.lost() == {LossReason.NODE_LOST: 7}


def test_a_pod_that_is_no_longer_selected_lost_nothing(world: World) -> None:
    """Its labels were changed; it runs on."""
    world.pod(**DRAINING)
    world.store.remove(SOURCE, "uid-agent-1")
    assert world.lost() == {}
    assert world.store.departures.latest() == ()


def test_a_static_target_is_no_pod() -> None:
    """It has no end that could be observed."""
    store = SnapshotStore(POLICY, monotonic=lambda: NOW, wall=lambda: WALL_NOW)
    target = make_target()
    store.replace("static", [target])
    store.scraped(target, make_reading(5), url="http://agent", seconds=0.1)
    [fleet] = store.fleets()
    assert fleet.tasks_lost is None
    store.replace("static", [])
    assert store.departures.latest() == ()


def test_the_record_is_bounded_and_the_count_is_not(world: World) -> None:
    """The oldest departures are dropped."""
    for number in range(KEPT + 10):
        world.now = NOW + number
        world.pod(f"pod-{number}", tasks=1)
        world.gone(f"pod-{number}")
    assert len(world.store.departures.latest()) == KEPT
    assert world.store.departures.since == WALL_NOW + 9, "the last that was dropped"
    assert world.lost() == {LossReason.DELETED: KEPT + 10}


STEPS = st.sampled_from(["read", "end", "restart", "drain", "late scrape", "list", "gone"])


@given(st.lists(STEPS, max_size=30))
def test_no_task_is_counted_twice(steps: list[str]) -> None:
    """In any order of events, a run of a container loses at most its last reading, and the count never falls."""
    world = World()
    pod, run, late_run, before, at_most = 0, 0, 0, 0.0, 0
    facts: dict[str, Any] = {"restarts": 0}
    late = target = world.pod("pod-0", tasks=None, **facts)
    read_of: set[int] = set()
    for number, step in enumerate(steps):
        world.now += 1
        if step == "read":
            late, late_run = target, run
            world.read(target, 5)
            read_of.add(run)
        elif step == "late scrape":
            world.read(late, 5)
            read_of |= {run} & {late_run}
        elif step == "list":
            world.store.replace(SOURCE, [make_target("stays", facts=make_facts()), target])
        elif step == "gone":
            world.gone(f"pod-{pod}", **facts)
            pod, run, facts = pod + 1, run + 1, {"restarts": 0}
            target = world.pod(f"pod-{pod}", tasks=None, **facts)
        elif step == "drain":
            facts |= DRAINING
            target = world.pod(f"pod-{pod}", tasks=None, **facts)
        else:
            run += 1
            facts |= ended(1, at=WALL_NOW + number) if step == "end" else {"restarts": facts["restarts"] + 1}
            target = world.pod(f"pod-{pod}", tasks=None, **facts)
        lost, at_most = sum(world.lost().values()), 5 * len(read_of - {run})
        assert before <= lost <= at_most
        before = lost
    assert before == at_most
