"""What the exporter says of itself: what it is called, and how that goes which it does beside answering.

Independent of what that is: `service` puts in how its parts stand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from exporter import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """One exporter; the functions return what holds at the moment of the call."""

    version: str = __version__
    cluster: str | None = None
    """The setting `cluster`."""
    instance: str | None = None
    """This replica among several; None without Kubernetes."""
    out_of_service: Callable[[], str | None] = lambda: None
    """Why other replicas should answer instead of this one; None where it may."""
    other_leader: Callable[[], str | None] = lambda: None
    """Another replica that leads and can do the work, as far as known."""
    figures: Callable[[], Mapping[str, Mapping[str, float]]] = dict
    """Its gauges and counters by name, then by the value of their label; "" for one without a label."""
