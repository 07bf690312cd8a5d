"""What an HPA makes of a fleet's demand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.policy import Policy
from exporter.fleet.scaler import Condition
from exporter.fleet.scaling import hpa_agents
from tests.factories import make_facts, make_fleet, make_reading, make_scaler, make_snapshot


def settles_at(demand: float, there: int, *scalers: Any, known: bool = True, draining: int = 0) -> int | None:
    """Return where a fleet of `there` agents with that demand settles."""
    agents = [make_snapshot(f"a{i}", tasks_active=demand / there) for i in range(there)]
    drains = [make_snapshot(f"d{i}", facts=make_facts(draining_time=1.0)) for i in range(draining)]
    return hpa_agents(make_fleet([*agents, *drains], scalers=scalers if known else None))


@pytest.mark.parametrize(
    ("demand", "there", "settles"),
    [
        (48.0, 3, 3),
        (52.0, 3, 3),  # four agents would hold it at the target; within the tolerance three do
        (53.0, 3, 4),
        (44.0, 3, 3),
        (43.0, 3, 3),  # 43 / 48 is out of the tolerance, and takes three
        (31.0, 3, 2),
        (206.0, 4, 13),
    ],
)
def test_it_stays_within_its_tolerance_and_goes_to_what_the_work_takes_beyond(
    demand: float, there: int, settles: int
) -> None:
    """Ten percent around the target change nothing."""
    assert settles_at(demand, there, known=False) == settles
    assert settles_at(demand, there, make_scaler(min_agents=1, max_agents=50, current_agents=there)) == settles


def test_it_keeps_between_its_minimum_and_its_maximum() -> None:
    """And says nothing of the pace at which it gets there."""
    assert settles_at(0.0, 3, make_scaler(min_agents=2, max_agents=12, current_agents=3)) == 2
    assert settles_at(300.0, 3, make_scaler(min_agents=2, max_agents=12, current_agents=3)) == 12
    assert settles_at(300.0, 3, make_scaler(min_agents=None, max_agents=None, current_agents=None)) == 19


def test_a_tolerance_of_its_own_counts() -> None:
    """Kubernetes 1.35 has one in the HPA's behaviour."""
    assert settles_at(52.0, 3, make_scaler(tolerance_up=0.05, current_agents=3)) == 4
    assert settles_at(36.0, 3, make_scaler(tolerance_down=0.3, current_agents=3)) == 3
    assert settles_at(32.0, 3, make_scaler(tolerance_down=0.3, current_agents=3)) == 2


def test_draining_agents_are_none_of_its_replicas() -> None:
    """They have left the Deployment."""
    assert settles_at(52.0, 3, known=False, draining=5) == 3


@pytest.mark.parametrize(
    "scalers",
    [
        (make_scaler("one"), make_scaler("two")),
        (make_scaler("etl-hpa", metrics=("app_active_task_count",)),),
        (),
    ],
    ids=["two", "the vendor's", "none"],
)
def test_other_scalers_are_not_predicted(scalers: tuple[Any, ...]) -> None:
    """Nothing is known of where it ends."""
    assert settles_at(48.0, 3, *scalers) is None


def test_without_a_demand_there_is_no_answer() -> None:
    """An HPA that gets an error stands still, but where nobody can say."""
    assert hpa_agents(make_fleet([make_snapshot(age=60)])) is None


def test_a_fleet_without_agents_needs_none_while_it_rests() -> None:
    """There is nothing to divide by. If its agents may be missing, nothing is said."""
    off = Condition(False, "ScalingDisabled")
    assert hpa_agents(make_fleet([], scalers=[make_scaler(active=off, current_agents=0, min_agents=None)])) == 0
    assert hpa_agents(make_fleet([])) is None


def with_queue(there: int, queued: int, target: int) -> int | None:
    """Return where a fleet settles whose agents are all full while so many tasks wait."""
    share, rest = divmod(queued, there)
    agents = [
        make_snapshot(f"a{i}", reading=make_reading(20.0, tasks_queued=float(share + (i < rest)))) for i in range(there)
    ]
    return hpa_agents(make_fleet(agents, policy=Policy(target_tasks_per_agent=target)))


@pytest.mark.parametrize(("there", "queued", "needed"), [(2, 2, 3), (50, 99, 62)])
def test_targets_above_eighteen_leave_a_queue_for_ever(there: int, queued: int, needed: int) -> None:
    """It is within the tolerance, so nothing grows; measured so on a real HPA. The settings refuse such a target."""
    assert with_queue(there, queued, target=20) == there
    assert with_queue(there, queued, target=18) == needed


@given(st.integers(1, 200), st.integers(1, 500), st.integers(1, 18))
def test_no_queue_waits_for_ever_at_a_target_that_is_allowed(there: int, queued: int, target: int) -> None:
    """Full agents and one task that waits: the fleet grows."""
    settles = with_queue(there, queued, target)
    assert settles is not None
    assert settles > there
