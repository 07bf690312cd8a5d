"""Follows the log of one agent, from the moment it is of interest until the agent is gone.

The API gives a stream for each container, and a pod's container is another one after each restart. Whenever a stream
ends, for whatever reason, the next begins a little before the last line that was read, and `LinesSeen` drops what comes
again. It must not know of other agents, nor of leadership.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

import structlog

from exporter.config.line_pattern import LinePattern
from exporter.fleet.model import PodFacts, Target
from exporter.kube.api import AccessDeniedError, ApiError, InactiveError, KubeError, KubeReader, Resource
from exporter.podhealth.log_lines import (
    MAX_SEARCHED_BYTES,
    MAX_STAMP_BYTES,
    NANOSECONDS,
    LineBudget,
    LineParser,
    LinesSeen,
)
from exporter.retry import Backoff
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

PODS = Resource("", "v1", "pods")
SECONDS_REMEMBERED = 2
"""The lines of how many seconds, at the highest rate looked at, are remembered: twice `LinesSeen.DISORDER`."""
LINES_PER_TURN = 200
"""Lines taken before other tasks get their turn: about a millisecond."""
BYTES_PER_TURN = MAX_SEARCHED_BYTES
"""Bytes searched before that. With the worst of all patterns these take 80 ms (`LinePattern`)."""
FLOOD_PAUSE_SECONDS = 0.01
"""Between such turns in a flood: 20,000 lines a second, a fifth of a core. The others wait at the kubelet."""
CALM_SECONDS = 60
"""A flood is over when no line was skipped for this long."""

_REFUSED = (400, 404)
"""The API's status when there is no earlier container, or its log is no longer kept."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for in the lines."""

    pattern: LinePattern
    lines_per_second: int
    """Maximum lines per agent and second; further lines are skipped."""
    on_skipped: Callable[[int], None]
    """Called with the number of skipped lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowingPace:
    """How patient a follower is. All in seconds."""

    idle: float = 300.0
    """Silence after which a stream is opened again. It may be dead, and load balancers drop silent connections without
    a word to either side (AWS: after 350 s)."""
    read: float = 30.0
    """Longest silence while what was logged already is read."""
    backoff_first: float = 0.8
    backoff_max: float = 30.0
    settled: float = 30.0
    """A stream that lasted this long was real progress: the next failure is met with the shortest pause again."""
    poll: float = 1.0
    """How often to check for a new container while there is nothing to read."""


class AgentLog:
    """The log of one agent, and the failed tasks counted in it so far."""

    def __init__(
        self,
        client: KubeReader,
        store: SnapshotStore,
        target: Target,
        *,
        began: float,
        search: Search,
        refusal: Trouble,
        pace: FollowingPace,
    ) -> None:
        """Take the agent to follow, and the Unix time from which on failures count."""
        self._client = client
        self._store = store
        self._uid = target.uid
        self._resource = PODS.within(target.namespace).named(target.pod, "log")
        self._refusal = refusal
        self._trouble = Trouble(
            _log,
            "log of an agent cannot be followed",
            "log of an agent is followed again",
            namespace=target.namespace,
            pod=target.pod,
        )
        self._pace = pace
        self._backoff = Backoff(pace.backoff_first, pace.backoff_max)
        maximum = search.lines_per_second * SECONDS_REMEMBERED
        self._counter = _Counter(search, LinesSeen(int(began * NANOSECONDS), maximum), target.pod)
        self._failed = 0
        """Attempts that failed, one after the other."""
        self._withheld = True

    async def follow(self) -> None:
        """Follow the log until the agent is gone, or until cancelled; then its count is unknown."""
        try:
            while (target := self._store.target(self._uid)) is not None and target.facts is not None:
                await self._pause(target.facts, await self._read(target.facts))
        finally:
            self._store.task_failures_counted(self._uid, None)

    async def _read(self, facts: PodFacts) -> KubeError | None:
        """Read from where the last stream ended to the end of the next; return why it ended, None for politely.

        What is there already is read first, since that answer has an end: an agent that is silent would keep us waiting
        for the head of a stream, and for whether its log may be read at all.
        """
        began = asyncio.get_running_loop().time()
        try:
            await self._take(facts, self._pace.read)
            self._is_well()
            # Silence is no failure. If it came of a broken connection, the next attempt shows it.
            with suppress(InactiveError):
                await self._take(facts, self._pace.idle, ("follow", "true"))
        except KubeError as error:
            return error
        finally:
            if asyncio.get_running_loop().time() - began >= self._pace.settled:
                self._backoff.reset()
        return None

    async def _take(self, facts: PodFacts, idle: float, *how: tuple[str, str]) -> None:
        """Take lines to the end of the answer; before them, the last words of the container before.

        In this order: a response that has begun is of one container for good, so the one before that is dead and its
        log complete. If that log were read first, the container might die just after that, and the end of its log would
        be lost. The pod's status shows a restart too, but later.
        """
        async with self._open(facts, idle, *how) as lines:
            await self._read_final_lines(facts)
            await self._count(lines)

    async def _read_final_lines(self, facts: PodFacts) -> None:
        """Take what the container before wrote after the last line that was read, if there was one."""
        try:
            async with self._open(facts, self._pace.read, ("previous", "true")) as lines:
                await self._count(lines)
        except ApiError as error:
            if error.status not in _REFUSED:
                raise

    def _open(
        self, facts: PodFacts, idle: float, *how: tuple[str, str]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Ask for the log from the last line that was read on."""
        query = [("container", facts.container or ""), ("timestamps", "true"), ("sinceTime", self._counter.since), *how]
        return self._client.stream(self._resource, query, idle_timeout=idle, keep=MAX_STAMP_BYTES + MAX_SEARCHED_BYTES)

    async def _count(self, lines: AsyncIterator[bytes]) -> None:
        """Count in the lines as they come."""
        lines_taken = bytes_searched = 0
        async for line in lines:
            if self._counter.take(line) and not self._withheld:
                self._store.task_failures_counted(self._uid, self._counter.failures)
            lines_taken += 1
            bytes_searched += 0 if self._counter.flooded else len(line)
            if lines_taken >= LINES_PER_TURN or bytes_searched >= BYTES_PER_TURN:
                await asyncio.sleep(FLOOD_PAUSE_SECONDS if self._counter.flooded else 0)
                lines_taken = bytes_searched = 0

    async def _pause(self, seen: PodFacts, error: KubeError | None) -> None:
        """Wait before the log is read again; not longer than until there is another container."""
        if error is not None:
            self._is_bad(error)
        # The log of a container that has ended is read to its end: there is nothing to come but another container.
        over = error is None and seen.started_time is None
        left = math.inf if over else self._backoff.next()
        while left > 0:
            await asyncio.sleep(min(self._pace.poll, left))
            left -= self._pace.poll
            target = self._store.target(self._uid)
            if target is None or target.facts is None or _life(target.facts) != _life(seen):
                return

    def _is_well(self) -> None:
        self._trouble.resolve()
        self._failed = 0
        self._withheld = False
        self._refusal.resolve()
        self._store.task_failures_counted(self._uid, self._counter.failures)

    def _is_bad(self, error: KubeError) -> None:
        """Withhold the count from the second failure on. One alone is none: what is missing then is read soon."""
        self._failed += 1
        if isinstance(error, AccessDeniedError):
            self._refusal.report(**error.fields(error.resource.grant("get")))
        elif self._failed > 1:
            self._trouble.report(error=str(error))
        if self._failed > 1 and not self._withheld:
            self._withheld = True
            self._store.task_failures_counted(self._uid, None)


