"""Sentences about what scales a fleet: its limits, its silence, and two at once."""

import pytest

from exporter.fleet.scaler import Condition, Scaler
from exporter.fleet.scaler_remarks import is_vendors, scaler_remarks
from tests.factories import make_fleet, make_reading, make_scaler, make_snapshot

FAILED = Condition(False, "FailedGetExternalMetric", "the metric cannot be had")


def said(*scalers: Scaler, tasks: float = 12.0, age: float = 1.0) -> list[str]:
    """Return what is said of a fleet of two agents with these scalers."""
    agents = [make_snapshot(f"a-{n}", reading=make_reading(tasks), age=age) for n in range(2)]
    return list(scaler_remarks(make_fleet(agents, scalers=scalers)))


def test_a_scaler_that_does_its_work_is_not_spoken_of() -> None:
    """Nor is one that nobody knows, or none."""
    assert said(make_scaler()) == said() == list(scaler_remarks(make_fleet(scalers=None))) == []


@pytest.mark.parametrize(("tasks", "wanted"), [(16.0, 2), (17.0, 3), (140.0, 18)])
def test_a_fleet_that_wants_more_than_the_maximum(tasks: float, wanted: int) -> None:
    """Once the demand takes more agents than the HPA asks for."""
    assert said(make_scaler(max_agents=2), tasks=tasks) == (
        [f"desires {wanted} agents, but its HPA etl-prod allows at most 2"] if wanted > 2 else []
    )


def test_an_untrusted_fleet_wants_nothing() -> None:
    """What is withheld from a scaler is not told by the way."""
    assert said(make_scaler(max_agents=1), age=60.0) == []


def test_an_hpa_that_is_at_its_maximum_by_itself() -> None:
    """By other metrics than this exporter's it may want more."""
    limited = Condition(True, "TooManyReplicas", "too many")
    assert said(make_scaler(limited=limited)) == ["its HPA etl-prod desires more than its maximum of 12 agents"]
    assert said(make_scaler(limited=Condition(True, "TooFewReplicas"))) == []
    assert said(make_scaler(limited=Condition(None, "TooManyReplicas"))) == []
    assert said(make_scaler(limited=None, max_agents=None), tasks=100.0) == []


def test_an_hpa_without_its_metrics() -> None:
    """It holds the fleet's size; why is in its own words."""
    [sentence] = said(make_scaler(active=FAILED))
    assert sentence == (
        "its HPA etl-prod is not active, so the fleet keeps its size: FailedGetExternalMetric: the metric cannot be had"
    )
    assert said(make_scaler(active=Condition(None, "Who"))) == said(make_scaler(active=None)) == []


def test_an_hpa_that_rests_by_design() -> None:
    """One whose Deployment was scaled to 0 is switched off, which is nobody's trouble."""
    assert said(make_scaler(active=Condition(False, "ScalingDisabled"), current_agents=0, desired_agents=0)) == []


def test_an_hpa_that_cannot_scale() -> None:
    """Then its metrics do not matter any more."""
    broken = make_scaler(able=Condition(False, "FailedUpdateScale", "forbidden"), active=FAILED)
    assert said(broken) == ["its HPA etl-prod cannot scale it: FailedUpdateScale: forbidden"]


def test_two_on_one_deployment() -> None:
    """Both are named, and what each goes by."""
    [sentence] = said(make_scaler("a"), make_scaler("b", metrics=()))
    assert sentence == (
        "2 HPAs scale the Deployment etl-prod-matillion-runner-app and conflict: "
        "a (by matillion_fleet_demand_tasks) and b (by no metric); remove all but one"
    )


def test_the_vendors_hpa_left_on_beside_another() -> None:
    """It is the one to switch off; alone it is as good as any."""
    vendors = make_scaler(
        "etl-prod-matillion-runner-hpa", metrics=("app_active_task_count", "app_active_request_count")
    )
    [sentence] = said(make_scaler(), vendors)
    assert sentence.endswith("; disable the vendor's etl-prod-matillion-runner-hpa")
    assert said(vendors) == []
    [sentence] = said(vendors, make_scaler("x-hpa", metrics=("cpu",)))
    assert sentence.endswith("; remove all but one")


def test_each_deployment_has_its_own() -> None:
    """One HPA each is not two on one."""
    assert said(make_scaler("a"), make_scaler("b", target="other"), make_scaler("c", target="third")) == []


@pytest.mark.parametrize(
    ("name", "metrics", "keda", "theirs"),
    [
        ("anything", ("app_active_task_count",), False, True),
        ("anything", ("matillion_agent_task_running",), False, True),
        ("etl-hpa", ("cpu",), False, True),
        ("etl-hpa", ("matillion_fleet_demand_tasks",), False, False),
        ("etl-hpa", ("s0-metric-api",), True, False),
        ("etl", ("cpu",), False, False),
    ],
)
def test_the_vendors_is_identified_by_its_metrics_or_its_name(
    name: str, metrics: tuple[str, ...], keda: bool, theirs: bool
) -> None:
    """A name alone does not make ours theirs."""
    assert is_vendors(make_scaler(name, metrics=metrics, keda=keda)) is theirs
