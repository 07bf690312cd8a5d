"""How much of a page is read in one step, and whose turn it is: so that no page holds the event loop up."""

import asyncio
from collections import deque
from collections.abc import Callable

ONE_GO_BYTES = 64 * 1024
"""A page up to this size, twice what an agent's has, is read in one go: 8 ms at worst, for nothing but blank lines."""
BLOCK_BYTES = 16 * 1024
"""A larger page is read in blocks of this size, one in each turn of the event loop."""


class Turns:
    """Lets large pages be read one step in each turn of the event loop, all of them together.

    So whoever has something small to do never waits for more than one step, and a page no longer than its share.
    """

    def __init__(self) -> None:
        self._steps: deque[Callable[[], bool]] = deque()
        self._running = False

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