def _life(facts: PodFacts) -> tuple[int | None, float | None]:
    """Return what changes when the container ends, and when another begins."""
    return (facts.restarts, facts.started_time)


class _Counter:
    """Counts the lines that the pattern matches: each once, and not more of them than may be looked at."""

    def __init__(self, search: Search, seen: LinesSeen, pod: str) -> None:
        self.failures = 0
        self.flooded = False
        """Whether the last line was one too many."""
        self._search = search
        self._seen = seen
        self._parser = LineParser()
        self._budget = LineBudget(search.lines_per_second)
        self._flood = Trouble(
            _log,
            "log lines of an agent are skipped: too many per second; failed tasks may be missed",
            "log lines of an agent are no longer skipped",
            pod=pod,
        )
        self._skipped = 0
        self._skipped_at = 0

    @property
    def since(self) -> str:
        """The time from which on the log is to be read."""
        return self._seen.since

    def take(self, raw: bytes) -> bool:
        """Take one line; return whether it counts one more failure."""
        line = self._parser.parse(raw)
        if line is None or not self._seen.is_new(line):
            return False
        self.flooded = not self._budget.take(line.nanoseconds)
        if self.flooded:
            self._skip(line.nanoseconds)
            return False
        self._report_calm(line.nanoseconds)
        if not self._search.pattern.found_in(line.text[:MAX_SEARCHED_BYTES]):
            return False
        self.failures += 1
        return True

    def _skip(self, nanoseconds: int) -> None:
        self._flood.report(max_per_second=self._search.lines_per_second)
        self._skipped += 1
        self._skipped_at = nanoseconds
        self._search.on_skipped(1)

    def _report_calm(self, nanoseconds: int) -> None:
        if self._skipped and nanoseconds - self._skipped_at >= CALM_SECONDS * NANOSECONDS:
            self._flood.resolve(skipped=self._skipped)
            self._skipped = 0
