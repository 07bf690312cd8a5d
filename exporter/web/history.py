"""The last hours of every fleet, in memory, for the charts of the status page.

A convenience, not a store: Prometheus keeps the history that matters. So it is bounded in every dimension, and a
restart clears it, but for the demand where the forecast's past has it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from struct import Struct
from time import time

import structlog

from exporter.fleet.figures import FLEET_FIGURES
from exporter.fleet.model import Fleet
from exporter.forecast.history import History as Past
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble
from exporter.web.documents import Document, Json, ahead_document, known, stored_document

log = structlog.get_logger(__name__)

INTERVAL = 15.0
"""Seconds between two points: three scrapes at the default interval, and finer than a chart of hours can show."""
RETENTION = 6 * 3600.0
"""Seconds a point is kept: long enough to look back over half a night's run."""
STORED_SECONDS = 600.0
"""For so long after the first point the time before it is given to readers with points, too: a past is read late."""
MAX_FLEETS = 100
"""Fleets with a history. At six hours every 15 s a figure takes 12 KB, so twenty of them are bounded at 32 MB."""

FIGURES = tuple(figure for figure in FLEET_FIGURES if figure.history is True)
"""What a point holds of a fleet; the names are those of the JSON answer."""

_READERS = tuple(figure.read for figure in FIGURES)
_POINT = Struct(f"<{len(FIGURES) + 2}d")
_Key = tuple[str, str]


@dataclass(slots=True)
class _Track:
    """One fleet's points, oldest first; each is packed: monotonic instant, Unix time, figures (NaN = not known)."""

    points: deque[bytes] = field(default_factory=deque)
    last_at: float = 0.0


class History:
    """A point per fleet every `interval` seconds. A fleet that is gone keeps its points until they are too old."""

    def __init__(
        self,
        view: SnapshotStore,
        *,
        interval: float = INTERVAL,
        retention: float = RETENTION,
        max_fleets: int = MAX_FLEETS,
        past: Callable[[_Key], Past | None] = lambda _key: None,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self._view = view
        self._interval = interval
        self._retention = retention
        self._max_points = max(1, int(retention / interval))
        self._max_fleets = max_fleets
        self._past = past
        self._wall_clock = wall_clock
        self._tracks: dict[_Key, _Track] = {}
        self._full = Trouble(log, "some fleets have no history: there are too many", limit=max_fleets)

    async def run(self) -> None:
        """Take points until cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(self._interval)

    def sample(self) -> None:
        """Take one point of every fleet; none before the view is ready, since nothing is known yet."""
        now = self._view.now()
        fleets = self._view.fleets() if self._view.not_ready_reason() is None else ()
        self._forget(now)
        self._make_room(fleets)
        stamp = (now, self._wall_clock())
        for fleet in fleets:
            track = self._tracks.get((fleet.namespace, fleet.name))
            if track is not None:
                track.points.append(_POINT.pack(*stamp, *(_packed(read(fleet)) for read in _READERS)))
                track.last_at = now
                if len(track.points) > self._max_points:
                    track.points.popleft()

    def documents(
        self, *, namespace: str | None = None, fleet: str | None = None, since: float | None = None
    ) -> Iterator[Document]:
        """Yield one document per fleet, in columns: `time_seconds` and a list of equal length for every figure.

        `since` is in Unix seconds: only later points are given. `ahead` is what the fleet's past says is coming, and
        `stored` what it says of the time before the first point, as long as a reader may not have it. The points are
        those of the moment of the call for each document, so the sampler may go on while the answer is written.
        """
        ahead = {(fleet.namespace, fleet.name): ahead_document(fleet.outlook) for fleet in self._view.fleets()}
        for key in sorted({*self._tracks, *ahead}):
            if (namespace is not None and key[0] != namespace) or (fleet is not None and key[1] != fleet):
                continue
            track = self._tracks.get(key)
            stored = self._stored(key, track or _Track(), since)
            # Before its first point a fleet has nothing to show but what was stored.
            if track is not None or stored is not None:
                yield {**_document(key, track or _Track(), since), "stored": stored, "ahead": ahead.get(key)}

    @property
    def interval(self) -> float:
        """Seconds between two points."""
        return self._interval

    def _stored(self, key: _Key, track: _Track, since: float | None) -> Document | None:
        first = _POINT.unpack(track.points[0])[1] if track.points else self._wall_clock()
        if since is not None and since - first >= STORED_SECONDS:
            return None
        return stored_document(self._past(key), first, first + self._retention - self._wall_clock())

    def _forget(self, now: float) -> None:
        for key, track in list(self._tracks.items()):
            while track.points and now - _POINT.unpack(track.points[0])[0] > self._retention:
                track.points.popleft()
            if not track.points:
                del self._tracks[key]

    def _make_room(self, fleets: Sequence[Fleet]) -> None:
        """Begin a track for every new fleet; where there are too many, the fleets gone longest give way, then none."""
        present = [(fleet.namespace, fleet.name) for fleet in fleets]
        new = [key for key in present if key not in self._tracks]
        excess = len(self._tracks) + len(new) - self._max_fleets
        if excess > 0:
            gone = sorted(self._tracks.keys() - set(present), key=lambda key: self._tracks[key].last_at)
            for key in gone[:excess]:
                del self._tracks[key]
        admitted = new[: max(0, self._max_fleets - len(self._tracks))]
        self._tracks |= {key: _Track() for key in admitted}
        if len(admitted) < len(new):
            self._full.report(fleets=len(present))
        else:
            self._full.resolve()


def _packed(value: float | None) -> float:
    known_value = known(value)
    return nan if known_value is None else known_value


def _document(key: _Key, track: _Track, since: float | None) -> Document:
    points = [_POINT.unpack(point) for point in track.points]
    if since is not None:
        points = [point for point in points if point[1] > since]
    columns = list(zip(*points, strict=True)) or [()] * (len(FIGURES) + 2)
    document: Document = {"namespace": key[0], "fleet": key[1], "time_seconds": list(columns[1])}
    for figure, column in zip(FIGURES, columns[2:], strict=True):
        document[figure.name] = _with_nulls(column)
    return document


def _with_nulls(column: tuple[float, ...]) -> list[Json]:
    # One NaN makes the sum NaN: a column without any, which most are, need not be looked at value by value.
    return [None if isnan(value) else value for value in column] if isnan(sum(column)) else list(column)
