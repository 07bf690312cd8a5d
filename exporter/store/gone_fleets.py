"""How long the store remembers a fleet that has no agents any more.

A fleet without pods is not gone from the world: it may sleep, or be missing although it should be there. Its zeros are
true as long as the list of pods is current, and alerts and alarms about it need figures that do not vanish. An exporter
that is restarted begins without memory.
"""

from collections.abc import Callable, Mapping, Sequence

from exporter.fleet.scaler import Scaler
from exporter.store.group import Group
from exporter.store.restarts import FleetKey

REMEMBERED_SECONDS = 24 * 3600.0
"""For a fleet without an HPA: it is known when it wakes up in the morning, and bothers for a day if it was removed."""
REMEMBERED_FLEETS = 100
"""Fleets that come and go, as those of test environments do, must not add up."""


def forgotten(
    groups: Mapping[FleetKey, Group], scalers: Callable[[FleetKey], tuple[Scaler, ...] | None], now: float
) -> Sequence[FleetKey]:
    """Return the fleets without agents that are no longer of interest at `now` (monotonic).

    Those whose HPA was deleted with them, or whose time is over if they had none; the longest gone of too many; and
    those whose Deployment has agents under another name. While an HPA targets its Deployment, a fleet is expected back.
    """
    empty = {key: group.empty_since for key, group in groups.items() if group.empty_since is not None}
    if not empty:
        return ()
    owners = {(key[0], name) for key, group in groups.items() if group.snapshots for name in group.owners()}
    latest = sorted(empty, key=lambda key: empty[key], reverse=True)[:REMEMBERED_FLEETS]
    kept = {
        key
        for key in latest
        if (scalers(key) != () if groups[key].scaled else now - empty[key] < REMEMBERED_SECONDS)
        and not any((key[0], name) in owners for name in groups[key].owners())
    }
    return [key for key in empty if key not in kept]
