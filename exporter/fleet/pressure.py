"""Whether an agent can take work, regardless of its task count.

Pure. According to the vendor, an agent takes no new task above 80% CPU or at its maximum heap. The other two limits are
ours: a container at its memory limit is about to be killed, and a maximum busyness score means that the agent is full.
"""

from exporter.fleet.model import AgentSnapshot, Reading

CPU_SHARE = 0.80
"""Of the container's CPU limit (the vendor's documentation of agents)."""
HEAP_SHARE = 0.98
"""Of the Java heap's limit: "maximum heap", with room for what a collector leaves."""
MEMORY_SHARE = 0.95
"""Of the container's memory limit: where MatillionAgentMemoryCritical begins."""
BUSYNESS_TOP = 100.0
"""The score's scale is not published. It is taken for percent: on a smaller scale no agent would ever reach this."""
REFUSES_AFTER = 15.0
"""Seconds for which one of these must hold: three scrapes, or one measurement of the metrics API."""


def current_usage(snapshot: AgentSnapshot, now: float) -> tuple[float | None, float | None]:
    """Return memory in use in bytes and CPU in cores; None where unknown for the running container.

    A sample older than the container belongs to its predecessor: after an OOM kill the new container would still appear
    to be at the limit. Both times are from the node's clock.
    """
    sample, facts = snapshot.usage, snapshot.target.facts
    if sample is None or now > sample.good_until or facts is None or facts.started_time is None:
        return None, None
    if sample.taken_time < facts.started_time:
        return None, None
    return sample.working_set_bytes, sample.cpu_cores


_LIMITS = (("CPU", CPU_SHARE), ("heap", HEAP_SHARE), ("memory", MEMORY_SHARE), ("busyness", 1.0))


def _shares(snapshot: AgentSnapshot, reading: Reading | None, now: float) -> tuple[float | None, ...]:
    """Return the used share of each of `_LIMITS`, 0 to 1; None where unknown."""
    cpu = heap = memory = busyness = None
    facts = snapshot.target.facts
    if snapshot.usage is not None and facts is not None:
        working_set, cores = current_usage(snapshot, now)
        cpu, memory = _share(cores, facts.cpu_limit_cores), _share(working_set, facts.memory_limit_bytes)
    if reading is not None:
        heap = _share(reading.heap_used_bytes, reading.heap_limit_bytes)
        busyness = _share(reading.busyness_score, BUSYNESS_TOP)
    return cpu, heap, memory, busyness


def _share(used: float | None, limit: float | None) -> float | None:
    return used / limit if used is not None and limit else None


def limits_known(snapshot: AgentSnapshot, now: float) -> bool:
    """Return whether anything is known about what would keep the agent from taking work."""
    reading = snapshot.reading
    # The heap is on every OpenTelemetry page, so this decides nearly every case.
    if reading is not None and reading.heap_limit_bytes:
        return True
    return any(share is not None for share in _shares(snapshot, reading, now))


def pressure(snapshot: AgentSnapshot, reading: Reading | None, now: float) -> str | None:
    """Return what keeps the agent from taking work, such as "CPU at 85%"; None without a known reason.

    `reading` is its latest, which `snapshot` may not hold yet.
    """
    for (name, limit), share in zip(_LIMITS, _shares(snapshot, reading, now), strict=True):
        if share is not None and share >= limit:
            return f"{name} at {share:.0%}"
    return None
