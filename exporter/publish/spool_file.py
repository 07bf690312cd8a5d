"""The spool's table: datums that wait for CloudWatch, and a few notes, in one SQLite database.

Blocking, for one thread. Whatever the disk does wrong comes out as sqlite3.Error or OSError. Also used with a database
in memory, so that there is one way to do it.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exporter.fleet.read_back import LAST_TIME
from exporter.publish.datum import Datum

MEMORY = ":memory:"
_LAYOUT = 1
# A number of SQLite's own, so that a file of another program is not taken for a spool: "MFES" in ASCII.
_APPLICATION_ID = 0x4D464553
# Seconds to wait for another process that has the file open.
_LOCK_TIMEOUT = 1.0
_SQL_VARIABLES = 500
FIRST_ID_IN_MEMORY = 1 << 48
"""Numbers of datums in memory begin here, so that they are never those of datums on disk."""
_MAX_BODY_BYTES = 100_000
"""A row longer than this is no datum: 30 dimensions of 1,279 characters, all of them escaped, are 77,000."""


class NotASpoolError(sqlite3.DatabaseError):
    """The file is sound but holds something else, or a layout of a later version."""


@dataclass(frozen=True, slots=True)
class Row:
    """A datum in the spool and the number it has there."""

    id: int
    datum: Datum


@dataclass(frozen=True, slots=True)
class Added:
    """What became of the spool when datums were added."""

    ids: Sequence[int]
    expired: int
    """Datums dropped because they were too old."""
    overflowed: int
    """Datums dropped because there were too many; the oldest go first."""


class SpoolFile:
    """An open spool. `datums`, `oldest_time` and `unreadable` are kept up to date by every call.

    A row may hold anything: a disk fails by the byte. One that is no datum is deleted when it is come across.
    """

    def __init__(self, path: Path | str) -> None:
        """Open or make the file and check that it is sound and writable. Raises sqlite3.Error or OSError."""
        self.unreadable = 0
        """Rows deleted so far because they were no datums."""
        if path == MEMORY:
            self._first_id, self._end_of_ids = FIRST_ID_IN_MEMORY, 1 << 62
        else:
            self._first_id, self._end_of_ids = 1, FIRST_ID_IN_MEMORY
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        execute = self._database.execute
        # No other process may take part. It also spares WAL its shared memory, which network file systems lack.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        [(application,)] = execute("PRAGMA application_id")
        [(layout,)] = execute("PRAGMA user_version")
        [(tables,)] = execute("SELECT count(*) FROM sqlite_master")
        if tables and (application, layout) != (_APPLICATION_ID, _LAYOUT):
            raise NotASpoolError("it is not a spool file of this version")
        execute("PRAGMA journal_mode = WAL")
        # A commit is on disk when it returns: there are a few each minute.
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA journal_size_limit = 4194304")
        [(verdict,)] = execute("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        with self._transaction():
            execute(
                "CREATE TABLE IF NOT EXISTS datum"
                " (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, body TEXT NOT NULL)"
            )
            execute("CREATE INDEX IF NOT EXISTS datum_by_time ON datum (time)")
            execute("CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            execute(f"PRAGMA user_version = {_LAYOUT}")
            self._delete_what_no_query_finds()
            self._set_next_id()
        [(self.datums,)] = execute("SELECT count(*) FROM datum")
        self.oldest_time: int | None = None
        self._look_for_oldest()

    def _delete_what_no_query_finds(self) -> None:
        """Delete rows whose time or number is none: they would be neither sent nor too old, and wait for ever."""
        deleted = self._database.execute(
            "DELETE FROM datum WHERE typeof(time) <> 'integer' OR time NOT BETWEEN 0 AND ? OR id NOT BETWEEN ? AND ?",
            (LAST_TIME, self._first_id, self._end_of_ids - 1),
        )
        self.unreadable += deleted.rowcount

    def _set_next_id(self) -> None:
        """Let numbers go on where they stopped, so that none comes twice: one may be on its way to CloudWatch."""
        noted = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datum'").fetchall()
        [(highest,)] = self._database.execute("SELECT max(id) FROM datum")
        known = [seq for (seq,) in noted if isinstance(seq, int) and self._first_id <= seq < self._end_of_ids]
        last = max([self._first_id - 1, *known, *([] if highest is None else [highest])])
        self._database.execute("DELETE FROM sqlite_sequence WHERE name = 'datum'")
        self._database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('datum', ?)", (last,))

    def close(self) -> None:
        """Close the file. Raises sqlite3.Error."""
        self._database.close()

    def add(self, datums: Iterable[Datum], notes: Mapping[str, str], *, expire_before: float, max_datums: int) -> Added:
        """Keep datums and notes, all or nothing, and drop what is too old or too much."""
        rows = [(datum.time, datum.to_json()) for datum in datums]
        with self._transaction():
            self._database.executemany("INSERT INTO datum (time, body) VALUES (?, ?)", rows)
            [(last,)] = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'datum'")
            ids = range(last + 1 - len(rows), last + 1)
            self._database.executemany("REPLACE INTO note VALUES (?, ?)", notes.items())
            expired = self._database.execute("DELETE FROM datum WHERE time < ?", (expire_before,)).rowcount
            excess = max(0, self.datums + len(ids) - expired - max_datums)
            overflowed = self._database.execute(
                "DELETE FROM datum WHERE id IN (SELECT id FROM datum ORDER BY time, id LIMIT ?)", (excess,)
            ).rowcount
        self.datums += len(ids) - expired - overflowed
        self._look_for_oldest()
        return Added(ids, expired, overflowed)

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

    def remove(self, ids: Sequence[int]) -> None:
        """Forget datums; those that are not there any more are no error."""
        with self._transaction():
            removed = 0
            for start in range(0, len(ids), _SQL_VARIABLES):
                some = ids[start : start + _SQL_VARIABLES]
                marks = ",".join("?" * len(some))
                removed += self._database.execute(f"DELETE FROM datum WHERE id IN ({marks})", some).rowcount  # noqa: S608 - nothing but question marks
        self.datums -= removed
        self._look_for_oldest()

    def notes(self) -> dict[str, str]:
        """Return all notes that are text."""
        notes = {}
        for pair in self._database.execute("SELECT CAST(name AS BLOB), CAST(value AS BLOB) FROM note"):
            with suppress(UnicodeDecodeError):
                name, value = (column.decode() for column in pair)
                notes[name] = value
        return notes

    def _look_for_oldest(self) -> None:
        [(self.oldest_time,)] = self._database.execute("SELECT min(time) FROM datum")

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
