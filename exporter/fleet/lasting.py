"""Since when a fleet has had work that it does not get done, which no single reading can show.

Pure. The store keeps the result from one computation of a fleet to the next; after a restart of the exporter it begins
again.
"""

from exporter.fleet.model import Lasting


def lasting(before: Lasting, *, queued: float | None, short: bool | None, agents: int, now: float) -> Lasting:
    """Return what lasts at `now`; `before` is the result of the fleet's last computation.

    `queued` is the number of waiting tasks; `short` whether the demand is more than all `agents` that are there have
    slots for, and the autoscaler's maximum allows more. What is unknown (None) neither begins nor ends anything.
    """
    since = before.queued
    if queued is not None:
        since = (now if since is None else since) if queued > 0 else None
    if short is None:
        return Lasting(since, before.short, before.short_agents)
    if not short:
        return Lasting(since)
    if before.short is None or agents > before.short_agents:
        return Lasting(since, now, agents)
    return Lasting(since, before.short, before.short_agents)
