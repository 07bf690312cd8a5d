"""The state of an agent at an instant, and the state assumed while it is unreachable.

Pure. The states are the contract with every dashboard and alert; `docs/architecture.md` explains them.
"""

from exporter.fleet.model import Agent, AgentSnapshot, AgentState, AgentStatus, Reading
from exporter.fleet.policy import Policy
from exporter.fleet.pressure import REFUSES_AFTER, current_usage, pressure

OUT_OF_WORK = (AgentState.STOPPED, AgentState.DISCONNECTED)
"""States of agents that respond but take no work: such a pod is a replica without slots."""


MAX_START_SECONDS = 300.0
"""Maximum seconds a pod counts as starting because agents usually take so long: a node, an image and a JVM."""


def classify(snapshot: AgentSnapshot, policy: Policy, now: float, start_seconds: float | None = None) -> Agent:
    """Return the agent's state at `now`, the first that applies, and whether its reading is current.

    `start_seconds` is how long agents of its fleet usually take to their first reading; None if unknown.
    """
    read_at, pressed = snapshot.read_at, snapshot.since.pressed
    fresh = read_at is not None and now - read_at <= policy.stale_after and snapshot.displaced_by is None
    state = _state(snapshot, fresh, policy, now, start_seconds)
    memory = current_usage(snapshot, now)[0] if snapshot.usage is not None else None
    refusing = None
    if state is AgentState.SERVING and pressed is not None and now - pressed >= REFUSES_AFTER:
        refusing = _refusing(snapshot, policy, now)
    return Agent(snapshot, state, fresh, memory, refusing)


def _state(snapshot: AgentSnapshot, fresh: bool, policy: Policy, now: float, start_seconds: float | None) -> AgentState:
    facts = snapshot.target.facts
    if facts is not None and facts.draining_time is not None:
        return AgentState.DRAINING
    if snapshot.displaced_by is not None:
        return AgentState.UNREACHABLE
    if snapshot.reading is None:
        patience = min(MAX_START_SECONDS, start_seconds or 0.0)
        booting = snapshot.target.address is None or _still_booting(snapshot, policy, now, patience)
        return AgentState.STARTING if booting else AgentState.UNREACHABLE
    return reported_state(snapshot.reading) if fresh else AgentState.UNREACHABLE


def reported_state(reading: Reading) -> AgentState:
    """Return the state that an agent reports.

    An agent with a pending shutdown takes no more work. Only a deletion removes it from the Deployment's replicas.
    """
    if reading.status in AgentStatus.NOT_RUNNING:
        return AgentState.STOPPED
    return AgentState.DISCONNECTED if reading.connected is False else AgentState.SERVING


def _still_booting(snapshot: AgentSnapshot, policy: Policy, now: float, patience: float) -> bool:
    """Whether an agent that never responded may still be starting.

    The vendor's pods have no probes: they are Ready as soon as the process starts, long before it opens its port. So
    `stale_after` runs from readiness, and `patience` from when the pod was first seen, or was Ready if that is longer
    ago. A static target has no readiness: it is expected to respond at once.
    """
    facts, known = snapshot.target.facts, snapshot.since.known
    if facts is None:
        return False
    if not facts.ready or facts.ready_since is None or now - facts.ready_since <= policy.stale_after:
        return True
    return known is not None and now - min(known, facts.ready_since) <= patience


def _refusing(snapshot: AgentSnapshot, policy: Policy, now: float) -> str | None:
    reading = snapshot.reading
    if reading is None or reading.tasks_active >= policy.tasks_per_agent:
        return None
    return pressure(snapshot, reading, now)


def never_heard(agent: Agent, policy: Policy, now: float) -> bool:
    """Return whether an agent never responded for longer than any agent takes to start.

    Counted from the first scrape: after a restart of the exporter every agent is new to it.
    """
    known, facts = agent.snapshot.since.known, agent.snapshot.target.facts
    if agent.state is not AgentState.UNREACHABLE or agent.snapshot.reading is not None or known is None:
        return False
    ready = facts.ready_since if facts is not None else None
    return now - (known if ready is None else max(known, ready)) > policy.never_heard_after


def crash_looping(agent: Agent) -> bool:
    """Return whether Kubernetes delays the container's restart because it keeps crashing."""
    facts = agent.snapshot.target.facts
    return facts is not None and facts.crash_looping


def last_known(agent: Agent, policy: Policy, now: float) -> Reading | None:
    """Return the last reading that is still assumed for an unreachable agent.

    None if the policy assumes none, if it is too old, or if Kubernetes reports that the container ended.
    """
    read_at = agent.snapshot.read_at
    if policy.unknown_agents != "hold" or crash_looping(agent):
        return None
    return agent.snapshot.reading if read_at is not None and now - read_at <= policy.forget_after else None


def standing(agent: Agent, policy: Policy, now: float) -> AgentState:
    """Return the agent's state, or the last known state of an unreachable agent.

    So becoming unreachable changes neither the agent's role nor a bound that depends on it.
    """
    if agent.state is AgentState.UNREACHABLE and (known := last_known(agent, policy, now)) is not None:
        return reported_state(known)
    return agent.state
