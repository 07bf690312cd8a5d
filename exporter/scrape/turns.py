"""How much of a page is read in one step, and whose turn it is: so that no page holds the event loop up."""

import asyncio
from collections import deque
from collections.abc import Callable

ONE_GO_BYTES = 64 * 1024
"""A page up to this size, twice what an agent's has, is read in one go: 8 ms at worst, for nothing but blank lines."""
BLOCK_BYTES = 16 * 1024
"""A larger page is read in blocks of this size, one in each turn of the event loop."""
_SHARE_SECONDS = 0.01
"""How long pages may be read in one turn of the event loop: a hundred usual ones, or two that are hostile."""


class Turns:
    """Lets large pages be read one step in each turn of the event loop, all of them together.

    So whoever has something small to do never waits for more than one step, and a page no longer than its share.
    Small pages are read as they come. Once they have taken their share of a turn, only those that are known are; the
    others wait for a turn of theirs.
    """

    def __init__(self) -> None:
        self._steps: deque[Callable[[], bool]] = deque()
        self._running = False
        self._spent = 0.0
        self._sharing = False

    @property
    def crowded(self) -> bool:
        """Whether small pages have taken their share of this turn."""
        return self._spent >= _SHARE_SECONDS

    def spend(self, seconds: float) -> None:
        """Count what a small page took toward the share of them all."""
        self._spent += seconds
        if not self._sharing:
            self._sharing = True
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._spent = 0.0
        self._sharing = False

    def take(self, step: Callable[[], bool]) -> None:
        """Call `step`, which must not raise, each time it is its turn, until it returns False."""
        self._steps.append(step)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        step = self._steps.popleft()
        if step():
            self._steps.append(step)
        self._running = bool(self._steps)
        if self._running:
            asyncio.get_running_loop().call_soon(self._run)
