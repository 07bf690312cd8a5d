"""Whether a person should look at an agent: what the status page and `fleet-exporter status` put first.

Pure. Alerts are Prometheus' business; these thresholds are where theirs begin.
"""

from exporter.fleet.model import Agent, AgentState, PodFacts

MEMORY_SHARE = 0.85
"""Share of its memory limit from which an agent is near it: where MatillionAgentMemoryPressure begins."""
LONG_DRAIN_SECONDS = 11 * 3600
"""From when an agent that drains does: where MatillionAgentDrainTooLong begins, an hour before Kubernetes ends it."""

_NOTHING_KNOWN = PodFacts()


def needs_attention(agent: Agent, wall_now: float) -> bool:
    """Return whether an agent gives no capacity, or soon may not; `wall_now` in Unix seconds.

    To start and to drain is usual. Who cannot start, or drains for very long, is not.
    """
    facts = agent.snapshot.target.facts or _NOTHING_KNOWN
    match agent.state:
        case AgentState.DRAINING:
            return facts.draining_time is not None and wall_now - facts.draining_time > LONG_DRAIN_SECONDS
        case AgentState.STARTING:
            return facts.waiting_reason is not None or facts.last_terminated_reason is not None
        case AgentState.SERVING:
            used = memory_share(agent)
            pressed = agent.refusing is not None or (used is not None and used >= MEMORY_SHARE)
            return agent.snapshot.error is not None or pressed
        case _:  # unreachable, stopped, disconnected
            return True


def memory_share(agent: Agent) -> float | None:
    """Return the memory in use as a share of the limit; None where one is not known, or there is no limit."""
    facts = agent.snapshot.target.facts or _NOTHING_KNOWN
    used, limit = agent.memory_working_set_bytes, facts.memory_limit_bytes
    return used / limit if used is not None and limit else None
