"""Every definition of what a fleet adds up to, by example."""

from dataclasses import asdict
from math import ceil
from typing import Any

import pytest

from exporter.config import CapacitySettings
from exporter.fleet.model import AgentState, AgentStatus
from exporter.fleet.policy import Policy, ScaleInPolicy
from exporter.fleet.scaler import Condition, Scaler
from tests.factories import POLICY, make_fleet, make_scaler, make_snapshot
from tests.fleet.alike import NOT_READY, agents, deleted, fleet

DRAINING, STARTING, UNREACHABLE = AgentState.DRAINING, AgentState.STARTING, AgentState.UNREACHABLE
STOPPED, DISCONNECTED, SERVING = AgentState.STOPPED, AgentState.DISCONNECTED, AgentState.SERVING
# -- what a fleet adds up to -------------------------------------------------------------------------------------------


def test_an_empty_fleet() -> None:
    """Nothing needs nothing, and that is known if its Deployment is scaled to 0: 0, not None."""
    off = make_scaler(active=Condition(False, "ScalingDisabled"), current_agents=0)
    result = make_fleet([], scalers=[off])
    assert (result.at_rest, result.withheld_reason) == (True, None)
    assert (result.capacity_tasks, result.tasks_active, result.tasks_queued, result.free_slots) == (0, 0.0, None, 0.0)
    assert (result.coverage, result.trusted, result.demand_tasks, result.desired_agents) == (1.0, True, 0.0, 0)
    assert (result.read_age, result.tasks_draining, result.held_tasks, result.replacement_tasks) == (None, 0, 0, 0)
    assert result.states == dict.fromkeys(AgentState, 0)
    assert result.agents == ()


@pytest.mark.parametrize("scalers", [None, (), (make_scaler(),), (make_scaler(min_agents=0),)])
def test_agents_that_are_gone_are_no_reason_to_shrink_a_fleet(scalers: tuple[Scaler, ...] | None) -> None:
    """Without pods there is no demand, but whether there should be any is unknown: no scaler gets the 0."""
    result = make_fleet([], scalers=scalers)
    assert (result.demand_tasks, result.desired_agents, result.demand_ahead_tasks) == (None, None, None)
    assert result.withheld_reason == "it has no agents, and it is unknown whether it needs any"
    assert (result.trusted, result.capacity_tasks, result.at_rest) == (True, 0, False)


def test_utilization_is_of_the_agents_that_give_slots() -> None:
    """Tasks on agents that lost the control plane or stop fill no slot of those that serve."""
    lost = (*agents(2, 20, connected=False), *agents(1, 15, status=0))
    result = fleet(agents(1, 10), lost)
    assert (result.tasks_active, result.tasks_serving, result.capacity_tasks) == (65.0, 10.0, 20)
    assert result.utilization == 0.5
    assert (fleet(lost).tasks_serving, fleet(lost).utilization) == (0.0, None)
    assert fleet(agents(1, 30)).utilization == 1.5, "interactive tasks come on top"
    blind = fleet(agents(2, 12, age=60.0))
    assert (blind.tasks_serving, blind.utilization) == (None, None)


def test_the_membership_is_known_while_discovery_is_current() -> None:
    """Whatever the agents say: what Kubernetes says is as old as the list of agents."""
    assert fleet(agents(1, 1), sync_age=POLICY.max_sync_age).membership_known
    assert not fleet(agents(1, 1), sync_age=POLICY.max_sync_age + 1).membership_known
    assert fleet(agents(2, 12, age=60.0)).membership_known


def test_a_healthy_fleet() -> None:
    """Three agents at work, one of them past its slots: every figure of the fleet."""
    result = fleet(agents(1, 12, queued=1.0), agents(1, 20, queued=0.0), agents(1, 25, queued=4.0), sync_age=3.0)
    assert (result.namespace, result.name) == ("matillion", "etl")
    assert (result.tasks_per_agent, result.target_tasks_per_agent) == (20, 16)
    assert result.states == dict.fromkeys(AgentState, 0) | {SERVING: 3}
    assert result.capacity_tasks == 60
    assert result.tasks_active == 57.0
    assert (result.tasks_serving, result.utilization) == (57.0, 57 / 60)
    assert result.tasks_queued == 5.0
    assert result.tasks_draining == 0.0
    assert result.free_slots == 8.0
    assert result.agents_saturated == 2
    assert (result.held_tasks, result.replacement_tasks) == (0.0, 0.0)
    assert result.demand_tasks == result.demand == 62.0
    assert result.desired_agents == 4
    assert (result.coverage, result.sync_age, result.read_age) == (1.0, 3.0, 1.0)
    assert (result.trusted, result.untrusted_reason) == (True, None)


