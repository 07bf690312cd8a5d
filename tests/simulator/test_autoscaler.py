"""The demo's autoscaler: the simulated HPA at the vendor's pace, and its decisions in words."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from exporter.simulation.hpa import FAST, Autoscaler, Spec, external
from exporter.simulator.followers import in_words
from exporter.simulator.stage import SPEC

TARGET = 16.0


class Demand:
    """An HPA that follows a demand which the test sets."""

    def __init__(self, spec: Spec = SPEC) -> None:
        self.spec = spec
        self.value = 0.0
        self.scaler = Autoscaler(spec, [lambda replicas: external(self.value, TARGET, replicas)])

    def look(self, now: float, replicas: int, value: float) -> int:
        self.value = value
        return self.scaler.look(now, replicas)

    def reason(self, now: float, replicas: int, value: float) -> str:
        self.value = value
        return in_words(self.scaler.decide(now, replicas), self.spec, replicas, value, TARGET)


def run(demands: list[float], replicas: int = 4, interval: float = 15.0) -> list[int]:
    demand, seen = Demand(), []
    for look, value in enumerate(demands):
        replicas = demand.look(look * interval, replicas, value)
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
    assert first * 15 == SPEC.down.window
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
    demand = Demand()
    assert demand.reason(0, 4, 160.0) == "160 tasks at 16 each take 10 agents; 1 more per 30 s"
    assert demand.reason(15, 5, 20.0) == "20 tasks at 16 each take 2 agents; 5 were desired within the last 180 s"
    assert demand.reason(30, 12, 400.0).endswith("take 25 agents; stays between 2 and 12")
    assert demand.reason(45, 4, 70.0).startswith("70 tasks on 4 agents are within 10% of 16 each")
    assert demand.reason(60, 13, 400.0) == "stays between 2 and 12"
    assert demand.reason(600, 6, 20.0) == "20 tasks at 16 each take 2 agents; 1 fewer per 60 s"


def test_the_reason_names_every_policy_of_the_pace() -> None:
    """The one that allows most counts, so both are named."""
    assert Demand(FAST).reason(0, 4, 640.0).endswith("take 40 agents; 100% more per 15 s or 10 more per 15 s")


def test_what_was_removed_may_come_back_beside_the_next() -> None:
    """The pace counts from the replicas at the begin of its period, as the controller does."""
    assert run([112.0, *[20.0] * 12, 160.0, 160.0], replicas=7)[-4:] == [7, 6, 8, 8]


@given(
    st.lists(st.sampled_from([0.0, 20.0, 100.0, 1000.0]).flatmap(lambda one: st.lists(st.just(one), max_size=20))).map(
        lambda parts: [demand for part in parts for demand in part]
    ),
    st.integers(2, 12),
)
def test_pace_and_bounds_hold_whatever_the_demand(demands: list[float], replicas: int) -> None:
    """At most one more than half a minute ago, at most one fewer than a minute ago, always within bounds."""
    seen = [replicas, *run(demands, replicas)]
    assert all(2 <= count <= 12 for count in seen)
    for look, (before, after) in enumerate(pairwise(seen)):
        assert after <= max(before, seen[max(0, look - 1)] + 1)
        assert after >= min(before, seen[max(0, look - 3)] - 1)
