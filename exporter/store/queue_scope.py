"""Whether the queues that agents report appear to be one shared queue.

What the vendor's figure counts is not documented. If each agent reported the fleet's queue, the sum would be many times
too high. One sample is not enough: the queue may be spread evenly. But if all agents report the same number in nearly
every sample, they report one queue.
"""

from collections import deque
from collections.abc import Sequence

_SAMPLES = 24
_SECONDS = 5.0
"""Between two samples: the default scrape interval, after which every agent has been read again."""
_ALIKE = 0.75
"""Share of the samples. Agents are read one after the other, so that a changing queue briefly appears as several."""
_MIN_QUEUES = 2


class QueueScope:
    """The samples of the last two minutes with a queue."""

    __slots__ = ("_last_at", "_samples")

    def __init__(self) -> None:
        self._samples: deque[bool] = deque(maxlen=_SAMPLES)
        self._last_at = float("-inf")

    def sample(self, queues: Sequence[float], now: float) -> bool:
        """Add the queues that agents report now; return whether they have appeared to be one queue for a while."""
        if now - self._last_at >= _SECONDS and len(queues) >= _MIN_QUEUES and any(queues):
            self._last_at = now
            self._samples.append(min(queues) == max(queues))
        return len(self._samples) == _SAMPLES and sum(self._samples) >= _ALIKE * _SAMPLES
