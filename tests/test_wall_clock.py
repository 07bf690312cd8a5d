"""The wall clock of a real process is stepped by an hour: ages, demand and publishing go on."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.replicas import fake_time_library
from tests.fakes.background import background
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.timed_agent import TimedAgent
from tests.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(fake_time_library() is None, reason="libfaketime is not installed (make tools)"),
]

HOUR = 3600
STALE_AFTER = 10.0
DEMAND = "/api/v1/fleets/n/f/demand"


class WallClock:
    """The wall clock of one process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.step(0)

    def step(self, seconds: int) -> None:
        """Let it differ from the machine's by so much."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to live by it."""
        return {
            "LD_PRELOAD": str(fake_time_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
async def cloudwatch() -> AsyncIterator[FakeCloudWatch]:
    async with FakeCloudWatch(time.time) as running:
        yield running


async def watched(running: Exporter, seen: list[tuple[int, float]]) -> None:
    """Write down status and age of the demand all the time."""
    while True:
        status, body = await running.get(DEMAND)
        seen.append((status, body.get("age_seconds", 0.0)))
        await asyncio.sleep(0.05)


async def test_a_step_by_an_hour_changes_nothing_but_dates(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Forth, back, back: the demand is there all the time, no age leaps, and CloudWatch gets a datum each period."""
    clock = WallClock(tmp_path / "clock")
    async with TimedAgent().serving() as agent:
        settings = {
            "cluster": "prod",
            "discovery": {
                "static": {
                    "targets": [{"address": f"127.0.0.1:{agent.port}", "namespace": "n", "fleet": "f", "pod": "p"}]
                }
            },
            "scrape": {"interval": "200ms", "timeout": "200ms"},
            "capacity": {"stale_after": f"{STALE_AFTER}s"},
            "cloudwatch": {
                "enabled": True,
                "region": "eu-west-1",
                "endpoint_url": cloudwatch.url,
                "interval": "1s",
                "storage_resolution": 1,
                "metrics": ["DemandTasks"],
                "spool": {"path": str(tmp_path / "spool.db")},
            },
        }
        async with exporter(tmp_path, settings, CREDENTIALS | clock.environment) as running:
            await running.ready()
            seen: list[tuple[int, float]] = []

            def published(hours: int) -> bool:
                now = time.time() + hours * HOUR
                return sum(abs(at - now) < HOUR / 2 for at in cloudwatch.times("DemandTasks")) >= 3

            async with background(watched(running, seen)):
                for hours in (1, 0, -1):
                    clock.step(hours * HOUR)
                    before = len(cloudwatch.taken)
                    await eventually(lambda hours=hours: published(hours))
                    await eventually(lambda before=before: len(cloudwatch.taken) >= before + 2)
            _, agents = await running.get("/api/v1/agents")
            running.process.terminate()
            code, log = await running.end()
    assert {status for status, _ in seen} == {200}
    assert 0 <= min(age for _, age in seen) <= max(age for _, age in seen) < STALE_AFTER
    assert agents["time_seconds"] == pytest.approx(time.time() - HOUR, abs=HOUR / 2)
    assert cloudwatch.violations == []
    assert (code, [line for line in log if line["level"] in {"warning", "error", "critical"}]) == (0, [])
