"""Virtual time: what is to happen when, in order. Knows nothing of what happens."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

Action = Callable[[], None]


@dataclass(slots=True)
class Timeline:
    """A clock that jumps from one event to the next. Two at one instant happen in the order they were asked for."""

    now: float = 0.0
    """Seconds."""
    _events: list[tuple[float, int, Action]] = field(default_factory=list)
    _asked: int = 0

    def clock(self) -> float:
        """Return the present, for functions that take a clock."""
        return self.now

    def after(self, seconds: float, action: Action) -> None:
        """Let something happen in so many seconds."""
        self._asked += 1
        heapq.heappush(self._events, (self.now + seconds, self._asked, action))

    def every(self, interval: float, first: float, action: Action) -> None:
        """Let something happen in `first` seconds, and again after each `interval`."""

        def again() -> None:
            self.after(interval, again)
            action()

        self.after(first, again)

    def run(self, until: float) -> None:
        """Let time pass up to an instant, and everything happen that falls before it or on it."""
        while self._events and self._events[0][0] <= until:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = until
