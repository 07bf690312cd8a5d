"""Every CloudWatch query of the dashboards, asked of moto as Grafana does: what is published has an answer."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from exporter.fleet import cloudwatch_catalogue
from tests.dashboards.dashboards_as_json import DASHBOARDS, cloudwatch_queries

OURS = "Matillion/AgentFleet"
NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
FLEETS = (("prod", "matillion", "etl"), ("prod", "matillion", "ad-hoc"), ("test", "sandbox", "etl"))
"""Cluster, namespace and fleet."""
VARIABLES = {variable["name"]: variable for variable in DASHBOARDS["matillion-cloudwatch"]["templating"]["list"]}


@pytest.fixture(scope="module")
def cloudwatch() -> Iterator[Any]:
    """Give a CloudWatch with a minute of every fleet, and of Container Insights."""
    with mock_aws():
        client = boto3.client("cloudwatch", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
        for cluster, namespace, fleet in FLEETS:
            dimensions = dict(zip(cloudwatch_catalogue.FLEET_DIMENSIONS, (cluster, namespace, fleet), strict=True))
            put(client, OURS, cloudwatch_catalogue.METRIC_NAMES, dimensions)
            pod = {"ClusterName": cluster, "Namespace": namespace, "PodName": f"{fleet}-0"}
            put(client, "ContainerInsights", ["pod_number_of_container_restarts"], pod)
        for cluster in ("prod", "test"):
            nodes = ["node_cpu_utilization", "node_memory_utilization"]
            put(client, "ContainerInsights", nodes, {"ClusterName": cluster})
        yield client


def put(client: Any, namespace: str, names: Any, dimensions: dict[str, str]) -> None:
    """Publish one value of each metric."""
    listed = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    data = [{"MetricName": name, "Dimensions": listed, "Timestamp": NOW, "Value": 3.0} for name in names]
    client.put_metric_data(Namespace=namespace, MetricData=data)


def values(client: Any, variable: str) -> list[str]:
    """Return what a variable stands for on opening: `*` where it is All, after checking that it has values."""
    query = VARIABLES[variable]["query"]
    _, namespace, metric, dimension = query.removeprefix("dimension_values(").removesuffix(")").split(", ")
    found = client.list_metrics(Namespace=namespace, MetricName=metric)["Metrics"]
    assert {one["Value"] for entry in found for one in entry["Dimensions"] if one["Name"] == dimension}
    assert VARIABLES[variable]["current"]["value"] == "$__all"
    return [VARIABLES[variable]["allValue"]]


def found(client: Any, query: dict[str, Any]) -> list[dict[str, str]]:
    """Return the series that a query means: exactly its dimensions, and `*` is any value, as in Grafana's SEARCH."""
    wanted = {
        name: values(client, value[1:]) if value.startswith("$") else [value]
        for name, value in query["dimensions"].items()
    }
    listed = client.list_metrics(Namespace=query["namespace"], MetricName=query["metricName"])["Metrics"]
    series = [{one["Name"]: one["Value"] for one in entry["Dimensions"]} for entry in listed]
    return [
        one
        for one in series
        if one.keys() == wanted.keys() and all(v == ["*"] or one[name] in v for name, v in wanted.items())
    ]


QUERIES = list(cloudwatch_queries())


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query['metricName']}-{query['statistic']}")
def test_a_query_has_an_answer_on_opening(cloudwatch: Any, query: dict[str, Any]) -> None:
    """Of every fleet, or every cluster, with all variables as they are at first."""
    series = found(cloudwatch, query)
    assert len(series) == (2 if set(query["dimensions"]) == {"ClusterName"} else len(FLEETS))
    for dimensions in series:
        stat = {
            "Metric": {
                "Namespace": query["namespace"],
                "MetricName": query["metricName"],
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": int(query["period"]),
            # moto has no percentiles; what they are is CloudWatch's own.
            "Stat": re.sub(r"^p\d\d$", "Maximum", query["statistic"]),
        }
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": query["id"], "MetricStat": stat}],
            StartTime=NOW - timedelta(minutes=5),
            EndTime=NOW + timedelta(minutes=5),
        )
        [result] = answer["MetricDataResults"]
        assert result["Values"] == [3.0]


def test_the_pattern_of_prometheus_would_find_nothing(cloudwatch: Any) -> None:
    """`.*` is a value like any other: the half of the dashboard would be empty."""
    query = next(one for one in QUERIES if one["metricName"] == "CapacityTasks")
    assert found(cloudwatch, query | {"dimensions": query["dimensions"] | {"Fleet": ".*"}}) == []
