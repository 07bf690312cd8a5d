"""The history in a file: through restarts, beside other processes, and on disks that fail or do not answer."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from structlog.testing import capture_logs

from exporter.web.points import FORMAT
from exporter.web.points_file import MAX_BYTES, PointsFile
from tests.fakes.background import background
from tests.waiting import eventually
from tests.web.clocked_history import Clocked

pytestmark = pytest.mark.slow

NOT_STORED = "the status page's history cannot be stored; it is kept in memory, and lost at a restart; will retry"
STORED_AGAIN = "the status page's history can be stored again"
NOT_VALID = "the file with the status page's history is not valid; it is kept, and the history begins anew"


class World:
    """A file, and processes that have it one after the other, or want it at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "var" / "page-history"

    @asynccontextmanager
    async def process(self, seconds: float = 0.0, **paces: Any) -> AsyncIterator[Clocked]:
        """Run a process that starts so long after the test."""
        clocked = Clocked()
        clocked.view.instant += seconds
        paces = {"write_every": 0.02, "timeout": 5.0, "last_timeout": 5.0} | paces
        async with background(PointsFile(self.path, clocked.history, wall_clock=clocked.wall, **paces).run()):
            yield clocked

    def has(self, *, points: int) -> bool:
        """Return whether the file has so many points of fleet `a`."""
        return self.path.exists() and f'["matillion", "a", {points}]'.encode() in self.path.read_bytes()

    def beside(self, pattern: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.path.parent.glob(f"page-history.{pattern}"))]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_restart_loses_nothing(world: World) -> None:
    """It is written every few minutes and at the end, and read at the start; nothing but the lock is left beside it."""
    async with world.process() as first:
        first.at(0, "a")
        await eventually(lambda: world.has(points=1))
    async with world.process(60, write_every=3600.0) as second:
        await eventually(lambda: second.times() == {"a": [0, 1]})
        second.at(75, "a")
    async with world.process(120) as third:
        await eventually(lambda: third.times() == {"a": [0, 1, 75, 76]})
    assert sorted(path.name for path in world.path.parent.iterdir()) == ["page-history", "page-history.lock"]


async def test_what_is_read_and_written_is_logged_once(world: World) -> None:
    """The start of a process says that there was a history; writing it is no event."""
    with capture_logs() as log:
        async with world.process() as first:
            first.at(0, "a")
            await eventually(lambda: world.has(points=1))
        async with world.process(60) as second:
            await eventually(second.times)
    [line] = log
    assert (line["event"], line["fleets"]) == ("the status page's history is read", 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no history",
        b'{"format": "matillion-fleet-exporter history 1", "fleets": {}}',
        b"matillion-fleet-exporter page history 2\n{}\n",
        FORMAT,
        FORMAT + b"[" * 100_000,
        FORMAT + b'{"figures": [], "fleets": []}\n' + b"\x00" * 4,
    ],
)
async def test_a_file_of_something_else(world: World, content: bytes) -> None:
    """It is kept beside the new one, and that is logged."""
    world.path.parent.mkdir()
    world.path.write_bytes(content)
    with capture_logs() as log:
        async with world.process() as process:
            process.at(0, "a")
            await eventually(lambda: world.has(points=1))
    assert world.beside("*.unread") == [content]
    [line] = log
    assert line["event"] == NOT_VALID
    assert line["kept"] == f"{world.path}.2026-01-01T02-30-00Z.unread"


async def test_a_file_that_is_cut_off(world: World) -> None:
    """Half a history is none: it is not known what the other half was."""
    async with world.process() as first:
        first.at(0, "a")
        await eventually(lambda: world.has(points=1))
    os.truncate(world.path, world.path.stat().st_size - 8)
    with capture_logs() as log:
        async with world.process(60) as second:
            await eventually(lambda: log)
            assert second.times() == {}
    assert log[0]["reason"] == "its checksum is wrong: it was cut off or changed"


async def test_a_file_that_is_too_large(world: World) -> None:
    """It is read no further than it may be long; a second one that is set aside does not replace the first."""
    for _ in range(2):
        world.path.parent.mkdir(exist_ok=True)
        world.path.touch()
        os.truncate(world.path, MAX_BYTES + 1)
        with capture_logs() as log:
            async with world.process():
                await eventually(lambda: log)
        assert log[0]["reason"] == f"it has more than {MAX_BYTES} bytes"
    assert len(list(world.path.parent.glob("*.unread*"))) == 2


