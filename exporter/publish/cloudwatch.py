"""Publishes the fleets to CloudWatch: once a period, and later what CloudWatch does not take at once.

At the beginning of each period the leader writes the datums of all fleets to the spool, then sends them. What was not
accepted stays there and goes out later, oldest first, with its own time and at a bounded rate, beside what is current
and never in its way. A period without a leader is not recorded, and lost: its values are unknown.

A datum may reach CloudWatch twice: when the process dies, loses its leadership or its patience after CloudWatch
accepted it and before it knows; and when a new leader starts in a period that the old one published. Twice the same
datum changes the SampleCount and the Sum of its period; Minimum, Maximum, Average and the percentiles within the
datum's values stay true.

Knows nothing of where fleets come from or of how a leader is found.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol, Self

from exporter.config import CloudWatchSettings
from exporter.fleet.model import Agent, Fleet
from exporter.fleet.read_back import is_unix_time
from exporter.kube.election import Leadership
from exporter.publish.cloudwatch_log import PublishingLog
from exporter.publish.datum import MAX_AHEAD, MAX_DATUMS, OLDEST, Datum, batches
from exporter.publish.fleet_datums import Baseline, Selection, count, monthly_dollars, with_own_series
from exporter.publish.periods import period_of, wait
from exporter.publish.put_metric_data import MetricDataClient, PutOutcome
from exporter.publish.spool import Spool
from exporter.publish.spool_file import Row
from exporter.retry import Backoff
from exporter.store.snapshots import SnapshotStore

# Seconds. CloudWatch's clock is not ours, and a request takes its time.
_TIME_MARGIN = 300.0
# Counters noted longer ago than this (seconds) may have been published by another leader meanwhile.
_BASELINE_KEPT = 3600.0
# Requests the current period may take to find a datum that CloudWatch rejects; the rest goes with the backlog.
_MAX_CURRENT_REQUESTS = 64
# Single datums that may be too large, one after the other with nothing accepted in between, before it is taken for an
# outage: a proxy that takes only small requests may refuse the distributions of a minute, and take all else.
_MAX_TOO_LARGE = 10
_LAST_PERIOD, _BASELINE = "last_period", "baseline"


class Observer(Protocol):
    """Records what happens, for the exporter's own metrics."""

    def cloudwatch_requested(self, outcome: str) -> None:
        """Count one request."""

    def cloudwatch_datums(self, outcome: str, count: int) -> None:
        """Count datums that are done with; `outcome` is one of `DATUM_OUTCOMES`."""

    def cloudwatch_cost(self, dollars_per_month: float) -> None:
        """Take the estimate of what a month costs."""


DATUM_OUTCOMES = ("accepted", "rejected", "expired", "overflowed", "unreadable")
"""Taken by CloudWatch; refused as invalid; dropped because too old, because there were too many, or because the spool's
row has become something else than a datum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds that are no settings."""

    deadline: float = 20.0
    """Longest time for one request with its retries; below the usual minute, so that one outage is one try a period."""
    backlog_pause: float = 1.0
    """Time between two requests with old data. CloudWatch takes 500 requests a second of a whole account."""
    first_retry: float = 1.0
    """Pause after a first failure to send old data; doubled each time up to `max_retry`, shortened at random."""
    max_retry: float = 60.0
    max_sleep: float = 10.0
    """How long a wall clock that was put right may go unnoticed."""


