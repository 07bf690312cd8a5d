"""The past of the fleets in a file, where there is no Kubernetes: one exporter, one file.

A JSON object with the entries of `encoding` for each `namespace/fleet`. It is replaced as a whole, so it is never half
written. A file that is something else is moved aside, never overwritten.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import structlog

from exporter.config import ForecastSettings
from exporter.history.encoding import Decoded, Entries, decode, updated
from exporter.history.past import FleetKey, Past
from exporter.history.recorder import MAX_FLEETS, Recorder
from exporter.store.snapshots import SnapshotStore
from exporter.trouble import ONCE_EACH, Trouble

_log = structlog.get_logger(__name__)

MAX_BYTES = 32 * 1024 * 1024
"""Of a file: a month of a fleet takes at most 90 KB, and there are at most MAX_FLEETS."""
_FORMAT = "matillion-fleet-exporter history 1"


class NotAHistoryError(ValueError):
    """The file holds something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times in seconds that are no settings."""

    sample_every: float = 5.0
    """Between two samples of demand: the default interval of scrapes."""
    write_every: float = 900.0
    """Between two writes, by the clock: every quarter of an hour. A day of any time zone ends at one of them."""


class HistoryFile:
    """A `PastSource`. What it provides is what is in the file."""

    def __init__(self, settings: ForecastSettings, store: SnapshotStore, *, pace: Pace = Pace()) -> None:
        self._path = settings.path
        self._days = settings.days
        self._store = store
        self._pace = pace
        self._recorder = Recorder(store, days=settings.days)
        self._entries: dict[FleetKey, Entries] = {}
        self._decoded: dict[FleetKey, Decoded] = {}
        self._read_time: float | None = None
        event = "history cannot be read or written; it is kept in memory, and lost at the end; will retry"
        self._trouble = Trouble(_log, event, "history can be stored again", file=str(self._path))
        self._refused = Trouble(
            _log, "an entry of the history is not valid; ignored", remembered=ONCE_EACH, file=str(self._path)
        )

    def past(self, fleet: FleetKey) -> Past | None:
        """Return what the file has of a fleet; None if that is nothing, or it has not been read yet."""
        found = self._decoded.get(fleet)
        if found is None or self._read_time is None:
            return None
        return Past(found.history, self._read_time, [start.seconds for start in found.starts])

    async def run(self) -> None:
        """Record the demand, and store it every 15 minutes and at the end. No failure of the disk ends it."""
        await self._store_all()
        due = self._next_write()
        try:
            while True:
                self._recorder.sample()
                await asyncio.sleep(self._pace.sample_every)
                if self._store.wall_now() >= due or self._read_time is None:
                    await self._store_all()
                    due = self._next_write()
        finally:
            # The file is local, and the loop ends: nothing else waits for it.
            with suppress(OSError, ValueError):
                self._write_now()

    def _next_write(self) -> float:
        return (self._store.wall_now() // self._pace.write_every + 1) * self._pace.write_every

    async def _store_all(self) -> None:
        """Read the file if that is still to be done, and add what was recorded."""
        try:
            if self._read_time is None:
                self._entries = await asyncio.to_thread(_read, self._path)
            self._merge()
            await asyncio.to_thread(_write, self._path, dict(self._entries))
        except NotAHistoryError as error:
            self._put_aside(error)
        except OSError as error:
            self._trouble.report(error.errno, error=str(error))
        else:
            self._read_time = self._store.wall_now()
            for fleet, decoded in self._decoded.items():
                self._recorder.saved(fleet, decoded)
            self._trouble.resolve()

    def _write_now(self) -> None:
        if self._read_time is not None:
            self._merge()
            _write(self._path, self._entries)

    def _merge(self) -> None:
        """Add what was recorded to what is in the file, and forget what is too old, and fleets with nothing left."""
        now = self._store.wall_now()
        for fleet in {*self._entries, *self._recorder.unsaved()}:
            entries = updated(
                self._entries.get(fleet, {}),
                self._recorder.addition(fleet),
                self._store.starts(fleet),
                now=now,
                days=self._days,
            )
            decoded = decode(entries, now, self._days, self._decoded.get(fleet))
            for key, reason in decoded.refused.items():
                self._refused.report((fleet, key), fleet="/".join(fleet), entry=key, reason=reason)
            if decoded.known_until or decoded.refused:
                self._entries[fleet], self._decoded[fleet] = entries, decoded
            else:
                self._entries.pop(fleet, None)
                self._decoded.pop(fleet, None)

    def _put_aside(self, error: NotAHistoryError) -> None:
        aside = self._path.with_name(f"{self._path.name}.not-read-{self._store.wall_now():.0f}")
        try:
            self._path.rename(aside)
        except OSError as failure:
            self._trouble.report(failure.errno, error=f"{error}; it cannot be moved aside either: {failure}")
        else:
            _log.warning("the history file holds something else; moved aside", to=str(aside), reason=str(error))


def _read(path: Path) -> dict[FleetKey, Entries]:
    """Return the entries by fleet; none if there is no file. Raises OSError, or NotAHistoryError."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return {}
    if len(content) > MAX_BYTES:
        raise NotAHistoryError(f"it is larger than {MAX_BYTES >> 20} MiB")
    try:
        document: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise NotAHistoryError(f"it is not JSON: {error}") from None
    match document:
        case {"format": str(name), "fleets": dict(fleets)} if name == _FORMAT:
            return dict([_fleet(name, entries) for name, entries in list(fleets.items())[:MAX_FLEETS]])
    raise NotAHistoryError(f"it is not in the format {_FORMAT!r}")


def _fleet(name: str, entries: object) -> tuple[FleetKey, Entries]:
    namespace, slash, fleet = name.partition("/")
    if not slash or not isinstance(entries, dict):
        raise NotAHistoryError(f"{name[:100]!r} is not the history of a fleet")
    return (namespace, fleet), {key: text for key, text in entries.items() if isinstance(text, str)}


def _write(path: Path, fleets: Mapping[FleetKey, Entries]) -> None:
    """Replace the file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"format": _FORMAT, "fleets": {"/".join(fleet): fleets[fleet] for fleet in sorted(fleets)}}
    # Each write has a file of its own: the last one may begin while another, in a thread, has not ended.
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f"{path.name}.", delete=False) as file:
        try:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
