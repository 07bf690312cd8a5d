"""Parts that run beside a test, each for as long as a context lasts."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

Part = Coroutine[Any, Any, object]


@asynccontextmanager
async def background(*parts: Part) -> AsyncIterator[Callable[[Part], None]]:
    """Run `parts`, and those that are given to what this yields, until the context ends.

    They have no end of their own: one that has ended by then, or that does not end by being cancelled, fails the test.
    """
    tasks: list[asyncio.Task[object]] = []

    def start(part: Part) -> None:
        tasks.append(asyncio.create_task(part, name=part.__qualname__))

    for part in parts:
        start(part)
    try:
        yield start
        ended = [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()
            raise AssertionError(f"{task.get_name()} has ended")
    assert not ended
