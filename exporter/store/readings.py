"""What a scrape makes of what is known of an agent. Pure."""

from exporter.fleet.losses import run_ended
from exporter.fleet.model import AgentSnapshot, Reading, Target
from exporter.fleet.policy import Policy
from exporter.fleet.since import after_reading


def after_scrape(
    before: AgentSnapshot, reading: Reading, policy: Policy, *, url: str, seconds: float, now: float, wall_now: float
) -> AgentSnapshot:
    """Return the snapshot after a valid reading, of a scrape that took `seconds` and ends now.

    The reading is dated by the beginning of the scrape. There may be more than the network between the page and now:
    while the process is stopped, the answers to its scrapes wait in their sockets.
    """
    read_at = now - seconds
    # `replace` would take twice as long, and this runs for each scrape.
    return AgentSnapshot(
        target=before.target,
        reading=reading,
        read_at=read_at,
        read_time=wall_now - seconds,
        url=url,
        scrape_seconds=seconds,
        usage=before.usage,
        task_failures=before.task_failures,
        since=after_reading(before, reading, policy, read_at),
    )


def same_run(requested: Target, now: Target) -> bool:
    """Return whether a page that was requested of a target is of what runs there now."""
    same_place = (now.address, now.endpoint) == (requested.address, requested.endpoint)
    return same_place and not run_ended(requested.facts, now.facts)
