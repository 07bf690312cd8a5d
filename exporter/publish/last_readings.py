"""The leader's notes of the last readings, so that tasks lost while no exporter ran are counted by the next leader.

A ConfigMap in the exporter's own namespace. Only the leader writes it, always over the version it has read, so a
leader that was replaced overwrites nothing. Every replica reads it once at its start and compares it with its first
view of the pods. The first leader after that counts what ended in between. That is this process if the ConfigMap has
not been written since: if it has, another leader was there, which has counted it. So each loss is counted by one
replica, once.

The fleets that have no agents any more are noted beside the readings, so that they stay known for their day.

How a loss is judged is in `store.departures` and `fleet.losses`. Nothing that fails here concerns any other part.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from exporter.fleet.last_reading import LastReading
from exporter.fleet.policy import Policy
from exporter.fleet.read_back import is_unix_time, read_json
from exporter.kube.api import Json, KubeError, KubeObjects, Resource
from exporter.kube.config_maps import CHANGED_MEANWHILE, read_or_new, version, write
from exporter.kube.election import Leadership
from exporter.kube.fields import mapping, text
from exporter.store import in_turn
from exporter.store.departures import Missed
from exporter.store.gone_fleets import GoneFleet
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

MAX_BYTES = 900_000
"""Size of a note. A ConfigMap may have 1 MiB (kubernetes.io, "ConfigMaps"); an agent takes some 150 bytes."""

_KEY = "readings"

_T = TypeVar("_T")


def config_map_name(lease_name: str) -> str:
    """Return the name of the ConfigMap of the replicas that compete for this Lease."""
    return f"{lease_name}-readings"


@dataclass(frozen=True, slots=True)
class Note:
    """The last readings of one leader."""

    time: float
    """When they were written (Unix time)."""
    scope: str
    """Which pods that exporter watched."""
    readings: Sequence[LastReading]
    gone: Sequence[GoneFleet] = ()
    left_out: int = 0
    """Entries that could not be read: an agent or a fleet that is noted wrongly costs no other its note."""

    @classmethod
    def from_text(cls, given: str) -> "Note":
        """Read what `note_text` returns. Raises ValueError for anything else."""
        match read_json(given):
            case {"time": time, "scope": str(scope), "agents": [*agents], **more} if is_unix_time(time):
                fleets = more.get("gone", [])
                if isinstance(fleets, list):
                    readings, gone = _readable(agents, LastReading.from_json), _readable(fleets, GoneFleet.from_json)
                    left_out = len(agents) + len(fleets) - len(readings) - len(gone)
                    return cls(time, scope, readings, gone, left_out)
        raise ValueError("not an object with time, scope and agents")


def _readable(entries: Iterable[object], read: Callable[[object], _T]) -> list[_T]:
    found = []
    for entry in entries:
        with suppress(ValueError):
            found.append(read(entry))
    return found


def note_text(
    time: float, scope: str, readings: Iterable[LastReading], gone: Iterable[GoneFleet] = ()
) -> tuple[str, int]:
    """Return the text of a note, and how many agents are left out because it would exceed `MAX_BYTES`.

    The agents with the most tasks come first.
    """
    rows = [_row(one) for one in sorted(readings, key=lambda one: (-one.tasks, one.uid))]
    fleets = ",".join(map(_row, gone))
    start, end = f'{{"time":{time:.0f},"scope":{_json(scope)},"gone":[{fleets}],"agents":[', "]}"
    size, kept = len(start) + len(end), 0
    for row in rows:
        size += len(row) + 1
        if size > MAX_BYTES:
            break
        kept += 1
    return start + ",".join(rows[:kept]) + end, len(rows) - kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds that are no settings."""

    every: float = 15.0
    """Between two notes, as long as there are tasks."""
    poll_every: float = 0.5
    """How soon a loss that was counted is noted, so that no other leader counts it again."""
    retry: float = 5.0
    """Pause after a failed write."""
    shown_for: float = 30.0
    """How long the counter is shown before what was missed is added: Prometheus sees no increase without a value before
    it, and scrapes every 15 s by the chart's default."""
    timeout: float = 5.0
    """Maximum time for one request."""
    last_timeout: float = 1.0
    """Maximum time for the last note at shutdown; the leader's work has 2 s to end."""


