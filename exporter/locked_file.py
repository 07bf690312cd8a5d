"""A file that one process has for itself, and replaces as a whole. Blocking: for one thread.

A lock beside it keeps other processes out; it goes with the process, however that ends. What is replaced is either the
old text or the new one after a crash.
"""

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class InUseError(OSError):
    """Another process has the file."""


class LockedFile:
    """One file; nothing is touched before `open`."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._lock: int | None = None

    def open(self) -> bytes | None:
        """Lock the file and return what it has; None if there is none.

        Raises InUseError, another OSError, or ValueError if it is too large. It is locked after a ValueError too.
        """
        if self._lock is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._beside("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise InUseError(f"{self._path} is used by another process") from None
            except OSError:
                os.close(lock)
                raise
            self._lock = lock
        try:
            with self._path.open("rb") as file:
                content = file.read(self._max_bytes + 1)
        except FileNotFoundError:
            return None
        if len(content) > self._max_bytes:
            raise ValueError(f"it has more than {self._max_bytes} bytes")
        return content

    def replace(self, content: Iterable[bytes]) -> None:
        """Write the file. Raises OSError, after which the old one is still there."""
        new = self._beside("new")
        with new.open("wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    def set_aside(self, mark: str) -> Path:
        """Rename the file, so that it is not replaced; return its new place. Raises OSError."""
        place, number = self._beside(mark), 1
        while place.exists():
            number += 1
            place = self._beside(f"{mark}-{number}")
        return self._path.rename(place)

    def close(self) -> None:
        """Let others have the file."""
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)
            self._lock = None

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{suffix}")
