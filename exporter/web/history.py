"""The last hours of every fleet, in memory, for the charts of the status page.

A convenience, not a store: Prometheus keeps the history that matters. So it is bounded in every dimension. What
outlives a restart is in `web.history_file` (`points_file`), or is the demand where the forecast's past has it.

Points are as old as the monotonic clock says, and where the wall clock is set, their dates are set with it. Those of
the process before have nothing but their dates, which are judged each time they are shown: a clock that is wrong at the
start hides them until it is put right, and loses none.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, nan
from struct import Struct
from time import CLOCK_BOOTTIME, clock_gettime, time

import structlog

from exporter.fleet.model import Fleet
from exporter.forecast.history import History as Past
from exporter.store import in_turn
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble
from exporter.web.documents import Document, Json, ahead_document, known, stored_document
from exporter.web.points import FIGURES, POINT, says_nothing, silent, time_of

log = structlog.get_logger(__name__)

INTERVAL = 15.0
"""Seconds between two points: three scrapes at the default interval, and finer than a chart of hours can show."""
RETENTION = 6 * 3600.0
"""Seconds a point is kept: long enough to look back over half a night's run."""
STORED_SECONDS = 600.0
"""For so long after the first point the time before it is given to readers with points, too: a past is read late."""
MAX_POINTS = int(RETENTION / INTERVAL)
MAX_FLEETS = 100
"""Fleets with a history. At six hours every 15 s a figure takes 12 KB, so twenty of them are bounded at 32 MB."""

CLOCK_STEP = 5.0
"""Seconds by which the wall clock must have moved against the machine's to have been set: adjusting moves it 0.05% at
most (adjtimex(2))."""
_UNTIL_READY = 1.0
"""Seconds between two looks at a view that is not ready yet: the first point comes soon after it is."""
_SILENCE_AFTER = 1.0
"""Seconds from the last point of the process before to one that says nothing; less than to any of the next process."""

_READERS = tuple(figure.read for figure in FIGURES)
_DATE = Struct("<2d")
"""What a point begins with: its instant and its Unix time."""


@dataclass(slots=True)
class _Track:
    """One fleet's points, oldest first."""

    points: deque[bytes] = field(default_factory=deque)
    earlier: deque[bytes] = field(default_factory=deque)
    """Those of the process before, the last of which says nothing: so a chart has a gap after them."""
    last_at: float = 0.0

    def shown(self, oldest: float) -> list[bytes]:
        """Return the points without those of the process before that are older, or not from before the own ones."""
        own = list(self.points)
        first = time_of(own[0]) if own else inf
        return [point for point in self.earlier if oldest <= time_of(point) < first] + own

    def trim(self, max_points: int) -> None:
        """Forget the oldest points where there are more."""
        while len(self.earlier) + len(self.points) > max_points:
            (self.earlier or self.points).popleft()


def boot_clock() -> float:
    """Return the seconds since the machine was started, in which it may have slept (clock_gettime(2))."""
    return clock_gettime(CLOCK_BOOTTIME)


