"""What holds for every fleet, whatever its agents are up to.

Counts are whole numbers, as agents report them, so that sums are exact and figures can be compared with `==`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from math import ceil

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from exporter.fleet.model import AgentSnapshot, AgentState, Fleet, PodFacts
from exporter.fleet.policy import Policy, ScaleInPolicy
from exporter.fleet.scaling import TOLERANCE
from tests.factories import NOW, POLICY, make_facts, make_fleet, make_reading, make_snapshot

G, T = POLICY.target_tasks_per_agent, POLICY.tasks_per_agent
STALE, FORGET = POLICY.stale_after, POLICY.forget_after
SERVING, DRAINING, UNREACHABLE = AgentState.SERVING, AgentState.DRAINING, AgentState.UNREACHABLE

TASKS = st.integers(0, 45).map(float)
QUEUE = st.one_of(st.none(), st.integers(0, 30).map(float))
FRESH = st.integers(0, int(STALE)).map(float)
REMEMBERED = st.integers(int(STALE) + 1, int(FORGET)).map(float)
FORGOTTEN = st.integers(int(FORGET) + 1, 5000).map(float)
AGES = st.one_of(FRESH, REMEMBERED, FORGOTTEN)
SETS = st.sets(st.integers(0, 11))


@st.composite
def pod_facts(draw: st.DrawFn, *, crashing: bool) -> PodFacts | None:
    """Nothing known, or a pod in any condition; only `crashing` ones may be held back by Kubernetes."""
    if draw(st.booleans()):
        return None
    ready = draw(st.booleans())
    reasons = ["CrashLoopBackOff"] if crashing else []
    return make_facts(
        ready=ready,
        ready_since=NOW - draw(AGES) if ready else None,
        draining_time=draw(st.sampled_from([None, None, None, 1.0])),
        waiting_reason=draw(st.sampled_from([None, "ImagePullBackOff", *reasons])),
    )


@st.composite
def a_snapshot(
    draw: st.DrawFn, ages: st.SearchStrategy[float] = AGES, *, crashing: bool = True, healthy: bool = False
) -> AgentSnapshot:
    """One agent in any condition, or a `healthy` one that runs and is connected. Its name is given to it later."""
    facts = None if healthy else draw(pod_facts(crashing=crashing))
    address = "127.0.10.1" if healthy else draw(st.sampled_from(["127.0.10.1", "127.0.10.1", None]))
    if not healthy and draw(st.integers(0, 4)) == 0:
        return make_snapshot(never_read=True, facts=facts, address=address)
    condition = {} if healthy else {"status": draw(st.sampled_from([None, 0, 1, 1, 2, 3, 9]))}
    condition |= {} if healthy else {"connected": draw(st.sampled_from([None, True, True, False]))}
    # A pod that was asked to end is about to lose its queue to others, which is not a matter of being seen.
    queue = None if facts is not None and facts.draining_time is not None else draw(QUEUE)
    reading = make_reading(draw(TASKS), tasks_queued=queue, **condition)
    return make_snapshot(reading=reading, age=draw(ages), facts=facts, address=address)


def named(snapshots: Sequence[AgentSnapshot]) -> list[AgentSnapshot]:
    return [
        replace(snapshot, target=replace(snapshot.target, pod=f"agent-{i % 7}", uid=f"uid-{i}"))
        for i, snapshot in enumerate(snapshots)
    ]


def fleets(one: st.SearchStrategy[AgentSnapshot], *, least: int = 0) -> st.SearchStrategy[list[AgentSnapshot]]:
    return st.lists(one, min_size=least, max_size=12).map(named)


ANY = fleets(a_snapshot())
POLICIES = st.builds(
    Policy,
    tasks_per_agent=st.integers(16, 40),
    target_tasks_per_agent=st.integers(1, 16),
    min_coverage=st.sampled_from([0.0, 0.5, 1.0]),
    unknown_agents=st.sampled_from(["hold", "full", "ignore"]),
    max_replaced=st.sampled_from([0.0, 0.1, 0.25, 1.0]),
    scale_in=st.builds(ScaleInPolicy, max_tasks=st.one_of(st.none(), st.integers(0, 40))),
)
SYNC_AGES = st.sampled_from([0.0, 120.0, 121.0])


def aged(snapshots: Iterable[AgentSnapshot], which: set[int], age: float) -> list[AgentSnapshot]:
    """Return the same agents, some of which have not been read for `age` seconds."""
    return [
        replace(snapshot, read_at=NOW - age) if i in which and snapshot.reading is not None else snapshot
        for i, snapshot in enumerate(snapshots)
    ]


def in_state(fleet: Fleet, *states: AgentState) -> int:
    return sum(fleet.states[state] for state in states)


@given(ANY, POLICIES, SYNC_AGES, st.randoms(use_true_random=False))
def test_order_does_not_matter(snapshots: list[AgentSnapshot], policy: Policy, sync_age: float, random: object) -> None:
    """However discovery lists the pods, the fleet is the same."""
    fleet = make_fleet(snapshots, policy=policy, sync_age=sync_age)
    random.shuffle(snapshots)  # type: ignore[attr-defined]
    assert make_fleet(snapshots, policy=policy, sync_age=sync_age) == fleet


@given(ANY, POLICIES)
def test_states_are_a_partition_of_the_pods(snapshots: list[AgentSnapshot], policy: Policy) -> None:
    """Every pod is in exactly one state, and every state has a figure."""
    fleet = make_fleet(snapshots, policy=policy)
    assert set(fleet.states) == set(AgentState)
    assert sum(fleet.states.values()) == len(fleet.agents) == len(snapshots)
    for state in AgentState:
        assert fleet.states[state] == sum(agent.state is state for agent in fleet.agents)


@given(ANY, POLICIES, SYNC_AGES)
def test_no_figure_is_negative(snapshots: list[AgentSnapshot], policy: Policy, sync_age: float) -> None:
    """Not one number of a fleet is below zero, and coverage is a share."""
    fleet = make_fleet(snapshots, policy=policy, sync_age=sync_age)
    figures = [getattr(fleet, field.name) for field in fields(fleet)] + [fleet.demand_tasks, fleet.desired_agents]
    assert all(figure >= 0 for figure in figures if isinstance(figure, int | float))
    assert all(count >= 0 for count in fleet.states.values())
    assert 0 <= fleet.coverage <= 1


@given(ANY, POLICIES)
def test_figures_fit_each_other(snapshots: list[AgentSnapshot], policy: Policy) -> None:
    """Slots are those of serving agents; free ones and tasks make up at least the slots, more where agents overrun."""
    fleet = make_fleet(snapshots, policy=policy)
    serving = fleet.states[SERVING]
    assert fleet.capacity_tasks == serving * policy.tasks_per_agent
    assert fleet.free_slots <= fleet.capacity_tasks
    assert fleet.agents_saturated <= serving
    assert (fleet.free_slots == 0) == (fleet.agents_saturated == serving)
    if fleet.tasks_active is not None:
        assert fleet.free_slots + fleet.tasks_active >= fleet.capacity_tasks
    parts = (fleet.tasks_active or 0) + (fleet.tasks_queued or 0) + fleet.held_tasks + fleet.replacement_tasks
    assert fleet.demand == parts + fleet.unseen_queue_tasks + fleet.scale_in.held_tasks


@given(ANY, POLICIES)
def test_active_tasks_are_shown_as_reported(snapshots: list[AgentSnapshot], policy: Policy) -> None:
    """Fresh counts add up as they are, past the slots too; with agents that should answer and do not, there is none."""
    fleet = make_fleet(snapshots, policy=policy)
    fresh = [agent for agent in fleet.agents if agent.fresh and agent.snapshot.reading is not None]
    drained = sum(agent.snapshot.reading.tasks_active for agent in fresh if agent.state is DRAINING)
    active = sum(agent.snapshot.reading.tasks_active for agent in fresh if agent.state is not DRAINING)
    silent = fleet.states[UNREACHABLE] > 0 and all(agent.state is DRAINING for agent in fresh)
    assert fleet.tasks_draining == drained
    assert fleet.tasks_active == (None if silent else active)


@given(fleets(a_snapshot(crashing=False)), SETS, REMEMBERED)
def test_going_out_of_sight_never_lowers_demand(snapshots: list[AgentSnapshot], which: set[int], age: float) -> None:
    """Any of the agents, in whatever condition last seen, stop answering: demand stays until they are forgotten."""
    before = make_fleet(snapshots)
    unseen = {i for i in which if i < len(snapshots) and snapshots[i].read_at is not None}
    unseen = {i for i in unseen if NOW - snapshots[i].read_at <= STALE}  # type: ignore[operator]
    assert make_fleet(aged(snapshots, unseen, age)).demand >= before.demand


@given(fleets(a_snapshot(st.one_of(FRESH, REMEMBERED), crashing=False)), st.integers(0, int(FORGET)))
def test_time_alone_never_lowers_demand(snapshots: list[AgentSnapshot], seconds: int) -> None:
    """The exporter sees nothing new for a while: what it asks for does not fall within what it remembers."""
    later = NOW + seconds
    assume(all(snapshot.read_at is None or later - snapshot.read_at <= FORGET for snapshot in snapshots))
    assert make_fleet(snapshots, now=later).demand >= make_fleet(snapshots).demand


@given(fleets(a_snapshot(FRESH, healthy=True)), SETS, REMEMBERED)
def test_an_unseen_agent_changes_nothing(snapshots: list[AgentSnapshot], which: set[int], age: float) -> None:
    """Neutral: healthy agents that stop answering make the fleet neither larger nor smaller than their last words."""
    assert make_fleet(aged(snapshots, which, age)).demand == make_fleet(snapshots).demand


@given(
    st.lists(st.integers(0, G), max_size=8),
    st.lists(st.one_of(st.none(), st.integers(0, G)), max_size=8),
    REMEMBERED,
)
def test_held_work_grows_no_fleet_whose_agents_are_at_their_target(
    loads: list[int], unseen: list[int | None], age: float
) -> None:
    """Unless serving agents are over target, holding asks for no pod beyond those there are."""
    assume(loads or unseen)
    fleet = make_fleet(
        named(
            [make_snapshot(tasks_active=float(load)) for load in loads]
            + [make_snapshot(tasks_active=float(load), age=age) for load in unseen if load is not None]
            + [make_snapshot(never_read=True) for load in unseen if load is None]
        ),
        policy=Policy(min_coverage=0.0),
    )
    assert fleet.desired_agents is not None
    assert ceil(sum(loads) / G) <= fleet.desired_agents <= len(loads) + len(unseen)


@given(st.lists(st.integers(0, 45), max_size=8), st.integers(0, 8), FORGOTTEN)
def test_a_forgotten_agent_is_worth_exactly_its_pod(loads: list[int], forgotten: int, age: float) -> None:
    """With AverageValue it keeps its own replica and touches none of the others."""
    assume(loads or forgotten)
    fleet = make_fleet(
        named(
            [make_snapshot(tasks_active=float(load)) for load in loads]
            + [make_snapshot(age=age) for _ in range(forgotten)]
        ),
        policy=Policy(min_coverage=0.0),
    )
    assert fleet.desired_agents == ceil(sum(loads) / G) + forgotten


@given(ANY, a_snapshot(), POLICIES)
def test_a_draining_agent_adds_no_capacity(
    snapshots: list[AgentSnapshot], extra: AgentSnapshot, policy: Policy
) -> None:
    """Whatever a pod that was asked to end still says, only what drains and how old it is changes."""
    facts = replace(extra.target.facts or make_facts(), draining_time=1.0)
    reading = None if extra.reading is None else replace(extra.reading, tasks_queued=None)
    drains = replace(extra, target=replace(extra.target, facts=facts, pod="z", uid="z"), reading=reading)
    without, with_it = make_fleet(snapshots, policy=policy), make_fleet([*snapshots, drains], policy=policy)
    assert with_it.states[DRAINING] == without.states[DRAINING] + 1
    apart = {name: getattr(without, name) for name in ("agents", "states", "tasks_draining", "read_age")}
    assert replace(with_it, **apart) == without


@given(ANY, POLICIES, SYNC_AGES)
def test_untrusted_means_withheld_with_the_reason(
    snapshots: list[AgentSnapshot], policy: Policy, sync_age: float
) -> None:
    """Demand and desired agents are there if, and only if, coverage and membership are good; else there are words."""
    fleet = make_fleet(snapshots, policy=policy, sync_age=sync_age)
    expected = len(snapshots) - in_state(fleet, DRAINING, AgentState.STARTING)
    answering = expected - fleet.states[UNREACHABLE]
    assert fleet.coverage == (answering / expected if expected else 1.0)
    good = fleet.coverage >= policy.min_coverage and sync_age <= policy.max_sync_age
    assert fleet.trusted is good
    if good and snapshots:
        assert (fleet.demand_tasks, fleet.untrusted_reason) == (fleet.demand, None)
        assert fleet.desired_agents == ceil(fleet.demand / policy.target_tasks_per_agent)
    else:
        assert (fleet.demand_tasks, fleet.desired_agents) == (None, None)
        assert fleet.withheld_reason
        assert " agents" in fleet.withheld_reason


@given(ANY, POLICIES)
def test_replacement_is_bounded(snapshots: list[AgentSnapshot], policy: Policy) -> None:
    """Whole pods, no more than are lost, no more than the bound allows, none without an agent that works."""
    fleet = make_fleet(snapshots, policy=policy)
    target = policy.target_tasks_per_agent
    known = in_state(fleet, SERVING, UNREACHABLE)
    assert fleet.replacement_tasks % target == 0
    assert fleet.replacement_tasks <= target * ceil(round(policy.max_replaced * known, 9))
    assert fleet.replacement_tasks <= target * (len(snapshots) - fleet.states[DRAINING])


@pytest.mark.slow
@given(ANY, st.integers(0, 11), st.integers(0, 40), st.integers(0, 40), POLICIES)
def test_more_work_never_means_less_demand(
    snapshots: list[AgentSnapshot], which: int, more: int, more_queued: int, policy: Policy
) -> None:
    """An agent with more to do raises demand or leaves it, and never frees a slot.

    What holds a scale-in back comes and goes with the need for it: there, the size an HPA chooses is what never falls.
    """
    assume(snapshots)
    which %= len(snapshots)
    reading = snapshots[which].reading
    assume(reading is not None)
    assert reading is not None
    busier = list(snapshots)
    busier[which] = replace(
        snapshots[which],
        reading=replace(
            reading,
            tasks_active=reading.tasks_active + more,
            # That a queue is reported at all says that nothing else waits, which may lower demand.
            tasks_queued=None if reading.tasks_queued is None else reading.tasks_queued + more_queued,
        ),
    )
    before, after = make_fleet(snapshots, policy=policy), make_fleet(busier, policy=policy)
    assert after.demand - after.scale_in.held_tasks >= before.demand - before.scale_in.held_tasks
    assert _size(after) >= _size(before)
    assert after.free_slots <= before.free_slots
    assert after.agents_saturated >= before.agents_saturated
    assert (after.states, after.capacity_tasks, after.coverage) == (
        before.states,
        before.capacity_tasks,
        before.coverage,
    )


def _size(fleet: Fleet) -> int:
    """Return the replicas an HPA makes of the demand: those there are, while they fit within its tolerance."""
    replicas = len(fleet.agents) - fleet.states[DRAINING]
    full = fleet.target_tasks_per_agent * replicas
    if abs(fleet.demand - full) <= TOLERANCE * full:
        return replicas
    return ceil(fleet.demand / fleet.target_tasks_per_agent)
