"""The metric filter on logs that are shipped to CloudWatch: the exporter's count, by CloudWatch Logs.

What AWS makes of the pattern cannot be tested here, since no emulator evaluates one: it is held against the rules that
AWS describes (tests/fakes/log_filter.py). That AWS' API takes the filter as it is made is tested with its own client.
"""

import re
from pathlib import Path
from typing import Any

import aioboto3
import pytest

from exporter.config import PodLogsSettings
from exporter.config.line_pattern import LinePattern
from tests.alerts.test_cloudwatch_template import alarms, key
from tests.fakes.cloudformation import Template, complaints
from tests.fakes.log_filter import MetricFilter, as_shipped
from tests.fakes.moto import moto_server

TEMPLATE = Path(__file__).parents[2] / "alerts" / "cloudwatch" / "task-failures.yaml"
PAGE = (Path(__file__).parents[2] / "docs" / "pod-health.md").read_text(encoding="utf-8")
ADDED = {"ClusterName": "prod", "Fleet": "etl"}
"""What the shipper adds to the events of a fleet's pods."""
PATTERN = r"ERROR\s.*[Tt]ask\s.*failed|OutOfMemoryError:\sJava"
LINES = {
    "2026-01-01 02:30:00 ERROR [worker-3] Task 7f3a failed: no such table SALARIES": True,
    "2026-01-01 02:30:00 ERROR task 7f3a failed": True,
    "java.lang.OutOfMemoryError: Java heap space": True,
    "2026-01-01 02:30:00 INFO Task 7f3a finished": False,
    "2026-01-01 02:30:00 ERROR no connection": False,
    "2026-01-01 02:30:00 WARN Task 7f3a failed once, is tried again": False,
    "error task failed": False,
    "": False,
}


def properties(**parameters: str) -> dict[str, Any]:
    given = {"ClusterName": "prod", "LogGroupName": "/aws/containerinsights/prod/application"}
    template = Template(TEMPLATE, **given | {"FailurePattern": PATTERN} | parameters)
    [made] = template.of_type("AWS::Logs::MetricFilter").values()
    return made


@pytest.mark.slow
def test_cfn_lint_finds_nothing() -> None:
    """The template is sound for CloudFormation: no error and no warning, and no exemption."""
    assert complaints(TEMPLATE) == []


@pytest.mark.parametrize("fleet", ["etl", "*"])
def test_failures_count_in_the_series_of_the_exporter(fleet: str) -> None:
    """For one fleet and for all at once: the alarm and the dashboard of the fleet find the metric as they are."""
    counted = MetricFilter(properties(Fleet=fleet)).count(as_shipped("ERROR task 7f3a failed", **ADDED))
    assert counted == (key(alarms()["TaskFailures"]), 1.0)


def test_lines_match_as_they_do_in_the_exporter() -> None:
    """One regular expression, given to both, finds the same lines."""
    exporter = LinePattern(PodLogsSettings(enabled=True, failure_pattern=PATTERN).failure_pattern or "")
    shipped = MetricFilter(properties())
    assert {line: exporter.found_in(line.encode()) for line in LINES} == LINES
    assert {line: shipped.count(as_shipped(line, **ADDED)) is not None for line in LINES} == LINES


@pytest.mark.parametrize(
    "added",
    [
        {},
        {"ClusterName": "prod"},
        {"ClusterName": "prod", "Fleet": "other"},
        {"ClusterName": "prod-2", "Fleet": "etl"},
    ],
)
def test_other_pods_do_not_count(added: dict[str, str]) -> None:
    """Neither those of another fleet or cluster, nor what the shipper does not say it of."""
    assert MetricFilter(properties(Fleet="etl")).count(as_shipped("ERROR task 7f3a failed", **added)) is None


def test_other_namespaces_do_not_count() -> None:
    """A fleet of the same name elsewhere is another one, unless all are asked for."""
    event = as_shipped("ERROR task 7f3a failed", **ADDED)
    assert MetricFilter(properties(Namespace="elsewhere")).count(event) is None
    assert MetricFilter(properties(Namespace="*")).count(event) is not None


def test_fields_may_be_elsewhere() -> None:
    """Events of another shape than Container Insights' count as well."""
    fields = {"MessageField": "$.message", "ClusterNameField": "$.cluster-name"}
    made = MetricFilter(properties(**fields))
    event = as_shipped("", message="ERROR task 7f3a failed", Fleet="etl") | {"cluster-name": "prod"}
    assert made.count(event) == (key(alarms()["TaskFailures"]), 1.0)


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (PATTERN, True),
        (r"^\S+\sERROR", True),
        ("ERROR task failed", False),
        ("(Task|Job).*failed", False),
        ('task "x" failed', False),
        ("100%", False),
        ("", False),
    ],
)
def test_patterns_that_cloudwatch_logs_does_not_know_are_refused_at_once(pattern: str, allowed: bool) -> None:
    """CloudFormation checks it before anything is made."""
    parameter = Template(TEMPLATE, ClusterName="c", LogGroupName="g", FailurePattern="x").parameter("FailurePattern")
    assert (re.fullmatch(parameter["AllowedPattern"], pattern) is not None) == allowed


def test_the_example_of_the_page_is_allowed() -> None:
    """The pattern that the page passes to the template is one that CloudFormation accepts."""
    [pattern] = re.findall(r"FailurePattern='([^']*)'", PAGE)
    assert MetricFilter(properties(FailurePattern=pattern)).count(as_shipped("ERROR Task 7f3a failed", **ADDED))


@pytest.mark.slow
async def test_the_api_takes_it(aws_credentials: None) -> None:
    """Made through CloudWatch Logs' API as CloudFormation makes it, it is there and found by its metric."""
    made = properties()
    [metric] = made["MetricTransformations"]
    transformation = {name[0].lower() + name[1:]: value for name, value in metric.items()}
    transformation["dimensions"] = {one["Key"]: one["Value"] for one in metric["Dimensions"]}
    group = made["LogGroupName"]
    async with (
        moto_server() as url,
        aioboto3.Session().client("logs", region_name="eu-west-1", endpoint_url=url) as logs,
    ):
        await logs.create_log_group(logGroupName=group)
        await logs.put_metric_filter(
            logGroupName=group,
            filterName="stack-TaskFailures-1A2B",
            filterPattern=made["FilterPattern"],
            metricTransformations=[transformation],
        )
        alarm = alarms()["TaskFailures"]
        answer = await logs.describe_metric_filters(
            metricNamespace=alarm["Namespace"], metricName=alarm["MetricName"], logGroupName=group
        )
    [found] = answer["metricFilters"]
    assert found["filterPattern"] == made["FilterPattern"]
    assert found["metricTransformations"] == [transformation]
