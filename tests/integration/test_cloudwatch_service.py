"""The exporter process publishing to CloudWatch: an emulator over real HTTP, and a spool that outlives a kill."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exporter.fleet.cloudwatch_catalogue import METRIC_NAMES
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.moto import moto_server, reader
from tests.fakes.ports import free_port
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NOBODY = {"static": {"targets": [{"address": "127.99.0.1", "fleet": "f", "namespace": "n", "pod": "p"}]}}


def settings(tmp_path: Path, url: str) -> dict[str, Any]:
    """Return settings that publish every second."""
    return {
        "cluster": "prod",
        "discovery": NOBODY,
        "scrape": {"interval": "200ms", "timeout": "100ms"},
        "cloudwatch": {
            "enabled": True,
            "region": "eu-west-1",
            "endpoint_url": url,
            "interval": "1s",
            "storage_resolution": 1,
            "metrics": "all",
            "spool": {"path": str(tmp_path / "spool.db")},
        },
    }


async def published(url: str, metric: str) -> list[float]:
    """Return the minimum of each minute of a metric of the fleet."""
    dimensions = {"ClusterName": "prod", "Namespace": "n", "Fleet": "f"}
    async with reader(url) as client:
        now = datetime.now(UTC)
        answer = await client.get_metric_statistics(
            Namespace="Matillion/AgentFleet",
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Minimum"],
        )
    return [point["Minimum"] for point in answer["Datapoints"]]


async def test_what_is_unknown_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fleet that cannot be seen is published with its coverage of 0 and without figures; a kill loses nothing."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    async def waiting(process: Exporter) -> float:
        return await gauge(process, "cloudwatch_spool_datums")

    nobody_there = f"http://127.0.0.1:{free_port()}"
    async with exporter(tmp_path, settings(tmp_path, nobody_there)) as first:
        await first.ready()
        await eventually(lambda: more_than(waiting(first), 6))
        assert await gauge(first, "leader") == 1
        first.process.kill()
        await first.process.communicate()
    async with moto_server() as url, exporter(tmp_path, settings(tmp_path, url)) as second:
        await second.ready()
        await eventually(lambda: more_than(gauge(second, 'cloudwatch_datums_total{outcome="accepted"}'), 9))
        assert set(await published(url, "ScrapeCoveragePercent")) == {0.0}
        assert set(await published(url, "AgentsUnreachable")) == {1.0}
        told = {metric for metric in METRIC_NAMES if await published(url, metric)}
        assert told == {"ScrapeCoveragePercent", "AgentsUnreachable", "AgentsDraining"}
        assert await gauge(second, "cloudwatch_estimated_monthly_cost_dollars") > 1
        second.process.terminate()
        code, log = await second.end()
    assert code == 0
    assert not [line for line in log if line["level"] in ("error", "critical")]


async def more_than(figure: Awaitable[float], limit: float) -> bool:
    """Return whether a figure exceeds the limit; one that is not there does not."""
    return await figure > limit


async def gauge(running: Exporter, name: str) -> float:
    """Return one of the exporter's own figures; not a number while there is none."""
    _, page = await running.get("/metrics")
    prefix = f"matillion_fleet_exporter_{name} "
    return next((float(line.split()[-1]) for line in page.splitlines() if line.startswith(prefix)), float("nan"))
