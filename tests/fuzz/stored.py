"""What an earlier process wrote, and a disk or a person may have changed."""

import json
import math
from collections.abc import Mapping, Sequence

from exporter.forecast.history import GAP, SLOTS, History
from exporter.history.encoding import MAX_ENTRIES, MAX_START_SECONDS, MAX_TASKS, decode, updated
from exporter.publish.datum import Datum
from exporter.publish.fleet_datums import Baseline
from exporter.publish.last_readings import Note, note_text
from exporter.web import points
from tests.fuzz.checks import is_short, or_none, text_of

NOW = 1_767_234_600.0
"""2026-01-01T02:30:00Z."""
DAYS = 60


def history(data: bytes) -> None:
    """Read the entries of a past, one a line, add them to nothing, and read that back."""
    entries = dict(line.partition(": ")[::2] for line in text_of(data).split("\n"))
    found = decode(entries, NOW, DAYS)
    values = [value for day in found.history.days() for value in found.history.slots(day * SLOTS, SLOTS)]
    assert all(value == GAP or 0 <= value <= MAX_TASKS for value in values)
    assert len(values) <= SLOTS * min(len(entries), MAX_ENTRIES)
    assert all(0 <= start.seconds <= MAX_START_SECONDS for start in found.starts)
    assert 0 <= found.past(NOW).read_time <= NOW
    assert all(len(reason) < 300 for reason in found.refused.values())
    again = decode(updated({}, found.history, found.starts, now=NOW, days=DAYS), NOW, DAYS)
    assert not again.refused
    assert _days(again.history) == _days(found.history)
    assert sorted(again.starts) == sorted(set(again.starts))
    assert _days(decode(entries, NOW, DAYS, found).history) == _days(found.history)


def _days(history: History) -> Mapping[int, Sequence[int]]:
    """Return the days of which anything is known."""
    days = {day: list(history.slots(day * SLOTS, SLOTS)) for day in history.days()}
    return {day: values for day, values in days.items() if any(value != GAP for value in values)}


def last_readings(data: bytes) -> None:
    """Read a note of the last readings, and what was written of it."""
    try:
        note = Note.from_text(text_of(data))
    except ValueError as error:
        is_short(error, 500 + len(data))
        return
    assert len(note.readings) + len(note.gone) + note.left_out <= len(data)
    for reading in note.readings:
        assert math.isfinite(reading.tasks)
        assert reading.tasks > 0
    text, left_out = note_text(note.time, note.scope, note.readings, note.gone)
    again = Note.from_text(text)
    assert left_out == again.left_out == 0
    assert sorted(again.readings, key=repr) == sorted(note.readings, key=repr)
    assert list(again.gone) == list(note.gone)


def spool(data: bytes) -> None:
    """Read a row of the spool, its counters, and the page's history, and what was written of them."""
    text = text_of(data)
    datum = or_none(lambda given: Datum.from_json(int(NOW), given), text)
    if datum is not None:
        assert all(map(math.isfinite, datum.values))
        assert all(count > 0 for count in datum.counts)
        assert datum.problem() is None
        assert Datum.from_json(int(NOW), datum.to_json()) == datum
        json.dumps({**datum.request_member(), "Timestamp": 0}, allow_nan=False).encode()
        assert datum.wire_bytes() <= 1000 * (len(text) + 1)
    baseline = or_none(Baseline.from_json, text)
    if baseline is not None:
        _check_counters(baseline.counters)
        assert Baseline.from_json(baseline.to_json()).time == baseline.time
    kept = or_none(lambda given: points.read(given, max_points=10, max_fleets=3), data)
    if kept is not None:
        assert len(kept) <= 3
        again = points.read(b"".join(points.written(kept)), max_points=10, max_fleets=3)
        assert {key: len(one) for key, one in again.items()} == {key: len(one) for key, one in kept.items()}


def _check_counters(counters: Mapping[str, Mapping[str, tuple[float, float]]]) -> None:
    for by_agent in counters.values():
        for value, seen in by_agent.values():
            assert math.isfinite(value)
            assert math.isfinite(seen)
            assert value >= 0
