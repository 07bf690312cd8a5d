"""A spool file that was overwritten, cut short or made by something else: it costs what was in it, and nothing more."""

import asyncio
import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.publish.spool import Spool
from exporter.publish.spool_file import SpoolFile
from tests.publish.test_spool import datums, spool, times

pytestmark = pytest.mark.slow

NEW = (9000, 9001)


async def still_works(one: Spool) -> None:
    """Add twice, as the first time may find the damage; what was added is there, and can be sent and forgotten."""
    for at in NEW:
        await times(one)
        await one.add(datums(at), {"last_period": str(at)}, expire_before=0)
    assert set(NEW) <= set(await times(one))
    rows = await one.oldest(10_000, not_before=0, not_after=2**40)
    await one.remove([row.id for row in rows])
    assert await times(one) == []
    assert one.datums >= 0


def overwrite(path: Path, at: float, content: bytes, cut: float) -> None:
    """Write something at a place in the file, given as a share of it, then leave a share of the file away."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(int(at * size))
        file.write(content)
        file.truncate(int((1 - cut) * file.seek(0, 2)))


PLACES = st.floats(0, 1)
CONTENTS = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"\0" * 4096, b"\xff" * 5000, b"\xaa" * 30_000, b"\x0d" * 10, b"SQLite format 3\0" * 300]),
)
CUTS = st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.5, 0.999, 1.0])


@given(PLACES, CONTENTS, CUTS, st.booleans())
@example(0.0, b"\0" * 100, 0.0, False)
@example(0.5, b"", 0.5, True)
@example(0.0703925082165935, b"\x80", 0.0, False)
def test_whatever_happens_to_the_file(at: float, content: bytes, cut: float, in_use: bool) -> None:
    """At rest or in use: nothing raises, and what comes after is kept and sent."""

    async def live(directory: Path) -> None:
        async with spool(directory) as one:
            await one.add(datums(*range(300)), {}, expire_before=0)
            if in_use:
                overwrite(directory / "spool.db", at, content, cut)
                await still_works(one)
        if not in_use:
            overwrite(directory / "spool.db", at, content, cut)
        async with spool(directory) as one:
            await still_works(one)

    with TemporaryDirectory() as directory, capture_logs():
        asyncio.run(live(Path(directory)))


@pytest.mark.parametrize("in_the_index", [False, True])
async def test_a_row_that_has_another_time_costs_at_most_itself(tmp_path: Path, *, in_the_index: bool) -> None:
    """Where table and index say different things the index is made anew: all rows are sent."""
    start, path = 1_800_000_000, tmp_path / "spool.db"
    async with spool(tmp_path) as one:
        await one.add(datums(*range(start, start + 50)), {}, expire_before=0)
    content = path.read_bytes()
    found = [at for at in range(len(content)) if content.startswith((start + 7).to_bytes(4, "big"), at)]
    assert len(found) == 2, "in the table and in the index"
    at = found[in_the_index]
    path.write_bytes(content[:at] + (start + 1_000_000).to_bytes(4, "big") + content[at + 4 :])
    async with spool(tmp_path) as one:
        seen = await times(one)
        assert len(seen) == 50
        assert set(range(start, start + 50)) - {start + 7} <= set(seen)
        await still_works(one)
        assert one.durable


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE datum",
        "DROP INDEX datum_by_time",
        "DROP TABLE note; CREATE TABLE note (name, value, more)",
        "DROP TABLE datum; CREATE TABLE datum (id INTEGER PRIMARY KEY, time INTEGER, body TEXT)",
        "DROP TABLE datum; CREATE VIEW datum AS SELECT 1 AS id, 2 AS time, '' AS body",
        "CREATE TRIGGER t AFTER INSERT ON datum BEGIN DELETE FROM datum; END",
    ],
)
async def test_another_schema_is_left_alone(tmp_path: Path, change: str) -> None:
    """A file with our mark and other tables is another version's: it is not touched, and the spool is in memory."""
    path = tmp_path / "spool.db"
    SpoolFile(path).close()
    with sqlite3.connect(path) as database:
        database.executescript(change)
    database.close()
    before = path.read_bytes()
    with capture_logs() as log:
        async with spool(tmp_path) as one:
            await still_works(one)
            assert not one.durable
    assert path.read_bytes() == before
    assert ["not a spool file" in line["reason"] for line in log] == [True]


async def test_a_file_with_a_write_ahead_log_is_taken_over(tmp_path: Path) -> None:
    """A spool of an earlier version is read as it is, with what is in its log only."""
    path = tmp_path / "spool.db"
    async with spool(tmp_path) as one:
        await one.add(datums(*range(10)), {}, expire_before=0)
    for suffix in ("", "-journal"):
        (tmp_path / f"old.db{suffix}").write_bytes((tmp_path / f"spool.db{suffix}").read_bytes())
    old = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    old.execute("DELETE FROM datum WHERE time < 5")
    for suffix in ("", "-wal"):
        (tmp_path / f"spool.db{suffix}").write_bytes((tmp_path / f"old.db{suffix}").read_bytes())
    (tmp_path / "spool.db-journal").unlink()
    old.close()
    async with spool(tmp_path) as one:
        assert await times(one) == [5, 6, 7, 8, 9]
        assert one.durable
    assert not path.with_name("spool.db-wal").exists()
