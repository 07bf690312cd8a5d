"""Records the demand of all fleets in memory, until it is known to be stored.

Every replica records, so that the next leader has what the last one could not store any more. Only trusted demand
counts; everything else remains a gap. Independent of where it is stored.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import NoReturn

import structlog
from structlog.typing import FilteringBoundLogger

from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History
from exporter.history.encoding import MAX_TASKS, Decoded
from exporter.retry import Backoff
from exporter.store import in_turn
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

ASLEEP_SECONDS = 4 * 86400.0
"""For so long a fleet without pods sleeps and has no work: a long weekend. After that it is gone."""
MAX_FLEETS = 100
"""Fleets whose past is kept; as many as the charts of the status page have. A month of one takes some 40 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds that are no settings."""

    sample_every: float = 5.0
    """Between two samples of demand: the default interval of scrapes."""
    write_every: float = 900.0
    """Between two additions to what is stored, by the clock: a day of any time zone ends when one is due."""
    poll_every: float = 1.0
    """How soon an addition that is due is begun."""
    patience: float = 30.0
    """How long the first addition waits until it is known what is stored; without that, nothing obsolete is deleted."""
    retry: float = 5.0
    """Pause after a failed addition; doubles up to `max_retry`."""
    max_retry: float = 300.0
    timeout: float = 5.0
    """Maximum time for one request."""
    last_timeout: float = 1.0
    """Maximum time for the last additions at shutdown; the leader's work has 2 s to end."""

    def until_next_write(self, wall_now: float) -> float:
        """Return the seconds until the next addition is due, at a Unix time."""
        return self.write_every - wall_now % self.write_every


USUAL = Pace()


async def keep_adding(
    store: SnapshotStore, pace: Pace, add: Callable[[], Awaitable[bool]], ready: Callable[[], bool] = lambda: True
) -> NoReturn:
    """Add at once and whenever a quarter of an hour is over, if `ready`, until cancelled.

    `add` returns whether it succeeded; otherwise it is called again after a while.
    """
    backoff = Backoff(pace.retry, pace.max_retry, jitter=0.0)
    due = -inf
    while True:
        if store.now() >= due and ready():
            if await add():
                backoff.reset()
                due = store.now() + pace.until_next_write(store.wall_now())
            else:
                due = store.now() + backoff.next()
        await asyncio.sleep(pace.poll_every)


