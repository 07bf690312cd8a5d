"""The points of the charts: how one is kept in memory, and how all of them are written to a file and read again.

In the file each figure has its name, so that a release with more figures, or with fewer, still reads it. Numbers are
binary: a hundred fleets have a million and a half, and as text these would hold up the event loop for a second.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import isfinite, isnan, nan
from struct import Struct
from zlib import crc32

from exporter.fleet.figures import FLEET_FIGURES
from exporter.fleet.read_back import read_json
from exporter.store.restarts import FleetKey

FIGURES = tuple(figure for figure in FLEET_FIGURES if figure.history is True)
"""What a point holds of a fleet; the names are those of the JSON answer."""
NAMES = tuple(figure.name for figure in FIGURES)

POINT = Struct(f"<{len(FIGURES) + 2}d")
"""Monotonic instant, Unix time, figures (NaN = not known)."""
BEFORE = 0.0
"""In place of the instant of a point that an earlier process took: its clock was another one."""

FORMAT = b"matillion-fleet-exporter page history 1\n"
_CHECKSUM = Struct("<I")
_TIME = Struct("<d")
_INSTANT_BYTES = 8


def written(tracks: Mapping[FleetKey, Sequence[bytes]]) -> Iterator[bytes]:
    """Yield the content of a file: the format, what is in it as a line of JSON, all points, and a checksum.

    Without their monotonic instants, which mean nothing to another process.
    """
    fleets = [[*key, len(points)] for key, points in tracks.items()]
    head = json.dumps({"figures": NAMES, "fleets": fleets}).encode()
    checksum = 0
    for piece in (FORMAT, head, b"\n", *map(_without_instants, tracks.values())):
        checksum = crc32(piece, checksum)
        yield piece
    yield _CHECKSUM.pack(checksum)


def _without_instants(points: Sequence[bytes]) -> bytes:
    return b"".join(point[_INSTANT_BYTES:] for point in points)


def read(content: bytes, *, max_points: int, max_fleets: int) -> dict[FleetKey, list[bytes]]:
    """Return the points of a file, oldest first: of each fleet the last ones, and the fleets with the last points.

    A figure that is unknown here is left out, and one that is unknown to the file is not known. Raises ValueError if
    anything is not as `written` writes it.
    """
    if not content.startswith(FORMAT):
        raise ValueError(f"it does not begin with {FORMAT.decode().strip()!r}")
    view = memoryview(content)
    body, checksum = view[: -_CHECKSUM.size], view[-_CHECKSUM.size :]
    if crc32(body) != _CHECKSUM.unpack(checksum)[0]:
        raise ValueError("its checksum is wrong: it was cut off or changed")
    end = content.index(b"\n", len(FORMAT))
    names, fleets = _head(content[len(FORMAT) : end])
    size = 8 * (len(names) + 1)
    start, found = end + 1, {}
    for key, points in fleets.items():
        piece = body[start : start + points * size]
        if len(piece) != points * size:
            raise ValueError("it has fewer points than it says")
        found[key] = _points(piece[-max_points * size :], names)
        start += points * size
    if start != len(body):
        raise ValueError("it has more points than it says")
    latest = sorted((key for key in found if found[key]), key=lambda key: time_of(found[key][-1]), reverse=True)
    return {key: found[key] for key in latest[:max_fleets]}


def _head(line: bytes) -> tuple[list[str], dict[FleetKey, int]]:
    """Return the names of the figures, and the number of points of each fleet. Raises ValueError."""
    match read_json(line.decode()):
        case {"figures": [*names], "fleets": [*listed]} if all(isinstance(name, str) for name in names):
            fleets = dict(map(_fleet, listed))
            if len(fleets) == len(listed) and len(set(names)) == len(names):
                return names, fleets
    raise ValueError("its head is not valid")


def _fleet(given: object) -> tuple[FleetKey, int]:
    match given:
        case [str(namespace), str(name), int(points)] if namespace and name and points >= 0:
            return (namespace, name), points
    raise ValueError("a fleet in its head is not valid")


def _points(piece: memoryview, names: Sequence[str]) -> list[bytes]:
    """Return packed points, which name their instant `BEFORE`. Raises ValueError if their times do not ascend."""
    columns = [names.index(name) + 1 if name in names else None for name in NAMES]
    found, times = [], []
    for values in Struct(f"<{len(names) + 1}d").iter_unpack(piece):
        times.append(values[0])
        figures = (nan if column is None else values[column] for column in columns)
        found.append(POINT.pack(BEFORE, values[0], *figures))
    if not all(map(isfinite, times)) or any(one > other for one, other in pairwise(times)):
        raise ValueError("its points are not in the order of time")
    return found


def time_of(point: bytes) -> float:
    """Return the Unix time of a point."""
    time: float = _TIME.unpack_from(point, _INSTANT_BYTES)[0]
    return time


def says_nothing(point: bytes) -> bool:
    """Return whether no figure of a point is known."""
    return all(map(isnan, POINT.unpack(point)[2:]))


def silent(time: float) -> bytes:
    """Return a point of an earlier process at a Unix time, of which nothing is known."""
    return POINT.pack(BEFORE, time, *([nan] * len(FIGURES)))
