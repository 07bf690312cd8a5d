"""A wall clock that processes share, and that waits for the one that lives by it."""

import asyncio
import mmap
import struct
import time
from pathlib import Path

from tests.waiting import eventually

MINUTE = 0.8
"""Real seconds that a minute takes at least."""
_STEPS = 10
"""In a minute."""
_NOW, _READINGS = struct.Struct("=d"), struct.Struct("=Q")
"""The time, which only who made the clock writes, and behind it how often the living process has read it."""
_SIZE = _NOW.size + _READINGS.size


class SharedClock:
    """Call it to read it. It stands while the process that lives by it does not read it.

    So a machine that is slow to start that process, or to let it run, takes no minute away from it.
    """

    def __init__(self, file: Path) -> None:
        """Make a clock in a file, at the beginning of an hour."""
        file.write_bytes(bytes(_SIZE))
        self._memory = _mapped(file)
        self.start = time.time() // 3600 * 3600
        self._set(self.start)

    def __call__(self) -> float:
        now: float = _NOW.unpack_from(self._memory)[0]
        return now

    async def run(self) -> None:
        """Move it on for ever, each time when it has been read since it was moved last."""
        while True:
            await asyncio.sleep(MINUTE / _STEPS)
            readings = self._readings()
            self._set(self() + 60 / _STEPS)
            await eventually(
                lambda: self._readings() > readings,  # noqa: B023 - waited for within the round
                pause=0.005,
                what=lambda: "no process reads the clock",
            )

    async def until(self, minutes: float) -> None:
        """Wait until so many minutes have passed since its start."""
        await eventually(lambda: self() >= self.start + 60 * minutes, 600)

    def _set(self, now: float) -> None:
        _NOW.pack_into(self._memory, 0, now)

    def _readings(self) -> int:
        readings: int = _READINGS.unpack_from(self._memory, _NOW.size)[0]
        return readings


class LivedClock:
    """The same clock to the process that lives by it."""

    def __init__(self, file: Path) -> None:
        self._memory = _mapped(file)
        self.last = 0.0
        """What the last reading was."""

    def __call__(self) -> float:
        self.last = _NOW.unpack_from(self._memory)[0]
        [readings] = _READINGS.unpack_from(self._memory, _NOW.size)
        _READINGS.pack_into(self._memory, _NOW.size, readings + 1)
        return self.last


def _mapped(file: Path) -> mmap.mmap:
    with file.open("r+b") as opened:
        return mmap.mmap(opened.fileno(), _SIZE)
