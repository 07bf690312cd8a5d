"""How long the store remembers a fleet that has no agents any more.

A fleet without pods is not gone from the world: it may sleep, or be missing although it should be there. Its zeros are
true as long as the list of pods is current, and alerts and alarms about it need figures that do not vanish. What
another process is to know of it is a `GoneFleet`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.fleet.read_back import are_names, is_unix_time
from exporter.fleet.scaler import Scaler
from exporter.store.group import Group
from exporter.store.restarts import FleetKey

REMEMBERED_SECONDS = 24 * 3600.0
"""For a fleet without an HPA: it is known when it wakes up in the morning, and bothers for a day if it was removed."""
REMEMBERED_FLEETS = 100
"""Fleets that come and go, as those of test environments do, must not add up."""


@dataclass(frozen=True, slots=True)
class GoneFleet:
    """A fleet without agents as it outlives the exporter. The fields' order is the format."""

    namespace: str
    name: str
    source: str
    """The source of its last agent."""
    workloads: tuple[str, ...]
    """The Deployments of its last agents."""
    scaled: bool
    """Whether an HPA has scaled them."""
    gone_time: float
    """When the last one left (Unix time)."""

    @classmethod
    def from_json(cls, given: object) -> "GoneFleet":
        """Read the list of its fields' values, once it was JSON. Raises ValueError for anything else."""
        match given:
            case [
                str(namespace),
                str(name),
                str(source),
                [*workloads],
                bool(scaled),
                gone,
            ] if are_names((namespace, name, source, *workloads)) and is_unix_time(gone):
                return cls(namespace, name, source, tuple(map(str, workloads)), scaled, gone)
        raise ValueError("not a fleet without agents")


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


def gone_fleets(groups: Mapping[FleetKey, Group], offset: float) -> Sequence[GoneFleet]:
    """Return the fleets without agents; `offset` is what Unix time is ahead of the monotonic clock."""
    return [
        GoneFleet(*key, one.source, tuple(sorted(one.owners())), one.scaled, round(one.empty_since + offset))
        for key, one in sorted(groups.items())
        if one.empty_since is not None
    ]


def remembered(fleets: Iterable[GoneFleet], offset: float) -> Iterator[tuple[FleetKey, Group]]:
    """Yield the groups of fleets without agents that another process knew."""
    for gone in fleets:
        since = gone.gone_time - offset
        group = Group(served=True, scaled=gone.scaled, workloads=gone.workloads, source=gone.source, empty_since=since)
        yield (gone.namespace, gone.name), group
