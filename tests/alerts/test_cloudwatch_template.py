"""The alarms of the CloudFormation template: each matches what the publisher sends, and fires when it should."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerts.pairs import pairs
from alerts.runbook_pages import RUNBOOKS
from alerts.settings import Settings
from exporter.config import CloudWatchSettings
from exporter.fleet.departure import LossReason
from exporter.fleet.model import Fleet
from exporter.publish.fleet_datums import fleet_key
from tests.factories import make_facts, make_fleet, make_memory, make_reading, make_snapshot
from tests.fakes.cloudformation import Template, complaints
from tests.fakes.cloudwatch_alarm import INSUFFICIENT_DATA, breaches, evaluate
from tests.fakes.cloudwatch_publishing import HandClock, publishing, selection
from tests.fakes.moto import moto_server, reader

TEMPLATE = Path(__file__).parents[2] / "alerts" / "cloudwatch" / "matillion-fleet.yaml"
FLEET_ALARMS = {
    "ConnectivityLost",
    "QueueBuildingUp",
    "NoFreeCapacity",
    "CapacityLow",
    "AgentsUnreachable",
    "CrashLooping",
    "Restarts",
    "MemoryNearLimit",
    "TasksLost",
    "TaskFailures",
    "ExporterSilent",
}
NODE_ALARMS = {"NodeCpu", "NodeMemory"}
SeriesKey = tuple[str, str, frozenset[tuple[str, str]]]


def template(**parameters: str) -> Template:
    return Template(TEMPLATE, **{"ClusterName": "prod", "Namespace": "matillion", "Fleet": "etl"} | parameters)


def alarms(**parameters: str) -> dict[str, dict[str, Any]]:
    return template(**parameters).of_type("AWS::CloudWatch::Alarm")


def key(alarm: Mapping[str, Any]) -> SeriesKey:
    """Return what CloudWatch finds an alarm's data by: namespace, name and exactly these dimensions."""
    return (
        alarm["Namespace"],
        alarm["MetricName"],
        frozenset((one["Name"], one["Value"]) for one in alarm["Dimensions"]),
    )


def healthy() -> Fleet:
    """Return three agents at work, far from full."""
    seen: dict[str, Any] = {"tasks_active": 6, "facts": make_facts(), "usage": make_memory(), "task_failures": 0}
    return make_fleet([make_snapshot(f"p{n}", **seen) for n in range(3)], tasks_lost=dict.fromkeys(LossReason, 0.0))


def sick(restarts: int = 4) -> Fleet:
    """Return a full agent that fails tasks, one without the control plane, and one that keeps dying."""
    memory = make_memory(3.9 * 1024**3)
    return make_fleet(
        [
            make_snapshot(
                "p0",
                reading=make_reading(20, tasks_queued=5),
                facts=make_facts(restarts=restarts),
                usage=memory,
                task_failures=7,
            ),
            make_snapshot("p1", reading=make_reading(0, connected=False), facts=make_facts()),
            make_snapshot("p2", age=300, facts=make_facts(waiting_reason="CrashLoopBackOff")),
        ],
        tasks_lost=dict.fromkeys(LossReason, 5.0),
    )


def published(fleet: Fleet) -> set[SeriesKey]:
    """Return what the publisher sends of a fleet with the settings' defaults."""
    namespace = CloudWatchSettings().namespace
    increases = {
        ("AgentRestarts", "uid-p0"): 0.0,
        ("TaskFailures", "uid-p0"): 0.0,
        ("TasksLost", fleet_key(fleet)): 0.0,
    }
    datums = selection("default").datums([fleet], [], increases, 0)
    return {(namespace, datum.series.metric, frozenset(datum.series.dimensions)) for datum in datums}


@pytest.mark.slow
def test_cfn_lint_finds_nothing() -> None:
    """The template is sound for CloudFormation: no error and no warning, and no exemption."""
    assert complaints(TEMPLATE) == []


def test_every_alarm_matches_what_is_published() -> None:
    """Namespace, metric and the full set of dimensions of each alarm are those of a series the publisher sends."""
    ours = alarms()
    assert ours.keys() == FLEET_ALARMS
    series = published(healthy())
    assert [name for name, alarm in ours.items() if key(alarm) not in series] == []


def test_every_alarm_reads_what_a_datum_has() -> None:
    """Statistics that one datum a minute gives, whole minutes, and no unit, which would have to match as well."""
    for alarm in alarms(NodeAlarms="true").values():
        assert alarm["Statistic"] in {"Maximum", "Minimum", "Average", "Sum", "SampleCount"}
        assert alarm["Period"] % 60 == 0
        assert "Unit" not in alarm
        # CloudWatch evaluates at most a day.
        assert alarm["Period"] * alarm["EvaluationPeriods"] <= 86400


def test_a_datum_that_came_twice_raises_no_alarm() -> None:
    """Only increases are summed: a second datum of a period has what came since the first."""
    summed = {alarm["MetricName"] for alarm in alarms().values() if alarm["Statistic"] == "Sum"}
    assert summed == {"AgentRestarts", "TasksLost", "TaskFailures"}


