"""Whether an agent needs attention: these come first on the status page and in `fleet-exporter status`.

Pure. The thresholds are those of the alerts.
"""

from exporter.fleet.classification import MAX_START_SECONDS
from exporter.fleet.drains import cut_short, too_long
from exporter.fleet.model import Agent, AgentState, Fleet, PodFacts

MEMORY_SHARE = 0.85
"""Share of the memory limit from which an agent needs attention: the threshold of MatillionAgentMemoryPressure."""

_TAKES_ITS_TIME = frozenset({None, "Unschedulable", "SchedulingGated", "ContainerCreating", "PodInitializing"})
"""What a pod waits for in a usual start (None: no reason is given). Any other reason stops it at once."""
_NOTHING_KNOWN = PodFacts()


def needs_attention(agent: Agent, wall_now: float) -> bool:
    """Return whether an agent provides no capacity, or soon may not; `wall_now` in Unix seconds.

    Starting and draining are normal, unless the agent cannot start, drains for too long, or will be killed
    with its tasks.
    """
    facts = agent.snapshot.target.facts or _NOTHING_KNOWN
    match agent.state:
        case AgentState.DRAINING:
            return cut_short(agent, wall_now) or too_long(agent, wall_now)
        case AgentState.STARTING:
            return will_not_start(agent, wall_now)
        case AgentState.SERVING:
            used = memory_share(agent)
            pressed = agent.refusing is not None or (used is not None and used >= MEMORY_SHARE)
            return agent.snapshot.error is not None or pressed
        case AgentState.UNREACHABLE:
            return looked_at(agent) or facts.waiting_reason is not None
        case _:  # stopped, disconnected
            return True


def will_not_start(agent: Agent, wall_now: float) -> bool:
    """Return whether Kubernetes says of a starting agent that it will not run soon, or it has taken too long."""
    facts = agent.snapshot.target.facts or _NOTHING_KNOWN
    usual = facts.waiting_reason in _TAKES_ITS_TIME and facts.last_terminated_reason is None
    late = facts.created_time is not None and wall_now - facts.created_time > MAX_START_SECONDS
    return late or not usual


def looked_at(agent: Agent) -> bool:
    """Return whether anything was tried yet to read the agent: after a start of the exporter nothing is known of it.

    One whose address belongs to a newer agent is not tried, and will not be.
    """
    snapshot = agent.snapshot
    tried = snapshot.scrape_seconds is not None or snapshot.reading is not None or snapshot.error is not None
    return tried or snapshot.displaced_by is not None


def agents_needing_attention(fleet: Fleet) -> int:
    """Return how many agents of the fleet need attention at the instant it was computed."""
    return sum([needs_attention(agent, fleet.time) for agent in fleet.agents])


def memory_share(agent: Agent) -> float | None:
    """Return the memory in use as a share of the limit; None if either is unknown or there is no limit."""
    facts = agent.snapshot.target.facts or _NOTHING_KNOWN
    used, limit = agent.memory_working_set_bytes, facts.memory_limit_bytes
    return used / limit if used is not None and limit else None
