"""A volume without room: it is filled by the spool or by others, and there is always a way back."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.publish.datum import Datum, DatumSeries
from exporter.publish.spool import Spool
from exporter.publish.spool_file import JOURNAL_BYTES
from tests.fakes.small_volume import fill, small_volume
from tests.publish.test_spool import AGAIN, ALL, IN_MEMORY, SERIES, full_disk, spool, times

pytestmark = pytest.mark.slow

MINUTE = 700
"""Datums added at once: those of fifty fleets."""
LARGE = DatumSeries("Large", "Count", tuple((f"d{number}", "x" * 1000) for number in range(30)))
"""A series whose datums take 31 KB each."""


async def add_minutes(one: Spool, first: int, minutes: int, series: DatumSeries = SERIES, size: int = MINUTE) -> int:
    """Add minutes of datums, each datum a second after the other; return the next time."""
    for _ in range(minutes):
        new = [Datum(series, at, (1.0,)) for at in range(first, first + size)]
        await one.add(new, {"last_period": str(first)}, expire_before=0)
        first += size
    return first


async def fill_up(one: Spool, first: int, series: DatumSeries = SERIES, size: int = MINUTE) -> int:
    """Add minutes until the disk takes no more; return the next time."""
    while one.durable:
        first = await add_minutes(one, first, 1, series, size)
    return first


async def send_all(one: Spool) -> list[int]:
    """Take everything out as the publisher does, a full request at a time; return the times in that order."""
    sent: list[int] = []
    while rows := await one.oldest(1000, **ALL):
        sent += [row.datum.time for row in rows]
        await one.remove([row.id for row in rows])
    return sent


@pytest.mark.parametrize(
    ("megabytes", "series", "size", "at_least"), [(2, SERIES, MINUTE, 11_900), (8, LARGE, 10, 200)]
)
async def test_a_spool_that_filled_its_volume_is_emptied(
    tmp_path: Path, megabytes: int, series: DatumSeries, size: int, at_least: int
) -> None:
    """What did not fit is in memory; all is sent in order and once, and then the disk is used as before.

    Its own files have taken all they can use, and others what that left.
    """
    with small_volume(tmp_path / "volume", megabytes) as volume, capture_logs() as log:
        async with spool(volume, max_datums=10**6) as one:
            held, first = [], 0
            for _ in range(2):
                full = await fill_up(one, first, series, size)
                held.append(full - first - size)
                end = await add_minutes(one, full, 3, series, size)
                neighbour = fill(volume)
                assert await send_all(one) == list(range(first, end))
                assert (one.datums, one.oldest_time) == (0, None)
                neighbour.unlink()
                first = await add_minutes(one, end, 1, series, size)
                assert one.durable
                assert await send_all(one) == list(range(end, first))
        assert min(held) > 0.95 * max(held)
        assert min(held) >= at_least
        assert [line["event"] for line in log] == [IN_MEMORY, AGAIN] * 2
        # What is on the disk outlives the process.
        async with spool(volume, max_datums=10**6) as one:
            assert (await one.notes())["last_period"] == str(first - size)


async def test_a_full_volume_after_a_restart(tmp_path: Path) -> None:
    """A process that starts on a volume that is full to the last byte reads what is there, sends and removes it."""
    with small_volume(tmp_path / "volume", 2) as volume, capture_logs():
        async with spool(volume, max_datums=10**6) as one:
            end = await fill_up(one, 0)
        fill(volume)
        async with spool(volume, max_datums=10**6) as one:
            assert one.durable
            assert await send_all(one) == list(range(end - MINUTE))
            await add_minutes(one, end, 5)
            assert one.durable


async def test_a_volume_that_others_fill(tmp_path: Path) -> None:
    """New datums are in memory until there is room, and everything is sent in order meanwhile."""
    with small_volume(tmp_path / "volume", 2) as volume, capture_logs() as log:
        async with spool(volume, max_datums=10**6) as one:
            first = await add_minutes(one, 0, 3)
            neighbour = fill(volume)
            end = await add_minutes(one, first, 10)
            assert not one.durable
            assert one.datums == end
            rows = await one.oldest(2000, **ALL)
            await one.remove([row.id for row in rows])
            assert await times(one) == list(range(2000, end))
            neighbour.unlink()
            end = await add_minutes(one, end, 1)
            assert not one.durable, "some of it is still in memory"
            assert await send_all(one) == list(range(2000, end))
            assert one.durable
        assert [line["event"] for line in log] == [IN_MEMORY, AGAIN]


async def test_disk_and_memory_are_full(tmp_path: Path) -> None:
    """Then the oldest of all go, each is counted, and the rest is what was added last."""
    with small_volume(tmp_path / "volume", 2) as volume, capture_logs() as log:
        async with spool(volume, max_datums=100) as one:
            overflowed = 0
            for at in range(400):
                overflowed += (await one.add([Datum(LARGE, at, (1.0,))], {}, expire_before=0)).overflowed
            left = await times(one)
            assert one.datums == len(left) == 400 - overflowed
            assert 140 < len(left) < 170
            assert left == list(range(400 - len(left), 400))
        assert [line["event"] for line in log] == [IN_MEMORY]


async def test_a_damaged_file_gives_its_room(tmp_path: Path) -> None:
    """It is kept as long as the spool does not need its place."""
    with small_volume(tmp_path / "volume", 2) as volume, capture_logs():
        path, damaged = volume / "spool.db", volume / "spool.db.damaged"
        async with spool(volume, max_datums=10**6) as one:
            await add_minutes(one, 0, 8)
        path.write_bytes(path.read_bytes()[:4096] + b"\xaa" * (path.stat().st_size - 4096))
        async with spool(volume, max_datums=10**6) as one:
            assert damaged.exists()
            end = await add_minutes(one, await fill_up(one, 0), 1)
            assert not damaged.exists()
            assert await send_all(one) == list(range(end))
            assert one.durable


async def test_a_quota(tmp_path: Path) -> None:
    """A file that may not grow, for another reason than a full volume, can be read and emptied as well."""
    with capture_logs() as log:
        async with spool(tmp_path, max_datums=10**6) as one:
            first = await add_minutes(one, 0, 6)
            size = (tmp_path / "spool.db").stat().st_size
            assert size > JOURNAL_BYTES
            with full_disk(size):
                end = await add_minutes(one, first, 10)
                assert not one.durable
                assert await send_all(one) == list(range(end))
                await add_minutes(one, end, 1)
                assert one.durable
    assert [line["event"] for line in log] == [IN_MEMORY, AGAIN]
