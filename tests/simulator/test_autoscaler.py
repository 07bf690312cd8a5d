"""The autoscaler's arithmetic, on a clock of the tests."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exporter.simulator.autoscaler import Autoscaler, ScalingPolicy

POLICY = ScalingPolicy(min_replicas=2, max_replicas=12)
TARGET = 16.0


def run(demands: list[float], replicas: int = 4, interval: float = 15.0) -> list[int]:
    scaler = Autoscaler(POLICY)
    seen = []
    for look, demand in enumerate(demands):
        replicas = scaler.decide(look * interval, replicas, demand, TARGET).replicas
        seen.append(replicas)
    return seen


def test_a_load_near_the_target_changes_nothing() -> None:
    """Within a tenth of the target, up or down."""
    assert run([70.0]) == [4]
    assert run([58.0]) == [4]


def test_more_work_adds_an_agent_at_once_and_then_one_per_half_minute() -> None:
    """No window upwards, and the vendor's pace."""
    assert run([160.0] * 9) == [5, 5, 6, 6, 7, 7, 8, 8, 9]


def test_scaling_up_ends_at_what_the_demand_takes() -> None:
    """The ceiling of demand over target, unless that is within the tolerance."""
    assert run([89.0] * 20)[-1] == 6
    assert run([81.0] * 20)[-1] == 5


def test_less_work_removes_agents_only_after_the_window_and_slowly() -> None:
    """Three minutes of lower demand first, then one agent a minute."""
    seen = run([112.0] + [20.0] * 40, replicas=7)
    first = seen.index(6)
    assert first * 15 > POLICY.down_window
    assert seen[first : first + 9] == [6, 6, 6, 6, 5, 5, 5, 5, 4]


def test_a_short_dip_removes_nothing() -> None:
    """One higher wish within the window holds the fleet."""
    assert set(run([112.0, *[20.0] * 10, 112.0, *[20.0] * 10], replicas=7)) == {7}


def test_a_dip_in_the_middle_of_growth_does_not_stop_it_later() -> None:
    """Growth is measured against the newest demand only."""
    assert run([160.0, 64.0, 160.0, 160.0], replicas=4) == [5, 5, 6, 6]


def test_the_fleet_stays_within_its_bounds() -> None:
    """Never fewer than two, never more than the maximum."""
    assert run([0.0] * 60)[-1] == 2
    assert run([10_000.0] * 60)[-1] == 12


def test_the_reason_names_what_holds_it_back() -> None:
    """A person can follow each decision."""
    scaler = Autoscaler(POLICY)
    assert scaler.decide(0, 4, 160.0, TARGET).reason == "160 tasks at 16 each take 10 agents; 1 more per 30 s"
    assert (
        scaler.decide(15, 5, 20.0, TARGET).reason
        == "20 tasks at 16 each take 2 agents; 5 were desired within the last 180 s"
    )
    assert scaler.decide(30, 12, 400.0, TARGET).reason.endswith("stays between 2 and 12")


@given(
    st.lists(st.floats(0, 1000, allow_nan=False), min_size=1, max_size=80),
    st.integers(2, 12),
)
def test_pace_and_bounds_hold_whatever_the_demand(demands: list[float], replicas: int) -> None:
    """At most one agent more in half a minute, at most one fewer in a minute, always within bounds."""
    seen = [replicas, *run(demands, replicas)]
    assert all(2 <= count <= 12 for count in seen)
    steps = [later - earlier for earlier, later in pairwise(seen)]
    for index in range(len(steps)):
        assert sum(step for step in steps[index : index + 2] if step > 0) <= 1
        assert sum(-step for step in steps[index : index + 4] if step < 0) <= 1
