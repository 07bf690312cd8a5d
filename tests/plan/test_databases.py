"""The command on the past of real databases: a Prometheus with days of samples, and a CloudWatch."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.cli import main
from exporter.forecast.history import SLOT_SECONDS, SLOTS
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.moto import moto_server, reader
from tests.fakes.prometheus_database import MISSING, prometheus_with

pytestmark = pytest.mark.slow

DAYS = 6


def demand() -> list[tuple[float, int]]:
    """Return six days that end an hour ago: a little work, and a batch of 160 tasks at two each night."""
    end = int((time.time() - 3600) // SLOT_SECONDS)
    slots = range(end - DAYS * SLOTS, end)
    return [(slot * float(SLOT_SECONDS), 160 if 24 <= slot % SLOTS < 32 else 8) for slot in slots]


async def plan(capsys: pytest.CaptureFixture[str], *given: str) -> dict[str, Any]:
    """Return what the command prints as JSON."""
    code = await asyncio.to_thread(main, ["plan", "--json", *given])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    document: dict[str, Any] = json.loads(printed.out)
    return document


def assert_planned(document: dict[str, Any]) -> None:
    """Check that the past was understood: all ways are scored, and being ahead spares the nights' waiting."""
    ways = {one["name"]: one for one in document["alternatives"]}
    assert ways.keys() == {"today", "following", "ahead", "fixed", "cron"}
    assert ways["following"]["waited_task_hours"] > 1
    assert ways["ahead"]["waited_task_hours"] < 0.5 * ways["following"]["waited_task_hours"]
    assert document["recommended"]["name"] == "ahead"


@pytest.mark.skipif(MISSING, reason="prometheus and promtool are not installed (Debian: prometheus)")
async def test_a_real_prometheus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The fleet that the matchers and --fleet select, of two replicas."""
    name = "matillion_fleet_demand_tasks"
    lines = [f"# TYPE {name} gauge"]
    for pod in ("a", "b"):
        labels = f'cluster="prod",namespace="matillion",fleet="etl",pod="{pod}"'
        lines += [f"{name}{{{labels}}} {tasks} {at:.0f}" for at, tasks in demand()]
    async with prometheus_with(tmp_path, "\n".join(lines) + "\n") as url:
        found = await plan(
            capsys,
            "--prometheus",
            url,
            "--matchers",
            'cluster="prod"',
            "--fleet",
            "matillion/etl",
            "--start-time",
            "3m",
        )
    assert_planned(found)


async def test_a_cloudwatch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The only fleet that was published of this cluster."""
    for variable, value in CREDENTIALS.items():
        monkeypatch.setenv(variable, value)
    dimensions = [
        {"Name": "ClusterName", "Value": "prod"},
        {"Name": "Namespace", "Value": "matillion"},
        {"Name": "Fleet", "Value": "etl"},
    ]
    datums = [
        {
            "MetricName": "DemandTasks",
            "Dimensions": dimensions,
            "Timestamp": datetime.fromtimestamp(at, UTC),
            "Value": float(tasks),
            "Unit": "Count",
        }
        for at, tasks in demand()
    ]
    async with moto_server() as url, reader(url) as client:
        for first in range(0, len(datums), 500):
            await client.put_metric_data(Namespace="Matillion/AgentFleet", MetricData=datums[first : first + 500])
        given = ["--cloudwatch", "prod", "--region", "eu-west-1", "--endpoint-url", url, "--start-time", "3m"]
        found = await plan(capsys, *given)
    assert_planned(found)
