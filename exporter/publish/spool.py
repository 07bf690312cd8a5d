"""The spool: what CloudWatch has not accepted yet, on disk, or in memory while the disk cannot be used.

A datum is here before it is sent and leaves when it was accepted. Everything that blocks runs in one thread of its own,
in order. Nothing raises because of the disk: when it fails (full, read-only, corrupt, locked by another process), new
datums are kept in memory, which is logged once, and the disk is tried again each time datums are added. A full disk can
still be read and emptied; data on one that cannot be used waits there.

When there are too many datums, or disk and memory are full, the oldest are dropped, wherever they are.

Knows nothing of CloudWatch but the shape of a datum.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

import structlog

from exporter.disk_thread import DiskThread
from exporter.publish.datum import Datum
from exporter.publish.spool_file import AT_ONCE, FIRST_ID_IN_MEMORY, MEMORY, NotASpoolError, Row, SpoolFile
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

# Datums take about 200 bytes each in memory; a disk may be given to the spool alone, memory is the whole process'.
_MAX_IN_MEMORY = 100_000
# SQLite's primary result codes for a file whose content is damaged, and one that is no database at all.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

# SQLite quotes a damaged schema in its message, which Python then cannot decode.
_DISK_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError)

_Result = TypeVar("_Result")

_CLOSE_SECONDS = 1.0
"""For the end of what is still being written; the process has five."""


@dataclass(slots=True)
class Added:
    """What became of the spool when datums were added."""

    ids: Sequence[int] = ()
    expired: int = 0
    """Datums dropped because they were too old."""
    overflowed: int = 0
    """Datums dropped because there were too many, or no room for them; the oldest go first."""


class Spool:
    """An async context manager around the file; open it before use."""

    def __init__(self, path: Path, *, max_datums: int) -> None:
        self._path = path
        self._max_datums = max_datums
        self._thread = DiskThread("spool")
        self._disk: SpoolFile | None = None
        self._memory: SpoolFile | None = None
        self._damaged = path.with_name(f"{path.name}.damaged")
        """Where a file is kept that was of no use any more."""
        self._trouble = Trouble(
            _log,
            "the spool cannot be written to disk; unsent data is in memory only",
            "the spool is written to disk again",
            level=logging.ERROR,
            path=str(path),
        )
        self._writable = True
        """Whether the disk took what was last added."""
        self._unreadable = 0
        # Accepted by CloudWatch, but the disk failed before it could forget them.
        self._owed: set[int] = set()

    @property
    def durable(self) -> bool:
        """Whether all that waits survives a restart."""
        in_memory = 0 if self._memory is None else self._memory.datums
        return self._disk is not None and self._writable and not in_memory

    @property
    def datums(self) -> int:
        """How many datums wait, as far as they can be seen."""
        return sum(store.datums for store in self._stores())

    @property
    def oldest_time(self) -> int | None:
        """Time of the oldest datum that waits, in Unix seconds; None when none does."""
        times = [store.oldest_time for store in self._stores() if store.oldest_time is not None]
        return min(times, default=None)

    def take_unreadable(self) -> int:
        """Return how many rows were dropped because they were no datums, since this was last asked."""
        count, self._unreadable = self._unreadable, 0
        return count

    async def __aenter__(self) -> Self:
        """Open the file, or begin in memory."""
        await self._thread.run(self._open_disk)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file; what waits in memory is lost. A disk that hangs is left alone: it has what was written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._thread.run(self._close)
        self._thread.close()

    async def notes(self) -> dict[str, str]:
        """Return the notes that the last `add` before a restart left."""
        return await self._thread.run(self._notes)

    async def add(self, datums: Sequence[Datum], notes: Mapping[str, str], *, expire_before: float) -> Added:
        """Keep datums, and notes that replace those of the same names; drop datums from before a time."""
        return await self._thread.run(self._add, datums, notes, expire_before)

    async def oldest(self, max_datums: int, *, not_before: float, not_after: float) -> list[Row]:
        """Return up to `max_datums` of the datums between two times, oldest first."""
        return await self._thread.run(self._oldest, max_datums, not_before, not_after)

    async def remove(self, ids: Sequence[int]) -> None:
        """Forget datums that are not to be sent any more."""
        await self._thread.run(self._remove, ids)

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _stores(self) -> list[SpoolFile]:
        return [store for store in (self._disk, self._memory) if store is not None]

    def _notes(self) -> dict[str, str]:
        return self._on_disk(SpoolFile.notes) or {}

    def _add(self, datums: Sequence[Datum], notes: Mapping[str, str], expire_before: float) -> Added:
        if self._disk is None:
            self._open_disk()
        added = Added()
        limit = self._max_datums
        if self._memory is not None:
            added.expired += self._memory.expire(expire_before)
        self._on_disk(lambda disk: self._trim(disk, expire_before, limit - len(datums), added))
        self._writable = self._add_to_disk(datums, notes, added)
        if self._writable or self._add_with_the_disk_full(datums, notes, added):
            self._on_disk(lambda disk: self._trim(disk, expire_before, limit, added))
        else:
            memory = self._in_memory()
            added.ids = memory.add(datums, {})
            self._trim(memory, expire_before, min(limit, _MAX_IN_MEMORY), added)
        self._resolve()
        return added

    def _add_to_disk(self, datums: Sequence[Datum], notes: Mapping[str, str], added: Added) -> bool:
        ids = self._on_disk(lambda disk: disk.add(datums, notes))
        if ids is None:
            return False
        added.ids = ids
        return True

    def _add_with_the_disk_full(self, datums: Sequence[Datum], notes: Mapping[str, str], added: Added) -> bool:
        """Once memory is full as well, let the oldest make room, as long as they are those on the disk."""
        limit = min(self._max_datums, _MAX_IN_MEMORY)
        while self._in_memory().datums + len(datums) > limit and self._oldest_is_on_disk():
            dropped = self._on_disk(lambda disk: disk.drop_oldest(len(datums)))
            if not dropped:
                return False
            added.overflowed += dropped
            if self._add_to_disk(datums, notes, added):
                return True
        return False

    def _trim(self, store: SpoolFile, expire_before: float, limit: int, added: Added) -> None:
        """Drop what is too old, then what is too much."""
        if self._owed and store is self._disk:
            self._pay(store)
        added.expired += store.expire(expire_before)
        added.overflowed += store.drop_oldest(store.datums - max(0, limit))

    def _in_memory(self) -> SpoolFile:
        if self._memory is None:
            self._memory = SpoolFile(MEMORY)
        return self._memory

    def _resolve(self) -> None:
        if self.durable:
            self._trouble.resolve()

    def _oldest_is_on_disk(self) -> bool:
        times = [
            (store.oldest_time, store is self._memory) for store in self._stores() if store.oldest_time is not None
        ]
        return bool(times) and not min(times)[1]

    def _oldest(self, max_datums: int, not_before: float, not_after: float) -> list[Row]:
        # Those that are only still there must not be sent again.
        rows = self._on_disk(
            lambda disk: disk.oldest(max_datums + len(self._owed), not_before=not_before, not_after=not_after)
        )
        rows = [row for row in rows or () if row.id not in self._owed]
        if self._memory is not None:
            rows += self._memory.oldest(max_datums, not_before=not_before, not_after=not_after)
            rows.sort(key=lambda row: row.datum.time)
        return rows[:max_datums]

    def _remove(self, ids: Iterable[int]) -> None:
        in_memory = [one for one in ids if one >= FIRST_ID_IN_MEMORY]
        on_disk = [one for one in ids if one < FIRST_ID_IN_MEMORY]
        if in_memory and self._memory is not None:
            self._memory.remove(in_memory)
            self._resolve()
        if on_disk:
            self._owed.update(on_disk)
            self._on_disk(self._pay)

    def _pay(self, disk: SpoolFile) -> None:
        owed = sorted(self._owed)
        for start in range(0, len(owed), AT_ONCE):
            some = owed[start : start + AT_ONCE]
            disk.remove(some)
            self._owed.difference_update(some)

    def _on_disk(self, work: Callable[[SpoolFile], _Result]) -> _Result | None:
        """Do something with the file; None if it is not in use, or fails."""
        if self._disk is None:
            return None
        try:
            return work(self._disk)
        except _DISK_ERRORS as error:
            self._failed(error)
            if not _is_full(error):
                self._close_disk()
                self._open_disk()
            return None
        finally:
            if self._disk is not None:
                self._count_unreadable(self._disk)

    def _count_unreadable(self, disk: SpoolFile) -> None:
        if disk.unreadable:
            self._unreadable += disk.unreadable
            _log.error(
                "rows of the spool cannot be read; they are dropped", path=str(self._path), rows=disk.unreadable,
                fix="check the disk",
            )  # fmt: skip
            disk.unreadable = 0

    def _open_disk(self) -> None:
        """Take the file into use if it can be used; one that is damaged is set aside and created again."""
        try:
            try:
                disk = SpoolFile(self._path)
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if not _is_damaged(error):
                    raise
                disk = self._recreate(error)
        except _DISK_ERRORS as error:
            self._failed(error)
            return
        self._disk = disk
        self._count_unreadable(disk)

    def _recreate(self, error: Exception) -> SpoolFile:
        self._path.replace(self._damaged)
        for suffix in ("-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        # Their numbers meant datums of the file that is gone.
        self._owed.clear()
        _log.error(
            "the spool file was corrupt and is re-created; its unsent data is lost",
            path=str(self._path), kept_as=str(self._damaged), reason=str(error),
        )  # fmt: skip
        return SpoolFile(self._path)

    def _failed(self, error: Exception) -> None:
        if _is_full(error):
            # A damaged file that was kept is of less use than its room.
            with suppress(OSError):
                self._damaged.unlink(missing_ok=True)
        self._trouble.report(
            reason=str(error), fix="point cloudwatch.spool.path to a file on a writable volume with enough space"
        )

    def _close_disk(self) -> None:
        if self._disk is not None:
            self._close_quietly(self._disk)
            self._disk = None

    def _close(self) -> None:
        for store in self._stores():
            self._close_quietly(store)
        self._disk = self._memory = None

    def _close_quietly(self, store: SpoolFile) -> None:
        try:
            store.close()
        except sqlite3.Error as error:
            _log.debug("closing the spool failed", path=str(self._path), reason=str(error))


def _is_full(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _is_damaged(error: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    """Whether the file was a spool and is of no use any more, rather than not to be had just now."""
    if isinstance(error, NotASpoolError):
        return False
    # Extended result codes carry the primary one in their low byte. The verdict of the check at opening has no code.
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in _DAMAGED
