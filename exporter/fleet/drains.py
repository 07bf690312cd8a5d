"""How a drain ends: whether Kubernetes kills the agent with tasks, when, and whether it takes unusually long.

Pure; `wall_now` is in Unix seconds, as are the times of the pod. A drain ends when the pod's grace period is over,
whatever still runs. Kubernetes counts it from the first deletion, and a later one can only shorten it: an eviction with
600 s turns a drain of 12 hours into one that may be over already. The thresholds are those of the alerts.
"""

from exporter.fleet.model import Agent, AgentState, PodFacts

SHORT_SECONDS = 15 * 60
"""With less time left, tasks that still run are likely killed: as in MatillionAgentDrainCutShort."""
LATE_SECONDS = 3600
"""How long before the end of the pod's own grace period a drain takes too long: as in MatillionAgentDrainTooLong."""
LATE_SHARE = 0.1
"""The same as a share of the grace period; the smaller of the two applies."""

_NOTHING_KNOWN = PodFacts()


def seconds_left(agent: Agent, wall_now: float) -> float | None:
    """Return the seconds until Kubernetes kills a draining agent, 0 once they are over; None if it is not draining."""
    deadline = _facts(agent).drain_deadline_time
    return None if deadline is None else max(0.0, deadline - wall_now)


def shortened(facts: PodFacts) -> tuple[float, float] | None:
    """Return the seconds of the pod's own grace period and of the one in force; None unless the latter is shorter."""
    own, granted = facts.grace_seconds, facts.drain_grace_seconds
    return (own, granted) if own is not None and granted is not None and granted < own else None


def cut_short(agent: Agent, wall_now: float) -> bool:
    """Return whether a draining agent runs tasks and has less time for them than its pod asks for, or hardly any.

    False while its tasks are unknown: an old count says nothing about what is left.
    """
    left, reading = seconds_left(agent, wall_now), agent.snapshot.reading
    if agent.state is not AgentState.DRAINING or left is None:
        return False
    runs_tasks = agent.fresh and reading is not None and reading.tasks_active > 0
    return runs_tasks and (shortened(_facts(agent)) is not None or left < SHORT_SECONDS)


def too_long(agent: Agent, wall_now: float) -> bool:
    """Return whether a draining agent has used most of its pod's own grace period, with tasks or without."""
    facts = _facts(agent)
    begun, own = facts.draining_time, facts.grace_seconds
    if agent.state is not AgentState.DRAINING or begun is None or own is None:
        return False
    return begun + own - wall_now < min(LATE_SECONDS, LATE_SHARE * own)


def _facts(agent: Agent) -> PodFacts:
    return agent.snapshot.target.facts or _NOTHING_KNOWN
