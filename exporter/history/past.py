"""What every source of the past provides: what is known of each fleet, and since when it has been known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from exporter.forecast.history import History
from exporter.store.restarts import FleetKey


@dataclass(frozen=True, slots=True)
class Past:
    """The past of one fleet, the same in every replica that reads the same source."""

    history: History
    """Not changed once given: a source replaces it."""
    read_time: float
    """Unix time at which the source last confirmed it; it ages while the source fails."""
    start_seconds: Sequence[float] = ()
    """Latest starts of agents, from the pod's creation to the first reading; empty where the source has none."""


class PastSource(Protocol):
    """Where the past of the fleets comes from."""

    def past(self, fleet: FleetKey) -> Past | None:
        """Return the past of a fleet as last read; None if nothing is known of it, or not yet."""

    async def run(self) -> None:
        """Keep the past current until cancelled. No failure of the source ends it; the last past stays."""
