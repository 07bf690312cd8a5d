"""The spool's table: datums that wait for CloudWatch, and a few notes, in one SQLite database.

Blocking, for one thread. Whatever the disk does wrong comes out as sqlite3.Error or OSError. Also used with a database
in memory, so that there is one way to do it.

To delete a row SQLite writes the pages that change to its journal first. On a volume without room it could not, and
what filled the volume would stay for ever. So the journal keeps its place on the disk: `JOURNAL_BYTES` are allocated
when the file is opened and never given back, and rows are deleted by so few at a time that this is enough. A row that
goes leaves its place to the next one; the file does not shrink.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exporter.fleet.read_back import LAST_TIME
from exporter.publish.datum import Datum

MEMORY = ":memory:"
JOURNAL_BYTES = 256 * 1024
"""Room for 62 pages. A thousand datums of a usual size, and what the index has of them, are on about 50."""
FIRST_ID_IN_MEMORY = 1 << 48
"""Numbers of datums in memory begin here, so that they are never those of datums on disk."""
AT_ONCE = 1000
"""Rows deleted in one transaction, unless there is room for fewer only."""
_LAYOUT = 1
_SCHEMA = (
    "CREATE TABLE datum (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, body TEXT NOT NULL)",
    "CREATE INDEX datum_by_time ON datum (time)",
    "CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
# A number of SQLite's own, so that a file of another program is not taken for a spool: "MFES" in ASCII.
_APPLICATION_ID = 0x4D464553
# Seconds to wait for another process that has the file open.
_LOCK_TIMEOUT = 1.0
_MAX_BODY_BYTES = 100_000
"""A row longer than this is no datum: 30 dimensions of 1,279 characters, all of them escaped, are 77,000."""


class NotASpoolError(sqlite3.DatabaseError):
    """The file is sound but holds something else, or a layout of a later version."""


@dataclass(frozen=True, slots=True)
class Row:
    """A datum in the spool and the number it has there."""

    id: int
    datum: Datum


class SpoolFile:
    """An open spool. `datums`, `oldest_time` and `unreadable` are kept up to date by every call.

    A row may hold anything: a disk fails by the byte. One that is no datum is deleted when it is come across.
    """

    def __init__(self, path: Path | str) -> None:
        """Open or make the file and check that it is sound and writable. Raises sqlite3.Error or OSError."""
        self.unreadable = 0
        """Rows deleted so far because they were no datums."""
        self.datums = 0
        self.oldest_time: int | None = None
        self._journal: str | None = None
        """The journal that has not got its place yet."""
        if path == MEMORY:
            self._first_id, self._end_of_ids = FIRST_ID_IN_MEMORY, 1 << 62
        else:
            self._first_id, self._end_of_ids = 1, FIRST_ID_IN_MEMORY
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._journal = f"{path}-journal"
        self._database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        execute = self._database.execute
        # No other process may take part.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        [(application,)] = execute("PRAGMA application_id")
        [(layout,)] = execute("PRAGMA user_version")
        # SQLite's own have no statement, but for the table of the last numbers.
        # As bytes: what is damaged may be no text.
        found = execute("SELECT CAST(sql AS BLOB) FROM sqlite_master WHERE sql NOT NULL AND name <> 'sqlite_sequence'")
        tables = {sql for (sql,) in found}
        schema = {statement.encode() for statement in _SCHEMA}
        if tables and (application, layout, tables) != (_APPLICATION_ID, _LAYOUT, schema):
            raise NotASpoolError("it is not a spool file of this version")
        # Not a write-ahead log: what is committed there still needs room in the file, and without it neither grows.
        execute("PRAGMA journal_mode = PERSIST")
        execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
        # A commit is on disk when it returns: there are a few each minute.
        execute("PRAGMA synchronous = FULL")
        # The container may have no other place to write to.
        execute("PRAGMA temp_store = MEMORY")
        with self._transaction():
            if not tables:
                for statement in _SCHEMA:
                    execute(statement)
            execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            execute(f"PRAGMA user_version = {_LAYOUT}")
            self._delete_what_no_query_finds()
            self._set_next_id()
        self._check()
        [(self.datums,)] = execute("SELECT count(*) FROM datum")
        self._look_for_oldest()
        self._hold_journal()

    def _delete_what_no_query_finds(self) -> None:
        """Delete rows whose time or number is none: they would be neither sent nor too old, and wait for ever."""
        deleted = self._database.execute(
            "DELETE FROM datum WHERE typeof(time) <> 'integer' OR time NOT BETWEEN 0 AND ? OR body IS NULL"
            " OR id NOT BETWEEN ? AND ?",
            (LAST_TIME, self._first_id, self._end_of_ids - 1),
        )
        self.unreadable += deleted.rowcount
        self._database.execute("DELETE FROM note WHERE name IS NULL OR value IS NULL")

    def _set_next_id(self) -> None:
        """Let numbers go on where they stopped, so that none comes twice: one may be on its way to CloudWatch."""
        noted = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datum'").fetchall()
        [(highest,)] = self._database.execute("SELECT max(id) FROM datum")
        known = [seq for (seq,) in noted if isinstance(seq, int) and self._first_id <= seq < self._end_of_ids]
        last = max([self._first_id - 1, *known, *([] if highest is None else [highest])])
        self._database.execute("DELETE FROM sqlite_sequence WHERE name = 'datum'")
        self._database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('datum', ?)", (last,))

    def _check(self) -> None:
        """Look at the whole file: 1.3 s for half a million rows. Raises sqlite3.DatabaseError if it is damaged."""
        check = "PRAGMA integrity_check(1)"
        if self._database.execute(check).fetchall() == [("ok",)]:
            return
        # A row that has changed is not where its index says, which can be mended; most other damage cannot.
        self._database.execute("REINDEX")
        [(verdict,)] = self._database.execute(check)
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _hold_journal(self) -> None:
        """Give the journal its place on the disk, unless it has it; there may be room for it later."""
        if self._journal is None:
            return
        with suppress(OSError):
            file = os.open(self._journal, os.O_WRONLY)
            try:
                os.posix_fallocate(file, 0, JOURNAL_BYTES)
                self._journal = None
            finally:
                os.close(file)

    def close(self) -> None:
        """Close the file. Raises sqlite3.Error."""
        self._database.close()

    def add(self, datums: Iterable[Datum], notes: Mapping[str, str]) -> Sequence[int]:
        """Keep datums and notes, all or nothing; return the datums' numbers."""
        self._hold_journal()
        rows = [(datum.time, datum.to_json()) for datum in datums]
        with self._transaction():
            self._database.executemany("INSERT INTO datum (time, body) VALUES (?, ?)", rows)
            [(last,)] = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datum'")
            self._database.executemany("REPLACE INTO note VALUES (?, ?)", notes.items())
        self.datums += len(rows)
        self._look_for_oldest()
        return range(last + 1 - len(rows), last + 1)

    def expire(self, before: float) -> int:
        """Drop all datums from before a time (Unix seconds); return how many."""
        return self._drop(-1, before)

    def drop_oldest(self, number: int) -> int:
        """Drop so many datums, the oldest first; return how many there were to drop."""
        return self._drop(number, LAST_TIME + 1) if number > 0 else 0

    def _drop(self, number: int, before: float) -> int:
        ids = self._database.execute("SELECT id FROM datum WHERE time < ? ORDER BY time, id LIMIT ?", (before, number))
        return self.remove([one for (one,) in ids.fetchall()])

    def oldest(self, max_datums: int, *, not_before: float, not_after: float) -> list[Row]:
        """Return up to `max_datums` datums between two times, oldest first."""
        while True:
            # As bytes: text that is not UTF-8 would be an error of the whole query.
            found = self._database.execute(
                "SELECT id, time, substr(CAST(body AS BLOB), 1, ?) FROM datum"
                " WHERE time BETWEEN ? AND ? ORDER BY time, id LIMIT ?",
                (_MAX_BODY_BYTES + 1, not_before, not_after, max_datums),
            )
            rows, unreadable = [], []
            for number, time, body in found:
                try:
                    rows.append(Row(number, _datum(time, body)))
                except ValueError:
                    unreadable.append(number)
            if not unreadable:
                return rows
            # They may have been all that was looked at, with sound ones behind them.
            self.remove(unreadable)
            self.unreadable += len(unreadable)

    def remove(self, ids: Sequence[int]) -> int:
        """Forget datums; return how many were there.

        All, or, if it fails in between, some of them.
        """
        try:
            return sum(self._remove(ids[start : start + AT_ONCE]) for start in range(0, len(ids), AT_ONCE))
        finally:
            self._look_for_oldest()

    def _remove(self, ids: Sequence[int]) -> int:
        """Forget datums in one transaction, or by fewer at a time where the journal has no room for so many."""
        try:
            with self._transaction():
                deleted = self._database.executemany("DELETE FROM datum WHERE id = ?", ((one,) for one in ids))
        except sqlite3.OperationalError:
            if len(ids) == 1:
                raise
            half = len(ids) // 2
            return self._remove(ids[:half]) + self._remove(ids[half:])
        self.datums -= deleted.rowcount
        return deleted.rowcount

    def notes(self) -> dict[str, str]:
        """Return all notes that are text."""
        notes = {}
        for pair in self._database.execute("SELECT CAST(name AS BLOB), CAST(value AS BLOB) FROM note"):
            with suppress(UnicodeDecodeError):
                name, value = (column.decode() for column in pair)
                notes[name] = value
        return notes

    def _look_for_oldest(self) -> None:
        [(self.oldest_time,)] = self._database.execute(
            "SELECT min(time) FROM datum WHERE time BETWEEN 0 AND ?", (LAST_TIME,)
        )

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)


def _datum(time: object, body: object) -> Datum:
    """Read a row. Raises ValueError."""
    if not isinstance(time, int) or not isinstance(body, bytes) or len(body) > _MAX_BODY_BYTES:
        raise ValueError("its columns are not those of a datum")
    return Datum.from_json(time, body.decode())


class _Transaction:
    """All or nothing: commits at the end, rolls back on any exception."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._database.execute("COMMIT")
        finally:
            # Also after a COMMIT that failed. On some errors, such as a full disk, SQLite has rolled back by itself.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
