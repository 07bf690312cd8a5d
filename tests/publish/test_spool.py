"""The spool: what was added is there after a crash, and a disk that fails in any way costs nothing but its safety."""

import asyncio
import resource
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.publish.datum import Datum, DatumSeries
from exporter.publish.spool import Spool
from tests.waiting import PATIENCE

SERIES = DatumSeries("ActiveTasks", "Count", (("ClusterName", "prod"), ("Namespace", "n"), ("Fleet", "f")))
ALL = {"not_before": 0, "not_after": 2**40}
IN_MEMORY = "the spool cannot be written to disk; unsent data is in memory only"
AGAIN = "the spool is written to disk again"


def datums(*times: int) -> list[Datum]:
    return [Datum(SERIES, at, (float(at),)) for at in times]


def spool(directory: Path, max_datums: int = 10_000) -> Spool:
    return Spool(directory / "spool.db", max_datums=max_datums)


async def times(spool: Spool, max_datums: int = 10_000) -> list[int]:
    """Return the times of what waits, in the order it is given out."""
    return [row.datum.time for row in await spool.oldest(max_datums, **ALL)]


async def test_what_is_added_is_given_out_oldest_first(tmp_path: Path) -> None:
    """Order is that of the datums' times, whatever order they came in; a datum is what it was."""
    async with spool(tmp_path) as one:
        added = await one.add(datums(300, 100), {}, expire_before=0)
        await one.add(datums(200), {}, expire_before=0)
        rows = await one.oldest(2, **ALL)
        assert [row.datum for row in rows] == datums(100, 200)
        assert rows[0].id == added.ids[1]
        assert (one.datums, one.oldest_time, one.durable) == (3, 100, True)


async def test_what_is_removed_is_gone(tmp_path: Path) -> None:
    """Removing twice, or more than SQLite takes variables, is no error."""
    async with spool(tmp_path) as one:
        added = await one.add(datums(*range(2000)), {}, expire_before=0)
        for _ in range(2):
            await one.remove(list(added.ids)[:1999])
            assert await times(one) == [1999]
        assert (one.datums, one.oldest_time) == (1, 1999)


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """Datums and notes are there again; the numbers go on, so that none ever means another datum."""
    async with spool(tmp_path) as one:
        added = await one.add(datums(100, 200), {"last_period": "1"}, expire_before=0)
        await one.remove(added.ids)
        await one.add(datums(300), {"last_period": "2"}, expire_before=0)
    async with spool(tmp_path) as one:
        assert await one.notes() == {"last_period": "2"}
        assert (one.datums, one.oldest_time) == (1, 300)
        [new] = (await one.add(datums(400), {}, expire_before=0)).ids
        assert new == 4
        assert await times(one) == [300, 400]


async def test_bounds_are_kept(tmp_path: Path) -> None:
    """What is too old goes, then the oldest of what is too much."""
    async with spool(tmp_path, max_datums=1000) as one:
        added = await one.add(datums(*range(1200)), {}, expire_before=50)
        assert (added.expired, added.overflowed) == (50, 150)
        assert (one.datums, one.oldest_time) == (1000, 200)


async def test_an_unreadable_row_is_dropped(tmp_path: Path) -> None:
    """One damaged row costs itself."""
    async with spool(tmp_path) as one:
        await one.add(datums(100, 200), {}, expire_before=0)
    with sqlite3.connect(tmp_path / "spool.db") as database:
        database.execute("UPDATE datum SET body = '[1]' WHERE time = 100")
    database.close()
    async with spool(tmp_path) as one:
        assert await times(one) == [200]
        assert one.datums == 1


async def test_work_that_is_not_awaited_is_done(tmp_path: Path) -> None:
    """Cancelled in the middle of adding or removing, what was begun is finished."""
    async with spool(tmp_path) as one:
        block = threading.Event()
        blocked = asyncio.create_task(one._thread.run(block.wait))
        adding = asyncio.create_task(one.add(datums(100), {}, expire_before=0))
        await asyncio.sleep(0.01)
        adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)
        block.set()
        assert await times(one) == [100]
        assert await blocked


# -- disks that fail ---------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: the error is that of a quota or a full volume."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.slow
async def test_a_full_disk(tmp_path: Path) -> None:
    """Datums are kept in memory until there is room; nothing is lost, nothing comes twice, and it is said once."""
    async with spool(tmp_path) as one:
        await one.add(datums(*range(1000)), {}, expire_before=0)
        with capture_logs() as log:
            with full_disk(1):
                for start in (1000, 2000, 3000):
                    await one.add(datums(*range(start, start + 1000)), {}, expire_before=0)
                assert not one.durable
                assert (one.datums, one.oldest_time) == (3000, 1000)
                assert await times(one) == list(range(1000, 4000))
            await one.add(datums(4000), {}, expire_before=0)
            assert not one.durable, "what is in memory stays there until it is sent"
            assert one.datums == 4001
            rows = await one.oldest(5000, **ALL)
            assert [row.datum.time for row in rows] == list(range(4001))
            await one.remove([row.id for row in rows if row.datum.time < 4000])
            assert one.durable
        assert [line["event"] for line in log] == [IN_MEMORY, AGAIN]


