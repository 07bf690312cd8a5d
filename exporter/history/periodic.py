"""Keeps the past of the fleets as a database has it that others write: all of it once a day, and then what is new.

All is read again each day, so that data that came late is found, what the database has forgotten is forgotten, and
replicas that started at different times have the same past. Independent of which database it is.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from exporter.forecast.history import SLOT_SECONDS, SLOTS, History, kept_days
from exporter.history.encoding import MAX_TASKS
from exporter.history.past import Past
from exporter.retry import Backoff
from exporter.store.restarts import FleetKey
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

OVERLAP = 3600 // SLOT_SECONDS
"""Slots that are read a second time: scrapes and datums may come late."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in numbers of slots."""

    first: int
    end: int
    """The first slot after it."""

    @property
    def count(self) -> int:
        """Return how many slots it has."""
        return self.end - self.first

    def cut(self, count: int) -> Iterator["Span"]:
        """Yield it in pieces of at most `count` slots, cut at multiples of `count`."""
        first = self.first
        while first < self.end:
            end = min(self.end, (first // count + 1) * count)
            yield Span(first, end)
            first = end


@dataclass(frozen=True, slots=True)
class Found:
    """What was read."""

    histories: Mapping[FleetKey, History]
    left_out: int = 0
    """Points that are no demand (negative, not finite, absurd): their slots stay unknown."""


class SourceError(Exception):
    """A source gave nothing that can be used; the text is the reason."""

    def __init__(self, reason: str, fix: str, kind: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix
        """What to do, for the reader of the log."""
        self.kind = kind
        """Identifies the kind of failure, regardless of the details."""


class PastReader(AbstractAsyncContextManager["PastReader", None], Protocol):
    """Reads from the database while it is entered; may be entered again."""

    @property
    def name(self) -> str:
        """What the database is called in the log."""

    async def read(self, spans: Sequence[Span], fleets: Collection[FleetKey] | None) -> Found:
        """Return the demand within these spans, of some fleets or (None) of all there are.

        A fleet of which nothing is found may be missing. Raises SourceError: part of a past is never returned for
        all of it.
        """


def known_tasks(value: float) -> int | None:
    """Return a demand in whole tasks; None for what is none."""
    return int(value) if 0 <= value <= MAX_TASKS else None


def spans_to_read(until: float, days: int) -> Sequence[Span]:
    """Return what a history keeps at `until` (Unix seconds), in spans from the oldest to the last slot that is over."""
    end = int(until // SLOT_SECONDS)
    spans: list[Span] = []
    for day in kept_days(until, days):
        first, after = day * SLOTS, min(day * SLOTS + SLOTS, end)
        if spans and spans[-1].end == first:
            spans[-1] = Span(spans[-1].first, after)
        elif first < after:
            spans.append(Span(first, after))
    return spans


async def read_once(reader: PastReader, *, until: float, days: int) -> Mapping[FleetKey, History]:
    """Return all that the database has of the last `days` and the ends of months before, once. Raises SourceError."""
    async with reader:
        return (await reader.read(spans_to_read(until, days), None)).histories


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds that are no settings."""

    every: float = 900.0
    look_every: float = 15.0
    """For fleets whose past was never read."""
    first_retry: float = 30.0
    max_retry: float = 900.0


class PeriodicPast:
    """A `PastSource` on a database: read when each quarter of an hour is over, at the same time by every replica.

    `settle` are the seconds after which what happened can be read. `fleets` returns those to read; None reads all that
    are found.
    """

    def __init__(
        self,
        reader: PastReader,
        *,
        days: int,
        settle: float,
        fleets: Callable[[], Collection[FleetKey]] | None = None,
        wall: Callable[[], float] = time.time,
        pace: Pace = Pace(),
    ) -> None:
        self._reader = reader
        self._days = days
        self._settle = settle
        self._fleets = fleets
        self._wall = wall
        self._pace = pace
        self._histories: dict[FleetKey, History] = {}
        self._read_to: int | None = None
        """The slot after the last one that was read."""
        self._read_day: int | None = None
        """The day up to which all was read."""
        self._read_time = 0.0
        self._trouble = Trouble(
            _log,
            "the past of the fleets cannot be read; what was read before stays in use; will retry",
            "the past of the fleets can be read again",
            remembered=8,
            source=reader.name,
        )
        self._no_demand = Trouble(_log, "some points are no demand; left out as unknown", source=reader.name)

    def past(self, fleet: FleetKey) -> Past | None:
        """Return the past of a fleet as last read, empty if nothing of it was found; None before it was read."""
        if self._read_to is None or (self._fleets is not None and fleet not in self._histories):
            return None
        return Past(self._histories.get(fleet) or History(), self._read_time)

    async def run(self) -> None:
        """Keep the past current until cancelled. No failure of the database ends it; the last past stays."""
        backoff = Backoff(self._pace.first_retry, self._pace.max_retry)
        async with self._reader:
            while True:
                try:
                    await self.refresh()
                except SourceError as error:
                    self._trouble.report(error.kind, reason=error.reason, fix=error.fix)
                    await asyncio.sleep(backoff.next())
                else:
                    self._trouble.resolve()
                    backoff.reset()
                    await self._until_due()

    async def refresh(self) -> None:
        """Read what is due, once: all of it, or what is new. Changes nothing and raises SourceError if that fails."""
        now = self._wall()
        wanted = None if self._fleets is None else frozenset(self._fleets())
        if wanted is not None and not wanted:
            return
        spans = spans_to_read(now - self._settle, self._days)
        end = spans[-1].end
        if self._read_to is None or self._read_to > end or self._read_day != end // SLOTS:
            found = await self._reader.read(spans, wanted)
            if self._read_to is None:
                _log.info("the past of the fleets is read", source=self._reader.name, fleets=len(found.histories))
            self._read_day = end // SLOTS
        else:
            found = await self._with_news(spans, self._read_to, wanted)
        # A fleet of which nothing was found has an empty past from now on; one that is gone, none.
        self._histories = {key: History() for key in wanted or ()} | dict(found.histories)
        self._read_to, self._read_time = end, now
        if found.left_out:
            self._no_demand.report(points=found.left_out)
        else:
            self._no_demand.resolve()

    async def _with_news(self, spans: Sequence[Span], read_to: int, wanted: frozenset[FleetKey] | None) -> Found:
        """Return what is known with what is new in it: the latest slots, and all of the fleets that are new."""
        known = {key: past for key, past in self._histories.items() if wanted is None or key in wanted}
        histories, left_out = dict(known), 0
        if wanted is not None and (new := wanted - known.keys()):
            found = await self._reader.read(spans, new)
            histories |= found.histories
            left_out += found.left_out
        if read_to < spans[-1].end and (wanted is None or known):
            latest = Span(max(spans[-1].first, read_to - OVERLAP), spans[-1].end)
            found = await self._reader.read([latest], None if wanted is None else known.keys())
            left_out += found.left_out
            for key in known.keys() | found.histories.keys():
                read = found.histories.get(key) or History()
                values = read.slots(latest.first, latest.count)
                histories[key] = (known.get(key) or History()).with_slots(latest.first, values)
        return Found(histories, left_out)

    async def _until_due(self) -> None:
        """Wait for the end of the quarter of an hour, or for a fleet whose past was never read."""
        every = self._pace.every
        due = ((self._wall() - self._settle) // every + 1) * every + self._settle
        # A clock that was set back does not make it wait for longer.
        while 0 < (left := due - self._wall()) <= every:
            if self._fleets is not None and not self._histories.keys() >= set(self._fleets()):
                return
            await asyncio.sleep(min(left, self._pace.look_every))
