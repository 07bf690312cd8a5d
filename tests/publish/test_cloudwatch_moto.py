"""What CloudWatch gives back is what the fleets were, over real HTTP, against moto."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.fleet.cloudwatch_catalogue import METRIC_NAMES
from exporter.fleet.model import Fleet
from tests.factories import WALL_NOW, make_facts, make_fleet, make_memory, make_reading, make_snapshot
from tests.fakes.cloudwatch_publishing import HandClock, publishing, selection
from tests.fakes.moto import moto_server, reader

pytestmark = pytest.mark.slow

DIMENSIONS = {"ClusterName": "prod", "Namespace": "matillion", "Fleet": "etl"}


def fleet() -> Fleet:
    return make_fleet(
        [
            make_snapshot("a", facts=make_facts(restarts=2), usage=make_memory(3.0 * 1024**3), task_failures=4),
            make_snapshot("b", reading=make_reading(20, tasks_queued=3), facts=make_facts()),
            make_snapshot("c", tasks_active=12, facts=make_facts()),
            make_snapshot("d", reading=make_reading(5, connected=False), facts=make_facts()),
            make_snapshot("e", tasks_active=7, facts=make_facts(draining_time=WALL_NOW - 60)),
            make_snapshot("f", age=60, facts=make_facts(waiting_reason="CrashLoopBackOff")),
        ]
    )


async def _statistics(client: Any, clock: HandClock, metric: str, **dimensions: str) -> dict[str, list[float]]:
    """Return the minutes of a metric by GetMetricData, for each statistic, oldest first."""
    names = ("Minimum", "Maximum", "Sum", "SampleCount", "Average")
    listed = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    answer = await client.get_metric_data(
        MetricDataQueries=[
            {
                "Id": stat.lower(),
                "MetricStat": {
                    "Metric": {"Namespace": "Matillion/AgentFleet", "MetricName": metric, "Dimensions": listed},
                    "Period": 60,
                    "Stat": stat,
                },
            }
            for stat in names
        ],
        StartTime=datetime.fromtimestamp(clock.start, UTC),
        EndTime=datetime.fromtimestamp(clock.start + 3600, UTC),
        ScanBy="TimestampAscending",
    )
    return {one["Id"]: one["Values"] for one in answer["MetricDataResults"]}


async def test_what_is_read_back_is_the_fleet(tmp_path: Path, aws_credentials: None) -> None:
    """Every metric, each minute once, with the value the fleet had; the distribution with all its agents."""
    clock, seen = HandClock(), fleet()
    async with moto_server() as url, reader(url) as client:
        async with publishing(
            tmp_path, url, seen, wall=clock, what=selection(), per_agent=True, max_per_agent=2
        ) as running:
            await running.minutes(3)
            await running.until(lambda: running.publisher.spool_datums == 0 < running.counts.datums["accepted"])
            assert running.counts.requests.keys() == {"accepted"}
        read = {metric: await _statistics(client, clock, metric, **DIMENSIONS) for metric in METRIC_NAMES}
        own = await _statistics(client, clock, "AgentActiveTasks", **DIMENSIONS, AgentName="b")
        listed = (await client.list_metrics(Namespace="Matillion/AgentFleet"))["Metrics"]
    values = {metric: {round(value, 6) for value in found["average"]} for metric, found in read.items()}
    distribution = read["AgentActiveTasks"]
    assert values == values | {
        "CapacityTasks": {60},
        "ActiveTasks": {49},
        "QueuedTasks": {3},
        "DemandTasks": {seen.demand_tasks},
        "ScrapeCoveragePercent": {80},
        "FreeSlots": {16},
        "UtilizationPercent": {round(100 * 44 / 60, 6)},
        "AgentsDisconnected": {1},
        "AgentsCrashLooping": {1},
        "AgentRestarts": {0},
        "MemoryUtilizationPercent": {75},
        "TaskFailures": {0},
        "AgentsServing": {3},
        "AgentsUnreachable": {1},
        "AgentsDraining": {1},
    }
    assert read["CapacityTasks"]["samplecount"] == [1, 1, 1, 1]
    assert [set(distribution[stat]) for stat in ("minimum", "maximum", "sum", "samplecount")] == [{5}, {20}, {49}, {4}]
    assert set(own["maximum"]) == {20}
    series = {tuple(one["Name"] for one in metric["Dimensions"]) for metric in listed}
    assert series == {("ClusterName", "Namespace", "Fleet"), ("ClusterName", "Namespace", "Fleet", "AgentName")}
