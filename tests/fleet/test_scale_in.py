"""A scale-in that removes only agents with little work: which agents keep their place, and for how long."""

from dataclasses import replace
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.model import AgentSnapshot, AgentState, Fleet, ScaleIn
from exporter.fleet.policy import Policy, ScaleInPolicy
from exporter.fleet.remarks import remarks
from exporter.fleet.scaling import TOLERANCE, hpa_agents
from tests.factories import NOW, POLICY, make_facts, make_fleet, make_reading, make_snapshot
from tests.fleet.test_capacity_properties import ANY, POLICIES, SYNC_AGES

G, T = POLICY.target_tasks_per_agent, POLICY.tasks_per_agent
PATIENCE = 1800.0
LIMITS = st.integers(0, 40)
HELD_FOR = st.one_of(st.none(), st.integers(0, 4000).map(float))
"""Since how many seconds the floor has been needed."""


def only(max_tasks: int | None, policy: Policy = POLICY, *, patience: float = PATIENCE) -> Policy:
    return replace(policy, scale_in=ScaleInPolicy(max_tasks=max_tasks, patience=patience))


def agents(*tasks: float, stem: str = "agent", **fields: Any) -> list[AgentSnapshot]:
    return [make_snapshot(f"{stem}-{number}", tasks_active=count, **fields) for number, count in enumerate(tasks)]


def of(*groups: list[AgentSnapshot], max_tasks: int | None = 4, held_for: float | None = None) -> Fleet:
    since = None if held_for is None else NOW - held_for
    return make_fleet([one for group in groups for one in group], policy=only(max_tasks), scale_in_since=since)


# -- which agents keep their place -------------------------------------------------------------------------------------


def test_demand_keeps_all_agents_but_the_light_ones() -> None:
    """Four of six run more than 4 tasks: the HPA gets the demand of four, not of two."""
    fleet = of(agents(5, 5, 6, 7, 4, 0))
    assert (fleet.demand_tasks, fleet.desired_agents, hpa_agents(fleet)) == (64.0, 4, 4)
    assert fleet.scale_in == ScaleIn(4, floor=64.0, held_tasks=37.0, since=NOW, seconds_left=PATIENCE)
    assert of(agents(5, 5, 6, 7, 4, 0), max_tasks=None).demand_tasks == 27.0


def test_a_demand_that_keeps_them_anyway_stays_as_it_is() -> None:
    """No scale-in is ahead: neither where the work fills the agents, nor within the HPA's tolerance."""
    full, tolerated, shrinking = (of(agents(*[count] * 20)) for count in (16, 14.5, 14))
    assert (full.demand_tasks, full.scale_in.since) == (320.0, None)
    assert (tolerated.demand_tasks, tolerated.scale_in.since) == (290.0, None)
    assert (shrinking.demand_tasks, shrinking.scale_in.since) == (320.0, NOW)


@pytest.mark.parametrize(
    "pod",
    [
        make_snapshot("x", never_read=True, address=None, facts=make_facts(ready=False)),
        make_snapshot("x", never_read=True, facts=make_facts(waiting_reason="CrashLoopBackOff")),
        make_snapshot("x", reading=make_reading(0, status=0)),
        make_snapshot("x", reading=make_reading(3, connected=False)),
        make_snapshot("x", reading=make_reading(16), facts=make_facts(draining_time=1.0)),
    ],
    ids=["starting", "crash looping", "stopped", "disconnected", "draining"],
)
def test_a_pod_that_runs_little_or_nothing_keeps_no_place(pod: AgentSnapshot) -> None:
    """Whatever its state; one that is being deleted is no replica any more."""
    assert of(agents(5, 5, 5, 0), [pod]).desired_agents == 3


@pytest.mark.parametrize(
    "pod",
    [
        make_snapshot("x", tasks_active=0, age=60.0),
        make_snapshot("x", never_read=True, facts=make_facts()),
        make_snapshot("x", reading=make_reading(9, connected=False)),
        make_snapshot("x", reading=make_reading(9, status=2)),
    ],
    ids=["unreachable", "never read", "disconnected", "shutting down"],
)
def test_a_pod_that_may_run_more_keeps_its_place(pod: AgentSnapshot) -> None:
    """It is not known to be light: what an unreachable agent runs by now is unknown."""
    assert of(agents(5, 5, 5, 0), [pod]).scale_in.floor == 4 * G


def test_an_agent_that_is_excluded_from_all_figures_keeps_no_place() -> None:
    """It never responded for longer than an agent takes to start, while others do."""
    silent = make_snapshot("x", never_read=True, facts=make_facts())
    silent = replace(silent, since=replace(silent.since, known=NOW - 901.0))
    assert of(agents(5, 5, 5, 0), [silent]).scale_in.floor == 3 * G


def test_a_rollouts_surge_asks_for_no_agent() -> None:
    """Of eight replicas six old pods are left beside four new ones, all with work: never more than eight are kept."""
    old = agents(*[5.0] * 6, facts=make_facts(template="old"))
    new = agents(*[5.0] * 4, stem="new", facts=make_facts(template="new"))
    assert of(old, new).scale_in.floor == 6 * G
    assert of(old, agents(5, 5, 0, 0, stem="new", facts=make_facts(template="new"))).desired_agents == 6


