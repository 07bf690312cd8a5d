"""How tests wait: for the event they are about, however long it takes.

A deadline is there only to end the wait of a test that fails.
"""

import asyncio
import inspect
from collections.abc import Callable

PATIENCE = 150.0
"""Seconds, far more than anything takes here: a program may be late beyond reason on a machine that is busy.

Half of what pytest allows a test (pyproject.toml), which ends one that waits more than once.
"""


async def eventually(
    holds: Callable[[], object],
    seconds: float = PATIENCE,
    *,
    pause: float = 0.02,
    what: Callable[[], object] = lambda: "it did not come true",
) -> None:
    """Return as soon as something holds that another task, thread or process does; what `holds` returns may be awaited.

    It is asked again after `pause` seconds. Raises AssertionError with `what` stands instead.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            while True:
                held = holds()
                if await held if inspect.isawaitable(held) else held:
                    return
                await asyncio.sleep(pause)
    except TimeoutError:
        if not limit.expired():
            raise
        raise AssertionError(f"within {seconds:.0f} s: {what()}") from None
