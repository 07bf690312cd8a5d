"""How soon a read of the API server that failed is tried again: by what the failure costs the server.

While nothing answers, it is tried often: a refused connection costs nothing, and whoever waits for the server is to go
on as soon as it is back. An error is an answer, for which the server has worked. Pure, but for the random part.
"""

import random
from enum import Enum

from exporter.kube.api import ApiError, KubeError
from exporter.retry import Backoff

UNANSWERED_MAX = 2.0
"""Maximum seconds after no answer. Of a hundred exporters, the server then meets fewer than a hundred connections a
second when it returns."""
REFUSED_MAX = 5.0
"""Maximum seconds after an error: an API server that starts answers 403 and 500 for a moment, others for long."""
MAX_RETRY_AFTER = 60.0
"""Maximum seconds of a server's Retry-After."""

_TOO_MANY_REQUESTS = 429


class _Kind(Enum):
    UNANSWERED, REFUSED, THROTTLED = range(3)


class ReadPace:
    """The delays of one reader, in seconds.

    Each kind of failure begins with `first`. A server that throttles gets up to `maximum`, and what it asks for.
    """

    def __init__(self, first: float, maximum: float, *, rng: random.Random | None = None) -> None:
        self._backoffs = {
            _Kind.UNANSWERED: Backoff(first, min(maximum, UNANSWERED_MAX), rng=rng),
            _Kind.REFUSED: Backoff(first, min(maximum, REFUSED_MAX), rng=rng),
            _Kind.THROTTLED: Backoff(first, maximum, rng=rng),
        }
        self._last: _Kind | None = None

    def after(self, error: KubeError) -> float:
        """Return the seconds until the next attempt."""
        kind = _kind(error)
        if kind is not self._last:
            self._last = kind
            self._backoffs[kind].reset()
        return max(self._backoffs[kind].next(), requested_wait(error))

    def reset(self) -> None:
        """Record a success."""
        self._last = None


def requested_wait(error: KubeError | None) -> float:
    """Return the seconds that the server asks to wait, within bounds; 0 if it does not."""
    return min((error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0, MAX_RETRY_AFTER)


def _kind(error: KubeError) -> _Kind:
    if not isinstance(error, ApiError):
        return _Kind.UNANSWERED
    return _Kind.THROTTLED if error.status == _TOO_MANY_REQUESTS else _Kind.REFUSED
