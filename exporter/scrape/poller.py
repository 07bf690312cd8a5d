"""Decides which agent to scrape when and where, and hands what comes back to the store.

Each agent has a task of its own with a phase of its own, so a thousand agents make a steady trickle instead of a burst,
and a scrape that is still running is never started a second time.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from yarl import URL

from exporter.config import ScrapeSettings
from exporter.fleet import dialect, exposition
from exporter.fleet.model import Endpoint, Reading, Target
from exporter.scrape.client import Outcome, PageClient, ScrapeError, host_port, page_url
from exporter.scrape.store import Clock, SnapshotStore

# How often an agent that answers on one endpoint is asked on those before it in the list: an agent upgraded in place
# moves over by itself within this time, and an old one is bothered no more than this.
_RETRY_PREFERRED_AFTER = 300.0
# Agents whose last scrape failed share this part of the places, so that a hundred that hang cannot keep those that
# answer waiting.
_SUSPECT_SHARE = 0.25
# Reading takes about 1 ms for each 250 KB; a page beyond that is read in a thread, off the event loop.
_READ_INLINE_BYTES = 256 * 1024


_log = structlog.get_logger(__name__)


class ScrapeObserver(Protocol):
    """Is told of every finished scrape."""

    def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
        """Count one scrape."""


@dataclass(slots=True)
class _Memory:
    """What was learned of one agent: which endpoint answers, when to try a better one, who ignores name filters."""

    winner: Endpoint | None = None
    retry_at: float = 0.0
    unfiltered: set[Endpoint] = field(default_factory=set)
    suspect: bool = False
    urls: dict[tuple[str, Endpoint, bool], URL] = field(default_factory=dict)
    """Made once per agent: building one takes longer than reading a page."""

    def url(self, address: str, endpoint: Endpoint, *, filtered: bool) -> URL:
        """Return the URL of a page of the agent."""
        key = (address, endpoint, filtered)
        if key not in self.urls:
            self.urls[key] = page_url(address, endpoint, filtered=filtered)
        return self.urls[key]


@dataclass(frozen=True, slots=True)
class _Page:
    reading: Reading
    rejected_lines: int
    url: URL


class Poller:
    """Scrapes every target of the store each `interval`, at most `concurrency` at once."""

    def __init__(
        self,
        settings: ScrapeSettings,
        store: SnapshotStore,
        client: PageClient,
        observer: ScrapeObserver,
        *,
        monotonic: Clock,
        phases: random.Random,
    ) -> None:
        self._settings = settings
        self._store = store
        self._client = client
        self._observer = observer
        self._monotonic = monotonic
        self._phases = phases
        suspects = max(1, int(settings.concurrency * _SUSPECT_SHARE))
        self._suspect_places = asyncio.Semaphore(suspects)
        self._places = asyncio.Semaphore(max(1, settings.concurrency - suspects))
        self._changed = asyncio.Event()
        self._loops: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Keep one loop for each target there is, until cancelled."""
        self._store.membership_changed = self._changed.set
        self._changed.set()
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._match_loops(group)

    def _match_loops(self, group: asyncio.TaskGroup) -> None:
        wanted = set(self._store.uids())
        for uid in self._loops.keys() - wanted:
            self._loops.pop(uid).cancel()
        for uid in wanted - self._loops.keys():
            self._loops[uid] = group.create_task(self._poll(uid), name=f"scrape {uid}")

    async def _poll(self, uid: str) -> None:
        memory = _Memory()
        interval = self._settings.interval
        due = self._monotonic() + self._phases.uniform(0.0, interval)
        while True:
            await asyncio.sleep(due - self._monotonic())
            try:
                target = self._store.snapshot(uid).target
            except KeyError:
                return
            if target.address is not None:
                async with self._suspect_places if memory.suspect else self._places:
                    await self._scrape(target, memory)
            # A cycle that took too long skips the turns it missed instead of catching up in a burst.
            missed = max(0.0, self._monotonic() - due) // interval
            due += interval * (missed + 1)

    async def _scrape(self, target: Target, memory: _Memory) -> None:
        started = self._monotonic()
        try:
            page = await self._first_answer(target, memory)
        except ScrapeError as error:
            memory.suspect = True
            seconds = self._monotonic() - started
            self._store.failed(target.uid, str(error), seconds=seconds)
            self._observer.scraped(error.outcome, seconds, 0)
        except Exception as error:  # noqa: BLE001 - contained here, and logged with its traceback
            # A page nobody foresaw must not take down the view of all other agents. It is a bug, and said to be one.
            memory.suspect = True
            seconds = self._monotonic() - started
            reason = f"unexpected {type(error).__name__}, see the exporter's log"
            if self._store.failed(target.uid, reason, seconds=seconds):
                _log.exception("scrape failed in a way that is a bug of the exporter", pod=target.pod)
            self._observer.scraped(Outcome.INTERNAL, seconds, 0)
        else:
            memory.suspect = False
            seconds = self._monotonic() - started
            self._store.scraped(target.uid, page.reading, url=str(page.url.with_query(None)), seconds=seconds)
            self._observer.scraped(Outcome.OK, seconds, page.rejected_lines)

    async def _first_answer(self, target: Target, memory: _Memory) -> _Page:
        """Return the page of the first endpoint that has an agent behind it. Raises ScrapeError for all of them."""
        failures: list[tuple[Endpoint, ScrapeError]] = []
        for endpoint in self._order(target, memory):
            try:
                page = await self._read(target, endpoint, memory)
            except ScrapeError as error:
                failures.append((endpoint, error))
                # One that answered before and now hangs has not moved; asking elsewhere too only takes up a place.
                if endpoint == memory.winner and error.outcome is Outcome.TIMEOUT:
                    break
            else:
                if memory.winner != endpoint:
                    memory.winner = endpoint
                    memory.retry_at = self._monotonic() + _RETRY_PREFERRED_AFTER
                return page
        raise _combined(target, failures)

    def _order(self, target: Target, memory: _Memory) -> Sequence[Endpoint]:
        if target.endpoint is not None:
            return (target.endpoint,)
        endpoints = self._settings.endpoints
        if memory.winner is None or memory.winner not in endpoints:
            return endpoints
        if self._monotonic() >= memory.retry_at:
            memory.retry_at = self._monotonic() + _RETRY_PREFERRED_AFTER
            return endpoints
        return (memory.winner, *(endpoint for endpoint in endpoints if endpoint != memory.winner))

    async def _read(self, target: Target, endpoint: Endpoint, memory: _Memory) -> _Page:
        """Return one endpoint's page. Raises ScrapeError.

        A server that filters by name may know other names than we do, so a filtered page that says nothing is not
        believed: the whole page is, and this agent is asked for it from then on.
        """
        assert target.address is not None  # noqa: S101 - the poll loop waits for an address; this tells the type checker
        if self._settings.filter_names and endpoint not in memory.unfiltered:
            try:
                return await self._page(memory.url(target.address, endpoint, filtered=True))
            except ScrapeError as error:
                if error.outcome not in (Outcome.HTTP_STATUS, Outcome.NOT_AN_AGENT, Outcome.NO_TASK_COUNT):
                    raise
            page = await self._page(memory.url(target.address, endpoint, filtered=False))
            memory.unfiltered.add(endpoint)
            return page
        return await self._page(memory.url(target.address, endpoint, filtered=False))

    async def _page(self, url: URL) -> _Page:
        body = await self._client.fetch(url)
        if len(body) > _READ_INLINE_BYTES:
            samples = await asyncio.to_thread(exposition.read, body, dialect.WANTED)
        else:
            samples = exposition.read(body, dialect.WANTED)
        try:
            reading = dialect.interpret(samples)
        except dialect.NotAnAgentError:
            raise ScrapeError(Outcome.NOT_AN_AGENT, "no agent metrics on the page") from None
        except dialect.NoTaskCountError:
            raise ScrapeError(Outcome.NO_TASK_COUNT, "no count of running tasks on the page") from None
        return _Page(reading, samples.rejected_lines, url)


def _combined(target: Target, failures: Sequence[tuple[Endpoint, ScrapeError]]) -> ScrapeError:
    """Return one error for all endpoints: "connection refused on 10.0.3.7:9464 and :8080"."""
    ports: dict[str, list[int]] = {}
    for endpoint, error in failures:
        ports.setdefault(str(error), []).append(endpoint.port)
    parts = []
    for reason, (first, *others) in ports.items():
        where = " and ".join([host_port(target.address or "", first), *(f":{port}" for port in others)])
        parts.append(f"{reason} on {where}")
    # That nothing listens on one of the ports says the least: any other failure is the one to count.
    outcomes = [error.outcome for _, error in failures]
    outcome = next((outcome for outcome in outcomes if outcome is not Outcome.CONNECT), outcomes[0])
    return ScrapeError(outcome, "; ".join(parts))
