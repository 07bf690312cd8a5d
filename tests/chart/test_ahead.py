"""Scaling ahead of the work: which metric the autoscalers follow, and what the forecast needs of the cluster."""

from typing import Any

import pytest

from tests.chart.rendering import Chart

pytestmark = pytest.mark.slow

FLEET = {"name": "etl", "namespace": "matillion", "deployment": "etl-runner", "min": 2, "max": 5}
FORECAST = {"config__forecast__enabled": True, "autoscaling__ahead": True, "autoscaling__fleets": [FLEET]}
CLOUDWATCH = {
    "config__cloudwatch__enabled": True,
    "config__cloudwatch__region": "eu-west-1",
    "config__cluster": "prod",
    "autoscaling__mode": "kedaCloudWatch",
}
WITH_METRIC = {"config__cloudwatch__metrics": ["default", "DemandAheadTasks"]}


def test_the_hpa_follows_the_demand_ahead(chart: Chart) -> None:
    """Everything else about it is as without a forecast."""
    given = {"config__external_metrics__enabled": True, "autoscaling__mode": "externalMetrics"}
    [metric] = chart.objects(**FORECAST, **given).one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["external"]["metric"]["name"] == "matillion_fleet_demand_ahead_tasks"
    [behind] = chart.objects(autoscaling__fleets=[FLEET], **given).one("HorizontalPodAutoscaler")["spec"]["metrics"]
    behind["external"]["metric"]["name"] = "matillion_fleet_demand_ahead_tasks"
    assert metric == behind


def test_keda_follows_the_demand_ahead(chart: Chart) -> None:
    """Both triggers have the figure with the forecast."""
    objects = chart.objects(**FORECAST, autoscaling__mode="kedaMetricsApi")
    [trigger] = objects.one("ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["url"].endswith("/api/v1/fleets/matillion/etl/demand-ahead")
    [trigger] = chart.objects(**FORECAST, **CLOUDWATCH, **WITH_METRIC).one("ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"]["metricName"] == "DemandAheadTasks"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"autoscaling__ahead": True},
            (
                "autoscaling.ahead: nothing is forecast, so it would only follow demand; set config.forecast.enabled "
                "to true, or autoscaling.ahead to false"
            ),
        ),
        (
            {**FORECAST, **CLOUDWATCH},
            (
                "autoscaling.ahead with the mode kedaCloudWatch: DemandAheadTasks would not be published; add it to "
                "config.cloudwatch.metrics, such as [default, DemandAheadTasks]"
            ),
        ),
        (
            {"config__forecast__enabled": True, "config__forecast__source": "prometheus"},
            "config.forecast.source is prometheus: the past is read from there; set config.forecast.prometheus_url",
        ),
        (
            {"config__forecast__enabled": True, "config__forecast__source": "cloudwatch"},
            (
                "config.forecast.source is cloudwatch: the past is read from what is published; set "
                "config.cloudwatch.enabled to true"
            ),
        ),
        (
            {"config__forecast__enabled": True, "config__leader_election__enabled": False, "replicaCount": 2},
            (
                "replicaCount is 2 without config.leader_election.enabled: no leader is elected, and each replica "
                "would do the work of forecast; enable it or set replicaCount to 1"
            ),
        ),
    ],
)
def test_what_could_not_work_fails_the_render(chart: Chart, values: dict[str, Any], message: str) -> None:
    """With a sentence that states what to change."""
    good, output = chart.attempt(**values)
    assert not good
    assert message in " ".join(output.split())


@pytest.mark.parametrize("metrics", ["all", ["all"], ["DemandAheadTasks", "minimal"]])
def test_a_published_metric_is_enough(chart: Chart, metrics: object) -> None:
    """Whether it is named or part of a set."""
    good, output = chart.attempt(**FORECAST, **CLOUDWATCH, config__cloudwatch__metrics=metrics)
    assert good, output


@pytest.mark.parametrize(
    ("url", "port", "aws"),
    [
        ("http://prometheus.monitoring.svc:9090", 9090, False),
        ("http://prometheus.monitoring.svc/prom", 80, False),
        ("https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1", 443, True),
    ],
)
def test_the_network_policy_lets_the_exporter_reach_prometheus(chart: Chart, url: str, port: int, aws: bool) -> None:
    """On its own port; Amazon Managed Prometheus needs the role's credentials besides."""
    objects = chart.objects(
        networkPolicy__enabled=True,
        config__forecast__enabled=True,
        config__forecast__source="prometheus",
        config__forecast__prometheus_url=url,
    )
    egress = objects.of("NetworkPolicy")[0]["spec"]["egress"]
    assert {"ports": [{"protocol": "TCP", "port": port}]} in egress
    assert any("169.254.170.23/32" in str(rule) for rule in egress) is aws
