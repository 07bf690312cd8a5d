"""Since when something has been so: what one reading cannot say and a definition needs.

Pure: from what was known before and a new reading or sample to what is known now. The store keeps the result beside the
reading. An instant is that of the first evidence, and is given up when evidence speaks against it.
"""

from dataclasses import replace

from exporter.fleet.model import AgentSnapshot, AgentStatus, Reading, Since
from exporter.fleet.policy import Policy
from exporter.fleet.pressure import pressure

_SHUTTING_DOWN = (AgentStatus.PENDING_SHUTDOWN, AgentStatus.SHUTTING_DOWN)
_NOT_RUNNING = (AgentStatus.STOPPED, *_SHUTTING_DOWN)


def after_reading(before: AgentSnapshot, reading: Reading, policy: Policy, now: float) -> Since:
    """Return the spans after `reading`, which was complete at `now` and is to replace the one in `before`."""
    since, known, pressed = before.since, before.since.known, before.since.pressed
    if before.read_at is None or now - before.read_at > policy.stale_after:
        # Nobody knows what happened while it was out of sight.
        since = Since(known=known, pressed=pressed)
    serving = _kept(since.serving, takes_work(reading), now)
    full, last_full = _full(since, reading, policy, now)
    free = _kept(since.free, reading.tasks_active < policy.tasks_per_agent, now)
    pressed = _kept(pressed, pressure(before, reading, now) is not None, now)
    stopping = _kept(since.stopping, reading.status in _SHUTTING_DOWN, now)
    after = (serving, full, last_full, free, pressed, stopping)
    if after == (since.serving, since.full, since.last_full, since.free, since.pressed, since.stopping):
        # As after most readings: to make the same once more takes longer than to find that out.
        return since
    return Since(
        known=known, serving=serving, full=full, last_full=last_full, free=free, pressed=pressed, stopping=stopping
    )


def after_sample(snapshot: AgentSnapshot, now: float) -> Since:
    """Return the spans after a measurement of CPU and memory, which `snapshot` holds already."""
    pressed = _kept(snapshot.since.pressed, pressure(snapshot, snapshot.reading, now) is not None, now)
    return replace(snapshot.since, pressed=pressed)


def takes_work(reading: Reading) -> bool:
    """Return whether an agent is at work by its own words: running, and not cut off the control plane."""
    return reading.status not in _NOT_RUNNING and reading.connected is not False


def _kept(since: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since


def _full(since: Since, reading: Reading, policy: Policy, now: float) -> tuple[float | None, float | None]:
    """Return since when the agent has been full, and when a reading last showed it.

    A task that ends leaves its slot empty until the agent has pulled the next one. In a fleet of fifty full agents
    some reading catches one of them so at nearly every moment, and with short tasks the same one several times in a
    row. A slot that is empty for as long as it takes to prove that there is none is one that nobody wants.
    """
    if reading.tasks_active >= policy.tasks_per_agent:
        return _kept(since.full, holds=True, now=now), now
    if since.last_full is not None and now - since.last_full <= policy.saturated_after:
        return since.full, since.last_full
    return None, None
