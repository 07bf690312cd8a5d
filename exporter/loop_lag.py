"""Measures by how much the event loop delays timers, which affects every timeout and scrape.

And notices when the whole process did not run for a while: it was stopped, or its node was frozen, or there was no CPU.
What has come to its sockets meanwhile is read when it goes on, and what was being answered is sent then.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import structlog

_log = structlog.get_logger(__name__)

STALL_SECONDS = 5.0
"""A delay from this on is a stall. An answer that is late by less is slow; ages are good to the scrape interval."""
_SETTLE = 1.0
"""Seconds after a stall within which what came before its end has been read."""
_TICK = 0.05
# The gauge shows the maximum over this time, so that one scrape a minute sees it.
_WINDOW = 60.0


class LoopLag:
    """Knows the longest delay of the last minute, and the last stall. `clock` is monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._worst = 0.0
        """In the second that is not over."""
        self._worst_by_second: deque[float] = deque(maxlen=round(_WINDOW))
        self._ticked_at: float | None = None
        """When the last timer fired; None before the first."""
        self._last_stall = (float("-inf"), float("-inf"))
        """Its beginning, and its end."""

    def worst(self) -> float:
        """Return the longest delay of the last minute, the one that is not over included."""
        pending = 0.0 if self._ticked_at is None else self._clock() - self._ticked_at - _TICK
        return max(0.0, pending, self._worst, *self._worst_by_second)

    def intact_since(self) -> float:
        """Return since when the process has run without a stall; what began before was interrupted."""
        return self._stall(self._clock())[1]

    def heard_at(self) -> float:
        """Return the earliest instant at which what is read from a socket now may have come."""
        now = self._clock()
        began, ended = self._stall(now)
        return began if now - ended < _SETTLE else now

    def _stall(self, now: float) -> tuple[float, float]:
        """Return the last stall, also if it has just ended and the timer has not had its turn yet."""
        if self._ticked_at is not None and now - self._ticked_at >= _TICK + STALL_SECONDS:
            return self._ticked_at, now
        return self._last_stall

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        # A timer that re-arms itself costs half as much as a sleeping task, and is delayed equally.
        def tick(due: float) -> None:
            nonlocal timer
            now = self._clock()
            self._worst = max(self._worst, now - due)
            if now - due >= STALL_SECONDS:
                self._last_stall = (due - _TICK, now)
                _log.warning("the process did not run for a while", seconds=round(now - due, 1))
            self._ticked_at = now
            timer = loop.call_later(_TICK, tick, now + _TICK)

        self._ticked_at = self._clock()
        timer = loop.call_later(_TICK, tick, self._ticked_at + _TICK)
        try:
            while True:
                await asyncio.sleep(1.0)
                self._worst_by_second.append(self._worst)
                self._worst = 0.0
        finally:
            timer.cancel()