def test_node_alarms_are_optional() -> None:
    """They watch Container Insights' metrics of the cluster."""
    ours = alarms(NodeAlarms="true")
    assert ours.keys() == FLEET_ALARMS | NODE_ALARMS
    cluster = frozenset({("ClusterName", "prod")})
    assert {key(ours[name]) for name in NODE_ALARMS} == {
        ("ContainerInsights", "node_cpu_utilization", cluster),
        ("ContainerInsights", "node_memory_utilization", cluster),
    }


def test_alarms_notify_the_topic() -> None:
    """With a topic every alarm notifies it of its start and its end; without one there is no action at all."""
    topic = "arn:aws:sns:eu-west-1:123456789012:pager"
    for alarm in alarms(AlarmTopicArn=topic, NodeAlarms="true").values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]
    for alarm in alarms().values():
        assert not alarm.keys() & {"AlarmActions", "OKActions"}


def test_an_alarm_leads_to_the_runbook_of_its_alert() -> None:
    """At the address that people have, with the names of the fleet; within what CloudWatch takes as a description."""
    for name, alarm in alarms(PageUrl="https://fleets.test").items():
        text = alarm["AlarmDescription"]
        if name in FLEET_ALARMS:
            link = re.search(r"Runbook: https://fleets\.test/runbooks/(\w+)\?namespace=matillion&fleet=etl$", text)
            assert link is not None, text
            assert (RUNBOOKS / f"{link[1]}.md").is_file()
            assert any((pair.alert, pair.alarm) == (link[1], name) for pair in pairs(Settings()))
        assert len(text) <= 1024


def test_two_fleets_have_two_sets_of_names() -> None:
    """Stacks of two fleets do not get in each other's way."""
    names = [{alarm["AlarmName"] for alarm in alarms(Fleet=fleet).values()} for fleet in ("etl", "other")]
    assert not names[0] & names[1]


def test_the_dashboard_shows_what_is_published() -> None:
    """Every metric in it is a series the publisher sends by default; every alarm of the fleet is on it."""
    [dashboard] = template().of_type("AWS::CloudWatch::Dashboard").values()
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    series = published(healthy())
    shown = set()
    for widget in widgets:
        for namespace, metric, *rest in widget["properties"].get("metrics", []):
            dimensions = [one for one in rest if isinstance(one, str)]
            shown.add((namespace, metric, frozenset(zip(dimensions[::2], dimensions[1::2], strict=True))))
    assert shown <= series
    assert {metric for _, metric, _ in series} == {metric for _, metric, _ in shown}
    [listed] = [widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm"]
    assert {arn.split(":alarm:")[1] for arn in listed} == {alarm["AlarmName"] for alarm in alarms().values()}
    assert template(Dashboard="false").of_type("AWS::CloudWatch::Dashboard") == {}


# -- against an AWS ----------------------------------------------------------------------------------------------------


async def _state(client: Any, alarm: Mapping[str, Any], end: float) -> str:
    """Return the state of an alarm that was just made, from the data CloudWatch holds, by CloudWatch's rules."""
    periods, length = alarm["EvaluationPeriods"], alarm["Period"]
    start = end - periods * length
    answer = await client.get_metric_data(
        MetricDataQueries=[
            {
                "Id": "m",
                "MetricStat": {
                    "Metric": {name: alarm[name] for name in ("Namespace", "MetricName", "Dimensions")},
                    "Period": length,
                    "Stat": alarm["Statistic"],
                },
            }
        ],
        StartTime=datetime.fromtimestamp(start, UTC),
        EndTime=datetime.fromtimestamp(end, UTC),
    )
    result = answer["MetricDataResults"][0]
    found = {
        int((time.timestamp() - start) // length): breaches(alarm, value)
        for time, value in zip(result["Timestamps"], result["Values"], strict=True)
    }
    return evaluate(
        [found.get(index) for index in range(periods)],
        INSUFFICIENT_DATA,
        needed=periods,
        to_alarm=alarm.get("DatapointsToAlarm", periods),
        missing=alarm["TreatMissingData"],
    )


@pytest.mark.slow
async def test_alarms_fire_when_they_should(tmp_path: Path, aws_credentials: None) -> None:
    """Created in an AWS, fed by the publisher: quiet for a healthy fleet, all fire for a sick one, one for silence."""
    clock = HandClock()
    async with moto_server() as url, reader(url) as client:
        for alarm in alarms().values():
            await client.put_metric_alarm(**alarm | {"Threshold": float(alarm["Threshold"])})
        made = (await client.describe_alarms())["MetricAlarms"]
        names = {alarm["AlarmName"]: name for name, alarm in alarms().items()}
        assert {names[alarm["AlarmName"]] for alarm in made} == FLEET_ALARMS
        async with publishing(tmp_path, url, healthy(), wall=clock, what=selection("default")) as running:
            await running.minutes(6)
            running.fleets.current = (sick(),)
            await running.minutes(7)
            await running.drained()
        found = {
            minute: {
                names[alarm["AlarmName"]]: await _state(client, alarm, clock.start + minute * 60) for alarm in made
            }
            for minute in (6, 13, 30)
        }
    assert found[6] == dict.fromkeys(FLEET_ALARMS, "OK")
    assert found[13] == dict.fromkeys(FLEET_ALARMS, "ALARM") | {"ExporterSilent": "OK"}
    assert found[30]["ExporterSilent"] == "ALARM"
    assert "OK" not in found[30].values()
