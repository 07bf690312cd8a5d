"""An answer in the midst of which the process was stopped is cut off: its ages are those of before."""

import time
from collections.abc import Callable

from aiohttp import web

INTACT_SINCE: web.AppKey[Callable[[], float]] = web.AppKey("intact_since")
"""Returns since when the process has run without a stall (monotonic). An application without it cuts nothing off."""


class Interruption:
    """Whether the process has been stopped since this was made, at the beginning of an answer."""

    def __init__(self, request: web.Request) -> None:
        self._intact_since = request.app.get(INTACT_SINCE)
        self._began = time.monotonic()

    def check(self) -> None:
        """Raise ConnectionError if it has, so that the connection ends: the client asks again."""
        if self._intact_since is not None and self._intact_since() > self._began:
            raise ConnectionAbortedError("the process did not run for a while")
