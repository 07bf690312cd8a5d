"""The simulated HPA controller against what Kubernetes documents of the real one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.simulation.hpa import FAST, VENDOR, Autoscaler, MetricError, Policy, Rules, Spec, external, per_pod

FREE = Spec(
    least=1,
    most=100,
    up=Rules(window=0.0, policies=(Policy("Percent", 900, 15.0),)),
    down=Rules(window=0.0, policies=(Policy("Percent", 100, 15.0),)),
)
"""No limits of pace and no windows."""


class Wishes:
    """A metric that proposes what the test says; None fails."""

    def __init__(self, wish: int | None = None) -> None:
        self.wish = wish

    def __call__(self, _replicas: int) -> int:
        if self.wish is None:
            raise MetricError("no answer")
        return self.wish


def follow(spec: Spec, replicas: int, wishes: list[int | None], *, interval: float = 15.0) -> list[int]:
    """Return the replicas after each look."""
    metric = Wishes()
    scaler = Autoscaler(spec, [metric])
    seen = []
    for look, wish in enumerate(wishes):
        metric.wish = wish
        replicas = scaler.look(look * interval, replicas)
        seen.append(replicas)
    return seen


@pytest.mark.parametrize(
    ("total", "replicas", "proposal"),
    [(64, 4, 4), (70, 4, 4), (70.5, 4, 5), (58, 4, 4), (57, 4, 4), (48, 4, 3), (0, 4, 0), (200, 4, 13)],
)
def test_an_external_metric_is_divided_by_the_target(total: float, replicas: int, proposal: int) -> None:
    """Rounded up; within a tenth of the target nothing changes."""
    assert external(total, 16.0, replicas) == proposal


@pytest.mark.parametrize(
    ("values", "pods", "unready", "proposal"),
    [
        pytest.param({1: 16.0, 2: 16.0}, [1, 2], 0, 2, id="on target"),
        pytest.param({1: 20.0, 2: 20.0}, [1, 2], 0, 3, id="above"),
        pytest.param({1: 4.0, 2: 4.0}, [1, 2], 0, 1, id="below"),
        pytest.param({1: 20.0, 2: 20.0}, [1, 2], 1, 3, id="above, and one on its way"),
        pytest.param({1: 20.0}, [1, 2], 0, 2, id="one without a value asks for no more"),
        pytest.param({1: 4.0}, [1, 2], 0, 2, id="nor for fewer than if it were on target"),
        pytest.param({1: 0.0, 2: 0.0, 3: 0.0}, [1, 2, 3, 4], 0, 1, id="the others do without it"),
        pytest.param({1: 16.0, 2: 16.0, 9: 0.0}, [1, 2], 0, 2, id="a pod that is being deleted does not count"),
    ],
)
def test_a_metric_of_each_pod_is_averaged(
    values: dict[int, float], pods: list[int], unready: int, proposal: int
) -> None:
    """Pods without a value count against the change, and never turn its direction."""
    assert per_pod(values, pods, 16.0, len(pods) + unready, unready=unready) == proposal


def test_a_metric_of_no_pod_is_an_error() -> None:
    """Nothing can be concluded from it."""
    with pytest.raises(MetricError):
        per_pod({}, [1, 2], 16.0, 2)


def test_an_error_changes_nothing() -> None:
    """The replicas stay, and what was wanted before is not wanted because of it."""
    assert follow(FREE, 5, [None, None, 9, None, 3]) == [5, 5, 9, 9, 3]


def test_with_one_metric_failing_the_others_only_scale_up() -> None:
    """A metric that cannot be had might have asked for what there is."""
    lower, higher, failing = Wishes(2), Wishes(7), Wishes()
    assert Autoscaler(FREE, [lower, failing]).look(0.0, 5) == 5
    assert Autoscaler(FREE, [higher, failing]).look(0.0, 5) == 7
    assert Autoscaler(FREE, [lower, higher]).look(0.0, 5) == 7


def test_growth_is_limited_by_the_policy_that_allows_most() -> None:
    """Ten pods or twice as many in 15 s, whichever is more."""
    assert follow(FAST, 2, [50, 50, 50]) == [12, 24, 48]


def test_shrinking_waits_for_the_window_and_keeps_its_pace() -> None:
    """The highest wish of 300 s counts; then a fifth a minute, at least one."""
    seen = follow(FAST, 10, [10, *[4] * 60])
    assert set(seen[:20]) == {10}
    assert seen[20:33:4] == [8, 6, 4, 4]


def test_a_former_wish_for_more_makes_nothing_grow() -> None:
    """The window of a scale-down keeps what there is; only the present wish may ask for more."""
    assert follow(VENDOR, 4, [10, 3, 3, 3, 3]) == [5, 5, 5, 5, 5]


def test_errors_empty_the_window() -> None:
    """It holds recommendations, and an error is none: after 300 s of errors the first wish counts alone."""
    assert follow(FAST, 10, [10, *[None] * 20, 5])[-1] == 8
    assert follow(FAST, 10, [10, *[None] * 10, 5])[-1] == 10


def test_the_vendors_pace() -> None:
    """One more in half a minute."""
    assert follow(VENDOR, 4, [10] * 5) == [5, 5, 6, 6, 7]


def test_the_bounds_hold_without_a_metric() -> None:
    """Outside of them the HPA does not even look."""
    assert follow(FAST, 1, [None]) == [2]
    assert follow(FAST, 60, [None]) == [50]
    assert follow(FAST, 0, [9]) == [0]


@given(st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=60), st.integers(2, 50))
def test_it_never_goes_beyond_the_wishes_of_the_window(wishes: list[int | None], replicas: int) -> None:
    """Replicas lie between what there was and what was wanted within 300 s, and within the bounds."""
    before = replicas
    for look, after in enumerate(follow(FAST, replicas, wishes)):
        recent = [wish for wish in wishes[max(0, look - 19) : look + 1] if wish is not None]
        assert 2 <= after <= 50
        if wishes[look] is None:
            assert after == before
        else:
            assert min(before, max(*recent, 2, 2)) <= after <= max(before, *recent)
        before = after
