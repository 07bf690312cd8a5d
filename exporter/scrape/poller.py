"""Schedules the scrapes of all agents, and puts the results in the store.

Each agent has its own task and phase, so that the scrapes of a thousand agents are spread evenly, and never two scrapes
of one agent run at once.
"""

import asyncio
import random
from math import floor
from typing import Protocol

import structlog

from exporter.config import ScrapeSettings
from exporter.fleet.model import Target
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from exporter.scrape.reader import AgentReader, PageSource
from exporter.store.snapshots import Clock, SnapshotStore

# Agents whose last scrape failed share this part of the places, so that a hundred that hang cannot keep those that
# answer waiting.
_SUSPECT_SHARE = 0.25

# Seconds between the moments at which scrapes begin: at a thousand agents every 5 s, 50 at a time and 10 ms of work.
_TICK = 0.25

_log = structlog.get_logger(__name__)


class ScrapeObserver(Protocol):
    """Receives every finished scrape."""

    def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
        """Count one scrape."""


class Poller:
    """Scrapes every target of the store each `interval`, at most `concurrency` at once."""

    def __init__(
        self,
        settings: ScrapeSettings,
        store: SnapshotStore,
        client: PageSource,
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
        self._random = phases
        suspects = max(1, int(settings.concurrency * _SUSPECT_SHARE))
        self._suspect_places = asyncio.Semaphore(suspects)
        one_place = settings.concurrency == suspects
        self._places = self._suspect_places if one_place else asyncio.Semaphore(settings.concurrency - suspects)
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
        needed = set(self._store.uids())
        for uid in self._loops.keys() - needed:
            self._loops.pop(uid).cancel()
        for uid in needed - self._loops.keys():
            self._loops[uid] = group.create_task(self._poll(uid), name=f"scrape {uid}")

    async def _poll(self, uid: str) -> None:
        """Scrape one agent at each of its turns, until cancelled.

        An agent that is gone only has no turn: it may be back before the end of its membership came round to here.
        """
        reader = AgentReader(self._settings, self._client, self._monotonic, self._random)
        interval = self._settings.interval
        due = self._first_turn()
        good = True
        while True:
            await asyncio.sleep(due - self._monotonic())
            if self._target(uid) is not None:
                async with self._places if good else self._suspect_places:
                    # The place may have been long in coming, and the agent have moved meanwhile.
                    target = self._target(uid)
                    good = target is None or await self._scrape(target, reader)
                # A recheck may meet a port that hangs, so it takes one of the suspects' places; while there is none
                # it can wait.
                if target is not None and good and reader.recheck_due() and not self._suspect_places.locked():
                    async with self._suspect_places:
                        await self._recheck(target, reader)
            # A cycle that took too long skips the turns it missed instead of catching up in a burst.
            missed = max(0.0, self._monotonic() - due) // interval
            due += interval * (missed + 1)

    def _first_turn(self) -> float:
        """Return when to begin with an agent: anywhere within the interval, but in step with its neighbours.

        A process that wakes up for each agent alone finds its caches cold each time: two thirds of the CPU of a scrape.
        So turns fall on ticks, and what is due between two of them is scraped together.
        """
        interval = self._settings.interval
        tick = interval / max(1, round(interval / _TICK))
        return tick * floor((self._monotonic() + self._random.uniform(0.0, interval)) / tick)

    def _target(self, uid: str) -> Target | None:
        return self._store.scrape_target(uid)

    async def _scrape(self, target: Target, reader: AgentReader) -> bool:
        """Scrape one agent once; update the store and the observer. Returns whether it responded."""
        started = self._monotonic()
        try:
            answer = await reader.read(target)
        except ScrapeError as error:
            seconds = self._monotonic() - started
            self._store.failed(target, str(error), seconds=seconds)
            self._observer.scraped(error.outcome, seconds, 0)
            return False
        except Exception as error:  # noqa: BLE001 - contained here, and logged with its traceback
            # An unforeseen page must not affect other agents. It is a bug, and logged as one.
            seconds = self._monotonic() - started
            if self._store.failed(target, _bug(error), seconds=seconds):
                _log.exception("scrape failed: a bug in the exporter", pod=target.pod)
            self._observer.scraped(ScrapeOutcome.INTERNAL, seconds, 0)
            return False
        seconds = self._monotonic() - started
        self._store.scraped(target, answer.reading, url=answer.url, seconds=seconds)
        self._observer.scraped(ScrapeOutcome.OK, seconds, answer.rejected_lines)
        return True

    async def _recheck(self, target: Target, reader: AgentReader) -> None:
        try:
            await reader.recheck(target)
        except Exception:  # noqa: BLE001 - as in _scrape
            _log.exception("search for a better endpoint failed: a bug in the exporter", pod=target.pod)


def _bug(error: Exception) -> str:
    return f"unexpected {type(error).__name__}, see the exporter's log"
