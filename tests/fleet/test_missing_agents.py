"""What a fleet asks for in place of agents that cannot be seen, or are lost."""

from typing import Any

import pytest

from exporter.fleet.model import AgentStatus
from exporter.fleet.policy import Policy
from tests.factories import make_facts
from tests.fleet.alike import CRASHED, NOT_READY, agents, deleted, fleet

# -- agents that cannot be seen ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "held"), [(31.0, 14.0), (600.0, 14.0), (600.5, 16.0)], ids=["just stale", "last remembered", "forgotten"]
)
def test_hold_keeps_the_last_known_work_then_the_target(age: float, held: float) -> None:
    """Running and queued work as last said, until it is too old to mean anything."""
    assert fleet(agents(1, 11, queued=3.0, age=age)).held_tasks == held


def test_hold_does_not_need_a_queue() -> None:
    """A legacy agent's last known work is what it ran."""
    assert fleet(agents(1, 11, queued=None, age=31.0)).held_tasks == 11.0


def test_hold_takes_the_target_for_an_agent_never_seen() -> None:
    """Nothing is known of it but that it fills a replica."""
    assert fleet(agents(2, never_read=True)).held_tasks == 32.0


@pytest.mark.parametrize(("unknown", "held"), [("hold", 9.0 + 16.0), ("full", 40.0), ("ignore", 0.0)])
def test_unknown_agents_are_a_matter_of_policy(unknown: Any, held: float) -> None:
    """Held at the last known, taken for full, or left out."""
    result = fleet(agents(1, 9, age=31.0), agents(1, never_read=True), policy=Policy(unknown_agents=unknown))
    assert result.held_tasks == held


def test_only_unreachable_agents_are_held_where_the_queue_is_seen() -> None:
    """Nothing is held for what is seen, for what starts and for what drains."""
    result = fleet(
        agents(2, 9, queued=0.0),
        agents(1, 9, connected=False),
        agents(1, never_read=True, facts=NOT_READY),
        agents(1, 9, age=31.0, **deleted()),
    )
    assert result.held_tasks == 0.0


@pytest.mark.parametrize(
    ("slotless", "replaced"),
    [
        ({"never_read": True, "facts": NOT_READY}, 0),
        ({"connected": False}, 1),
        ({"status": AgentStatus.STOPPED}, 1),
        ({"never_read": True, "facts": make_facts(ready=False, waiting_reason=CRASHED)}, 1),
        ({"connected": False, "age": 31.0}, 1),
    ],
)
def test_pods_without_a_slot_are_kept_while_the_queue_is_unknown(slotless: dict[str, Any], replaced: int) -> None:
    """Work may wait for them, or none: they do not shrink the fleet, nor make it grow but for what is replaced."""
    policy = Policy(min_coverage=0.0)
    wanted = [
        fleet(agents(1, seen), agents(3, 0, **slotless), policy=policy).desired_agents for seen in (0, 16, 20, 60)
    ]
    assert wanted == [3, 4, 4, 4 + replaced]
    known = fleet(agents(1, 16, queued=0.0), agents(3, 0, **slotless), policy=policy)
    assert (known.held_tasks, known.desired_agents) == (0.0, 1 + replaced)


def test_a_fleet_without_its_control_plane_keeps_its_size() -> None:
    """All agents have lost it: what waits is seen by none of them, though they would report a queue."""
    result = fleet(agents(12, 5, queued=0.0, connected=False))
    assert (result.replacement_tasks, result.held_tasks, result.desired_agents) == (0.0, 12 * 11.0, 12)


def test_a_fleet_that_only_starts_keeps_its_size() -> None:
    """Its nodes were lost: new pods wait for new ones, and nobody can say for how much work."""
    result = fleet(agents(3, never_read=True, address=None))
    assert (result.trusted, result.held_tasks, result.desired_agents) == (True, 48.0, 3)


@pytest.mark.parametrize(
    ("tasks", "queued", "held"), [(10, 0.0, 16.0), (16, 0.0, 16.0), (20, 0.0, 4.0), (20, 4.0, 0.0)]
)
def test_an_agent_that_never_answered_makes_no_fleet_grow(tasks: float, queued: float, held: float) -> None:
    """It may only be slow to start, and what it came for be counted in the queue already."""
    assert fleet(agents(3, tasks, queued=queued), agents(1, never_read=True)).held_tasks == held


def test_numbers_of_the_policy_are_used() -> None:
    """Slots, target and forgetting come from the settings."""
    policy = Policy(tasks_per_agent=8, target_tasks_per_agent=5, forget_after=50.0, unknown_agents="full")
    result = fleet(agents(1, 8), agents(1, 3, age=51.0), policy=policy)
    assert (result.tasks_per_agent, result.target_tasks_per_agent, result.capacity_tasks) == (8, 5, 8)
    assert (result.agents_saturated, result.held_tasks, result.desired_agents) == (1, 8.0, 4)
    held = Policy(target_tasks_per_agent=5, forget_after=50.0)
    assert fleet(agents(1, 3, age=51.0), policy=held).held_tasks == 5.0


