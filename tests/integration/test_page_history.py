"""The history of the status page over the end of a real process: by SIGTERM, by SIGKILL, and on a disk that hangs."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.web.history import MAX_FLEETS, MAX_POINTS
from exporter.web.points import read
from tests.fakes.exporter_process import Exporter, exporter
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NOBODY = {"discovery": {"static": {"targets": [{"address": "127.99.0.3", "fleet": "f", "namespace": "n", "pod": "p"}]}}}


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Exporter]:
    """Run an exporter whose history is in a file of this folder."""
    settings = NOBODY | {"scrape": {"interval": "300ms", "timeout": "100ms"}}
    environment = {"FLEET_EXPORTER__WEB__HISTORY_FILE": str(folder / "page-history")}
    async with exporter(folder, settings, environment) as process:
        await process.ready()
        yield process


async def times(process: Exporter) -> list[float]:
    """Return the times of the points of the only fleet."""
    _, answer = await process.get("/api/v1/history")
    [fleet] = answer["history"] or [{"time_seconds": []}]
    found: list[float] = fleet["time_seconds"]
    return found


async def sampled(process: Exporter, more_than: int) -> list[float]:
    async def so() -> bool:
        return len(await times(process)) > more_than

    await eventually(so, pause=0.2)
    return await times(process)


async def end(process: Exporter, number: signal.Signals) -> list[dict[str, Any]]:
    process.process.send_signal(number)
    code, log = await process.end()
    assert code == (0 if number is signal.SIGTERM else -number)
    return [line for line in log if line["level"] in ("warning", "error", "critical")]


async def test_the_end_by_sigterm_and_by_sigkill(tmp_path: Path) -> None:
    """After SIGTERM the next process has all points; after SIGKILL the one after it has what was written before."""
    async with started(tmp_path) as first:
        taken = await sampled(first, 0)
        assert await end(first, signal.SIGTERM) == []
    for number in (signal.SIGKILL, signal.SIGTERM):
        async with started(tmp_path) as later:
            assert (await times(later))[:2] == [*taken, taken[-1] + 1]
            assert await end(later, number) == []


async def test_sigterm_while_the_disk_hangs(tmp_path: Path) -> None:
    """The process ends with code 0 and says what was lost; it does not wait until it is killed."""
    # Whoever writes to a pipe waits for its reader.
    os.mkfifo(tmp_path / "page-history.new")
    async with started(tmp_path) as process:
        before = asyncio.get_running_loop().time()
        [line] = await end(process, signal.SIGTERM)
        # A thread that the interpreter waits for would never end.
        assert asyncio.get_running_loop().time() - before < 30
    assert line["error"] == "the disk did not answer for 1 s"


WRITER = """
import asyncio, sys
from pathlib import Path
from exporter.web.points import BEFORE, NAMES, POINT
from exporter.web.points_file import PointsFile

class Full:
    def kept(self):
        points = [POINT.pack(BEFORE, float(at), *[float(at)] * len(NAMES)) for at in range(1440)]
        return {("n", str(number)): points for number in range(5)}
    def restore(self, found):
        print("begins", flush=True)

asyncio.run(PointsFile(Path(sys.argv[1]), Full(), write_every=0.0).run())
"""


async def test_killed_while_it_writes(tmp_path: Path) -> None:
    """Whenever it is killed, the file is a whole one: the last, or the one before."""
    file = tmp_path / "page-history"
    for number in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(file), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        while await process.stdout.readline() != b"begins\n":
            assert process.returncode is None
        await eventually(file.exists)
        # It does nothing but write, so that any moment is within one.
        await asyncio.sleep(0.01 * number)
        process.kill()
        await process.communicate()
        found = read(file.read_bytes(), max_points=MAX_POINTS, max_fleets=MAX_FLEETS)
        assert [len(points) for points in found.values()] == [MAX_POINTS] * 5
