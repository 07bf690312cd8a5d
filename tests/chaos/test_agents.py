"""The agents of the chaos run show what they note, and each kind of hostility is what it is called."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint, Reading
from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeError
from exporter.scrape.reader import AgentReader
from tests.chaos.agents import Agent, Order, legacy_page, otel_page, start_agents
from tests.chaos.truth import Shown, Truth, TruthFile
from tests.factories import make_target
from tests.fakes.hostile import KINDS, Behaviour, HostileServer, page
from tests.waiting import eventually

SHOWN = Shown(
    serial=41, made=0.0, pod="etl-1", reader="one", kind="", readable=True, active=12, queued=3, connected=True
)
TIMEOUT = 2.0
"""Seconds; those that hang take all of it."""


async def read(behaviour: Behaviour) -> Reading | None:
    """Return what the exporter reads from an agent; None if it takes nothing."""
    async with HostileServer(behaviour) as server:
        endpoint = Endpoint(Dialect.OTEL, server.port, "/one/metrics")
        settings = ScrapeSettings(timeout=TIMEOUT, endpoints=(endpoint,))
        async with PageClient(settings) as client:
            reader = AgentReader(settings, client, time.monotonic, random.Random(1))  # noqa: S311 - jitter
            try:
                return (await reader.read(make_target(address=server.host))).reading
            except ScrapeError:
                return None


@pytest.mark.slow
@pytest.mark.parametrize(("make", "queued"), [(otel_page, 3.0), (legacy_page, None)], ids=["OpenTelemetry", "legacy"])
async def test_a_hostile_page_is_read_right_or_not_at_all(make: Callable[[Shown], bytes], queued: float | None) -> None:
    """What may be read has the agent's own figures; of the rest nothing is taken."""
    good = await read(page(make(SHOWN)))
    assert good is not None
    assert (good.tasks_active, good.tasks_queued, good.sessions_open, good.connected) == (12, queued, 41, True)
    readings = await asyncio.gather(*(read(kind.treat(make(SHOWN))) for kind in KINDS.values()))
    taken = {name for name, reading in zip(KINDS, readings, strict=True) if reading is not None}
    assert taken <= {name for name, kind in KINDS.items() if kind.readable}
    figures = [(one.tasks_active, one.tasks_queued, one.sessions_open) for one in readings if one is not None]
    assert figures == [(12, queued, 41)] * len(taken)
    assert {"nine 1xx first", "both kinds of names"} <= taken


@pytest.mark.slow
async def test_the_process_notes_each_page_before_it_is_read(tmp_path: Path) -> None:
    """What an exporter reads from an agent is in the truth, with the reader and the work it was told to have."""
    file = tmp_path / "good.truth"
    process = await start_agents(file, seed=1, first=1)
    assert process.stdin is not None
    try:
        process.stdin.write(Order(pod="etl-1", address="127.0.77.1", tasks=7).line())
        settings = ScrapeSettings(endpoints=(Endpoint(Dialect.OTEL, 9464, "/one/metrics"),))
        async with PageClient(settings) as client:
            reader = AgentReader(settings, client, time.monotonic, random.Random(1))  # noqa: S311 - jitter
            readings: list[Reading] = []

            async def answers() -> bool:
                try:
                    readings.append((await reader.read(make_target(address="127.0.77.1"))).reading)
                except ScrapeError:
                    return False
                return True

            await eventually(answers)
        truth = Truth()
        with closing(TruthFile(file)) as noted:
            truth.add(noted)
    finally:
        process.stdin.close()
        await process.wait()
    assert process.returncode == 0
    serial = readings[0].sessions_open
    assert serial is not None
    shown = truth.by_serial[int(serial)]
    assert (shown.pod, shown.reader, shown.active, shown.queued, shown.good) == ("etl-1", "one", 7, 0, True)
    assert readings[0].tasks_active == 7


def test_a_line_that_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """The file is read while it is written."""
    file = tmp_path / "truth"
    with closing(TruthFile(file)) as truth, file.open("ab", buffering=0) as writer:
        second = replace(SHOWN, serial=42)
        writer.write(SHOWN.line() + second.line()[:20])
        assert list(truth) == [SHOWN]
        writer.write(second.line()[20:])
        assert list(truth) == [second]
        assert list(truth) == []


def test_what_a_replica_may_have_read() -> None:
    """Pages of one agent, to one reader, of a span of time, that were good or may be read."""
    pages = [
        replace(SHOWN, serial=1, made=1.0),
        replace(SHOWN, serial=2, made=2.0, reader="two"),
        replace(SHOWN, serial=3, made=3.0, kind="garbage", readable=False),
        replace(SHOWN, serial=4, made=4.0, kind="labels of 1 MB"),
        replace(SHOWN, serial=5, made=5.0, pod="etl-2"),
        replace(SHOWN, serial=6, made=6.0),
    ]
    truth = Truth()
    truth.add(pages)
    assert [page.serial for page in truth.readable("etl-1", "one", 1.0, 6.0)] == [1, 4]
    assert set(truth.by_serial) == set(range(1, 7))
    assert truth.readable("etl-9", "one", 0.0, 9.0) == []


def test_a_seed_gives_an_agent_its_character(tmp_path: Path) -> None:
    """What an agent does depends on the seed and its name alone."""

    def moods(seed: str, pod: str) -> list[str]:
        agent = Agent(Order(pod=pod, hostile=True), -1, iter(()), seed)
        return [agent.mood(at) for at in range(0, 600, 5)]

    assert moods("1", "etl-1") == moods("1", "etl-1")
    assert moods("1", "etl-1") != moods("2", "etl-1")
    assert moods("1", "etl-1") != moods("1", "etl-2")
    assert len(set(moods("1", "etl-1")) - {""}) > 10


def test_an_order_is_a_line() -> None:
    """What is told to the process comes as it was given."""
    order = Order(pod="etl-1", tasks=0)
    assert Order(**json.loads(order.line())) == order
