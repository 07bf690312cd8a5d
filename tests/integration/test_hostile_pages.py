"""What hostile pages take of the exporter's memory: the exporter in a process of its own, agents on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest
import yaml

from tests.fakes import hostile
from tests.fakes.background import background
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.hostile import Behaviour, HostileServer
from tests.fakes.hostile_pages import pages
from tests.fakes.tcp_table import connections
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
    tmp_path: Path, pages: list[Behaviour], *, timeout: float
) -> AsyncIterator[tuple[Exporter, list[HostileServer]]]:
    """Run agents that serve these pages, and an exporter that scrapes each of them as often as its timeout allows."""
    async with AsyncExitStack() as stack:
        places = [f"127.9.{place // 250}.{place % 250 + 1}" for place in range(len(pages))]
        agents = [
            await stack.enter_async_context(HostileServer(page, place))
            for page, place in zip(pages, places, strict=True)
        ]
        targets = [{"address": f"{agent.host}:{agent.port}"} for agent in agents]
        settings = {
            "discovery": {"static": {"targets": targets}},
            "scrape": {"interval": timeout, "timeout": timeout, "filter_names": False},
            "log": {"format": "json", "level": "warning"},
        }
        running = await stack.enter_async_context(exporter(tmp_path, settings))
        await asked(agents, times=2)
        yield running, agents


def unread() -> int:
    """Return how many bytes of the agents (127.9.x.y) Linux holds for the exporter at most, for one agent.

    The kernel's memory for them counts in the pod's.
    """
    return max((one.unread for one in connections() if one.remote.partition(":")[0].endswith("097F")), default=0)


async def asked(agents: list[HostileServer], *, times: int) -> None:
    """Wait until each agent was asked that often: once less, it was also read, or given up."""
    await eventually(lambda: all(len(agent.requests) >= times for agent in agents))


async def test_agents_that_turn_hostile_take_next_to_nothing(tmp_path: Path) -> None:
    """A third of the agents write labels never seen before, on every page: what is kept of them is bounded by bytes."""
    async with scraped(tmp_path, [GOOD] * 60, timeout=1.0) as (running, agents):
        good = mebibytes(running.process, "VmRSS")
        hostile_ones = agents[::3]
        for agent, name in zip(hostile_ones, cycle((*VALID, *CUT_OFF)), strict=False):
            agent.behaviour = pages()[name]
            agent.requests.clear()
        await asked(hostile_ones, times=6)
        assert mebibytes(running.process, "VmHWM") <= 1.3 * good + 10
        status, page = await running.get("/metrics")
        assert status == 200
        assert page.count("\nmatillion_fleet_agent_up{") == len(agents)


async def test_the_limit_of_the_chart_holds_whatever_comes(tmp_path: Path) -> None:
    """Every agent is hostile at once, in every way there is, and pages that never end pile up; half of it is enough."""
    cut_off = pages()["a page without its end"]
    served = [page for page in pages().values() for page in (page, cut_off)]
    async with scraped(tmp_path, (served * 4)[:180], timeout=2.0) as (running, _):
        assert mebibytes(running.process, "VmHWM") < limit_of_the_chart() / 2


async def test_what_waits_in_the_kernel_is_bounded(tmp_path: Path) -> None:
    """Pages that wait for their turn grow no connection's buffer, which Linux would take from the pod's memory."""
    held = []

    async def look() -> None:
        while True:
            held.append(unread())
            await asyncio.sleep(0.05)

    async with scraped(tmp_path, [pages()["a page without an end"]] * 40, timeout=2.0), background(look()):
        await eventually(lambda: len(held) >= 60)
    assert 0 < max(held) <= 256 * 1024
