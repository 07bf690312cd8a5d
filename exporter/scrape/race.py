"""Races alternative requests, some of which may hang: returns the best one that responds soon.

After RFC 8305, "Happy Eyeballs". Independent of what is requested.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Generic, TypeVar

from exporter.scrape.outcome import ScrapeError

HEAD_START = 0.25
"""Seconds an attempt is alone before the next one is made as well; a failure gives the next its turn at once. RFC 8305
advises this much; a pod that answers does so in a few milliseconds."""
GRACE = 0.75
"""Seconds from the beginning within which a better attempt may still win against one that has an answer. Together with
an answer itself that is less than a second, whatever the others do."""

_T = TypeVar("_T")
Attempt = Callable[[], Coroutine[None, None, _T]]


class Race(Generic[_T]):
    """One race of attempts, best first."""

    def __init__(
        self,
        attempts: Sequence[Attempt[_T]],
        monotonic: Callable[[], float],
        *,
        head_start: float = HEAD_START,
        grace: float = GRACE,
    ) -> None:
        self._waiting = list(enumerate(attempts))
        self._monotonic = monotonic
        self._head_start = head_start
        self._grace = grace
        self._running: dict[asyncio.Task[_T], int] = {}
        self._next_at = self._grace_ends = 0.0
        self._best: tuple[int, _T] | None = None
        self.failures: list[tuple[int, ScrapeError]] = []
        """Failed attempts by number, with their errors."""

    async def run(self) -> tuple[int, _T] | None:
        """Return the number and the answer of the attempt that won; None if all have failed with a ScrapeError.

        Attempts have deadlines of their own. Those still running are cancelled, and over, when this returns. Raises
        what an attempt raises that is no ScrapeError.
        """
        self._next_at = self._monotonic()
        self._grace_ends = self._next_at + self._grace
        try:
            while not self._over():
                self._start()
                done, _ = await asyncio.wait(self._running, timeout=self._pause(), return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    self._take(task)
        finally:
            for task in self._running:
                task.cancel()
            # This also retrieves their exceptions, which nothing else would.
            await asyncio.gather(*self._running, return_exceptions=True)
        return self._best

    def _over(self) -> bool:
        if self._best is None:
            return not (self._running or self._waiting)
        better = any(number < self._best[0] for number in self._running.values())
        return not better or not self._until(self._grace_ends)

    def _start(self) -> None:
        """Make the next attempt if it is its turn; never two at once."""
        if self._best is None and self._waiting and not (self._running and self._until(self._next_at)):
            number, attempt = self._waiting.pop(0)
            self._running[asyncio.create_task(attempt(), name=f"attempt {number}")] = number
            self._next_at = self._monotonic() + self._head_start

    def _pause(self) -> float | None:
        """Return how long to wait for one that is running, in seconds; None for as long as it takes."""
        if self._best is not None:
            return self._until(self._grace_ends)
        return self._until(self._next_at) if self._waiting else None

    def _until(self, instant: float) -> float:
        """Return how many seconds are left, to the millisecond: a timer may end a little before its time."""
        return max(0.0, round(instant - self._monotonic(), 3))

    def _take(self, task: asyncio.Task[_T]) -> None:
        number = self._running.pop(task)
        # Asked for instead of raised: a traceback through here would keep what has failed in memory.
        error = task.exception()
        if error is None:
            if self._best is None or number < self._best[0]:
                self._best = (number, task.result())
        elif isinstance(error, ScrapeError):
            self.failures.append((number, error))
            self._next_at = self._monotonic()
        else:
            raise error
