"""The process is stopped and goes on: nothing from before is served as if it were from now."""

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector

from exporter.loop_lag import STALL_SECONDS
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import CREDENTIALS
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.timed_agent import TimedAgent
from tests.waiting import eventually

pytestmark = pytest.mark.slow

STALE_AFTER = 2.0
STOPPED = 2.5
NOBODY = {"discovery": {"static": {"targets": [{"address": "127.99.0.1", "fleet": "f", "namespace": "n", "pod": "p"}]}}}
DEMAND, FLEET, AGENTS, METRICS = (
    "/api/v1/fleets/n/f/demand",
    "/api/v1/fleets/n/f",
    "/api/v1/agents",
    "/metrics",
)


@pytest.fixture
async def agent() -> AsyncIterator[TimedAgent]:
    async with TimedAgent().serving() as serving:
        yield serving


@pytest.fixture
async def running(agent: TimedAgent, tmp_path: Path) -> AsyncIterator[Exporter]:
    target = {"address": f"127.0.0.1:{agent.port}", "namespace": "n", "fleet": "f", "pod": "p"}
    settings = {
        "discovery": {"static": {"targets": [target]}},
        "scrape": {"interval": "1s", "timeout": "1s"},
        "capacity": {"stale_after": f"{STALE_AFTER}s"},
    }
    async with exporter(tmp_path, settings) as process:
        yield process


async def stopped_during_a_scrape(running: Exporter, agent: TimedAgent) -> None:
    """Stop the exporter while it waits for an answer, which comes then; from now on the agent hangs."""
    await running.ready()
    agent.open.clear()
    await eventually(lambda: agent.waiting, pause=0.001)
    running.process.send_signal(signal.SIGSTOP)
    made = len(agent.made)
    agent.open.set()
    await eventually(lambda: len(agent.made) > made, pause=0.001)
    agent.open.clear()
    await asyncio.sleep(STOPPED)


async def asked(session: ClientSession, url: str) -> tuple[int, Any, float]:
    """Return status, body, and when the answer was there."""
    async with session.get(url) as answer:
        body = await (answer.json() if answer.content_type == "application/json" else answer.text())
    return answer.status, body, time.monotonic()


async def test_nothing_is_younger_than_it_was_before_the_stop(running: Exporter, agent: TimedAgent) -> None:
    """An answer that came while the process was stopped is as old as it is, from the first answer on."""
    await stopped_during_a_scrape(running, agent)
    paths = (DEMAND, FLEET, AGENTS, METRICS)
    # Each on a connection of its own: half are there before the process goes on, half come at that moment.
    async with ClientSession(connector=TCPConnector(force_close=True, limit=0)) as session:
        early = [asyncio.create_task(asked(session, running.url + path)) for path in paths * 5]
        await asyncio.sleep(0.1)
        running.process.send_signal(signal.SIGCONT)
        went_on = time.monotonic()
        late = [asyncio.create_task(asked(session, running.url + path)) for path in paths * 5]
        answers = list(zip(paths * 10, await asyncio.gather(*early, *late), strict=True))
    age = went_on - agent.made[-1]
    assert age > STALE_AFTER
    for path, (status, body, _) in answers:
        if path == DEMAND:
            assert (status, "only 0 of 1 agents respond" in body["error"]) == (503, True)
        elif path == FLEET:
            assert (body["trusted"], body["tasks_active"], body["reading_age_seconds"]) == (False, None, None)
        elif path == AGENTS:
            assert body["agents"][0]["reading_age_seconds"] >= age
        else:
            assert "matillion_fleet_demand_tasks{" not in body
            assert "matillion_fleet_tasks_active{" not in body
            read_time = re.search(r"\nmatillion_fleet_agent_last_scrape_timestamp_seconds\{.*\} (.*)\n", body)
            assert read_time is not None
            assert time.time() - float(read_time[1]) >= age
    agent.open.set()
    await eventually(lambda: _status(running, 200))


async def test_periods_of_a_stop_are_missing_and_the_next_has_no_demand(agent: TimedAgent, tmp_path: Path) -> None:
    """CloudWatch gets no figure for time in which nothing was measured, and none of before for the time after it."""
    target = {"address": f"127.0.0.1:{agent.port}", "namespace": "n", "fleet": "f", "pod": "p"}
    async with FakeCloudWatch(time.time) as cloudwatch:
        settings = {
            "cluster": "prod",
            "discovery": {"static": {"targets": [target]}},
            "scrape": {"interval": "1s", "timeout": "1s"},
            "capacity": {"stale_after": f"{STALE_AFTER}s"},
            "cloudwatch": {
                "enabled": True,
                "region": "eu-west-1",
                "endpoint_url": cloudwatch.url,
                "interval": "1s",
                "storage_resolution": 1,
                "metrics": ["DemandTasks", "ScrapeCoveragePercent"],
                "spool": {"path": str(tmp_path / "spool.db")},
            },
        }
        async with exporter(tmp_path, settings, CREDENTIALS) as running:
            await eventually(lambda: cloudwatch.times("DemandTasks"))
            await stopped_during_a_scrape(running, agent)
            went_on = time.time()
            running.process.send_signal(signal.SIGCONT)
            await eventually(lambda: max(cloudwatch.times("ScrapeCoveragePercent")) > went_on)
    stopped = went_on - STOPPED
    for metric in ("DemandTasks", "ScrapeCoveragePercent"):
        assert not [at for at in cloudwatch.times(metric) if stopped < at < went_on - 1]
    assert max(cloudwatch.times("DemandTasks")) <= stopped
    after = [datum.values for datum in cloudwatch.of("ScrapeCoveragePercent") if datum.time > went_on - 1]
    assert set(after) == {(0.0,)}


async def test_it_says_that_it_did_not_run(tmp_path: Path) -> None:
    """From the first answer on after a stop of several seconds, on /metrics and in one line of the log."""
    async with exporter(tmp_path, NOBODY) as running:
        await running.ready()
        running.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(STALL_SECONDS + 0.5)
        running.process.send_signal(signal.SIGCONT)
        _, page = await running.get(METRICS)
        lag = re.search(r"\nmatillion_fleet_exporter_event_loop_lag_seconds (.*)\n", page)
        assert lag is not None
        assert float(lag[1]) > STALL_SECONDS
        assert await running.get("/healthz") == (200, "ok\n")
        running.process.terminate()
        code, log = await running.end()
    assert code == 0
    assert [line["event"] for line in log].count("the process did not run for a while") == 1


async def _status(running: Exporter, wanted: int) -> bool:
    return (await running.get(DEMAND))[0] == wanted
