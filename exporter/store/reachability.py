"""Whether this process can reach any agent.

A single fleet without a response may well be down. A process that reaches no agent of any fleet, although some should
respond, is more likely to be cut off itself: by a network policy, its node's network, or lack of CPU.
"""

from collections.abc import Sequence

import structlog

from exporter.fleet.model import Fleet
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

UNREACHABLE_AFTER = 60.0
"""Seconds without any current reading, so after `stale_after`: longer than a restart of all agents takes."""


class Reachability:
    """Since when no agent has been reachable."""

    __slots__ = ("_trouble", "_unreachable_since")

    def __init__(self) -> None:
        self._unreachable_since: float | None = None
        self._trouble = Trouble(
            _log,
            "no agent is reachable of all that should respond",
            "agents are reachable again, or none is expected to respond",
        )

    def lost(self, fleets: Sequence[Fleet], now: float) -> bool:
        """Take the current fleets; return whether no agent has been reachable for `UNREACHABLE_AFTER`.

        False without agents that should respond. A draining agent counts as reachable.
        """
        if all(fleet.coverage for fleet in fleets) or any(fleet.read_age is not None for fleet in fleets):
            self._unreachable_since = None
        elif self._unreachable_since is None:
            self._unreachable_since = now
        lost = self._unreachable_since is not None and now - self._unreachable_since >= UNREACHABLE_AFTER
        if lost:
            self._trouble.report(seconds=UNREACHABLE_AFTER)
        else:
            self._trouble.resolve()
        return lost