async def test_two_processes_with_one_file(world: World) -> None:
    """The second waits until the first has ended, and then has what that one wrote last before its own."""
    with capture_logs() as log:
        async with world.process() as first:
            first.at(0, "a")
            await eventually(lambda: world.has(points=1))
            second = Clocked()
            waiting = PointsFile(world.path, second.history, wall_clock=second.wall, write_every=0.02)
            task = asyncio.create_task(waiting.run())
            await eventually(lambda: log)
            second.at(30, "a")
            first.at(15, "a")
        await eventually(lambda: second.times() == {"a": [0, 15, 16, 30]})
        await eventually(lambda: world.has(points=4))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    events = [line["event"] for line in log]
    assert sorted(events) == sorted([NOT_STORED, "the status page's history is read", STORED_AGAIN])
    assert log[0]["error"] == f"{world.path} is used by another process"


async def test_a_disk_that_is_full(world: World) -> None:
    """It is logged once, the old file stays whole, and the next write has all."""
    new = world.path.with_name("page-history.new")
    async with world.process() as process:
        process.at(0, "a")
        await eventually(lambda: world.has(points=1))
        with capture_logs() as log:
            # What is written there meets "No space left on device", as on any other disk that is full.
            full = new.with_name("full")
            full.symlink_to("/dev/full")
            full.rename(new)
            process.at(15, "a")
            await eventually(lambda: log)
            assert world.has(points=1)
            new.unlink()
            await eventually(lambda: world.has(points=2))
            await eventually(lambda: len(log) > 1)
    assert [line["event"] for line in log] == [NOT_STORED, STORED_AGAIN]
    assert log[0]["error"] == "No space left on device"


async def test_a_file_that_cannot_be_read(world: World) -> None:
    """It is not replaced: it may be whole. A folder in its place stands for a file without the permission."""
    world.path.mkdir(parents=True)
    with capture_logs() as log:
        async with world.process() as process:
            process.at(0, "a")
            await eventually(lambda: log)
            assert process.times() == {"a": [0]}
    assert [(line["event"], line["error"]) for line in log] == [(NOT_STORED, "Is a directory")]
    assert world.path.is_dir()


@pytest.mark.parametrize("hanging", ["page-history", "page-history.new"])
async def test_a_disk_that_does_not_answer(world: World, hanging: str) -> None:
    """Reading or writing may take forever: the points go on, it is said once, and the end does not wait for it."""
    place = world.path.with_name(hanging)
    place.parent.mkdir()
    # Whoever opens a pipe waits until another process has opened its other end.
    os.mkfifo(place)
    with capture_logs() as log:
        async with world.process(timeout=0.05, last_timeout=0.05) as process:
            await eventually(lambda: log)
            process.at(0, "a")
            assert process.times() == {"a": [0]}
            await asyncio.sleep(0.2)
    assert [line["event"] for line in log] == [NOT_STORED]
    assert log[0]["error"] == "the disk did not answer for 0.05 s"
    # Lets the thread go on.
    os.close(os.open(place, os.O_RDWR | os.O_NONBLOCK))


async def test_a_disk_that_answers_again(world: World) -> None:
    """What was asked of it is waited for; then it is asked anew."""
    new = world.path.with_name("page-history.new")
    new.parent.mkdir()
    os.mkfifo(new)
    with capture_logs() as log:
        async with world.process(timeout=0.05) as process:
            process.at(0, "a")
            await eventually(lambda: log)
            reader = os.open(new, os.O_RDONLY | os.O_NONBLOCK)
            new.unlink()
            await eventually(lambda: world.has(points=1))
            os.close(reader)
            await eventually(lambda: len(log) > 1)
    assert [line["event"] for line in log][-1] == STORED_AGAIN


async def test_a_valid_frame_around_nonsense(world: World) -> None:
    """A checksum that is right does not make a history of it."""
    world.path.parent.mkdir()
    body = FORMAT + b'{"figures": [], "fleets": [["m", "a", 9]]}\n'
    world.path.write_bytes(body + struct.pack("<I", crc32(body)))
    with capture_logs() as log:
        async with world.process():
            await eventually(lambda: log)
    assert log[0]["reason"] == "it has fewer points than it says"
