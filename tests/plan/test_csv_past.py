"""The past from a CSV: what is read, and the sentence for everything that is not."""

import io
from pathlib import Path

import pytest

from exporter.forecast.history import GAP
from exporter.plan import csv_past
from exporter.plan.csv_past import MAX_LINE, parsed, read
from exporter.plan.errors import PlanError
from exporter.plan.series import Series


def of(text: str) -> Series:
    return parsed(io.StringIO(text), "past.csv")


def refused(text: str) -> str:
    with pytest.raises(PlanError) as caught:
        of(text)
    return str(caught.value)


def test_time_and_demand_in_any_order_beside_other_columns() -> None:
    """Unix seconds and RFC 3339 mean the same, with any offset; the byte order mark of a spreadsheet is no matter."""
    seen = of(
        '\ufeffhost,Demand,time\na,3,2026-06-01T00:00:00Z\n"b, c",4.4,2026-06-01T02:05:00+02:00\n\nd,,1780272600\n'
    )
    assert seen == Series(1_780_272_000.0, 300, seen.values)
    assert list(seen.values) == [3, 4]


def test_an_empty_demand_is_unknown() -> None:
    """It is a gap, not a zero."""
    rows = "".join(f"{1_780_272_000 + 300 * n},{'' if n == 2 else n}\n" for n in range(5))
    assert list(of("time,demand\n" + rows).values) == [0, 1, GAP, 3, 4]


def test_readings_each_minute_keep_their_minutes() -> None:
    """A finer past tells more exactly when work comes."""
    seen = of("time,demand\n" + "".join(f"{1_780_272_000 + 60 * n},{n}\n" for n in range(5)))
    assert (seen.step, list(seen.values)) == (60, [0, 1, 2, 3, 4])


def test_readings_every_ten_minutes_hold_until_the_next() -> None:
    """As an export for a dashboard has them."""
    seen = of("time,demand\n" + "".join(f"{1_780_272_000 + 600 * n},{n}\n" for n in range(3)))
    assert (seen.step, list(seen.values)) == (300, [0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "past.csv has no column 'time': its first line must name the columns time and demand"),
        ("time,tasks\n", "past.csv has no column 'demand'"),
        ("time,demand,demand\n", "past.csv has the column 'demand' more than once in its first line; keep one"),
        ("time;demand\n1;2\n", "past.csv is separated by semicolons; a CSV with commas is needed"),
        ("time,demand\n", "past.csv has no readings below its header"),
        ("time,demand\n300,1\n600\n", "past.csv, line 3: it has 1 of the columns"),
        ("time,demand\n300,1\nsoon,1\n", "past.csv, line 3: 'soon' is not a time; write Unix seconds, or RFC 3339"),
        ("time,demand\n2026-06-01T00:00:00,1\n", "line 2: '2026-06-01T00:00:00' has no time zone; end it with Z"),
        ("time,demand\n1780272000000,1\n", "Unix time is needed in seconds, not milliseconds"),
        ("time,demand\nnan,1\n", "line 2: 'nan' is not a time"),
        ("time,demand\n300,1\n600,many\n", "past.csv, line 3: 'many' is not a demand; a number of tasks is needed"),
        ("time,demand\n300,nan\n", "line 2: a demand of nan is unknown; leave the field empty"),
        ("time,demand\n300,-1\n", "past.csv, line 2: a demand of -1 tasks is impossible"),
        ("time,demand\n300,1e9\n", "is more than any fleet has; is it another column?"),
        ("time,demand\n300,1\n600,1\n600,2\n", "past.csv, line 4: this time was there before"),
        ("time,demand\n600,1\n300,1\n", "past.csv, line 3: it is earlier than the line before; sort the file by time"),
        ("time,demand\n300,1\n", "there are fewer than two readings"),
        ("time,demand\n0,1\n3600,1\n7200,1\n", "the readings are 60 minutes apart"),
        ("time,demand\n300," + "1" * MAX_LINE, "past.csv has a line of more than 4096 characters"),
    ],
)
def test_what_is_no_good_is_one_sentence(text: str, sentence: str) -> None:
    """With the line, and what to do about it."""
    seen = refused(text)
    assert sentence in seen
    assert "\n" not in seen


def test_control_characters_do_not_reach_the_terminal() -> None:
    """Nor does a name that goes on for ever."""
    seen = refused("time,demand\n\x1b[2J" + "x" * 1000 + ",1\n")
    assert "\x1b" not in seen
    assert len(seen) < 200


def test_files(tmp_path: Path) -> None:
    """One that is not there, a folder, and one that is no text."""
    binary = tmp_path / "binary"
    binary.write_bytes(b"time,demand\n\xff\xfe\xff,1\n")
    for file, reason in ((tmp_path / "none", "No such file"), (tmp_path, "directory"), (binary, "no text in UTF-8")):
        with pytest.raises(PlanError, match=reason):
            read(file)


def test_a_file_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has more than is allowed, wherever its next line is."""
    monkeypatch.setattr(csv_past, "MAX_BYTES", 100)
    assert "has more than 0 MB; export the last two months" in refused("time,demand\n" + "300,1\n" * 100)
