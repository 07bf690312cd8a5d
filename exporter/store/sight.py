"""Whether this process sees any of the agents that it should see.

One fleet of which nobody answers may well be down. A process that hears nothing from any agent of any fleet, where some
should answer, is more likely to be cut off itself: by a policy, its node's network, or want of CPU.
"""

from collections.abc import Sequence

import structlog

from exporter.fleet.model import Fleet
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

BLIND_AFTER = 60.0
"""Seconds without any reading that counts, so after `stale_after`: longer than agents take that all restart at once."""


class Sight:
    """Since when no agent has been seen."""

    __slots__ = ("_trouble", "_unseen_since")

    def __init__(self) -> None:
        self._unseen_since: float | None = None
        self._trouble = Trouble(
            _log,
            "no agent is reachable of all that should respond",
            "agents are reachable again, or none is expected to respond",
        )

    def lost(self, fleets: Sequence[Fleet], now: float) -> bool:
        """Take the fleets as they are just now; return whether no agent has been seen for `BLIND_AFTER`.

        Without agents that should answer there is nothing to see. An agent that drains counts as one that is seen.
        """
        if all(fleet.coverage for fleet in fleets) or any(fleet.read_age is not None for fleet in fleets):
            self._unseen_since = None
        elif self._unseen_since is None:
            self._unseen_since = now
        lost = self._unseen_since is not None and now - self._unseen_since >= BLIND_AFTER
        if lost:
            self._trouble.report(seconds=BLIND_AFTER)
        else:
            self._trouble.resolve()
        return lost