# -- agents that are lost ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lost",
    [
        {"connected": False},
        {"status": AgentStatus.STOPPED},
        {"status": AgentStatus.PENDING_SHUTDOWN},
        {"status": AgentStatus.SHUTTING_DOWN},
        {"facts": make_facts(ready=False, waiting_reason=CRASHED), "never_read": True},
        {"facts": make_facts(ready=False, waiting_reason=CRASHED), "age": 31.0},
        {"facts": make_facts(ready=False, waiting_reason=CRASHED)},
    ],
)
def test_a_lost_agent_is_replaced(lost: dict[str, Any]) -> None:
    """It fills a replica and gives no slot, so the scaler asks for one more; nothing is held for it besides."""
    result = fleet(agents(4, 10), agents(1, 0, **lost))
    assert (result.replacement_tasks, result.held_tasks, result.demand_tasks) == (16.0, 0.0, 56.0)


@pytest.mark.parametrize(
    "kept",
    [
        {"age": 31.0},
        {"never_read": True},
        {"facts": make_facts(ready=False, waiting_reason="ImagePullBackOff"), "never_read": True},
        {"facts": make_facts(draining_time=1.0, waiting_reason=CRASHED), "never_read": True},
        {"facts": make_facts(draining_time=1.0), "connected": False},
        {"facts": make_facts(draining_time=1.0), "status": AgentStatus.STOPPED},
    ],
)
def test_an_agent_that_is_not_lost_is_not_replaced(kept: dict[str, Any]) -> None:
    """Out of sight is not lost, and what drains is on its way out anyway."""
    assert fleet(agents(4, 10), agents(1, 0, **kept)).replacement_tasks == 0.0


@pytest.mark.parametrize(
    ("serving", "lost", "share", "replaced"),
    [
        (8, 1, 0.25, 1),
        (8, 2, 0.25, 2),
        (8, 3, 0.25, 2),
        (9, 9, 0.25, 3),
        (1, 5, 0.25, 1),
        (0, 5, 0.25, 0),
        (8, 5, 0.0, 0),
        (3, 5, 1.0, 3),
        (25, 9, 0.28, 7),
    ],
)
def test_replacement_is_bounded_by_those_that_serve(serving: int, lost: int, share: float, replaced: int) -> None:
    """A control plane that is down does not run the fleet up to its maximum."""
    policy = Policy(max_replaced=share)
    result = fleet(agents(serving, 10), agents(lost, 0, connected=False), policy=policy)
    assert result.replacement_tasks == 16.0 * replaced


def test_a_lost_agent_s_running_tasks_still_count() -> None:
    """What it was running when it lost the control plane, it still runs."""
    result = fleet(agents(4, 10), agents(1, 7, connected=False))
    assert (result.tasks_active, result.demand_tasks) == (47.0, 63.0)


@pytest.mark.parametrize("last", [{"connected": False}, {"status": AgentStatus.STOPPED}])
def test_a_lost_agent_that_goes_out_of_sight_is_still_lost(last: dict[str, Any]) -> None:
    """Losing sight of it lowers nothing: its tasks are held, its replacement stays, until it is forgotten."""
    seen = fleet(agents(4, 10), agents(1, 7, **last))
    unseen = fleet(agents(4, 10), agents(1, 7, age=600.0, **last))
    forgotten = fleet(agents(4, 10), agents(1, 7, age=600.5, **last))
    assert (unseen.tasks_active, unseen.held_tasks, unseen.replacement_tasks) == (40.0, 7.0, 16.0)
    assert unseen.demand_tasks == seen.demand_tasks == 63.0
    assert (forgotten.held_tasks, forgotten.replacement_tasks) == (16.0, 0.0)


def test_agents_out_of_sight_do_not_tighten_the_bound() -> None:
    """Replacing follows the agents that serve or were last seen to; it does not shrink because a scrape failed."""
    lost = agents(2, 0, connected=False)
    assert fleet(agents(5, 10), lost).replacement_tasks == 32.0
    assert fleet(agents(4, 10), agents(1, 10, age=31.0), lost).replacement_tasks == 32.0
    assert fleet(agents(4, 10), agents(1, 10, age=601.0), lost).replacement_tasks == 16.0
    assert fleet(agents(4, 10), agents(1, 10, age=31.0, connected=False), lost).replacement_tasks == 16.0


@pytest.mark.parametrize("unknown", ["full", "ignore"])
def test_other_policies_do_not_remember(unknown: Any) -> None:
    """Only `hold` reckons with what an agent was; the others say what to take an unseen one for."""
    policy = Policy(unknown_agents=unknown)
    lost = agents(1, 7, age=31.0, connected=False)
    assert fleet(agents(4, 10), lost, policy=policy).replacement_tasks == 0.0
    gone = agents(1, 10, age=31.0)
    assert fleet(agents(4, 10), gone, agents(2, 0, connected=False), policy=policy).replacement_tasks == 16.0


@pytest.mark.parametrize("unknown", ["hold", "full"])
def test_a_crashed_agent_s_last_words_count_for_nothing(unknown: Any) -> None:
    """Kubernetes knows that its process ended, and its tasks with it: it is lost, not out of sight."""
    crashed = agents(1, 10, age=31.0, facts=make_facts(waiting_reason=CRASHED))
    serving, lost = agents(4, 10, queued=0.0), agents(1, 0, connected=False)
    result = fleet(serving, crashed, lost, policy=Policy(unknown_agents=unknown))
    assert (result.held_tasks, result.replacement_tasks) == (0.0, 16.0)
