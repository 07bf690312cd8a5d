"""The content of the history's file: what is read is what was written, whatever figures the releases have."""

import json
import struct
from math import inf, isnan, nan
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.history import MAX_FLEETS, MAX_POINTS
from exporter.web.points import BEFORE, FIGURES, FORMAT, NAMES, POINT, read, written
from exporter.web.points_file import MAX_BYTES

FLEET = ("matillion", "etl")


def content(figures: Any, fleets: Any, *rows: list[float], form: bytes = FORMAT) -> bytes:
    """Return a file as any release may have written it: each row is a time and the figures."""
    head = json.dumps({"figures": figures, "fleets": fleets}).encode()
    body = form + head + b"\n" + b"".join(struct.pack(f"<{len(row)}d", *row) for row in rows)
    return body + struct.pack("<I", crc32(body))


def point(time: float, **known: float) -> bytes:
    """Return a point of the process before, of which nothing else is known."""
    return POINT.pack(BEFORE, time, *(known.get(name, nan) for name in NAMES))


def found(file: bytes, *, max_points: int = MAX_POINTS, max_fleets: int = MAX_FLEETS) -> dict[Any, list[bytes]]:
    return read(file, max_points=max_points, max_fleets=max_fleets)


_VALUES = st.one_of(st.just(nan), st.floats(allow_nan=False, allow_infinity=False))
_POINTS = st.lists(
    st.tuples(st.floats(0, 1e10), st.lists(_VALUES, min_size=len(NAMES), max_size=len(NAMES))), min_size=1
)
_KEYS = st.tuples(st.text(min_size=1), st.text(min_size=1))


@pytest.mark.slow
@given(st.dictionaries(_KEYS, _POINTS, max_size=3))
def test_what_is_read_is_what_was_written(tracks: dict[tuple[str, str], list[tuple[float, list[float]]]]) -> None:
    """Of every name, number and length; only the instants are left out."""
    for points in tracks.values():
        points.sort(key=lambda one: one[0])
    kept = {
        key: [POINT.pack(number, time, *values) for number, (time, values) in enumerate(points)]
        for key, points in tracks.items()
    }
    expected = {key: [POINT.pack(BEFORE, time, *values) for time, values in points] for key, points in tracks.items()}
    assert found(b"".join(written(kept))) == expected


@given(st.data())
def test_whatever_is_changed_or_cut_off_is_noticed(data: st.DataObject) -> None:
    """No byte may be another one: then nothing of the file is believed."""
    whole = b"".join(written({FLEET: [point(1.0, demand_tasks=12.0), point(16.0)]}))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    for bad in (bytes(changed), whole[:at]):
        with pytest.raises(ValueError, match="it "):
            found(bad)


@given(st.binary())
def test_garbage_behind_a_valid_frame(garbage: bytes) -> None:
    """Whatever is between format and checksum, it is a ValueError."""
    body = FORMAT + garbage
    with pytest.raises(ValueError, match=r"\w"):
        found(body + struct.pack("<I", crc32(body)))


def test_a_release_with_other_figures() -> None:
    """A figure that the file does not know is not known, one that this release does not know is left out."""
    file = content(
        ["gone_figure", "demand_tasks", "capacity_tasks"], [[*FLEET, 2]], [1.0, 5.0, 12.0, 20.0], [16.0, 5.0, nan, 40.0]
    )
    assert found(file) == {
        FLEET: [point(1.0, demand_tasks=12.0, capacity_tasks=20.0), point(16.0, capacity_tasks=40.0)]
    }
    assert found(content([], [[*FLEET, 1]], [1.0])) == {FLEET: [point(1.0)]}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "does not begin with"),
        (b"\x00" * 100, "does not begin with"),
        (b'{"format": "matillion-fleet-exporter history 1"}', "does not begin with"),
        (content([], [], form=b"matillion-fleet-exporter page history 2\n"), "does not begin with"),
        (content([], [])[:-1], "cut off or changed"),
        (content([], [], [1.0]), "more points"),
        (content([], [[*FLEET, 2]], [1.0]), "fewer points"),
        (content([], [[*FLEET, 10**30]], [1.0]), "fewer points"),
        (content([], [[*FLEET, -1]]), "a fleet"),
        (content([], [[*FLEET, 1.5]]), "a fleet"),
        (content([], [["", "etl", 0]]), "a fleet"),
        (content([], [[1, "etl", 0]]), "a fleet"),
        (content([], [{}]), "a fleet"),
        (content([], [[*FLEET, 0], [*FLEET, 0]]), "head is not valid"),
        (content(["demand_tasks"] * 2, []), "head is not valid"),
        (content([1], []), "head is not valid"),
        (content({}, []), "head is not valid"),
        (content([], [[*FLEET, 1]], [inf]), "order of time"),
        (content([], [[*FLEET, 1]], [nan]), "order of time"),
        (content([], [[*FLEET, 2]], [2.0], [1.0]), "order of time"),
    ],
)
def test_what_is_no_history(file: bytes, reason: str) -> None:
    """Each is refused with its reason."""
    with pytest.raises(ValueError, match=reason):
        found(file)


@pytest.mark.parametrize(
    "head", [b"[" * 100_000, b'{"figures": ' * 100_000, b"\xff\xfe{}", b"NaN", b"-Infinity", b"1" * 9999]
)
def test_heads_that_are_no_json_of_ours(head: bytes) -> None:
    """Neither depth nor what Python reads beyond JSON is more than a ValueError."""
    body = FORMAT + head + b"\n"
    with pytest.raises(ValueError, match=r"\w"):
        found(body + struct.pack("<I", crc32(body)))


def test_bounds() -> None:
    """Of each fleet the last points, and the fleets whose last point is the latest; those without points are none."""
    file = content([], [["m", "a", 3], ["m", "b", 1], ["m", "c", 0], ["m", "d", 1]], [1.0], [2.0], [9.0], [5.0], [7.0])
    assert found(file, max_points=2, max_fleets=2) == {("m", "a"): [point(2.0), point(9.0)], ("m", "d"): [point(7.0)]}


def test_the_whole_history_is_small_enough_to_be_read() -> None:
    """Also with three times as many figures."""
    one = point(1.0)
    assert MAX_FLEETS * (MAX_POINTS * 3 * len(one) + 1000) < MAX_BYTES
    pieces = [len(piece) for piece in written({("m", str(number)): [one] * MAX_POINTS for number in range(3)})]
    assert sum(pieces) < 3 * 0.22e6
    assert isnan(POINT.unpack(one)[-1])
    assert len(FIGURES) == len(NAMES)
