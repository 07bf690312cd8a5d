"""What is read back from the spool's file, whatever is in its rows and notes: usable, or dropped and counted."""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.publish.datum import Datum, DatumSeries
from exporter.publish.fleet_datums import Baseline
from exporter.publish.spool import Spool
from exporter.publish.spool_file import SpoolFile
from tests.fakes.any_json import DEEP_TEXTS, altered, texts
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import leave_in_spool, old_datums, publishing

SERIES = DatumSeries("ActiveTasks", "Count", (("ClusterName", "prod"), ("Namespace", "n"), ("Fleet", "f")))
EVER = {"not_before": 0, "not_after": 2**40}
ROW = json.loads(Datum(SERIES, 100, (1.0, 2.0), (3, 4)).to_json())
BASELINE = json.loads(Baseline(100.0, {"AgentRestarts": {"uid": (2.0, 90.0)}}).to_json())

bodies = texts(ROW).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=30)
times = (
    st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, -1, 2**41, 10**12, 253402300800])
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(max_size=5)
)
columns = st.tuples(times, bodies, st.sampled_from(["TEXT", "BLOB", "REAL"]))


def sound(at: int) -> Datum:
    return Datum(SERIES, at, (float(at),))


def write_rows(path: Path, rows: Iterable[tuple[object, bytes, str]]) -> None:
    """Write rows past the spool, each body as the bytes it is, of one of SQLite's types."""
    with sqlite3.connect(path) as database:
        for time, body, kind in rows:
            statement = f"INSERT INTO datum (time, body) VALUES (?, CAST(? AS {kind}))"  # noqa: S608 - of three words
            database.execute(statement, (time, body))
    database.close()


