"""Measures how long the event loop keeps a timer waiting: what every timeout and every scrape suffers alike."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

_TICK = 0.05
# The gauge shows the worst of this long, so that a scrape once a minute still sees it.
_WINDOW = 60.0


class LoopLag:
    """Reports the longest delay of the last minute, each second."""

    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report

    async def run(self) -> None:
        """Measure until cancelled."""
        ticks_a_second = round(1 / _TICK)
        worst_by_second: deque[float] = deque(maxlen=round(_WINDOW))
        while True:
            worst = 0.0
            for _ in range(ticks_a_second):
                due = time.monotonic() + _TICK
                await asyncio.sleep(_TICK)
                worst = max(worst, time.monotonic() - due)
            worst_by_second.append(worst)
            self._report(max(worst_by_second))