async def test_what_was_accepted_while_the_disk_failed_is_not_sent_again(tmp_path: Path) -> None:
    """A datum that the full disk could not forget is forgotten when it can be, before anything is read from it."""
    async with spool(tmp_path) as one:
        added = await one.add(datums(*range(2000)), {}, expire_before=0)
        # The log is captured: it could not be written to a file either.
        with capture_logs(), full_disk(1):
            await one.remove(list(added.ids)[:1500])
            assert not one.durable
        await one.add(datums(5000), {}, expire_before=0)
        assert await times(one) == [*range(1500, 2000), 5000]


async def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """Without a usable path everything works, in memory; removal and bounds too."""
    (tmp_path / "file").write_text("")
    with capture_logs() as log:
        async with Spool(tmp_path / "file" / "spool.db", max_datums=1000) as one:
            assert await one.notes() == {}
            added = await one.add(datums(*range(1200)), {}, expire_before=0)
            assert added.overflowed == 200
            await one.remove(list(added.ids)[:1100])
            assert await times(one) == list(range(1100, 1200))
            assert not one.durable
    assert [line["event"] for line in log] == [IN_MEMORY]
    assert "writable volume" in log[0]["fix"]


async def test_a_read_only_file_system(tmp_path: Path) -> None:
    """A place where no file can be made, such as a read-only root file system."""
    async with Spool(Path("/proc/self/spool/spool.db"), max_datums=1000) as one:
        await one.add(datums(100), {}, expire_before=0)
        assert await times(one) == [100]
        assert not one.durable


@pytest.mark.parametrize("damage", ["not a database", "overwritten pages", "cut short"])
async def test_a_corrupt_file_is_set_aside(tmp_path: Path, damage: str) -> None:
    """A damaged file is kept under another name and a new one begun; the log says that what was in it is not sent."""
    path = tmp_path / "spool.db"
    async with spool(tmp_path) as one:
        await one.add(datums(*range(5000)), {}, expire_before=0)
    content = path.read_bytes()
    if damage == "not a database":
        path.write_bytes(b"this is no database" * 1000)
    elif damage == "overwritten pages":
        path.write_bytes(content[:4096] + b"\xaa" * 40_000 + content[44_096:])
    else:
        path.write_bytes(content[: len(content) // 2 // 4096 * 4096])
    with capture_logs() as log:
        async with spool(tmp_path) as one:
            await one.add(datums(100), {}, expire_before=0)
            assert one.durable
            assert await times(one) == [100]
    assert [line["log_level"] for line in log] == ["error"]
    assert (tmp_path / "spool.db.damaged").exists()


async def test_corruption_while_in_use(tmp_path: Path) -> None:
    """A file that goes bad under the spool's hands costs what was in it, not the process."""
    path = tmp_path / "spool.db"
    async with spool(tmp_path) as one:
        await one.add(datums(*range(5000)), {}, expire_before=0)
    async with spool(tmp_path) as one:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xaa" * (size - 4096))
        await times(one)
        await one.add(datums(9000), {}, expire_before=0)
        await one.add(datums(9001), {}, expire_before=0)
        assert {9000, 9001} <= set(await times(one))


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """A database that is no spool is not touched; the spool stays in memory."""
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE precious (value)")
    database.close()
    before = path.read_bytes()
    with capture_logs() as log:
        async with spool(tmp_path) as one:
            await one.add(datums(100), {}, expire_before=0)
            assert not one.durable
    assert path.read_bytes() == before
    assert "not a spool file" in log[0]["reason"]


@pytest.mark.slow
async def test_a_file_in_use_by_another_process(tmp_path: Path) -> None:
    """Two exporters with one file: the second keeps its datums in memory, and takes the file over when it is free."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys; from pathlib import Path; from exporter.publish.spool_file import SpoolFile\n"
        "file = SpoolFile(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()",
        str(tmp_path / "spool.db"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert await asyncio.wait_for(holder.stdout.readline(), PATIENCE) == b"open\n"
    async with spool(tmp_path) as one:
        await one.add(datums(100), {}, expire_before=0)
        assert not one.durable
        holder.kill()
        await holder.communicate()
        await one.add(datums(200), {}, expire_before=0)
        in_memory, on_disk = await one.oldest(10, **ALL)
        assert [in_memory.datum.time, on_disk.datum.time] == [100, 200]
        await one.remove([in_memory.id])
        assert one.durable