class LastReadings:
    """`read_first` is for every replica, `run` for the leader."""

    def __init__(
        self,
        policy: Policy,
        source: SnapshotStore,
        api: KubeObjects,
        leadership: Leadership,
        *,
        place: Resource,
        scope: str,
        pace: Pace = Pace(),
    ) -> None:
        """Take the `place` of the ConfigMap; `scope` says which pods are watched. To be made before any pod is seen."""
        self._policy = policy
        self._source = source
        self._api = api
        self._leadership = leadership
        self._place = place
        self._scope = scope
        self._pace = pace
        self._stored: Json | None = None
        """The ConfigMap as this process saw it last; None if it must be read."""
        self._empty = False
        """Whether the note in it has no agents, and is this leader's: a new leader always writes one."""
        self._gone: Sequence[GoneFleet] = ()
        """The fleets without agents in it."""
        self._sent: str | None = None
        """The text of the last note, whether it was stored or not."""
        self._losses = 0.0
        """`Departures.total_lost` as of the last note."""
        self._missed: Sequence[Missed] = ()
        """What ended unseen, until it is decided which replica counts it."""
        self._missed_at = 0.0
        self._first_version: str | None = None
        """The ConfigMap's version at the start of this process."""
        self._compared = asyncio.Event()
        self._log = _log.bind(config_map=str(place))
        event = "last readings cannot be read or written; after a restart lost tasks are unknown; will retry"
        self._trouble = Trouble(self._log, event, "last readings can be read and written again")
        self._too_many = Trouble(self._log, "last readings of the agents with the fewest tasks do not fit; not noted")
        source.departures.expect_earlier_readings()

    async def read_first(self) -> None:
        """Find out once what ended before this process saw it, then wait until cancelled."""
        note = await self._first_note()
        while not self._complete():  # noqa: ASYNC110 - readiness has no event
            await asyncio.sleep(self._pace.poll_every)
        readings, gone = note
        self._source.remember(gone)
        self._missed = self._source.departures.missed(readings)
        self._missed_at = self._source.now()
        self._compared.set()
        await asyncio.Event().wait()

    async def _first_note(self) -> tuple[Sequence[LastReading], Sequence[GoneFleet]]:
        """Return what an earlier leader noted; nothing if it cannot be read, and no readings that are not recent."""
        stored = await self._first_read()
        if stored is None:
            return (), ()
        self._first_version = version(stored)
        given = _note(stored)
        if given is None:
            return (), ()
        try:
            note = Note.from_text(given)
        except ValueError as error:
            self._log.warning("notes of last readings are not valid; ignored", error=str(error))
            return (), ()
        if note.left_out:
            self._log.warning("entries in notes of last readings are not valid; ignored", entries=note.left_out)
        since, now = note.time, self._source.wall_now()
        if note.scope != self._scope:
            self._log.warning("notes of last readings are of other discovery settings; ignored", noted=note.scope)
            return (), ()
        if abs(now - since) <= self._policy.forget_after:
            return note.readings, note.gone
        if note.readings:
            self._log.warning(
                "whether tasks were lost while no exporter ran is unknown; the notes are too old",
                since=_iso(since),
                until=_iso(now),
            )
        return (), note.gone

    async def _first_read(self) -> Json | None:
        """Return the ConfigMap; None if it cannot be read until this process has read all agents."""
        while True:
            try:
                return await self._read()
            except KubeError as error:
                self._report(error)
                if self._complete():
                    return None
            await asyncio.sleep(self._pace.poll_every)

    async def run(self) -> None:
        """Keep the notes current until cancelled. No answer of the API server ends it. May be run again after that."""
        await self._compared.wait()
        due = self._begin()
        try:
            while True:
                now, counted = self._source.now(), self._source.departures.total_lost != self._losses
                if self._leadership.is_leader() and self._complete() and (now >= due or counted):
                    due = now + await self._try()
                await asyncio.sleep(self._pace.poll_every)
        finally:
            # A leader that lost the Lease does no harm here: if another one has written, the version does not match.
            if self._stored is not None and self._complete():
                with suppress(KubeError, TimeoutError):
                    async with asyncio.timeout(self._pace.last_timeout):
                        await self._write()

    def _begin(self) -> float:
        """Forget what an earlier leadership knew; return when the first note is due (monotonic)."""
        self._stored, self._empty, self._gone = None, False, ()
        self._losses = self._source.departures.total_lost
        return self._missed_at + self._pace.shown_for if self._missed else self._source.now()

    def _complete(self) -> bool:
        return self._source.not_ready_reason() is None

    async def _try(self) -> float:
        """Write a note; return the seconds until the next one."""
        try:
            await self._write()
        except KubeError as error:
            if error.status in CHANGED_MEANWHILE:
                return 0.0
            self._report(error)
            return self._pace.retry
        self._trouble.resolve()
        return self._pace.every

    async def _write(self) -> None:
        """Write the current readings, then count what was missed if no other leader has. Raises KubeError."""
        stored = self._stored or await self._read()
        await in_turn.compute(self._source)
        # The answer to an earlier write of ours may have been lost.
        ours = version(stored) == self._first_version or _note(stored) == self._sent
        missed, self._missed = (self._missed if ours else ()), ()
        self._losses = self._source.departures.total_lost
        readings, gone = self._readings(), self._source.gone_fleets()
        if self._empty and not readings and gone == self._gone:
            return
        self._sent, left_out = note_text(self._source.wall_now(), self._scope, readings, gone)
        body = {**stored, "data": {**mapping(stored.get("data")), _KEY: self._sent}}
        # Until it is answered, it is not known what is stored, nor by which replica.
        self._stored, self._missed = None, missed
        self._stored = await write(self._api, self._place, body, timeout=self._pace.timeout)
        self._missed, self._empty, self._gone = (), not readings, gone
        for one in missed:
            self._source.departures.count_missed(one, now=self._source.now(), wall_now=self._source.wall_now())
        if left_out:
            self._too_many.report(agents=left_out)
        else:
            self._too_many.resolve()

    def _readings(self) -> list[LastReading]:
        now = self._source.now()
        noted = (
            LastReading.of(agent.snapshot, self._policy.stale_after, now)
            for fleet in self._source.fleets()
            for agent in fleet.agents
        )
        return [one for one in noted if one is not None]

    async def _read(self) -> Json:
        return await read_or_new(self._api, self._place, timeout=self._pace.timeout)

    def _report(self, error: KubeError) -> None:
        self._trouble.report(error.kind, **error.fields(self._place.grant("get", "create", "update")))


def _note(config_map: Json) -> str | None:
    return text(mapping(config_map.get("data")).get(_KEY))


def _row(one: LastReading | GoneFleet) -> str:
    # Not `astuple`, which copies each value deeply and takes as long as the rest together.
    return _json([getattr(one, field.name) for field in fields(one)])


def _json(value: object) -> str:
    # Without characters outside of ASCII, so that its length is its size.
    return json.dumps(value, separators=(",", ":"))


def _iso(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="seconds")