class CloudWatchPublisher:
    """An async context manager: entered, it has its spool open. `run` publishes, `stand_by` is for the other replicas.

    `wall` is the clock of the datums' times.
    """

    def __init__(
        self,
        settings: CloudWatchSettings,
        selection: Selection,
        source: SnapshotStore,
        leadership: Leadership,
        observer: Observer,
        *,
        wall: Callable[[], float] = time.time,
        pace: Pace = Pace(),
    ) -> None:
        self._settings = settings
        self._selection = selection
        self._source = source
        self._leadership = leadership
        self._observer = observer
        self._wall = wall
        self._pace = pace
        self._spool = Spool(settings.spool.path, max_datums=settings.spool.max_datums)
        # For all times that this process leads: to make it, and its first connection, takes the event loop 40 ms.
        self._client = MetricDataClient(
            settings.namespace,
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            deadline=pace.deadline,
            may_send=leadership.is_leader,
        )
        self._resources = AsyncExitStack()
        self._last_period: float | None = None
        self._baseline: Baseline | None = None
        self._own_series: frozenset[str] = frozenset()
        # Between the two ways of sending. What is claimed is not for the backlog.
        self._picking = asyncio.Lock()
        self._current: list[Row] = []
        self._claimed: set[int] = set()
        self._current_ready = asyncio.Event()
        self._backlog_ready = asyncio.Event()
        self._report = PublishingLog(settings)

    # -- what the exporter's own metrics show of the spool ------------------------------------------------------------

    @property
    def spool_datums(self) -> int:
        """How many datums CloudWatch has not accepted yet."""
        return self._spool.datums

    @property
    def spool_oldest_age(self) -> float:
        """Age in seconds of the oldest of them; 0 when none waits."""
        oldest = self._spool.oldest_time
        return 0.0 if oldest is None else max(0.0, self._wall() - oldest)

    @property
    def spool_durable(self) -> bool:
        """Whether they survive a restart, that is whether the disk can be used."""
        return self._spool.durable

    # -- life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the spool and take up where the last process stopped."""
        await self._resources.enter_async_context(self._spool)
        await self._resources.enter_async_context(self._client)
        notes = await self._spool.notes()
        try:
            last_period = float(notes[_LAST_PERIOD])
            # Not to be read, it is as good as none: the first period is published.
            self._last_period = last_period if is_unix_time(last_period) else None
            baseline = Baseline.from_json(notes[_BASELINE])
        except (KeyError, ValueError):
            # None yet, or not to be read: restarts count from the first period on.
            return self
        if abs(self._wall() - baseline.time) <= _BASELINE_KEPT:
            self._baseline = baseline
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections and the spool."""
        await self._resources.aclose()

    async def run(self) -> None:
        """Publish until cancelled. To be run while this process leads; it may be run again later."""
        self._current, self._claimed = [], set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._record(), name="cloudwatch: recording")
            group.create_task(self._send_current(), name="cloudwatch: sending")
            group.create_task(self._send_backlog(), name="cloudwatch: sending the backlog")

    async def stand_by(self) -> None:
        """While another process leads, keep count of what it has published of the agents' counters, until cancelled.

        So a new leader goes on counting where the old one stopped, and no restart is published twice. Needed only where
        there is an election: without one, no other replica publishes.
        """
        # Another leader publishes when a period begins, and that of this moment has begun already.
        last = period_of(self._wall(), self._settings.interval)
        while True:
            await self._until_due(last)
            last = period_of(self._wall(), self._settings.interval)
            if not self._leadership.is_leader() and self._source.not_ready_reason() is None:
                _, self._baseline = count(self._selection.metrics, self._source.fleets(), self._baseline, self._wall())

    # -- recording ----------------------------------------------------------------------------------------------------

    async def _record(self) -> None:
        while True:
            await self._until_due(self._last_period)
            if self._leadership.is_leader() and self._source.not_ready_reason() is None:
                await self._record_period()
            else:
                await asyncio.sleep(min(1.0, self._settings.interval / 10))

    async def _until_due(self, last: float | None) -> None:
        while (seconds := wait(self._wall(), last, self._settings.interval)) > 0:  # noqa: ASYNC110 - it waits for a clock
            await asyncio.sleep(min(seconds, self._pace.max_sleep))

    async def _record_period(self) -> None:
        now = self._wall()
        fleets = self._source.fleets()
        self._last_period = period_of(now, self._settings.interval)
        increases, self._baseline = count(self._selection.metrics, fleets, self._baseline, now)
        own_series: list[tuple[Fleet, Agent]] = []
        left_out = 0
        if self._settings.per_agent:
            own_series, left_out = with_own_series(fleets, self._settings.max_per_agent, self._own_series)
            self._own_series = frozenset(agent.snapshot.target.uid for _, agent in own_series)
        datums = list(self._selection.datums(fleets, own_series, increases, int(self._last_period)))
        sound = [datum for datum in datums if not self._refused(datum)]
        self._estimate(sound, len(fleets), left_out)
        notes = {_LAST_PERIOD: str(self._last_period), _BASELINE: self._baseline.to_json()}
        async with self._picking:
            added = await self._spool.add(sound, notes, expire_before=now - self._max_kept())
            self._make_current([Row(number, datum) for number, datum in zip(added.ids, sound, strict=True)])
        for outcome, dropped in (("expired", added.expired), ("overflowed", added.overflowed)):
            if dropped:
                self._observer.cloudwatch_datums(outcome, dropped)
        self._count_unreadable()
        self._report.dropped(added.expired, added.overflowed)

    def _count_unreadable(self) -> None:
        if unreadable := self._spool.take_unreadable():
            self._observer.cloudwatch_datums("unreadable", unreadable)

    def _refused(self, datum: Datum) -> bool:
        problem = datum.problem()
        if problem is None:
            return False
        self._report.rejected(datum, problem)
        self._observer.cloudwatch_datums("rejected", 1)
        return True

    def _estimate(self, datums: Sequence[Datum], fleets: int, left_out: int) -> None:
        series = len({datum.series for datum in datums})
        requests = sum(1 for _ in batches([datum.wire_bytes() for datum in datums]))
        dollars = monthly_dollars(series, requests, self._settings.interval)
        self._observer.cloudwatch_cost(dollars)
        self._report.cost(fleets, series, dollars)
        self._report.left_out(left_out)

    def _make_current(self, rows: list[Row]) -> None:
        """Hand over to `_send_current`; what that did not get to meanwhile is for the backlog."""
        if self._current:
            self._release(self._current)
        self._current = rows
        self._claimed.update(row.id for row in rows)
        self._current_ready.set()

    def _release(self, rows: Sequence[Row]) -> None:
        self._claimed.difference_update(row.id for row in rows)
        self._backlog_ready.set()

    def _max_kept(self) -> float:
        return min(self._settings.spool.max_age, OLDEST - _TIME_MARGIN)

    # -- sending ------------------------------------------------------------------------------------------------------

    async def _send_current(self) -> None:
        while True:
            await self._current_ready.wait()
            self._current_ready.clear()
            rows, self._current = self._current, []
            await self._deliver(rows, pause=0, max_requests=_MAX_CURRENT_REQUESTS)
            self._release(rows)

    async def _send_backlog(self) -> None:
        backoff = Backoff(self._pace.first_retry, self._pace.max_retry)
        while True:
            self._backlog_ready.clear()
            async with self._picking:
                now = self._wall()
                rows = await self._spool.oldest(
                    MAX_DATUMS + len(self._claimed),
                    not_before=now - self._max_kept(),
                    not_after=now + MAX_AHEAD - _TIME_MARGIN,
                )
                rows = [row for row in rows if row.id not in self._claimed][:MAX_DATUMS]
            self._count_unreadable()
            if not rows:
                await self._backlog_ready.wait()
            elif await self._deliver(rows, pause=self._pace.backlog_pause):
                backoff.reset()
                await asyncio.sleep(self._pace.backlog_pause)
            else:
                await asyncio.sleep(backoff.next())

    async def _deliver(self, rows: Sequence[Row], *, pause: float, max_requests: int | None = None) -> bool:
        """Send rows in as few requests as the limits allow; return whether CloudWatch has judged all of them.

        Rows that were accepted leave the spool, and so do those that are rejected by themselves: a request that is
        rejected is halved until those are found. So is one that is too large; a single datum cannot be, so that it
        stays for later, and does not keep the others.
        """
        waiting = deque(rows[cut] for cut in batches([row.datum.wire_bytes() for row in rows]))
        requests = too_large = 0
        judged = True
        while waiting:
            if requests:
                await asyncio.sleep(pause)
            if requests == max_requests or not self._leadership.is_leader():
                return False
            requests += 1
            batch = waiting.popleft()
            answer = await self._client.put([row.datum for row in batch])
            self._observer.cloudwatch_requested(answer.outcome)
            if answer.outcome is not PutOutcome.ACCEPTED and not self._leadership.is_leader():
                return False
            if answer.outcome is not PutOutcome.TOO_LARGE or too_large == _MAX_TOO_LARGE:
                self._report.answered(answer, self._spool.datums)
            if answer.outcome in {PutOutcome.REJECTED, PutOutcome.TOO_LARGE} and len(batch) > 1:
                half = len(batch) // 2
                waiting.extendleft((batch[half:], batch[:half]))
            elif answer.outcome is PutOutcome.TOO_LARGE and too_large < _MAX_TOO_LARGE:
                too_large += 1
                judged = False
                self._report.too_large(batch[0].datum, answer.reason)
            elif answer.outcome in {PutOutcome.ACCEPTED, PutOutcome.REJECTED}:
                too_large = 0
                if answer.outcome is PutOutcome.REJECTED:
                    self._report.rejected(batch[0].datum, answer.reason)
                await self._spool.remove([row.id for row in batch])
                self._observer.cloudwatch_datums(answer.outcome, len(batch))
            else:
                return False
        return judged
