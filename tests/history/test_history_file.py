"""The past in a file: what is kept over a restart, and what a bad file or a bad disk costs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.config import ForecastSettings
from exporter.forecast.history import GAP, SLOT_SECONDS, History
from exporter.history import history_file
from exporter.history.history_file import HistoryFile, Pace
from exporter.store.snapshots import SnapshotStore
from tests.factories import POLICY, WALL_NOW, make_reading, make_target
from tests.waiting import eventually

ETL = ("matillion", "etl")
START = WALL_NOW - WALL_NOW % 900
"""The start of a quarter of an hour."""


class World:
    """An exporter of one fleet with its file; it is read when a test says so."""

    def __init__(self, path: Path) -> None:
        self.time = START
        self.path = path
        self.store = SnapshotStore(POLICY, monotonic=lambda: self.time, wall=lambda: self.time)
        self.store.expect(["list"])

    def demand(self, tasks: float) -> None:
        """Let the fleet have so many tasks now."""
        target = make_target("etl", fleet="etl")
        self.store.replace("list", [target])
        self.store.scraped(target, make_reading(tasks), url="http://agent", seconds=0.01)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HistoryFile]:
        """Run the history until the context ends."""
        settings = ForecastSettings.model_validate({"enabled": True, "path": str(self.path)})
        history = HistoryFile(settings, self.store, pace=Pace(sample_every=0.005))
        task = asyncio.create_task(history.run())
        try:
            yield history
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def stored(self) -> list[int]:
        """Return what the file has from START on, without gaps."""
        document = json.loads(self.path.read_text())
        days = document["fleets"].get("matillion/etl", {})
        found = history_file.decode(days, self.time, 28).history
        return [value for value in found.slots(int(START // SLOT_SECONDS), 12) if value != GAP]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "below" / "history.json")


def tasks(history: HistoryFile) -> list[int]:
    """Return what is provided from START on, without gaps."""
    past = history.past(ETL)
    found = History() if past is None else past.history
    return [value for value in found.slots(int(START // SLOT_SECONDS), 12) if value != GAP]


async def test_the_demand_is_stored_every_quarter_of_an_hour(world: World) -> None:
    """What is provided is what is stored: the maximum of each five minutes."""
    async with world.running() as history:
        await eventually(world.path.exists)
        world.demand(7)
        await asyncio.sleep(0.05)
        assert (tasks(history), world.stored()) == ([], [])
        world.time += 300
        world.demand(12)
        await asyncio.sleep(0.05)
        world.time += 600
        await eventually(lambda: tasks(history))
        assert tasks(history)[:2] == world.stored()[:2] == [7, 12]
        past = history.past(ETL)
        assert past is not None
        assert past.read_time == world.time


async def test_the_end_stores_what_was_recorded(world: World) -> None:
    """A restart loses nothing; the next process provides it from its start, and adds to it."""
    async with world.running():
        await eventually(world.path.exists)
        world.demand(7)
        await asyncio.sleep(0.05)
    assert world.stored() == [7]
    world.time += 300
    again = World(world.path)
    again.time = world.time
    async with again.running() as history:
        await eventually(lambda: tasks(history) == [7])
        again.demand(3)
        await asyncio.sleep(0.05)
    assert again.stored() == [7, 3]
    assert [file.name for file in world.path.parent.iterdir()] == ["history.json"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b'{"format": "other", "fleets": {}}', "it is not in the format"),
        (b'{"format": "matillion-fleet-exporter history 1", "fleets": {"etl": {}}}', "'etl' is not the history"),
        (b'{"format": "matillion-fleet-exporter history 1", "fleets": {"a/b": 3}}', "'a/b' is not the history"),
    ],
)
async def test_a_file_of_something_else_is_moved_aside(world: World, content: bytes, reason: str) -> None:
    """It is named, kept as it was, and a new one begun."""
    world.path.parent.mkdir()
    world.path.write_bytes(content)
    with capture_logs() as log:
        async with world.running():
            await eventually(lambda: world.path.exists() and world.path.read_bytes() != content)
    aside = world.path.with_name(f"history.json.not-read-{START:.0f}")
    assert aside.read_bytes() == content
    [line] = log
    assert line["to"] == str(aside)
    assert reason in line["reason"]


async def test_a_file_that_is_too_large_is_not_read(world: World) -> None:
    """It is moved aside like any other that this exporter did not write."""
    world.path.parent.mkdir()
    with world.path.open("wb") as file:
        file.truncate(history_file.MAX_BYTES + 1)
    with capture_logs() as log:
        async with world.running():
            await eventually(lambda: world.path.exists() and world.path.stat().st_size < 1000)
    assert [line["reason"] for line in log] == ["it is larger than 32 MiB"]


async def test_a_broken_day_costs_no_other(world: World) -> None:
    """It is named once and left as it is; the other days are provided."""
    async with world.running():
        await eventually(world.path.exists)
        world.demand(7)
        await asyncio.sleep(0.05)
    document = json.loads(world.path.read_text())
    document["fleets"]["matillion/etl"]["2025-12-30"] = "broken"
    world.path.write_text(json.dumps(document))
    with capture_logs() as log:
        async with world.running() as history:
            await eventually(lambda: tasks(history) == [7])
    assert [(line["fleet"], line["entry"]) for line in log] == [("matillion/etl", "2025-12-30")]
    assert json.loads(world.path.read_text())["fleets"]["matillion/etl"]["2025-12-30"] == "broken"


async def test_a_disk_that_fails_is_told_once_and_tried_again(world: World) -> None:
    """What was recorded meanwhile is stored as soon as it can be."""
    world.path.parent.write_text("a file where the folder should be")
    with capture_logs() as log:
        async with world.running() as history:
            world.demand(7)
            await eventually(lambda: log)
            await asyncio.sleep(0.05)
            assert [line["event"] for line in log] == [
                "history cannot be read or written; it is kept in memory, and lost at the end; will retry"
            ]
            assert history.past(ETL) is None
            world.path.parent.unlink()
            await eventually(lambda: tasks(history) == [7])
    assert [line["event"] for line in log][1:] == ["history can be stored again"]


async def test_old_days_and_fleets_that_are_gone_are_forgotten(world: World) -> None:
    """After the days that are kept, nothing is left of them."""
    async with world.running():
        await eventually(world.path.exists)
        world.demand(7)
        await asyncio.sleep(0.05)
    later = World(world.path)
    later.time = START + 86400 * 120
    async with later.running() as history:
        await eventually(lambda: json.loads(world.path.read_text())["fleets"] == {})
        assert history.past(ETL) is None
