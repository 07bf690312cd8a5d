"""Rolling updates: the simulated Deployment against what Kubernetes documents, and the fleet that goes through one."""

import random
from functools import partial
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.rollouts import AGENTS, begin, rollout
from benchmarks.scaling.ways import TARGET
from exporter.fleet.model import AgentState
from exporter.simulation.pod import Pod
from exporter.simulation.rollout import STRATEGY, Step, Strategy, step
from exporter.simulation.timeline import Timeline

NO_SURGE, NO_GAP = Strategy(surge=0.0, unavailable=0.25), Strategy(surge=0.25, unavailable=0.0)


@pytest.mark.parametrize(
    ("replicas", "new", "old", "strategy", "wanted"),
    [
        pytest.param(20, [], [True] * 20, STRATEGY, Step(5, 0, 5), id="a quarter more, a quarter fewer"),
        pytest.param(20, [False] * 10, [True] * 15, STRATEGY, Step(0, 0, 0), id="waits for the new ones"),
        pytest.param(20, [True] * 10, [True] * 15, STRATEGY, Step(0, 0, 10), id="those that are Ready take over"),
        pytest.param(20, [True] * 10, [True] * 5, STRATEGY, Step(10, 0, 0), id="room for more new ones"),
        pytest.param(20, [], [True] * 20, NO_GAP, Step(5, 0, 0), id="none may be missing"),
        pytest.param(20, [False] * 5, [True] * 20, NO_GAP, Step(0, 0, 0), id="so nobody goes yet"),
        pytest.param(20, [], [True] * 20, NO_SURGE, Step(0, 0, 5), id="no room before somebody goes"),
        pytest.param(2, [], [True] * 2, STRATEGY, Step(1, 0, 0), id="two: half a pod may be missing, which is none"),
        pytest.param(1, [], [True], Strategy(surge=0.0, unavailable=0.0), Step(0, 0, 1), id="at least one can go"),
        pytest.param(4, [], [True, True, False, False], STRATEGY, Step(1, 0, 1), id="not Ready: not missed"),
        pytest.param(8, [True] * 10, [True] * 10, STRATEGY, Step(0, 5, 9), id="a scale-in takes from both"),
        pytest.param(6, [True] * 4, [], STRATEGY, Step(2, 0, 0), id="over: a scale-out"),
        pytest.param(3, [True] * 4, [], STRATEGY, Step(0, 1, 0), id="over: a scale-in"),
    ],
)
def test_step(replicas: int, new: list[bool], old: list[bool], strategy: Strategy, wanted: Step) -> None:
    """So many pods are made and deleted at once."""
    assert step(replicas, new, old, strategy) == wanted


@given(st.integers(1, 30), st.integers(0, 99), st.sampled_from([STRATEGY, NO_GAP, NO_SURGE]))
def test_a_rollout_ends_within_its_bounds(replicas: int, seed: int, strategy: Strategy) -> None:
    """There are never more pods than may be, nor fewer Ready ones than must be; at the end all are new."""
    chance = random.Random(seed)  # noqa: S311 - a simulation
    timeline = Timeline()
    cluster = Cluster(timeline, chance, replicas, strategy=strategy)
    most, least = strategy.bounds(replicas)
    sizes: set[tuple[int, int]] = set()

    def look(_pod: Pod) -> None:
        members = list(cluster.members)
        sizes.add((len(members), sum(pod.ready_since is not None for pod in members)))

    cluster.changed = look
    cluster.roll_out()
    timeline.run(3600.0)
    assert max(total for total, _ in sizes) <= most
    assert min(ready for _, ready in sizes) >= least
    assert {pod.template for pod in cluster.members} == {1}
    assert sum(1 for _ in cluster.members) == replicas


def test_a_replaced_pod_keeps_its_tasks_and_its_work_is_still_the_fleets() -> None:
    """It drains for as long as they run; what ends is followed by the next, on the new pods."""
    cluster = Cluster(Timeline(), random.Random(0), 4, task_seconds=3600.0)  # noqa: S311 - a simulation
    cluster.set_level(64)
    cluster.roll_out()
    cluster.timeline.run(600.0)
    old = [pod for pod in cluster.pods if pod.draining]
    assert len(old) == 4
    assert all(pod.replaced and pod.tasks for pod in old)
    assert (cluster.demand, sum(1 for _ in cluster.members)) == (64, 4)
    cluster.timeline.run(6 * 3600.0)
    assert cluster.demand == 64
    assert sum(pod.tasks for pod in cluster.members) >= 60


def test_a_stream_keeps_its_level_on_average() -> None:
    """From the first moment on: what runs at the beginning is as if it had run for ever."""
    fleet = partial(Cluster, replicas=40, task_seconds=600.0)
    cluster = fleet(Timeline(), random.Random(1))  # noqa: S311 - a simulation
    cluster.stream(320.0, even=True)
    assert cluster.demand == 320
    seen = []
    for minute in range(1, 121):
        cluster.timeline.run(60.0 * minute)
        seen.append(cluster.demand)
    assert all(abs(demand - 320) < 60 for demand in seen)
    assert abs(sum(seen) / len(seen) - 320) < 10


def test_a_minute_after_a_rollout_demand_is_what_it_was() -> None:
    """Twenty agents with 320 tasks of an hour each: those still run, on the replaced pods, and as many will come."""
    world = begin(0, hold=True, task_minutes=60.0, node_seconds=0.0)
    for second in range(1, 601):
        world.run(1.0)
        (fleet,) = world.feed.exporter.fleets()
        assert fleet.demand_tasks is not None
        assert abs(fleet.demand_tasks - TARGET * AGENTS) <= TARGET * 2, second
        assert world.cluster.replicas >= AGENTS - 1
    assert fleet.states[AgentState.DRAINING] >= ceil(0.75 * AGENTS)
    assert fleet.held_tasks > TARGET * AGENTS / 2


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "nodes"), [(10.0, 180.0), (60.0, 0.0)])
def test_what_holding_on_to_a_rollouts_work_saves(minutes: float, nodes: float) -> None:
    """No agent is let go that is needed; without it half of them are, at least, and most are made again."""
    held, dropped = (rollout(0, hold=hold, task_minutes=minutes, node_seconds=nodes) for hold in (True, False))
    assert (held.taken, held.made_again) == (0, 0)
    assert dropped.taken >= AGENTS / 2
    assert dropped.made_again >= AGENTS / 2
    assert held.pod_hours <= 1.1 * dropped.pod_hours
