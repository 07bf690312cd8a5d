"""The spool's table: datums that wait for CloudWatch, and a few notes, in one SQLite database.

Blocking, for one thread. Whatever the disk does wrong comes out as sqlite3.Error or OSError. Also used with a database
in memory, so that there is one way to do it.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.publish.datum import Datum

MEMORY = ":memory:"
_LAYOUT = 1
# A number of SQLite's own, so that a file of another program is not taken for a spool: "MFES" in ASCII.
_APPLICATION_ID = 0x4D464553
# Seconds to wait for another process that has the file open.
_LOCK_TIMEOUT = 1.0
_SQL_VARIABLES = 500


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
    """An open spool. `datums` and `oldest_time` are kept up to date by every call."""

    def __init__(self, path: Path | str, *, first_id: int = 1) -> None:
        """Open or make the file and check that it is sound and writable. Raises sqlite3.Error or OSError."""
        if path != MEMORY:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(first_id)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, first_id: int) -> None:
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
            # Numbers go on where they stopped and never come twice: a number may be on its way to CloudWatch.
            execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'datum', ?"
                " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'datum')",
                (first_id - 1,),
            )
            execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            execute(f"PRAGMA user_version = {_LAYOUT}")
        [(self.datums,)] = execute("SELECT count(*) FROM datum")
        self.oldest_time: int | None = None
        self._look_for_oldest()

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
        """Return up to `max_datums` datums between two times, oldest first. An unreadable row is deleted."""
        found = self._database.execute(
            "SELECT id, time, body FROM datum WHERE time BETWEEN ? AND ? ORDER BY time, id LIMIT ?",
            (not_before, not_after, max_datums),
        ).fetchall()
        rows, unreadable = [], []
        for number, time, body in found:
            try:
                rows.append(Row(number, Datum.from_json(time, body)))
            except (ValueError, TypeError, IndexError):
                unreadable.append(number)
        if unreadable:
            self.remove(unreadable)
        return rows

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
        """Return all notes."""
        return dict(self._database.execute("SELECT name, value FROM note"))

    def _look_for_oldest(self) -> None:
        [(self.oldest_time,)] = self._database.execute("SELECT min(time) FROM datum")

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._database)


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
