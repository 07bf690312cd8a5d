"""What holds for a fleet under the HPA and our external metrics API, whatever befalls it.

The exporter is the real one (store, classification, answers); the HPA and the agents are `benchmarks.scaling`.
"""

from functools import partial
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.ways import OURS, TARGET
from benchmarks.scaling.world import World
from exporter.config.settings import ScrapeSettings
from exporter.simulation.hpa import SYNC_SECONDS, TOLERANCE
from tests.scaling.histories import (
    EVERYTHING,
    LEAST,
    LOSSES,
    MADE_ANEW,
    MARGIN,
    MONITORING,
    NEVER_THERE,
    SETTLED,
    WAITS,
    Event,
    Start,
    befall,
    events,
    loads,
    single_events,
    starts,
)

SCRAPE = ScrapeSettings().interval
EXAMPLES = settings(max_examples=25)
FEW = settings(max_examples=12)
pytestmark = pytest.mark.slow


def needed(level: float) -> int:
    """Agents it takes to hold so many tasks at the target."""
    return max(LEAST, ceil(level / TARGET))


def about(replicas: int, tasks: int) -> bool:
    """Whether it is the size for so many tasks, or near enough to it for the HPA; give or take `MARGIN` tasks."""
    slack = TOLERANCE + MARGIN / (TARGET * replicas)
    exact = needed(tasks - MARGIN) <= replicas <= needed(tasks + MARGIN)
    return exact or abs(tasks / (TARGET * replicas) - 1) <= slack


def turns(world: World) -> int:
    """Return how often the fleet began to grow after it had shrunk, or to shrink after it had grown."""
    return sum((one.after > one.before) != (next_.after > next_.before) for one, next_ in pairwise(world.decisions))


def sizes(world: World) -> list[tuple[int, int]]:
    return [(decision.before, decision.after) for decision in world.decisions]


@EXAMPLES
@given(starts(), events(MONITORING))
def test_missing_data_changes_nothing(start: Start, history: list[Event]) -> None:
    """Agents out of sight, the list of pods lost, the exporter gone: a fleet at constant load keeps its size."""
    world = start.world()
    world.run(SETTLED)
    assert sizes(world) == []
    befall(world, history)
    assert sizes(world) == []


@settings(max_examples=60)
@example(Start(0, 3, 38, otel=False), [Event("disconnect", 0.7, 400.0)])
@example(Start(0, 4, 54, otel=False), [Event("nodes lost", 1.0, 1000.0)])
@example(Start(0, 4, 54, otel=False), [Event("control plane down", 1.0, 1000.0)])
@given(starts(), st.lists(st.one_of(loads(), single_events(EVERYTHING)), max_size=8))
def test_a_fleet_never_shrinks_below_its_work(start: Start, history: list[Event]) -> None:
    """Whatever happens, a smaller fleet still holds everything that runs or waits, seen or not."""
    world = start.world()
    world.run(SETTLED)
    befall(world, history)
    for decision in world.decisions:
        if decision.after < decision.before:
            assert decision.least_demand <= decision.after * TARGET * (1 + TOLERANCE), decision


@EXAMPLES
@example(Start(2, 7, 102, otel=True), 2)
@given(starts(), st.integers(LEAST, 20))
def test_a_constant_load_settles_without_oscillation(start: Start, replicas: int) -> None:
    """From any size the fleet goes to the size its load takes, and stays, but for an agent more at the HPA's tolerance.

    It turns at most once. Where a queue is reported, a task that a new agent pulls between two readings counts in the
    queue and on the agent until the others are read again: a look at that moment asks for too many. Where none is, a
    fleet that is found full is doubled.
    """
    world = start.world(replicas)
    world.run(2 * SETTLED)
    settled = world.cluster.replicas
    assert about(settled, start.level)
    world.run(SETTLED)
    assert settled <= world.cluster.replicas <= settled + 1
    assert turns(world) <= 1


@EXAMPLES
@example(Start(22, 2, 22, otel=False), 1, "crash")
@given(starts(), st.integers(1, 3), st.sampled_from(LOSSES))
def test_lost_agents_are_replaced(start: Start, lost: int, how: str) -> None:
    """As many agents as `max_replaced` allows come in place of those that give no slot, and not one more."""
    world = start.world()
    world.run(SETTLED)
    serving = start.agents - lost
    assume(lost <= ceil(0.25 * serving))
    befall(world, [Event(how, lost / start.agents, 1200.0)])
    assert world.cluster.queue == 0
    assert start.level <= world.cluster.slots
    # A pod that crashes is not Ready: when the fleet shrinks again, it is the first to go.
    still_lost = sum(not pod.serving for pod in world.cluster.members)
    assert about(world.cluster.replicas, start.level + TARGET * still_lost)