# -- for how long ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("held_for", "demand", "left"), [(0, 64.0, 1800.0), (1799, 64.0, 1.0), (1800, 25.0, 0.0)])
def test_the_floor_ends_after_the_patience(held_for: float, demand: float, left: float) -> None:
    """And is not begun again while it is still needed."""
    fleet = of(agents(5, 5, 6, 7, 1, 1), held_for=held_for)
    assert (fleet.demand_tasks, fleet.scale_in.seconds_left) == (demand, left)
    assert fleet.scale_in.since == NOW - held_for


def test_the_floor_holds_again_once_it_was_not_needed() -> None:
    """Work has come, or the agents are gone: the next scale-in is waited for as long as the first."""
    assert of(agents(16, 16, 16, 16, 1, 1), held_for=5000).scale_in.since is None
    assert of(agents(12, 13), held_for=5000).scale_in.since is None


def test_the_patience_does_not_pass_where_no_autoscaler_gets_the_demand() -> None:
    """A fleet that is not trusted: what was remembered stays, what is needed now is not begun."""
    unseen = agents(*[5.0] * 5, age=60.0)
    assert of(unseen).scale_in.since is None
    assert of(unseen, held_for=60.0).scale_in.since == NOW - 60.0
    assert not of(unseen).trusted


@pytest.mark.parametrize(("max_tasks", "words"), [(0, "a task"), (1, "more than 1 task"), (4, "more than 4 tasks")])
def test_the_remark_names_what_holds_the_demand(max_tasks: int, words: str) -> None:
    """With the time that is left."""
    (remark,) = remarks(of(agents(5, 5, 6, 7, 0, 0), max_tasks=max_tasks, held_for=1080.0))
    assert remark == f"demand is held at 64 so that no agent with {words} is removed, for 12 min more at most"
    assert remarks(of(agents(5, 5, 6, 7, 0, 0), held_for=1800.0)) == ()


# -- whatever the agents are up to -------------------------------------------------------------------------------------


def judged(
    snapshots: list[AgentSnapshot], policy: Policy, held_for: float | None = None, sync_age: float = 0.0
) -> Fleet:
    since = None if held_for is None else NOW - held_for
    return make_fleet(snapshots, policy=policy, sync_age=sync_age, scale_in_since=since)


@given(ANY, POLICIES, HELD_FOR, SYNC_AGES)
def test_without_a_limit_nothing_changes(
    snapshots: list[AgentSnapshot], policy: Policy, held_for: float | None, sync_age: float
) -> None:
    """The demand is the sum of its parts as before, whatever was remembered."""
    fleet = judged(snapshots, only(None, policy), held_for, sync_age)
    parts = fleet.held_tasks + fleet.replacement_tasks + fleet.unseen_queue_tasks + (fleet.tasks_queued or 0.0)
    assert fleet.demand == (fleet.tasks_active or 0.0) + parts
    assert (fleet.scale_in.floor, fleet.scale_in.held_tasks) == (0.0, 0.0)


@given(ANY, POLICIES, LIMITS, HELD_FOR, SYNC_AGES)
def test_only_the_demand_is_raised_and_no_fleet_grows(
    snapshots: list[AgentSnapshot], policy: Policy, limit: int, held_for: float | None, sync_age: float
) -> None:
    """All other figures stay; the agents asked for because of the floor are there already; withheld stays withheld."""
    without = judged(snapshots, only(None, policy), held_for, sync_age)
    fleet = judged(snapshots, only(limit, policy), held_for, sync_age)
    assert replace(fleet, scale_in=without.scale_in, demand=without.demand) == without
    assert fleet.demand == without.demand + fleet.scale_in.held_tasks
    assert (fleet.demand_tasks is None) == (without.demand_tasks is None)
    members = len(snapshots) - fleet.states[AgentState.DRAINING]
    target = policy.target_tasks_per_agent
    if fleet.scale_in.held_tasks:
        assert ceil(without.demand / target) < ceil(fleet.demand / target) <= members
        assert without.demand < (1 - TOLERANCE) * target * members


@given(ANY, POLICIES, LIMITS, LIMITS)
def test_a_higher_limit_asks_for_no_more(snapshots: list[AgentSnapshot], policy: Policy, limit: int, more: int) -> None:
    """The more tasks an agent may be removed with, the lower the demand."""
    lower, higher = (judged(snapshots, only(least, policy)).demand for least in (limit, limit + more))
    assert higher <= lower


@given(ANY, POLICIES, LIMITS, HELD_FOR)
def test_a_floor_is_bounded_by_the_patience(
    snapshots: list[AgentSnapshot], policy: Policy, limit: int, held_for: float | None
) -> None:
    """Held only within it, and remembered from the first moment on."""
    fleet = judged(snapshots, only(limit, policy), held_for)
    if fleet.scale_in.held_tasks:
        assert held_for is None or held_for < PATIENCE
        assert fleet.scale_in.seconds_left == PATIENCE - (held_for or 0.0)
    if fleet.scale_in.since is not None and fleet.trusted:
        assert fleet.scale_in.since == NOW - (held_for or 0.0)


@given(st.lists(st.integers(0, T), min_size=1, max_size=20), st.integers(0, T))
def test_an_hpa_removes_no_more_agents_than_are_light(loads: list[int], limit: int) -> None:
    """Within the patience, of a fleet without a rollout that is seen as a whole."""
    fleet = make_fleet(agents(*map(float, loads)), policy=only(limit))
    settled = hpa_agents(fleet)
    assert settled is not None
    assert settled >= sum(load > limit for load in loads)
