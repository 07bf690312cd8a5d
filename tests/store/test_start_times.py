"""How long agents take to start."""

from typing import Any

import pytest

from exporter.fleet.model import PodFacts, Target
from exporter.fleet.starts import KEPT_STARTS
from exporter.store.start_times import MAX_START_SECONDS, AgentStart, StartTimes
from tests.factories import NOW, WALL_NOW, make_facts, make_starts, make_target

FLEET = ("matillion", "etl")


def booting(created_time: float | None = WALL_NOW, **fields: Any) -> PodFacts:
    """Return a pod without a container yet."""
    return make_facts(ready=False, **({"created_time": created_time, "started_time": None} | fields))


class Watched:
    """Start times, with both clocks at one instant."""

    def __init__(self) -> None:
        self.times = StartTimes()

    def seen(self, target: Target, after: float = 0.0) -> None:
        self.times.see(target, NOW + after, new=True)

    def heard(self, target: Target, after: float, *, clock_error: float = 0.0) -> None:
        self.times.heard(target, NOW + after, WALL_NOW + after + clock_error)

    def seconds(self) -> list[float]:
        return [start.seconds for start in self.times.latest(FLEET)]


def test_from_the_first_sight_of_a_pod_to_its_first_answer() -> None:
    """Only the first: a container that starts again in its pod is another matter."""
    watched = Watched()
    target = make_target(facts=booting())
    watched.seen(target)
    assert watched.times.usual(FLEET) is None
    watched.heard(target, 70)
    watched.heard(target, 500)
    assert watched.times.usual(FLEET) == 70
    assert watched.times.latest(FLEET) == (AgentStart(WALL_NOW, target.uid, 70),)
    assert watched.times.of(FLEET) == make_starts([70])


def test_a_pod_that_waited_for_a_node_began_when_it_was_created() -> None:
    """Also before this process saw it: from then on it is waited for, from the creation on it has to be asked for."""
    watched = Watched()
    target = make_target(facts=booting(waiting_reason="Unschedulable"))
    watched.seen(target, after=600)
    watched.heard(target, 660)
    assert watched.times.usual(FLEET) == 60
    assert watched.seconds() == [660]


def test_agents_that_ran_before_have_no_start_time() -> None:
    """When a Ready pod or a static target began to start, or to answer, is not known."""
    watched = Watched()
    for target in (make_target("ready", facts=make_facts()), make_target("static")):
        watched.seen(target)
        watched.heard(target, 1)
    assert watched.times.usual(FLEET) is None
    assert watched.seconds() == []


@pytest.mark.parametrize(
    "facts",
    [
        booting(started_time=WALL_NOW - 3000),
        booting(last_terminated_time=WALL_NOW - 10),
        booting(restarts=1),
        booting(created_time=None),
    ],
    ids=["running", "ended", "started again", "not known when created"],
)
def test_a_pod_that_may_have_been_ready_before_shows_nothing_of_its_creation(facts: PodFacts) -> None:
    """Its probe may have failed after days of work; how long it is waited for is known all the same."""
    watched = Watched()
    target = make_target(facts=facts)
    watched.seen(target)
    watched.heard(target, 30)
    assert watched.times.usual(FLEET) == 30
    assert watched.times.of(FLEET) == make_starts([])
    assert watched.seconds() == []


@pytest.mark.parametrize(("clock_error", "seconds"), [(0, 80), (5, 85), (-5, 75), (-60, 70), (-86_400, 70)])
def test_a_clock_that_is_behind_gives_no_less_than_was_waited(clock_error: float, seconds: float) -> None:
    """Discovered after 10 s, and read 70 s later: a start is no shorter than that, and never negative."""
    watched = Watched()
    target = make_target(facts=booting())
    watched.seen(target, after=10)
    watched.heard(target, 80, clock_error=clock_error)
    assert watched.seconds() == [seconds]


@pytest.mark.parametrize(
    ("after", "clock_error"),
    [(MAX_START_SECONDS + 1, 0.0), (60.0, 86_400.0)],
    ids=["a pod that hung", "a clock that is a day ahead"],
)
def test_what_takes_hours_is_no_start(after: float, clock_error: float) -> None:
    """Neither is by how much earlier a pod should be created."""
    watched = Watched()
    target = make_target(facts=booting())
    watched.seen(target)
    watched.heard(target, after, clock_error=clock_error)
    assert watched.seconds() == []
    assert watched.times.of(FLEET) == make_starts([])
    watched.seen(target)
    watched.heard(target, MAX_START_SECONDS)
    assert watched.seconds() == [MAX_START_SECONDS]


def test_only_fleets_with_pods_have_starts() -> None:
    """None before one of them has started; a static target has no creation, and so its fleet none at all."""
    watched = Watched()
    watched.seen(make_target("static"))
    assert watched.times.of(FLEET) is None
    watched.seen(make_target("running", facts=make_facts()))
    assert watched.times.of(FLEET) == make_starts([])


def test_a_pod_that_moves_to_another_fleet_counts_there() -> None:
    """Its label may change while it starts."""
    watched = Watched()
    watched.seen(make_target(facts=booting()))
    moved = make_target(fleet="other", facts=booting())
    watched.times.see(moved, NOW + 5, new=False)
    watched.heard(moved, 40)
    assert watched.times.of(FLEET) == make_starts([])
    assert watched.times.of(("matillion", "other")) == make_starts([40])


def test_nearly_all_of_the_latest_count() -> None:
    """The slowest of a hundred but one; what took long before is forgotten, but not by the histogram."""
    watched = Watched()

    def start(seconds: float) -> None:
        target = make_target(facts=booting())
        watched.seen(target)
        watched.heard(target, seconds)

    start(900)
    for number in range(99):
        start(number)
    assert watched.times.usual(FLEET) == 98
    for _ in range(100):
        start(40)
    assert watched.times.usual(FLEET) == 40
    assert watched.seconds() == [40] * KEPT_STARTS
    starts = watched.times.of(FLEET)
    assert starts is not None
    assert starts.histogram.counts[-1] == 200


def test_a_pod_that_goes_before_it_answers_is_forgotten() -> None:
    """It started nothing; what the fleet took before remains."""
    watched = Watched()
    first, second = (make_target(pod, facts=booting()) for pod in ("a", "b"))
    for target in (first, second):
        watched.seen(target)
    watched.heard(first, 50)
    for target in (first, second):
        watched.times.forget(target.uid)
    watched.heard(second, 90)
    assert watched.times.usual(FLEET) == 50
    assert watched.times.of(FLEET) == make_starts([50])