class History:
    """A point per fleet every `interval` seconds. A fleet that is gone keeps its points until they are too old."""

    def __init__(
        self,
        view: SnapshotStore,
        *,
        interval: float = INTERVAL,
        retention: float = RETENTION,
        max_fleets: int = MAX_FLEETS,
        past: Callable[[FleetKey], Past | None] = lambda _key: None,
        wall_clock: Callable[[], float] = time,
        machine_clock: Callable[[], float] = boot_clock,
    ) -> None:
        """Look back over `retention` seconds; `past` returns what the forecast has of a fleet.

        `machine_clock` is one that nobody sets, and that goes on while the machine sleeps.
        """
        self._view = view
        self._interval = interval
        self._retention = retention
        self._max_points = max(1, int(retention / interval))
        self._max_fleets = max_fleets
        self._past = past
        self._wall_clock = wall_clock
        self._machine_clock = machine_clock
        self._started = wall_clock() - machine_clock()
        """The Unix time at which the machine's clock was 0."""
        self._tracks: dict[FleetKey, _Track] = {}
        self._restored_at = -inf
        self._full = Trouble(log, "some fleets have no history: there are too many", limit=max_fleets)

    async def run(self) -> None:
        """Take points until cancelled."""
        while True:
            await in_turn.compute(self._view)
            self.sample()
            ready = self._view.not_ready_reason() is None
            await asyncio.sleep(self._interval if ready else min(self._interval, _UNTIL_READY))

    def sample(self) -> None:
        """Take one point of every fleet; none before the view is ready, since nothing is known yet."""
        now = self._view.now()
        fleets = self._view.fleets() if self._view.not_ready_reason() is None else ()
        self._forget(now)
        self._make_room(fleets)
        stamp = (now, self._wall_clock())
        self._date_anew(stamp[1] - self._machine_clock())
        for fleet in fleets:
            track = self._tracks.get((fleet.namespace, fleet.name))
            if track is not None:
                track.points.append(POINT.pack(*stamp, *(_packed(read(fleet)) for read in _READERS)))
                track.last_at = now
                track.trim(self._max_points)

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
            points = [] if track is None else track.shown(self._wall_clock() - self._retention)
            stored = self._stored(key, points, since)
            # Before its first point a fleet has nothing to show but what was stored.
            if points or stored is not None:
                yield {**_document(key, points, since), "stored": stored, "ahead": ahead.get(key)}

    def kept(self) -> dict[FleetKey, Sequence[bytes]]:
        """Return all points of each fleet, for the next process."""
        return {key: [*track.earlier, *track.points] for key, track in self._tracks.items()}

    def restore(self, found: Mapping[FleetKey, Sequence[bytes]]) -> None:
        """Take the points of the process before; they go before those that were taken since."""
        self._restored_at = now = self._view.now()
        for key, points in found.items():
            if key not in self._tracks and len(self._tracks) >= self._max_fleets:
                continue
            track = self._tracks.setdefault(key, _Track(last_at=now + time_of(points[-1]) - self._wall_clock()))
            track.earlier = deque(points)
            if not says_nothing(points[-1]):
                track.earlier.append(silent(time_of(points[-1]) + _SILENCE_AFTER))
            track.trim(self._max_points)

    @property
    def interval(self) -> float:
        """Seconds between two points."""
        return self._interval

    def _stored(self, key: FleetKey, points: Sequence[bytes], since: float | None) -> Document | None:
        first = time_of(points[0]) if points else self._wall_clock()
        if since is not None and since - first >= STORED_SECONDS:
            return None
        return stored_document(self._past(key), first, first + self._retention - self._wall_clock())

    def _date_anew(self, started: float) -> None:
        """Move the dates of all own points as far as the wall clock was set, so that they are those of its time now."""
        step = started - self._started
        self._started = started
        if abs(step) < CLOCK_STEP:
            return
        for track in self._tracks.values():
            dates = [_DATE.unpack_from(point) for point in track.points]
            moved = [_DATE.pack(instant, time_ + step) for instant, time_ in dates]
            track.points = deque(date + point[_DATE.size :] for date, point in zip(moved, track.points, strict=True))

    def _forget(self, now: float) -> None:
        for key, track in list(self._tracks.items()):
            while track.points and now - POINT.unpack(track.points[0])[0] > self._retention:
                track.points.popleft()
            if now - self._restored_at > self._retention:
                track.earlier.clear()
            if not track.points and not track.earlier:
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


def _document(key: FleetKey, points: Sequence[bytes], since: float | None) -> Document:
    later = points if since is None else [point for point in points if time_of(point) > since]
    columns = list(zip(*map(POINT.unpack, later), strict=True)) or [()] * (len(FIGURES) + 2)
    document: Document = {"namespace": key[0], "fleet": key[1], "time_seconds": list(columns[1])}
    for figure, column in zip(FIGURES, columns[2:], strict=True):
        document[figure.name] = _with_nulls(column)
    return document


def _with_nulls(column: tuple[float, ...]) -> list[Json]:
    # One NaN makes the sum NaN: a column without any, which most are, need not be looked at value by value.
    return list(column) if isfinite(sum(column)) else [known(value) for value in column]
