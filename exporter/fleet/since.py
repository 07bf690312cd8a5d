"""How long conditions have held: what the definitions need and one reading does not contain.

Pure: combines the previous spans with a new reading or sample. The store keeps the result beside the reading. A span
starts with the first evidence, and ends with evidence against it.
"""

from dataclasses import replace

from exporter.fleet.model import AgentSnapshot, AgentStatus, Reading, Since
from exporter.fleet.policy import Policy
from exporter.fleet.pressure import pressure
from exporter.fleet.protection import works


def after_reading(before: AgentSnapshot, reading: Reading, policy: Policy, now: float) -> Since:
    """Return the spans after `reading`, which was requested at `now` and is to replace the one in `before`."""
    since, known, pressed = before.since, before.since.known, before.since.pressed
    if before.read_at is None or now - before.read_at > policy.stale_after:
        # What happened while it was unreachable is unknown.
        since = Since(known=known, pressed=pressed)
    serving = _kept(since.serving, takes_work(reading), now)
    full, last_full = _full(since, reading, policy, now)
    free = _kept(since.free, reading.tasks_active < policy.tasks_per_agent, now)
    pressed = _kept(pressed, pressure(before, reading, now) is not None, now)
    stopping = _kept(since.stopping, reading.status in AgentStatus.ENDING, now)
    idle = _kept(since.idle, not works(reading), now)
    after = (serving, full, last_full, free, pressed, stopping, idle)
    if after == (since.serving, since.full, since.last_full, since.free, since.pressed, since.stopping, since.idle):
        # The usual case: the comparison is cheaper than a new object.
        return since
    return Since(
        known=known,
        serving=serving,
        full=full,
        last_full=last_full,
        free=free,
        pressed=pressed,
        stopping=stopping,
        idle=idle,
    )


def after_sample(snapshot: AgentSnapshot, now: float) -> Since:
    """Return the spans after a measurement of CPU and memory that `snapshot` already contains."""
    pressed = _kept(snapshot.since.pressed, pressure(snapshot, snapshot.reading, now) is not None, now)
    return replace(snapshot.since, pressed=pressed)


def takes_work(reading: Reading) -> bool:
    """Return whether an agent reports that it is running and not disconnected from the control plane."""
    return reading.status not in AgentStatus.NOT_RUNNING and reading.connected is not False


def _kept(since: float | None, holds: bool, now: float) -> float | None:
    if not holds:
        return None
    return now if since is None else since


def _full(since: Since, reading: Reading, policy: Policy, now: float) -> tuple[float | None, float | None]:
    """Return since when the agent has been full, and when a reading last showed it.

    A finished task leaves its slot empty until the agent pulls the next one. In a fleet of fifty full agents nearly
    every scrape round finds such a slot, and with short tasks the same agent several times in a row. Only a slot that
    stays empty for `saturated_after` shows that no task is waiting.
    """
    if reading.tasks_active >= policy.tasks_per_agent:
        return _kept(since.full, holds=True, now=now), now
    if since.last_full is not None and now - since.last_full <= policy.saturated_after:
        return since.full, since.last_full
    return None, None
