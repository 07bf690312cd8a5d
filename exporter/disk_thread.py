"""A thread for what blocks on a disk. Neither the event loop nor the end of the process waits for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import ParamSpec, TypeVar

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class DiskThread:
    """Does one thing after the other, in the order given.

    The interpreter waits for the threads of a pool before it ends; for this one it does not, so that a disk that hangs
    (a network volume that is away) holds up only what awaits it.
    """

    def __init__(self, name: str) -> None:
        """`name` is what debuggers show."""
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._unfinished = 0
        self._name = name
        self._started = False

    async def run(self, work: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        """Do something, and return its result or raise what it raises. It is completed even if this is cancelled."""
        if not self._started:
            Thread(target=self._run, name=self._name, daemon=True).start()
            self._started = True
        done: Future[_Result] = Future()
        result = asyncio.wrap_future(done)
        self._unfinished += 1
        result.add_done_callback(self._finished)
        self._work.put(partial(_do, partial(work, *args, **kwargs), done))
        return await asyncio.shield(result)

    @property
    def busy(self) -> bool:
        """Whether something is not done yet."""
        return self._unfinished > 0

    def close(self) -> None:
        """End the thread after what was given to it."""
        self._work.put(None)

    def _finished(self, result: "asyncio.Future[_Result]") -> None:
        self._unfinished -= 1
        if not result.cancelled():
            # Where nobody waits for it any more, an error is no news: whoever gave up has said so.
            result.exception()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


def _do(work: Callable[[], _Result], done: "Future[_Result]") -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where the result is awaited
        done.set_exception(error)
    else:
        done.set_result(result)