class Recorder:
    """What of the demand is not known to be stored, by fleet."""

    def __init__(
        self, store: SnapshotStore, *, days: int, max_fleets: int = MAX_FLEETS, log: FilteringBoundLogger = _log
    ) -> None:
        """Record at most `days` of at most `max_fleets` fleets."""
        self._store = store
        self._days = days
        self._max_fleets = max_fleets
        self._unsaved: dict[FleetKey, History] = {}
        self._seen_at: dict[FleetKey, float] = {}
        """When each fleet last had pods, by the store's monotonic clock."""
        self._slot = 0
        event = "some fleets have no past: there are too many"
        self._not_recorded, self._not_stored = (Trouble(log, event, limit=max_fleets) for _ in range(2))

    async def run(self, every: float) -> None:
        """Record the demand every so many seconds until cancelled."""
        while True:
            await in_turn.compute(self._store)
            self.sample()
            await asyncio.sleep(every)

    def sample(self) -> None:
        """Record the demand of every fleet now; nothing while the store is not complete.

        That of a fleet without pods is 0 while discovery is current. An autoscaler gets none then, since 0 could shrink
        the fleet (`Fleet.withheld_reason`); in the past it shrinks nothing, and a gap would withhold the forecast.
        """
        if self._store.not_ready_reason() is not None:
            return
        now = self._store.wall_now()
        fleets = self._store.fleets()
        demands = {(fleet.namespace, fleet.name): fleet.demand_tasks for fleet in fleets if fleet.agents}
        left_out = 0
        for key, demand in demands.items():
            if demand is None or not 0 <= demand <= MAX_TASKS:
                continue
            if key in self._unsaved or self._admits_one_more(demands):
                self._unsaved.setdefault(key, History()).record(now, demand)
            else:
                left_out += 1
        for key in self._asleep(demands):
            if key in self._unsaved or len(self._unsaved) < self._max_fleets:
                self._unsaved.setdefault(key, History()).record(now, 0)
        _tell(self._not_recorded, left_out)
        self._trim(now)

    def unsaved(self) -> Sequence[FleetKey]:
        """Return the fleets of which something is not known to be stored."""
        return tuple(self._unsaved)

    def addition(self, key: FleetKey) -> History:
        """Return what of a fleet's demand is not known to be stored. Not to be changed."""
        return self._unsaved.get(key) or History()

    def saved(self, key: FleetKey, stored: Decoded) -> None:
        """Forget what is stored.

        The last five minutes that are stored may have been stored before they were over: what is higher there is not
        stored. Of earlier ones another replica's value counts.
        """
        unsaved, rest = self._unsaved.pop(key, History()), History()
        for day in unsaved.days():
            ours = unsaved.slots(day * SLOTS, SLOTS)
            theirs = stored.history.slots(day * SLOTS, SLOTS)
            last = int(stored.known_until // SLOT_SECONDS) - 1 - day * SLOTS
            rest.merge_day(
                day,
                [
                    value if known == GAP or (slot == last and value > known) else GAP
                    for slot, (value, known) in enumerate(zip(ours, theirs, strict=True))
                ],
            )
        if rest.days():
            self._unsaved[key] = rest

    def room(self, known_until: Mapping[FleetKey, float]) -> tuple[Sequence[FleetKey], Sequence[FleetKey]]:
        """Return the stored fleets that are to be deleted, and the unsaved ones that may be stored; see `make_room`."""
        unsaved = self.unsaved()
        obsolete, admitted = make_room(known_until, unsaved, self._store.fleet_keys(), self._max_fleets)
        _tell(self._not_stored, len(unsaved) - len(admitted))
        return obsolete, admitted

    def forget(self, key: FleetKey) -> None:
        """Forget a fleet's demand so far, and that it was there."""
        self._unsaved.pop(key, None)
        self._seen_at.pop(key, None)

    def _asleep(self, present: Collection[FleetKey]) -> Sequence[FleetKey]:
        """Return the fleets that had pods, and now certainly have none."""
        now = self._store.now()
        self._seen_at |= dict.fromkeys(present, now)
        self._seen_at = {key: at for key, at in self._seen_at.items() if now - at <= ASLEEP_SECONDS}
        return [key for key in self._seen_at if key not in present] if self._store.in_sync() else ()

    def _admits_one_more(self, present: dict[FleetKey, float | None]) -> bool:
        """Return whether one more fleet can be recorded; one that is gone gives way."""
        if len(self._unsaved) < self._max_fleets:
            return True
        gone = next((key for key in self._unsaved if key not in present), None)
        if gone is not None:
            del self._unsaved[gone]
        return gone is not None

    def _trim(self, now: float) -> None:
        """Forget what is too old, once in five minutes."""
        slot = int(now // SLOT_SECONDS)
        if slot != self._slot:
            self._slot = slot
            for history in self._unsaved.values():
                history.trim(now, self._days)


def _tell(full: Trouble, left_out: int) -> None:
    if left_out:
        full.report(left_out=left_out)
    else:
        full.resolve()


def make_room(
    known_until: Mapping[FleetKey, float], unsaved: Sequence[FleetKey], present: Collection[FleetKey], limit: int
) -> tuple[Sequence[FleetKey], Sequence[FleetKey]]:
    """Return the fleets whose past is to be deleted, and those of the `unsaved` ones that may be stored.

    `known_until` has all that are stored, each with the time until which it is known (0: nothing is kept of it). A
    fleet that is gone keeps its past as long as any day of it is kept, unless there are more fleets than `limit`: then
    those that have been gone for longest give way. Those that are there never do.
    """
    gone = sorted(known_until.keys() - {*present, *unsaved}, key=lambda fleet: (known_until[fleet], fleet))
    new = [fleet for fleet in unsaved if fleet not in known_until]
    excess = len(known_until) + len(new) - limit
    obsolete = [fleet for number, fleet in enumerate(gone) if number < excess or not known_until[fleet]]
    admitted = new[: max(0, limit - len(known_until) + len(obsolete))]
    return obsolete, [fleet for fleet in unsaved if fleet in known_until or fleet in admitted]
