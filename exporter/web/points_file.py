"""Keeps the history of the status page in a file: read at the start, written every few minutes and at the end.

Nothing that the disk does holds up the event loop, or the end of the process: what blocks is in a thread that the
process does not wait for. A file that cannot be read is never overwritten: it is renamed first, and stays beside the
new one.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import time

import structlog

from exporter.disk_thread import DiskThread
from exporter.locked_file import LockedFile
from exporter.store.restarts import FleetKey
from exporter.trouble import Trouble
from exporter.web.history import MAX_FLEETS, MAX_POINTS, History
from exporter.web.points import read, written

_log = structlog.get_logger(__name__)

WRITE_EVERY = 120.0
"""Seconds between two writes, which is what a process loses that is killed; a hundred fleets are 20 MB each time."""
TIMEOUT = 30.0
"""Seconds after which a disk does not answer; it is asked again when the next write is due."""
LAST_TIMEOUT = 1.0
"""Seconds for the last write. The listener has two to end, and the process five."""
MAX_BYTES = 64 * 1024 * 1024
"""Size of a file that is read: three times what is written of a hundred fleets, for releases with more figures."""


class PointsFile:
    """The file of one history."""

    def __init__(
        self,
        path: Path,
        history: History,
        *,
        wall_clock: Callable[[], float] = time,
        write_every: float = WRITE_EVERY,
        timeout: float = TIMEOUT,
        last_timeout: float = LAST_TIMEOUT,
    ) -> None:
        self._history = history
        self._wall_clock = wall_clock
        self._write_every = write_every
        self._timeout = timeout
        self._last_timeout = last_timeout
        self._file = LockedFile(path, max_bytes=MAX_BYTES)
        self._was_read = False
        self._thread = DiskThread("history of the status page")
        self._log = _log.bind(file=str(path))
        event = "the status page's history cannot be stored; it is kept in memory, and lost at a restart; will retry"
        self._trouble = Trouble(self._log, event, "the status page's history can be stored again")

    async def run(self) -> None:
        """Read the file, and write it until cancelled and then once more. Nothing that the disk does ends it."""
        try:
            while True:
                await self._try(self._timeout)
                await asyncio.sleep(self._write_every)
        finally:
            await self._try(self._last_timeout)
            if not self._thread.busy:
                self._file.close()
            self._thread.close()

    async def _try(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._save()
        except TimeoutError:
            self._trouble.report("timeout", error=f"the disk did not answer for {seconds:g} s")
        except OSError as error:
            self._trouble.report(type(error), error=error.strerror or str(error))
        else:
            self._trouble.resolve()

    async def _save(self) -> None:
        """Read the file unless it has been read, then write it. Raises OSError."""
        if not self._was_read:
            self._history.restore(await self._thread.run(self._load))
            self._was_read = True
        await self._thread.run(self._file.replace, written(self._history.kept()))

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _load(self) -> dict[FleetKey, list[bytes]]:
        """Return what the file has; set it aside if it cannot be read. Raises OSError."""
        try:
            content = self._file.open()
            found = {} if content is None else read(content, max_points=MAX_POINTS, max_fleets=MAX_FLEETS)
        except ValueError as error:
            aside = self._file.set_aside(f"{datetime.fromtimestamp(self._wall_clock(), UTC):%Y-%m-%dT%H-%M-%SZ}.unread")
            self._log.warning(
                "the file with the status page's history is not valid; it is kept, and the history begins anew",
                kept=str(aside),
                reason=str(error),
            )
            return {}
        if found:
            self._log.info("the status page's history is read", fleets=len(found))
        return found