@given(st.lists(columns, min_size=1, max_size=6))
@example([(200, b'["m","Count",60,[],[Infinity],[1]]', "TEXT")])
@example([(200, b'["m","Count",60,[],[1],[1e400]]', "TEXT")])
@example([(200, b'["m","Count",60,[],[1' + b"0" * 400 + b"],[1]]", "TEXT")])
@example([(200, b'["m","\\ud800",60,[],[1],[1]]', "TEXT")])
@example([(200, b'[null,"Count",60,[],[1],[1]]', "TEXT")])
@example([(200, b"\xff\xfe", "TEXT"), (200, b"[" * 5000, "TEXT"), ("soon", b"", "BLOB"), (float("inf"), b"", "TEXT")])
def test_no_row_is_more_than_its_own_loss(rows: list[tuple[object, bytes, str]]) -> None:
    """Whatever the columns hold: sound rows before and behind are given out, the rest is gone and counted."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "spool.db"
        file = SpoolFile(path)
        file.add([sound(100)], {})
        file.close()
        write_rows(path, rows)
        file = SpoolFile(path)
        file.add([sound(300)], {})
        found = [row.datum for row in file.oldest(100, **EVER)]
        assert [datum for datum in found if datum in (sound(100), sound(300))] == [sound(100), sound(300)]
        for datum in found:
            assert datum.problem() is None
            assert datum.wire_bytes() > 0
            datum.request_member()
        assert file.unreadable == len(rows) + 2 - len(found)
        assert file.datums == len(found)
        assert file.oldest_time == found[0].time
        file.remove([row.id for row in file.oldest(100, **EVER)])
        assert (file.datums, file.oldest_time) == (0, None)
        file.close()


def test_numbers_of_rows_stay_apart_from_those_in_memory(tmp_path: Path) -> None:
    """A row whose number would be taken for one in memory is dropped, and new ones go on below."""
    path = tmp_path / "spool.db"
    SpoolFile(path).close()
    for statement in (
        "INSERT INTO datum VALUES (4611686018427387904, 100, '')",
        "UPDATE sqlite_sequence SET seq = 'x'",
        "UPDATE sqlite_sequence SET seq = 9223372036854775807",
        "DELETE FROM sqlite_sequence",
    ):
        with sqlite3.connect(path) as database:
            database.execute(statement)
        database.close()
        file = SpoolFile(path)
        [number] = file.add([sound(100)], {})
        assert 0 < number < 2**48
        file.close()


async def test_sound_rows_behind_many_bad_ones(tmp_path: Path) -> None:
    """More unreadable rows than one look takes do not hide what stands behind them; one line says how many went."""
    async with Spool(tmp_path / "spool.db", max_datums=10_000) as spool:
        await spool.add([sound(9000)], {}, expire_before=0)
    write_rows(tmp_path / "spool.db", [(at, b"[1]", "TEXT") for at in range(2500)])
    with capture_logs() as log:
        async with Spool(tmp_path / "spool.db", max_datums=10_000) as spool:
            assert [row.datum.time for row in await spool.oldest(1000, **EVER)] == [9000]
            assert (spool.datums, spool.take_unreadable(), spool.take_unreadable()) == (1, 2500, 0)
    assert [(line["event"], line["rows"]) for line in log] == [
        ("rows of the spool cannot be read; they are dropped", 2500)
    ]


async def test_bad_rows_are_counted_and_the_rest_is_published(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """The publisher goes on, whatever it finds: what is sound arrives, what is not shows as unreadable."""
    old = old_datums(cloudwatch.wall(), 2)
    await leave_in_spool(tmp_path, old)
    body = b'["Old","Count",60,[["Fleet","f"]],[Infinity],[1]]'
    write_rows(tmp_path / "spool.db", [(old[1].time, body, "TEXT"), (old[1].time + 1, b"[" * 5000, "TEXT")])
    async with publishing(tmp_path, cloudwatch) as running:
        await cloudwatch.until(lambda: len(cloudwatch.of("Old")) == 2)
        await running.drained()
    assert running.counts.datums["unreadable"] == 2
    assert cloudwatch.violations == []


@given(texts(BASELINE))
@example('{"time": NaN, "counters": {"AgentRestarts": {"uid": [1, 1]}}}')
@example('{"time": 1, "counters": {"AgentRestarts": {"uid": [-Infinity, 1]}}}')
@example('{"time": 1, "counters": {"AgentRestarts": {"uid": [1' + "0" * 400 + ", 1]}}}")
def test_a_baseline_is_usable_or_refused(text: str) -> None:
    """Counters are numbers from 0 on, seen at times that have a date; anything else is a ValueError."""
    try:
        baseline = Baseline.from_json(text)
    except ValueError:
        return
    assert 0 <= baseline.time < 1e12
    for counters in baseline.counters.values():
        for value, seen in counters.values():
            assert 0 <= value < 1e16
            assert 0 <= seen < 1e12
    assert Baseline.from_json(baseline.to_json()) == baseline


@given(st.data())
def test_a_baseline_comes_back(data: st.DataObject) -> None:
    """What is altered only within what is allowed is read as it was."""
    counter = st.tuples(st.floats(0, 1e15), st.floats(0, 1e11))
    counters = st.dictionaries(st.text(max_size=5), st.dictionaries(st.text(max_size=5), counter, max_size=3))
    baseline = Baseline(data.draw(st.floats(0, 1e11)), data.draw(counters))
    assert Baseline.from_json(baseline.to_json()) == baseline


@pytest.mark.parametrize(
    "note",
    [
        pytest.param(note, id=str(index))
        for index, note in enumerate(
            [
                ("last_period", b"nan"),
                ("last_period", b"-inf"),
                ("last_period", b"1e999"),
                ("last_period", b"\xff\xff"),
                ("last_period", b"1" * 5000),
                ("baseline", b"[" * 5000),
                ("baseline", b'{"time": 1e400, "counters": []}'),
                ("baseline", b'{"time": 1, "counters": {"AgentRestarts": [[]]}}'),
                ("baseline", b"\xff"),
                (b"\xff\xfe", b""),
            ]
        )
    ],
)
async def test_notes_nobody_can_read(
    tmp_path: Path, cloudwatch: FakeCloudWatch, note: tuple[str | bytes, bytes]
) -> None:
    """They are as good as none: the period is published, the disk stays in use, and the notes are written anew."""
    await leave_in_spool(tmp_path, [])
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as database:
        database.execute("REPLACE INTO note VALUES (CAST(? AS TEXT), CAST(? AS TEXT))", note)
    database.close()
    async with publishing(tmp_path, cloudwatch) as running:
        await cloudwatch.until(lambda: len(cloudwatch.of("CapacityTasks")) == 1)
        await running.drained()
        assert running.publisher.spool_durable
    async with Spool(path, max_datums=1000) as spool:
        assert (await spool.notes())["last_period"] == str(cloudwatch.wall.start)


@given(altered(ROW))
def test_a_datum_that_was_read_is_written_the_same(row: object) -> None:
    """Reading keeps everything that makes a datum, or refuses it."""
    try:
        datum = Datum.from_json(100, json.dumps(row))
    except ValueError:
        return
    assert Datum.from_json(100, datum.to_json()) == datum
    assert json.loads(datum.to_json())[:3] == row[:3]  # type: ignore[index]  # what was read is a list


@given(DEEP_TEXTS)
def test_deep_nesting_is_refused(text: str) -> None:
    """It is a ValueError like any other text that is no datum."""
    with pytest.raises(ValueError, match="nested"):
        Datum.from_json(100, text)