def test_agents_are_sorted_by_pod_then_uid() -> None:
    """What a person and a series see does not jump about."""
    mixed = [make_snapshot(pod, uid=uid) for pod, uid in ("b3", "a5", "c1", "a4")]
    order = [(agent.snapshot.target.pod, agent.snapshot.target.uid) for agent in make_fleet(mixed).agents]
    assert order == [("a", "4"), ("a", "5"), ("b", "3"), ("c", "1")]


def test_capacity_and_free_slots_are_of_serving_agents_only() -> None:
    """A pod gives slots only while it takes work."""
    result = fleet(
        agents(2, 5),
        agents(1, 3, connected=False),
        agents(1, 3, status=AgentStatus.STOPPED),
        agents(1, 3, age=31.0),
        agents(1, 3, **deleted()),
        agents(1, 3, never_read=True, facts=NOT_READY),
    )
    assert result.states == dict.fromkeys(AgentState, 1) | {SERVING: 2}
    assert (result.capacity_tasks, result.free_slots, result.agents_saturated) == (40, 30.0, 0)


def test_saturation_counts_serving_agents_only() -> None:
    """An agent at its limit that takes no work is not what saturates a fleet."""
    assert fleet(agents(1, 20), agents(1, 20, connected=False), agents(1, 19.5)).agents_saturated == 1


def test_active_tasks_are_of_all_that_do_not_drain() -> None:
    """An agent cut off from the control plane still runs its tasks; a draining one's are counted apart."""
    result = fleet(
        agents(1, 5),
        agents(1, 3, connected=False),
        agents(1, 2, status=AgentStatus.STOPPED),
        agents(1, 7, **deleted()),
        agents(1, 9, status=AgentStatus.SHUTTING_DOWN),
        agents(1, 100, age=31.0),
    )
    assert (result.tasks_active, result.tasks_draining) == (19.0, 7.0)


def test_a_draining_agent_s_old_count_is_not_shown() -> None:
    """Tasks of a draining agent that is not seen are not known to be there any more."""
    assert fleet(agents(1, 7, age=31.0, **deleted())).tasks_draining == 0.0


@pytest.mark.parametrize("silent", [{"age": 31.0}, {"never_read": True}])
def test_active_tasks_are_unknown_when_no_agent_answers(silent: dict[str, Any]) -> None:
    """Agents should answer and none does: their sum is not 0."""
    assert fleet(agents(3, 5, **silent), agents(1, 4, **deleted())).tasks_active is None
    assert fleet(agents(3, 5, **silent), agents(1, 4)).tasks_active == 4.0


def test_active_tasks_are_none_at_all_where_no_agent_should_answer() -> None:
    """Pods that start or drain owe no answer, so 0 is the truth."""
    assert fleet(agents(2, never_read=True, facts=NOT_READY), agents(1, 4, **deleted())).tasks_active == 0.0


def test_queue_is_of_those_that_report_one() -> None:
    """Legacy agents say nothing of a queue; old readings count no more, nor does what waits at a draining agent."""
    assert fleet(agents(2, queued=None)).tasks_queued is None
    assert fleet(agents(2, queued=None), agents(1, queued=0.0)).tasks_queued == 0.0
    assert fleet(agents(2, queued=3.0), agents(1, queued=4.0, **deleted())).tasks_queued == 6.0
    assert fleet(agents(2, queued=None), agents(1, queued=9.0, age=31.0)).tasks_queued is None


def test_an_absent_queue_adds_nothing_to_demand() -> None:
    """A fleet of legacy agents has a demand."""
    assert fleet(agents(2, 5, queued=None)).demand_tasks == 10.0


def test_read_age_is_that_of_the_oldest_reading_that_counts() -> None:
    """The figures are as old as their oldest part; readings that do not count do not age them."""
    assert fleet(agents(1, age=2.0), agents(1, age=9.0), agents(1, age=500.0)).read_age == 9.0
    assert fleet(agents(1, age=500.0)).read_age is None


# -- demand and trust --------------------------------------------------------------------------------------------------


def test_demand_is_the_sum_of_its_four_parts() -> None:
    """Running, waiting, held and to be replaced; draining work is not the fleet's any more."""
    result = fleet(
        agents(4, 10, queued=1.0), agents(1, 7, age=31.0), agents(1, 3, connected=False), agents(1, 19, **deleted())
    )
    assert (result.tasks_active, result.tasks_queued, result.held_tasks) == (43.0, 4.0, 7.0)
    assert (result.replacement_tasks, result.tasks_draining) == (16.0, 19.0)
    assert result.demand_tasks == 70.0


