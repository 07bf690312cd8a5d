"""Which runbook is about a fleet or an agent in trouble: the name of an alert, under which its page is found.

Pure. The pages are those of `alerts/runbooks`.
"""

from exporter.fleet.attention import looked_at, needs_attention
from exporter.fleet.classification import crash_looping
from exporter.fleet.drains import cut_short
from exporter.fleet.health import Health, Word
from exporter.fleet.model import Agent, AgentState, Fleet

_BY_STATE = {
    AgentState.UNREACHABLE: "MatillionAgentUnreachable",
    AgentState.DISCONNECTED: "MatillionAgentDisconnected",
    AgentState.STARTING: "MatillionAgentNotStarting",
}
"""A stopped agent has no alert of its own."""


def fleet_runbook(fleet: Fleet, state: Health) -> str | None:
    """Return the runbook for a fleet of this health; None where its problems are told by those of its agents."""
    if state.word is Word.DATA_INCOMPLETE:
        return "MatillionFleetCoverageLow" if fleet.membership_known else "MatillionExporterStale"
    if state.word is not Word.DOWN:
        return None
    members = len(fleet.agents) - fleet.states[AgentState.DRAINING]
    if not members:
        return "MatillionFleetGone"
    disconnected = fleet.states[AgentState.DISCONNECTED] == members
    return "MatillionFleetDisconnected" if disconnected else "MatillionFleetNoCapacity"


def agent_runbook(agent: Agent, wall_now: float) -> str | None:
    """Return the runbook for an agent; None where it needs no attention, or no page is about it."""
    if not needs_attention(agent, wall_now):
        return None
    if agent.state is AgentState.SERVING:
        return _of_serving(agent)
    if agent.state is AgentState.DRAINING:
        return "MatillionAgentDrainCutShort" if cut_short(agent, wall_now) else "MatillionAgentDrainTooLong"
    return _of_container(agent) or _BY_STATE.get(agent.state)


def _of_serving(agent: Agent) -> str:
    if agent.snapshot.error is not None:
        return "MatillionAgentUnreachable"
    return "MatillionFleetRefusing" if agent.refusing is not None else "MatillionAgentMemoryPressure"


def _of_container(agent: Agent) -> str | None:
    """Return the runbook about how the agent's container ended, or why it does not run."""
    facts = agent.snapshot.target.facts
    if facts is not None and facts.last_terminated_reason == "OOMKilled" and agent.snapshot.reading is None:
        return "MatillionAgentOOMKilled"
    if crash_looping(agent):
        return "MatillionAgentCrashLooping"
    return "MatillionAgentNotStarting" if agent.state is AgentState.UNREACHABLE and not looked_at(agent) else None
