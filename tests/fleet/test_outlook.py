"""What a forecast does to a fleet's figures: it can only add, and it is withheld exactly when the demand is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.model import Fleet
from exporter.fleet.scaling import hpa_agents
from exporter.web.documents import fleet_document
from tests.factories import make_fleet, make_outlook, make_reading, make_scaler, make_snapshot


def fleet_with(forecast: int | None, *, active: float = 30.0, responding: bool = True) -> Fleet:
    """Return a fleet of two agents with so many tasks, and what its past says."""
    age = 1.0 if responding else 3600.0
    snapshots = [make_snapshot(pod, reading=make_reading(active / 2), age=age) for pod in ("a", "b")]
    withheld = None if forecast is not None else "1 day of history, at least 3 are needed"
    return make_fleet(snapshots, outlook=make_outlook(forecast, reason=withheld))


@pytest.mark.parametrize(("forecast", "ahead"), [(None, 30), (0, 30), (29, 30), (30, 30), (31, 31), (400, 400)])
def test_a_forecast_only_adds(forecast: int | None, ahead: float) -> None:
    """The demand ahead is the greater of both; without a forecast it is the demand."""
    fleet = fleet_with(forecast)
    assert (fleet.demand_tasks, fleet.demand_ahead_tasks, fleet.forecast_tasks) == (30, ahead, forecast)


def test_without_the_setting_it_is_the_demand() -> None:
    """An autoscaler that follows the demand ahead keeps working when the forecast is disabled."""
    fleet = make_fleet([make_snapshot(reading=make_reading(7))])
    assert (fleet.forecast_tasks, fleet.demand_ahead_tasks) == (None, 7)
    assert fleet_document(fleet)["forecast"] is None


@given(st.none() | st.integers(0, 10_000), st.floats(0, 5000), st.booleans())
def test_it_is_withheld_exactly_when_the_demand_is(forecast: int | None, active: float, responding: bool) -> None:
    """Never below the demand, and never a number where the fleet is not trusted."""
    fleet = fleet_with(forecast, active=active, responding=responding)
    assert (fleet.demand_ahead_tasks is None) == (fleet.demand_tasks is None) == (not fleet.trusted)
    if fleet.demand_ahead_tasks is not None and fleet.demand_tasks is not None:
        assert fleet.demand_ahead_tasks >= fleet.demand_tasks
        assert fleet.demand_ahead_tasks == max(fleet.demand_tasks, forecast or 0)


def test_an_hpa_on_the_demand_ahead_settles_at_it() -> None:
    """With the other metric, its number of agents is that of the demand."""
    outlook = make_outlook(100)
    ahead = make_scaler(metrics=("matillion_fleet_demand_ahead_tasks",))
    assert hpa_agents(make_fleet(scalers=[ahead], outlook=outlook)) == 7
    assert hpa_agents(make_fleet(scalers=[make_scaler()], outlook=outlook)) == 2


def test_json_has_the_reason() -> None:
    """A forecast that is withheld is null, beside the sentence that states why."""
    shown = fleet_document(fleet_with(None))["forecast"]
    assert isinstance(shown, dict)
    assert shown["tasks"] is None
    assert shown["withheld_reason"] == "1 day of history, at least 3 are needed"
