"""Whether the queues that agents report look like one and the same.

What the vendor's figure counts is not documented. If each agent reported the fleet's queue, their sum would be many
times what waits. Nobody can tell from one look: work that waits may be spread evenly. But all agents saying the same at
nearly every look, whatever the number, are speaking of one queue.
"""

from collections import deque
from collections.abc import Sequence

_LOOKS = 24
_SECONDS = 5.0
"""Between two looks: the usual scrape interval, after which every agent has been read anew."""
_ALIKE = 0.75
"""Of the looks. Agents are read one after the other, so that one queue that changes shows as several for a moment."""
_FEWEST = 2


class QueueScope:
    """The looks of the last two minutes in which something waited."""

    __slots__ = ("_last_at", "_looks")

    def __init__(self) -> None:
        self._looks: deque[bool] = deque(maxlen=_LOOKS)
        self._last_at = float("-inf")

    def look(self, queues: Sequence[float], now: float) -> bool:
        """Take the queues that agents report just now; return whether they have looked like one queue for a while."""
        if now - self._last_at >= _SECONDS and len(queues) >= _FEWEST and any(queues):
            self._last_at = now
            self._looks.append(min(queues) == max(queues))
        return len(self._looks) == _LOOKS and sum(self._looks) >= _ALIKE * _LOOKS
