"""Measures by how much the event loop delays timers, which affects every timeout and scrape."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

_TICK = 0.05
# The gauge shows the maximum over this time, so that one scrape a minute sees it.
_WINDOW = 60.0


class LoopLag:
    """Reports the longest delay of the last minute, each second."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        worst_by_second: deque[float] = deque(maxlen=round(_WINDOW))
        worst = 0.0

        timer: asyncio.TimerHandle

        # A timer that re-arms itself costs half as much as a sleeping task, and is delayed equally.
        def tick(due: float) -> None:
            nonlocal worst, timer
            now = time.monotonic()
            worst = max(worst, now - due)
            timer = loop.call_later(_TICK, tick, now + _TICK)

        timer = loop.call_later(_TICK, tick, time.monotonic() + _TICK)
        try:
            while True:
                await asyncio.sleep(1.0)
                worst_by_second.append(worst)
                worst = 0.0
                self._report(max(worst_by_second))
        finally:
            timer.cancel()