@pytest.mark.parametrize(
    ("demand", "desired"), [(0.0, 0), (0.5, 1), (1.0, 1), (16.0, 1), (16.5, 2), (17.0, 2), (32.0, 2), (33.0, 3)]
)
def test_desired_agents_hold_the_demand_at_the_target(demand: float, desired: int) -> None:
    """Rounded up: one task over the target wants one more agent."""
    assert fleet(agents(1, demand)).desired_agents == desired


def test_counts_beyond_belief_still_add_up() -> None:
    """The highest count a page can give is still far from where floats end."""
    highest = 2.0**53 - 1
    assert fleet(agents(1000, highest)).desired_agents == ceil(1000 * highest / 16)


@pytest.mark.parametrize(
    ("answering", "silent", "coverage", "trusted"),
    [(4, 0, 1.0, True), (3, 1, 0.75, True), (2, 2, 0.5, True), (1, 2, 1 / 3, False), (0, 3, 0.0, False)],
)
def test_coverage_decides_trust(answering: int, silent: int, coverage: float, trusted: bool) -> None:
    """Half of the agents that should answer have to; what the rest do is a guess."""
    result = fleet(agents(answering, 10), agents(silent, 10, age=31.0))
    assert (result.coverage, result.trusted) == (coverage, trusted)


def test_pods_that_start_or_drain_owe_no_answer() -> None:
    """A rollout does not make a fleet untrusted."""
    result = fleet(
        agents(1, 10),
        agents(5, never_read=True, facts=NOT_READY),
        agents(5, 3, age=31.0, **deleted()),
        agents(1, 3, **deleted()),
    )
    assert (result.coverage, result.trusted) == (1.0, True)


def test_stopped_and_disconnected_agents_do_answer() -> None:
    """What they say is bad news, and it is known."""
    result = fleet(agents(1, 1, connected=False), agents(1, 1, status=AgentStatus.STOPPED))
    assert (result.coverage, result.trusted, result.tasks_active) == (1.0, True, 2.0)


def test_an_untrusted_fleet_s_demand_is_withheld_and_the_rest_is_shown() -> None:
    """No number at all for a scaler, and words for a person."""
    result = fleet(agents(1, 10), agents(2, 10, age=31.0))
    assert (result.demand_tasks, result.desired_agents) == (None, None)
    assert result.untrusted_reason == "only 1 of 3 agents respond, 50% are required"
    assert (result.demand, result.tasks_active, result.held_tasks, result.capacity_tasks) == (30.0, 10.0, 20.0, 20)


@pytest.mark.parametrize(("sync_age", "trusted"), [(0.0, True), (120.0, True), (120.5, False)])
def test_an_old_list_of_agents_is_not_trusted(sync_age: float, trusted: bool) -> None:
    """Who belongs to the fleet has to be known as well as what they do."""
    result = fleet(agents(2, 10), sync_age=sync_age)
    assert (result.trusted, result.demand_tasks) == (trusted, 20.0 if trusted else None)
    assert result.untrusted_reason == (None if trusted else "the list of agents is 120 s old, at most 120 s is allowed")


def test_every_reason_is_given() -> None:
    """Two things wrong are two things to say."""
    result = fleet(agents(1, 10, age=31.0), sync_age=500.0, policy=Policy(min_coverage=0.9, max_sync_age=60.0))
    assert result.untrusted_reason == (
        "only 0 of 1 agents respond, 90% are required; the list of agents is 500 s old, at most 60 s is allowed"
    )


def test_a_policy_may_trust_what_it_cannot_see() -> None:
    """With no coverage asked for, demand is what is held; the tasks that run are still not known."""
    result = fleet(agents(2, 10, age=31.0), policy=Policy(min_coverage=0.0))
    assert (result.demand_tasks, result.tasks_active) == (20.0, None)


def test_default_policy_is_that_of_the_settings() -> None:
    """The numbers that documentation and chart name."""
    assert Policy() == Policy(
        tasks_per_agent=20,
        target_tasks_per_agent=16,
        stale_after=30.0,
        forget_after=600.0,
        max_sync_age=120.0,
        min_coverage=0.5,
        unknown_agents="hold",
        max_replaced=0.25,
        saturation_growth=2.0,
        saturated_after=15.0,
        hold_rollouts=True,
        queue="per_agent",
        never_heard_after=900.0,
        scale_in=ScaleInPolicy(max_tasks=None, patience=1800.0),
    )
    assert asdict(Policy()) == CapacitySettings().model_dump()
    assert CapacitySettings().policy == Policy()
