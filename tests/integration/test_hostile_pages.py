"""What hostile pages take of the exporter's memory: the exporter in a process of its own, agents on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest
import yaml

from tests.fakes import hostile
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.hostile import Behaviour, HostileServer
from tests.fakes.hostile_pages import PAGES
from tests.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GOOD = hostile.page((ROOT / "tests/golden/pages/otel_full.txt").read_bytes())
VALID = ("a thousand series with new labels", "a small page with new labels", "series with eighty labels", "versions")
"""Hostile pages that are read to their end, and are a reading."""
CUT_OFF = ("a page without its end", "thousands of series with new labels", "a page without an end")


def mebibytes(process: asyncio.subprocess.Process, what: str) -> float:
    """Return what a process holds in memory now (`VmRSS`), or held at most (`VmHWM`)."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{what}:"))


def limit_of_the_chart() -> float:
    """Return the memory limit that the chart sets, in MiB."""
    limit = yaml.safe_load((ROOT / "chart" / "values.yaml").read_text())["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    return float(limit.removesuffix("Mi"))


@asynccontextmanager
async def scraped(
    tmp_path: Path, number: int, *, timeout: float
) -> AsyncIterator[tuple[Exporter, list[HostileServer]]]:
    """Run an exporter and that many agents, which are good at first, until each has been read twice."""
    async with AsyncExitStack() as stack:
        places = [f"127.9.{place // 250}.{place % 250 + 1}" for place in range(number)]
        agents = [await stack.enter_async_context(HostileServer(GOOD, place)) for place in places]
        targets = [{"address": f"{agent.host}:{agent.port}"} for agent in agents]
        settings = {
            "discovery": {"static": {"targets": targets}},
            "scrape": {"interval": timeout, "timeout": timeout, "filter_names": False},
            "log": {"format": "json", "level": "warning"},
        }
        running = await stack.enter_async_context(exporter(tmp_path, settings))
        await running.ready()
        await eventually(lambda: all(len(agent.requests) >= 2 for agent in agents))
        yield running, agents


def turn(agents: list[HostileServer], pages: list[Behaviour]) -> None:
    """Make agents hostile, each in its own way."""
    for agent, page in zip(agents, cycle(pages), strict=False):
        agent.behaviour = page
        agent.requests.clear()


async def test_agents_that_turn_hostile_take_next_to_nothing(tmp_path: Path) -> None:
    """A third of the agents write labels never seen before, on every page: what is kept of them is bounded by bytes."""
    async with scraped(tmp_path, 60, timeout=1.0) as (running, agents):
        good = mebibytes(running.process, "VmRSS")
        turn(agents[::3], [PAGES[name] for name in (*VALID, *CUT_OFF)])
        await eventually(lambda: all(len(agent.requests) >= 8 for agent in agents[::3]))
        assert mebibytes(running.process, "VmHWM") <= 1.3 * good + 10
        status, page = await running.get("/metrics")
        up = [line for line in page.splitlines() if line.startswith("matillion_fleet_agent_up{")]
        assert status == 200
        assert len(up) == len(agents)


async def test_the_limit_of_the_chart_holds_whatever_comes(tmp_path: Path) -> None:
    """Every agent is hostile at once, in every way there is, and pages that never end pile up."""
    async with scraped(tmp_path, 180, timeout=3.0) as (running, agents):
        turn(agents, [page for page in PAGES.values() for page in (page, PAGES["a page without its end"])])
        await eventually(lambda: all(len(agent.requests) >= 2 for agent in agents))
        assert mebibytes(running.process, "VmHWM") < limit_of_the_chart() / 2