@FEW
@example(Start(22, 2, 22, otel=False), 1, "crash")
@given(starts(otel=False), st.integers(1, 3), st.sampled_from(LOSSES))
def test_a_lost_agent_is_replaced_once(start: Start, lost: int, how: str) -> None:
    """Its tasks and its replacement are not asked for both, but while the last reading of one that crashed counts."""
    world = start.world()
    world.run(SETTLED)
    assume(lost <= ceil(0.25 * (start.agents - lost)))
    befall(world, [Event(how, lost / start.agents, 120.0)])
    last_words = lost if how == "crash" else 0
    assert world.cluster.replicas <= needed(start.level + MARGIN) + lost + last_words


@EXAMPLES
@example(Start(1, 4, 54, otel=False), 400.0)
@given(starts(), st.floats(60, 3600))
def test_an_outage_of_the_control_plane_leaves_the_fleet_alone(start: Start, seconds: float) -> None:
    """All agents lose it and finish what they have. Nobody knows what waits: the fleet keeps its size.

    In the seconds in which some agents were read before and some after, a few seem lost among many that serve, and may
    be replaced: that is all the growth there is.
    """
    world = start.world()
    world.run(SETTLED)
    befall(world, [Event("control plane down", 1.0, seconds)])
    assert turns(world) == 0
    assert start.agents <= world.cluster.replicas <= start.agents + ceil(0.25 * (start.agents - 1))


@EXAMPLES
@given(starts(), st.integers(1, 60))
def test_new_agents_that_never_connect_do_not_run_the_fleet_up(start: Start, more: int) -> None:
    """There are as many as the load takes, and those that `max_replaced` allows besides.

    Where no queue is reported and those that serve are full, there are twice as many as serve, and no more.
    """
    world = start.world()
    world.run(SETTLED)
    befall(world, [Event("new pods do not connect", 1.0, 10.0)])
    world.cluster.set_level(start.level + more)
    world.run(3600.0)
    most = needed(start.level + more + MARGIN) + ceil(0.25 * start.agents)
    assert world.cluster.replicas <= (most if start.otel else max(most, 2 * start.agents))


@EXAMPLES
@given(starts(otel=True), st.floats(0, 1), st.floats(0, 15))
def test_a_known_queue_is_answered_in_one_step(start: Start, share: float, moment: float) -> None:
    """Once every agent was read again, the next look asks for all that is needed, as far as one step may go."""
    world = start.world()
    world.run(SETTLED + moment)
    level = start.level + round(share * TARGET * (max(2 * start.agents, start.agents + 10) - start.agents - 1))
    world.cluster.set_level(level)
    begun = world.timeline.now
    world.run(SCRAPE + SYNC_SECONDS)
    assert about(world.cluster.replicas, level)
    first = world.decisions[0] if world.decisions else None
    if first is not None and first.at > begun + SCRAPE:
        assert needed(level - MARGIN) <= first.after <= needed(level + MARGIN)


@EXAMPLES
@given(starts(otel=False), st.lists(st.one_of(loads(), single_events((*MADE_ANEW, *NEVER_THERE))), max_size=8))
def test_an_unseen_queue_grows_a_fleet_by_no_more_than_one_doubling(start: Start, history: list[Event]) -> None:
    """Where no agent reports a queue there are never more than twice the agents that the highest load so far took.

    Whether its pods start or not, and whether they are lost or made anew. (Work that moves from one agent to another
    may be read on both: `MARGIN`.)
    """
    world = start.world()
    world.run(SETTLED)
    highest = start.level
    for event in history:
        befall(world, [event])
        highest = max(highest, world.cluster.level or 0)
        assert world.cluster.replicas <= 2 * needed(highest + MARGIN), event


@FEW
@given(starts(), WAITS, st.lists(single_events(("rollout", "discovery lost", "exporter stopped")), max_size=4))
def test_a_rollout_keeps_the_size_of_a_fleet(start: Start, wait: float, history: list[Event]) -> None:
    """Constant work in a fleet whose pods are replaced, again and again: no agent leaves that it needs.

    Whether or not the exporter looks meanwhile, as long as it can read the replaced pods afterwards.
    """
    world = start.world()
    world.run(SETTLED)
    befall(world, [Event("rollout", 1.0, wait), *history])
    world.run(2 * SETTLED)
    for decision in world.decisions:
        if decision.after < decision.before:
            assert decision.least_demand <= decision.after * TARGET * (1 + TOLERANCE), decision


@FEW
@given(st.integers(0, 999), st.integers(LEAST, 8), st.sampled_from([0.08, 0.1, 0.16]), st.booleans())
def test_a_fleet_that_refuses_work_is_not_scaled_in(seed: int, agents: int, cpu: float, otel: bool) -> None:
    """Agents whose CPU is full take no more tasks: no agent leaves as long as every one refuses.

    The fleet grows until some do not, or nothing waits.
    """
    fleet = partial(Cluster, replicas=agents, otel=otel, task_seconds=1e9, cpu_per_task=cpu, metrics_api=True)
    world = World(OURS, seed, fleet)
    world.cluster.set_level((world.cluster.takes + 2) * agents)
    world.run(SETTLED)
    assert world.decisions[0].after > agents
