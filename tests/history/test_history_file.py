"""The past of fleets in a file: through restarts, beside other processes, and on disks that fail."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config import ForecastSettings
from exporter.forecast.history import SLOTS
from exporter.history.history_file import FORMAT, MAX_BYTES, HistoryFile
from exporter.history.recorder import MAX_FLEETS, Pace
from tests.factories import WALL_NOW
from tests.fakes.background import background
from tests.fakes.seen_fleets import MovedClock, SeenFleets
from tests.history.pasts import by_slot
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PACE = Pace(sample_every=0.02, poll_every=0.02, retry=0.05, max_retry=0.1)
QUARTER = 900.0
NOT_STORED = "history cannot be stored; it is kept in memory, and lost at the end of the process; will retry"


class World(MovedClock):
    """A file, the fleets' demand, and a clock."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "var" / "history.json"
        self.demand: dict[str, float] = {"etl": 12}

    @asynccontextmanager
    async def exporter(self, pace: Pace = PACE) -> AsyncIterator["Exporter"]:
        exporter = Exporter(self, pace)
        async with background(exporter.fleets.watch(), exporter.history.run()):
            yield exporter

    def write(self, content: Any) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(content if isinstance(content, str) else json.dumps(content))

    def beside(self, pattern: str) -> list[str]:
        return [path.read_text(errors="replace") for path in sorted(self.path.parent.glob(f"history.json.{pattern}"))]


class Exporter:
    """Its store, and its history."""

    def __init__(self, world: World, pace: Pace) -> None:
        self.fleets = SeenFleets(world, world.demand)
        self.history = HistoryFile(ForecastSettings(path=world.path), self.fleets.store, pace=pace)

    def past(self, fleet: str = "etl") -> dict[int, int]:
        """Return what it has of a fleet, by number of five minutes since the test's start."""
        return by_slot(self.history.past(("matillion", fleet)))

    async def has(self, past: dict[int, int], fleet: str = "etl") -> None:
        """Wait until this is in its past of a fleet."""
        await eventually(
            lambda: past.items() <= self.past(fleet).items(),
            what=lambda: f"{self.past(fleet)} instead of {past}",
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def entries(**days: Any) -> dict[str, Any]:
    """Return entries by the last two digits of days of December."""
    return {f"2025-12-{key.removeprefix('d')}": value for key, value in days.items()}


async def test_a_restart_loses_nothing(world: World) -> None:
    """What is recorded is written every quarter of an hour, and at the end."""
    async with world.exporter() as first:
        assert first.past() == {}
        await first.fleets.seen()
        world.skip(QUARTER)
        await first.has({0: 12})
        world.demand["etl"] = 30
        await first.fleets.seen()
        assert 30 not in first.past().values()
    async with world.exporter() as second:
        await second.has({0: 12, 3: 30})
        found = second.history.past(("matillion", "etl"))
        assert found is not None
        assert WALL_NOW + QUARTER <= found.read_time <= world.wall()
    document = json.loads(world.path.read_text())
    assert document["format"] == FORMAT
    assert list(document["fleets"]) == ["matillion/etl"]
    assert document["fleets"]["matillion/etl"]["2026-01-01"].startswith("-*30 12 - - 30")
    assert sorted(path.name for path in world.path.parent.iterdir()) == ["history.json", "history.json.lock"]


async def test_fleets_that_are_gone_and_days_that_are_old(world: World) -> None:
    """A fleet that is gone keeps its past, but no day longer than others."""
    world.write(
        {
            "format": FORMAT,
            "fleets": {"matillion/gone": entries(d10="5*288", d31="6*288"), "m/old": entries(d10="5*288")},
        }
    )
    async with world.exporter() as exporter:
        await exporter.fleets.seen()
        world.skip(8 * 86400)
        await exporter.has({0: 12})
    fleets = json.loads(world.path.read_text())["fleets"]
    assert list(fleets) == ["matillion/etl", "matillion/gone"]
    assert list(fleets["matillion/gone"]) == ["2025-12-31"]


async def test_no_more_fleets_than_there_may_be(world: World) -> None:
    """The one that has been gone for longest gives way; if all are there, it is logged once."""
    world.write(
        {
            "format": FORMAT,
            "fleets": {"matillion/gone": entries(d31="1*288"), "matillion/long-gone": entries(d30="1*288")},
        }
    )
    world.demand |= {f"fleet-{number:03}": 1 for number in range(MAX_FLEETS - 2)}
    with capture_logs() as log:
        async with world.exporter() as exporter:
            await exporter.fleets.seen()
            world.skip(QUARTER)
            await exporter.has({0: 12})
            assert exporter.past("gone")
            assert not exporter.past("long-gone")
            world.demand |= {"z-1": 1, "z-2": 1, "z-3": 1}
            await exporter.fleets.seen()
            world.skip(QUARTER)
            await exporter.has({3: 12})
    assert not exporter.past("gone")
    assert [line["event"] for line in log if "limit" in line][:1] == ["some fleets have no past: there are too many"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no JSON",
        "[" * 100_000,
        '{"format": ',
        "[]",
        "null",
        '{"format": "another", "fleets": {}}',
        '{"fleets": {}}',
        f'{{"format": "{FORMAT}", "fleets": []}}',
        f'{{"format": "{FORMAT}", "fleets": {"9" * 5000}}}',
        "\x00" * 10,
    ],
)
async def test_a_file_of_something_else(world: World, content: str) -> None:
    """It is kept beside the new one, and that is logged."""
    world.write(content)
    with capture_logs() as log:
        async with world.exporter() as exporter:
            await exporter.fleets.seen()
    assert world.beside("*.unread") == [content]
    assert list(json.loads(world.path.read_text())["fleets"]) == ["matillion/etl"]
    [line] = log
    assert line["event"] == "the history file is not valid; it is kept, and what can be read of it is used"
    assert line["kept"].startswith(f"{world.path}.2026-01-01T02-30-00Z.unread")


