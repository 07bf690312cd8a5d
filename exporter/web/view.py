"""What the web needs to know of the rest of the process; `service` passes in something that can say it."""

from collections.abc import Sequence
from typing import Protocol

from exporter.fleet.model import Fleet, PassedOver


class FleetView(Protocol):
    """The fleets as they are judged just now. Asked for every request, so an answer comes from a short cache."""

    def fleets(self) -> Sequence[Fleet]:
        """Return every fleet, sorted by namespace and name."""

    def passed_over_pods(self) -> Sequence[PassedOver]:
        """Return the pods that the selector finds and that are no agents, in order of their names."""

    def now(self) -> float:
        """Return the present instant on the monotonic clock of the snapshots' ages."""

    def not_ready_reason(self) -> str | None:
        """Return what is still to be done before the figures mean anything, in words; None once it is done.

        That is a state that is reached once: the first sync of every source and the first scrape round are over.
        """
