"""Since when a fleet has had work that it does not get done, which no single reading can show.

Pure. The store keeps the result from one computation of a fleet to the next; after a restart of the exporter it begins
again.
"""

from exporter.fleet.model import Lasting
from exporter.fleet.scaling import TOLERANCE


def lasting(before: Lasting, *, queued: float | None, desired: int | None, agents: int, now: float) -> Lasting:
    """Return what lasts at `now`; `before` is the result of the fleet's last computation.

    `queued` is the number of waiting tasks; `desired` the number of agents that the demand needs and the autoscaler's
    maximum allows; `agents` those that are there. What is unknown (None) neither begins nor ends anything.
    """
    since = before.queued
    if queued is not None:
        since = _since(since, now) if queued > 0 else None
    if desired is None:
        return Lasting(since, before.short, before.short_agents)
    if desired <= agents * (1 + TOLERANCE):  # an HPA does not react to less
        return Lasting(since)
    if before.short is None or agents > before.short_agents:
        return Lasting(since, now, agents)
    return Lasting(since, before.short, before.short_agents)


def _since(before: float | None, now: float) -> float:
    return now if before is None else before
