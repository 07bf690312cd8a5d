"""Secrets and certificates are replaced under a running process; this notices, and keeps the last good ones.

Files are looked at, not watched: a mounted Kubernetes Secret is replaced by moving a symbolic link beside them, which a
watch on the file itself never sees.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from exporter.serve.errors import ServeError

log = structlog.get_logger(__name__)

INTERVAL = 10.0
"""Seconds between two looks; the kubelet itself takes up to a minute to bring a changed Secret."""

_Fingerprint = tuple[tuple[int, int, int] | None, ...]


class Reloaded:
    """Files that are loaded once at the start, where they must be good, and again whenever one of them changes.

    `load` runs in a thread, reads the files, puts what it made in place in one step, and raises ServeError if it
    cannot.
    """

    def __init__(self, what: str, files: Sequence[Path], load: Callable[[], None], interval: float = INTERVAL) -> None:
        self.what = what
        self._files = tuple(files)
        self._load = load
        self._interval = interval
        self._loaded: _Fingerprint | None = None
        self._loading = asyncio.Lock()
        self.on_loaded: Callable[[], None] = lambda: None
        """Called on the event loop after each load that succeeded."""

    async def load_now(self) -> None:
        """Load for the first time, or once more because something besides the files has changed. Raises ServeError."""
        await self._reload()

    async def run(self) -> None:
        """Load again after each change until cancelled; files that are no good leave the last good ones in use."""
        while True:
            await asyncio.sleep(self._interval)
            if await asyncio.to_thread(self._fingerprint) == self._loaded:
                continue
            try:
                await self._reload()
            except ServeError as error:
                log.error(
                    "changed files are invalid, the last valid ones stay in use", what=self.what, error=str(error)
                )
            else:
                log.info("changed files are loaded", what=self.what)

    async def _reload(self) -> None:
        async with self._loading:
            # Taken before the files are read: one that changes in between is read again next time.
            self._loaded = await asyncio.to_thread(self._fingerprint)
            await asyncio.to_thread(self._load)
        self.on_loaded()

    def _fingerprint(self) -> _Fingerprint:
        return tuple(_fingerprint(file) for file in self._files)


def _fingerprint(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def read_file(path: Path, setting: str, shown: str) -> str:
    """Return the text of a file named by a setting.

    Raises ServeError with the setting, the file as `shown`, and the reason.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ServeError(f"{setting}: cannot read {shown}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ServeError(f"{setting}: {shown} is not a text file in UTF-8") from None


def read_token(path: Path, setting: str) -> str:
    """Return the token in a file named by a setting. Raises ServeError, which does not name the file.

    A token pasted in place of its file's name must not reach a log.
    """
    found = read_file(path, setting, "the file it names").strip()
    if not found:
        raise ServeError(f"{setting}: the file is empty; write the token to it")
    if len(found.split()) > 1:
        raise ServeError(f"{setting}: the file contains more than one word; a token has no spaces")
    return found