async def test_a_file_that_is_no_text_or_too_large(world: World) -> None:
    """It is read no further than it may be long."""
    world.write("")
    world.path.write_bytes(b"\xff\xfe")
    async with world.exporter():
        await eventually(lambda: world.beside("*.unread"))
    os.truncate(world.path, MAX_BYTES + 1)
    with capture_logs() as log:
        async with world.exporter():
            await eventually(lambda: log)
    assert log[0]["refused"] == [f"it has more than {MAX_BYTES} bytes"]
    assert len(list(world.path.parent.glob("*.unread*"))) == 2, "none replaces the other"


async def test_a_file_of_which_some_is_valid(world: World) -> None:
    """That is used, the whole is kept aside."""
    document = {
        "format": FORMAT,
        "fleets": {
            "matillion/etl": entries(d31=f"5*{SLOTS}", d30="NaN", d29=["deep"]),
            "no-namespace": {},
            "matillion/list": [],
            "matillion/other": entries(d31=f"6*{SLOTS}"),
        },
    }
    world.write(document)
    with capture_logs() as log:
        async with world.exporter() as exporter:
            await exporter.has({-31: 5})
            assert exporter.past("other")[-31] == 6
    assert json.loads(world.beside("*.unread")[0]) == document
    assert log[0]["refused"] == [
        "matillion/etl 2025-12-30: 'NaN' is no number of tasks",
        "matillion/etl 2025-12-29: not text",
        "'no-namespace' is not the history of a fleet, or there are too many",
        "'matillion/list' is not the history of a fleet, or there are too many",
    ]
    assert list(json.loads(world.path.read_text())["fleets"]) == ["matillion/etl", "matillion/other"]


async def test_two_exporters_with_one_file(world: World) -> None:
    """The second waits until the first has ended, and then has all: so they never mix."""
    with capture_logs() as log:
        async with world.exporter() as second_to_end:
            await eventually(world.path.exists)
            other = Exporter(world, PACE)
            other.fleets.demand = {"etl": 4.0}
            async with background(other.fleets.watch(), other.history.run()) as _:
                await eventually(lambda: log)
                assert other.history.past(("matillion", "etl")) is None
            await second_to_end.fleets.seen()
        async with world.exporter() as third:
            await third.has({0: 12})
    assert [line["event"] for line in log] == [NOT_STORED]
    assert log[0]["error"] == f"{world.path} is used by another process"


async def test_the_next_exporter_takes_over(world: World) -> None:
    """One that started before the other has ended reads what that one wrote last."""
    async with world.exporter() as second:
        pass
    with capture_logs() as log:
        first = Exporter(world, PACE)
        async with background(first.fleets.watch(), first.history.run()):
            await first.fleets.seen()
            second = Exporter(world, PACE)
            waiting = asyncio.create_task(second.history.run())
            await eventually(lambda: log)
        async with background(second.fleets.watch()):
            await second.has({0: 12})
            await eventually(lambda: len(log) > 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert [line["event"] for line in log] == [NOT_STORED, "history can be stored again"]


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Let no file be written: what should be its folder is a file."""
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.write_text("")
    yield
    path.parent.unlink()
    path.parent.with_name("elsewhere").rename(path.parent)


async def test_a_disk_that_fails(world: World) -> None:
    """It is logged once, and what was recorded is stored once that is possible."""
    async with world.exporter() as exporter:
        await exporter.fleets.seen()
        world.skip(QUARTER)
        await exporter.has({0: 12})
        with capture_logs() as log:
            with refused(world.path):
                await exporter.fleets.seen()
                world.skip(QUARTER)
                await eventually(lambda: log)
                await exporter.fleets.seen()
            await exporter.has({0: 12, 3: 12})
            await eventually(lambda: len(log) > 1)
    assert [line["event"] for line in log] == [NOT_STORED, "history can be stored again"]
    assert log[0]["error"] == "Not a directory"


async def test_a_file_that_cannot_be_read(world: World) -> None:
    """It is not replaced: it may be whole. A folder in its place stands for a file without the permission."""
    world.path.mkdir(parents=True)
    with capture_logs() as log:
        async with world.exporter() as exporter:
            await exporter.fleets.seen()
            await eventually(lambda: log)
            assert exporter.past() == {}
    assert (log[0]["event"], log[0]["error"]) == (NOT_STORED, "Is a directory")
    assert world.path.is_dir()


async def test_the_end_does_not_wait_for_the_disk(world: World) -> None:
    """A process that is to end has little time."""
    async with world.exporter(replace(PACE, last_timeout=0.0)) as exporter:
        await eventually(world.path.exists)
        world.demand["etl"] = 77
        await exporter.fleets.seen()
    assert "77" not in world.path.read_text()
