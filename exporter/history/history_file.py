"""The past of the fleets in a file, where there is no Kubernetes.

It has the same entries as the ConfigMaps elsewhere, and is written as often. What cannot be read of it is never
overwritten: the file is renamed first, and stays beside the new one.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from exporter.config import ForecastSettings
from exporter.disk_thread import DiskThread
from exporter.forecast.history import History
from exporter.history.encoding import Decoded, Entries, decode, updated
from exporter.history.past import Past
from exporter.history.recorder import MAX_FLEETS, USUAL, Pace, Recorder, keep_adding
from exporter.locked_file import LockedFile
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

FORMAT = "matillion-fleet-exporter history 1"
MAX_BYTES = 64 * 1024 * 1024
"""Size of a file that is read: 100 fleets take some 5 MB."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is stored of one fleet."""

    entries: Entries = field(default_factory=dict)
    decoded: Decoded = field(default_factory=Decoded)


class HistoryFile:
    """A `PastSource` for one process without replicas."""

    def __init__(self, settings: ForecastSettings, store: SnapshotStore, *, pace: Pace = USUAL) -> None:
        self._days = settings.days
        self._store = store
        self._pace = pace
        self._file = LockedFile(settings.path, max_bytes=MAX_BYTES)
        self._fleets: dict[FleetKey, _Stored] | None = None
        """None until the file has been read."""
        self._thread = DiskThread("history")
        self._log = _log.bind(file=str(settings.path))
        self._recorder = Recorder(store, days=settings.days, log=self._log)
        event = "history cannot be stored; it is kept in memory, and lost at the end of the process; will retry"
        self._trouble = Trouble(self._log, event, "history can be stored again")

    def past(self, fleet: FleetKey) -> Past | None:
        """Return what is stored of a fleet; None if that is nothing, or has not been read yet."""
        stored = None if self._fleets is None else self._fleets.get(fleet)
        return None if stored is None else stored.decoded.past(self._store.wall_now())

    async def run(self) -> None:
        """Record the demand and store it until cancelled. Nothing that the disk does ends it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._recorder.run(self._pace.sample_every), name="recording of demand")
                tasks.create_task(self._write(), name="history file")
        finally:
            self._thread.close()

    async def _write(self) -> None:
        try:
            await keep_adding(self._store, self._pace, self._try)
        finally:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._pace.last_timeout):
                    await self._save()
            if not self._thread.busy:
                self._file.close()

    async def _try(self) -> bool:
        """Read the file unless it has been read, then store what is recorded; return whether that succeeded."""
        try:
            await self._save()
        except OSError as error:
            self._trouble.report(type(error), error=error.strerror or str(error))
            return False
        self._trouble.resolve()
        return True

    async def _save(self) -> None:
        """Store what is recorded. Raises OSError."""
        if self._fleets is None:
            self._fleets = await self._read()
        now = self._store.wall_now()
        after: dict[FleetKey, _Stored] = {}
        for fleet, stored in self._fleets.items():
            after[fleet] = self._with(stored, fleet, History(), now)
            await asyncio.sleep(0)
        known_until = {fleet: stored.decoded.known_until for fleet, stored in after.items()}
        obsolete, admitted = self._recorder.room(known_until)
        for fleet in obsolete:
            del after[fleet]
        for fleet in admitted:
            addition = self._recorder.addition(fleet)
            after[fleet] = self._with(after.get(fleet, _Stored()), fleet, addition, now)
            await asyncio.sleep(0)
        await self._thread.run(self._replace, {fleet: stored.entries for fleet, stored in after.items()})
        self._fleets = after
        for fleet in admitted:
            self._recorder.saved(fleet, after[fleet].decoded)

    def _with(self, stored: _Stored, fleet: FleetKey, addition: History, now: float) -> _Stored:
        """Return what is stored of a fleet with an addition, and without the days that are no longer kept."""
        entries = updated(stored.entries, addition, self._store.starts(fleet), now=now, days=self._days)
        return _Stored(entries, decode(entries, now, self._days, stored.decoded))

    async def _read(self) -> dict[FleetKey, _Stored]:
        """Return what the file has; set it aside if not all of it can be read. Raises OSError."""
        now = self._store.wall_now()
        found, refused = await self._thread.run(self._load, now)
        if refused:
            mark = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H-%M-%SZ}.unread"
            kept = await self._thread.run(self._file.set_aside, mark)
            self._log.warning(
                "the history file is not valid; it is kept, and what can be read of it is used",
                kept=str(kept),
                fleets=len(found),
                refused=refused[:5],
            )
        return found

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _load(self, now: float) -> tuple[dict[FleetKey, _Stored], list[str]]:
        """Return what can be read, and why the rest cannot. Raises OSError."""
        try:
            content = self._file.open()
            document = {"format": FORMAT, "fleets": {}} if content is None else json.loads(content.decode())
        except (ValueError, RecursionError) as error:
            return {}, [str(error) or type(error).__name__]
        match document:
            case {"format": str(kind), "fleets": dict(fleets)} if kind == FORMAT:
                return self._decoded(fleets, now)
        return {}, [f"it is not of the format {FORMAT!r}"]

    def _decoded(self, fleets: Mapping[str, object], now: float) -> tuple[dict[FleetKey, _Stored], list[str]]:
        found: dict[FleetKey, _Stored] = {}
        refused = []
        for name, entries in fleets.items():
            namespace, _, fleet = name.partition("/")
            if not namespace or not fleet or not isinstance(entries, dict) or len(found) == MAX_FLEETS:
                refused.append(f"{name[:100]!r} is not the history of a fleet, or there are too many")
                continue
            decoded = decode(entries, now, self._days)
            refused += [f"{name[:100]} {key}: {reason}" for key, reason in decoded.refused.items()]
            kept = {key: text for key, text in entries.items() if key in decoded.hashes and isinstance(text, str)}
            found[namespace, fleet] = _Stored(kept, decoded)
        return found, refused

    def _replace(self, fleets: Mapping[FleetKey, Entries]) -> None:
        document = {"format": FORMAT, "fleets": {"/".join(fleet): fleets[fleet] for fleet in sorted(fleets)}}
        self._file.replace([json.dumps(document, indent=1).encode(), b"\n"])
