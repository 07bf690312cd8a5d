"""A fleet that is doubled because its agents, which report no queue, are all full: what it costs, and at the edges."""

import random
from dataclasses import replace
from functools import partial
from statistics import mean

import pytest

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.feeds import Direct
from benchmarks.scaling.growth import cost
from benchmarks.scaling.ways import OURS, ours
from benchmarks.scaling.world import World
from exporter.simulation.hpa import FAST
from exporter.simulation.timeline import Timeline

CALM = 400.0
SEEDS = range(3)
LEGACY = partial(Cluster, otel=False)


def calm(agents: int, tasks: int, *, most: int = 50, least: int = 2, **traits: float) -> World:
    """Return a fleet at work, under the fast HPA with these bounds."""
    way = ours("edges", replace(FAST, least=least, most=most))
    fleet = partial(LEGACY, replicas=agents, **traits)
    world = World(way, 0, fleet)
    world.cluster.set_level(tasks)
    world.run(CALM)
    assert world.decisions == []
    return world


def sizes(world: World) -> list[int]:
    """Return the replicas after each decision."""
    return [decision.after for decision in world.decisions]


@pytest.mark.slow
@pytest.mark.parametrize("agents", [4, 12])
@pytest.mark.parametrize("more", [0.0, 4.0, 9.0], ids=["at the target", "full", "over-full"])
def test_doubling_costs_at_most_a_twentieth(agents: int, more: float) -> None:
    """Agent-hours of a fleet whose agents come to be full are those without it, or a little more; else the same."""
    without, with_ = (
        mean(cost(seed, agents=agents, more=more, growth=growth).agent_hours for seed in SEEDS) for growth in (1.0, 2.0)
    )
    assert with_ <= 1.05 * without
    if not more:
        assert with_ == without


def test_a_fleet_exactly_full() -> None:
    """A task for each slot and none that waits looks like a queue: it is doubled once, and has its size afterwards."""
    world = calm(8, 128)
    world.cluster.set_level(160)
    world.run(1500.0)
    assert max(sizes(world)) == 16
    assert world.cluster.replicas in (10, 11)
    assert sizes(world) == [*sorted(sizes(world)[:-3]), *sorted(sizes(world)[-3:], reverse=True)]


@pytest.mark.parametrize("spare", [1, 2])
def test_a_slot_that_stays_free_is_no_queue(spare: int) -> None:
    """As long as one agent has room nothing waits: the fleet grows to the target, and not beyond."""
    world = calm(8, 128, task_seconds=1e9)
    world.cluster.set_level(160 - spare)
    world.run(1500.0)
    assert sizes(world) == [10]


def test_one_agent() -> None:
    """A fleet of one that is full becomes two, then four: each time all of them have to be full."""
    world = calm(1, 12, least=1, task_seconds=1e9)
    world.cluster.set_level(70)
    world.run(600.0)
    assert world.cluster.queue == 0
    assert sizes(world)[0] == 2
    assert max(sizes(world)) <= 8


def test_agents_above_their_slots() -> None:
    """People's tasks are not limited: thirty on each agent are work for almost twice the agents, and are asked once."""
    world = calm(4, 56, task_seconds=1e9)
    world.cluster.level = None
    world.cluster.run_in_designer(world.cluster.members, 16)
    world.run(600.0)
    assert sorted(pod.tasks > 20 for pod in world.cluster.members) == [False] * 4 + [True] * 4
    assert max(sizes(world)) == 8


def test_pods_that_never_become_ready() -> None:
    """The doubling stands as long as those that serve are full, and is not made again."""
    world = calm(4, 56)
    world.cluster.new_pods_start = False
    world.cluster.set_level(400)
    world.run(3600.0)
    assert set(sizes(world)) <= {5, 8}
    assert world.cluster.replicas == 8
    world.cluster.recover()
    world.run(600.0)
    assert world.cluster.queue == 0
    assert max(sizes(world)) <= 2 * 25


def test_an_outage_of_the_control_plane_of_a_full_fleet() -> None:
    """Agents that are cut off are not full: the fleet is not doubled while they run dry and work piles up.

    While some were read before and some after, a few seem lost among many that serve, and may be replaced.
    """
    world = calm(8, 128)
    world.cluster.set_control_plane(up=False)
    world.cluster.set_level(400)
    world.run(1800.0)
    assert 8 <= world.cluster.replicas <= 8 + 2
    world.cluster.recover()
    world.run(300.0)
    assert world.cluster.queue == 0
    assert max(sizes(world)) <= 2 * 25


def test_a_restarted_exporter_takes_no_full_fleet_for_one_with_a_queue() -> None:
    """It has to see the agents full for a while, as the one before it: for an instant they may be so by chance."""
    world = calm(4, 68, most=4, task_seconds=1e9)
    world.cluster.set_level(80)
    assert isinstance(world.feed, Direct)
    world.feed.exporter.stop()
    world.feed.exporter.start()
    seen = []
    for _ in range(30):
        world.run(1.0)
        seen.append(world.feed.exporter.fleets()[0].unseen_queue_tasks > 0)
    assert not any(seen[:15])
    assert all(seen[25:])


def test_the_maximum_bounds_it() -> None:
    """A fleet at its scaler's maximum stays there, full, however much waits."""
    world = calm(4, 56, most=6)
    world.cluster.set_level(400)
    world.run(1800.0)
    assert (world.cluster.replicas, max(sizes(world))) == (6, 6)
    assert world.cluster.queue > 200


@pytest.mark.parametrize(("agents", "task_seconds", "share"), [(4, 120.0, 0.9), (12, 120.0, 0.8), (50, 600.0, 0.95)])
def test_a_slot_between_two_tasks_is_not_taken_for_a_free_one(agents: int, task_seconds: float, share: float) -> None:
    """Tasks end and are pulled at any instant, so that in a large fleet some reading always shows one below 20."""
    spec = replace(FAST, least=agents, most=agents)
    fleet = partial(LEGACY, replicas=agents, slot_seconds=(0.0, 2.0), task_seconds=task_seconds)
    world = World(replace(OURS, spec=spec), 1, fleet)
    world.cluster.set_level(30 * agents)
    world.run(60.0)
    seen = []
    for _ in range(120):
        world.run(1.0)
        seen.append(world.feed.exporter.fleets()[0].unseen_queue_tasks > 0)
    assert sum(seen) >= share * len(seen)


def test_a_slot_is_refilled_after_a_while() -> None:
    """Between a task's end and the next one the agent has one task fewer, and nobody else may use the slot."""
    timeline = Timeline()
    cluster = LEGACY(timeline, random.Random(0), 2, task_seconds=30.0, slot_seconds=(5.0, 5.0))  # noqa: S311
    cluster.set_level(100)
    timeline.run(60.0)
    counts = set()
    for second in range(61, 120):
        timeline.run(float(second))
        counts.update(pod.tasks for pod in cluster.members)
        assert all(pod.tasks + pod.empty_slots <= 20 for pod in cluster.members)
    assert min(counts) < 20
