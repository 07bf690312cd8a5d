"""The replay of tasks on a fleet behind the HPA, at sizes where every wait can be worked out by hand."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.simulation.hpa import FAST, SYNC_SECONDS, MetricError, Spec
from exporter.simulation.pod import TASKS_PER_AGENT
from exporter.simulation.replay import Load, Outcome, Task, replay

HOUR = 3600.0
START = 120.0


def following(_now: float, demand: int) -> float:
    return float(demand)


def size(least: int, most: int | None = None) -> Spec:
    return replace(FAST, least=least, most=most or least)


def batch(tasks: int, *, at: float = 60.0, seconds: float = 600.0) -> list[Task]:
    return [(at, seconds)] * tasks


def test_a_task_that_finds_a_slot_does_not_wait() -> None:
    """Two agents have forty slots, and stay for the whole hour."""
    seen = replay(batch(40), 0.0, HOUR, START, following, spec=size(2))
    assert seen == Outcome([(60.0, 0.0)] * 40, 2.0, 2)
    assert (seen.waited(), seen.late, seen.p95) == (0.0, 0.0, 0.0)


def test_tasks_beyond_the_slots_wait_for_those_that_run() -> None:
    """One agent runs twenty for ten minutes, then the other ten."""
    seen = replay(batch(30), 0.0, HOUR, START, following, spec=size(1))
    assert [wait for _, wait in seen.waits] == [0.0] * 20 + [600.0] * 10
    assert seen.waited() == 10 * 600.0 / HOUR
    assert seen.waited(begin=61.0) == 0.0
    assert (seen.late, seen.p95) == (pytest.approx(1 / 3), 600.0)


def test_an_agent_that_the_scaler_adds_takes_tasks_once_it_started() -> None:
    """The HPA looks as the tasks arrive, and its pods take their time; what waits is taken by the second agent."""
    seen = replay(batch(30), 0.0, HOUR, START, following, spec=size(1, 2))
    assert [wait for _, wait in seen.waits] == [0.0] * 20 + [START] * 10
    assert seen.peak_agents == 2
    assert 1.0 < seen.agent_hours < 2.0


def test_what_the_scaler_is_given_in_advance_avoids_the_wait() -> None:
    """The agent is up before the tasks arrive."""
    seen = replay(batch(30, at=START), 0.0, HOUR, START, lambda _now, _demand: 30.0, spec=size(1, 2))
    assert seen == Outcome([(START, 0.0)] * 30, 2.0, 2)


def test_a_withheld_metric_leaves_the_fleet_as_it_is() -> None:
    """As the HPA does without a value."""

    def withheld(_now: float, _demand: int) -> float:
        raise MetricError("not trusted")

    seen = replay(batch(30), 0.0, HOUR, START, withheld, spec=size(1, 2))
    assert (seen.peak_agents, seen.agent_hours) == (1, 1.0)


def test_a_removed_agent_costs_until_its_tasks_end() -> None:
    """The metric falls to nothing while forty tasks run: the HPA goes to one agent, and both have to finish."""
    spec = replace(size(1, 2), down=replace(FAST.down, window=0.0))
    tasks = [*batch(20, at=0.0), *batch(20, at=START + 15.0, seconds=HOUR)]
    seen = replay(tasks, 0.0, 2 * HOUR, START, lambda now, _: 32.0 if now < 200.0 else 0.0, spec=spec)
    busy_until = tasks[0][1]
    assert seen.waited() == 0.0
    assert seen.agent_hours == pytest.approx(2.0 + busy_until / HOUR)


def test_tasks_that_wait_at_the_end_have_waited_until_then() -> None:
    """Too small a fleet is not the better for what it never ran."""
    seen = replay(batch(30, seconds=2 * HOUR), 0.0, HOUR, START, following, spec=size(1))
    assert seen.waits[20:] == [(60.0, HOUR - 60.0)] * 10


def test_target_and_tasks_per_agent_are_the_fleets_own() -> None:
    """Ten tasks at five each are two agents."""
    spec = size(1, 9)
    seen = replay(batch(10), 0.0, HOUR, START, following, spec=spec, target=5.0, tasks_per_agent=6)
    assert [wait for _, wait in seen.waits] == [0.0] * 6 + [START] * 4
    assert seen.peak_agents == 2


def test_a_fleet_at_work_begins_with_its_agents() -> None:
    """As many as are given, within the bounds of the HPA."""
    for agents, up in ((3, 3), (9, 4), (0, 1)):
        seen = replay(batch(60, at=0.0), 0.0, HOUR, START, following, spec=size(1, 4), agents=agents)
        assert sum(wait == 0.0 for _, wait in seen.waits) == min(60, 20 * up)


def test_each_look_can_be_watched() -> None:
    """Demand includes what waits; an agent counts once it takes tasks."""
    looks: list[tuple[int, int]] = []
    replay(batch(30, at=0.0), 0.0, HOUR, START, following, spec=size(1, 2), watch=lambda *look: looks.append(look))
    assert len(looks) == HOUR / SYNC_SECONDS
    assert looks[0] == (30, 1)
    assert [ready for _, ready in looks].index(2) == START / SYNC_SECONDS


def test_of_two_metrics_the_higher_proposal_counts() -> None:
    """As the HPA has it."""

    def two(load: Load) -> int:
        return 2 if load.running else 1

    alone = replay(batch(30), 0.0, HOUR, START, None, spec=size(1, 4), pod_metric=two)
    both = replay(batch(60), 0.0, HOUR, START, following, spec=size(1, 4), pod_metric=two)
    assert (alone.peak_agents, both.peak_agents) == (2, 4)


def test_nothing_to_replay_is_refused() -> None:
    """There is no wait without a task."""
    with pytest.raises(ValueError, match="no task arrives"):
        replay([], 0.0, HOUR, START, following)


TASKS = st.lists(
    st.tuples(st.integers(0, int(HOUR - SYNC_SECONDS)), st.integers(1, int(HOUR))), min_size=1, max_size=60
).map(sorted)


@given(tasks=TASKS, most=st.integers(1, 4))
def test_tasks_start_in_order_and_a_larger_fixed_fleet_never_waits_longer(tasks: list[Task], most: int) -> None:
    """Every task is in the outcome once, in its place, and waits no less than nothing."""
    sizes = [replay(tasks, 0.0, HOUR, START, following, spec=size(agents)) for agents in range(1, most + 1)]
    for seen in sizes:
        assert [at for at, _ in seen.waits] == [at for at, _ in tasks]
        assert all(wait >= 0 for _, wait in seen.waits)
        assert 0 <= seen.late <= 1
    for smaller, larger in pairwise(sizes):
        assert larger.waited() <= smaller.waited()
    if len(tasks) <= TASKS_PER_AGENT * most:
        assert sizes[-1].waited() == 0
