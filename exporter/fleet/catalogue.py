"""Every metric there is, in one table: name, type, meaning, labels, and how it is read from a fleet or an agent.

Publishers, `docs/metrics.md` and the checks of dashboards and alerts all read this table. A reader that returns no
series says "not known"; there is no other way to say it, so there is no way to say 0 by accident.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from exporter.fleet.model import Agent, AgentState, Fleet, PodFacts, Reading, Scaler

PREFIX = "matillion_fleet_"
FLEET_LABELS = ("namespace", "fleet")
AGENT_LABELS = ("namespace", "fleet", "pod")

Series = tuple[tuple[str, ...], float]
"""The values of a metric's own labels, in their order, and the series' value."""
_Of = TypeVar("_Of")


@dataclass(frozen=True, slots=True)
class Metric(Generic[_Of]):
    """One metric family that is read from values of type `_Of`."""

    name: str
    """Without the prefix; units are in it, as is customary."""
    help: str
    read: Callable[[_Of], Iterable[Series]]
    labels: tuple[str, ...] = ()
    """Labels besides those every series of the scope has."""
    type: Literal["gauge", "counter"] = "gauge"


def _always(read: Callable[[_Of], float]) -> Callable[[_Of], Iterable[Series]]:
    return lambda subject: (((), read(subject)),)


def _known(read: Callable[[_Of], float | None]) -> Callable[[_Of], Iterable[Series]]:
    def series(subject: _Of) -> Iterable[Series]:
        value = read(subject)
        return () if value is None else (((), value),)

    return series


def _fresh(read: Callable[[Reading], float | None]) -> Callable[[Agent], Iterable[Series]]:
    """Read from the agent's reading as long as that counts; what an agent said long ago is not known any more."""

    def series(agent: Agent) -> Iterable[Series]:
        reading = agent.snapshot.reading
        value = read(reading) if agent.fresh and reading is not None else None
        return () if value is None else (((), value),)

    return series


def _fact(read: Callable[[PodFacts], float | None]) -> Callable[[Agent], Iterable[Series]]:
    def series(agent: Agent) -> Iterable[Series]:
        facts = agent.snapshot.target.facts
        value = read(facts) if facts is not None else None
        return () if value is None else (((), value),)

    return series


def _reason(read: Callable[[PodFacts], str | None]) -> Callable[[Agent], Iterable[Series]]:
    def series(agent: Agent) -> Iterable[Series]:
        facts = agent.snapshot.target.facts
        reason = read(facts) if facts is not None else None
        return () if reason is None else (((reason,), 1.0),)

    return series


def _agents_by_state(fleet: Fleet) -> Iterable[Series]:
    return [((state,), count) for state, count in fleet.states.items()]


def _agent_state(agent: Agent) -> Iterable[Series]:
    return [((state,), state is agent.state) for state in AgentState]


def _agent_info(agent: Agent) -> Iterable[Series]:
    reading, facts = agent.snapshot.reading, agent.snapshot.target.facts
    version, commit, endpoint = (
        (reading.version or "", reading.commit or "", reading.dialect.value) if reading is not None else ("", "", "")
    )
    return (((version, commit, (facts and facts.node) or "", endpoint), 1.0),)


def _agent_up(agent: Agent) -> float | None:
    if agent.snapshot.scrape_seconds is None:
        return None
    return agent.snapshot.error is None


def _of_scalers(read: Callable[[Scaler], float | None]) -> Callable[[Fleet], Iterable[Series]]:
    def series(fleet: Fleet) -> Iterable[Series]:
        values = [(scaler.name, read(scaler)) for scaler in fleet.scalers or ()]
        return [((name,), value) for name, value in values if value is not None]

    return series


FLEET_METRICS: tuple[Metric[Fleet], ...] = (
    Metric("agents", "Agents of the fleet by state; every agent is in exactly one.", _agents_by_state, ("state",)),
    Metric(
        "capacity_tasks",
        "Tasks the serving agents can run at once: tasks_per_agent times the agents in state serving.",
        _always(lambda fleet: fleet.capacity_tasks),
    ),
    Metric(
        "tasks_active",
        "Tasks running on agents that are not draining. Absent while agents should answer and none does.",
        _known(lambda fleet: fleet.tasks_active),
    ),
    Metric(
        "tasks_serving",
        "The part of tasks_active on serving agents: over capacity_tasks, the utilization. Absent as tasks_active is.",
        _known(lambda fleet: fleet.tasks_serving),
    ),
    Metric(
        "tasks_draining",
        "Tasks still running on draining agents; they are not part of the demand.",
        _always(lambda fleet: fleet.tasks_draining),
    ),
    Metric(
        "tasks_queued",
        "Tasks waiting for a slot, over the agents that report a queue. Absent when none does.",
        _known(lambda fleet: fleet.tasks_queued),
    ),
    Metric(
        "held_tasks",
        "Work taken to be with agents that cannot be seen, or to wait unseen, so that it does not shrink the fleet.",
        _always(lambda fleet: fleet.held_tasks),
    ),
    Metric(
        "replacement_tasks",
        "Demand added for agents that fill a replica but give no slot (stopped, disconnected or crash looping).",
        _always(lambda fleet: fleet.replacement_tasks),
    ),
    Metric(
        "unseen_queue_tasks",
        "Demand added because work surely waits unseen: every serving agent is full and none reports a queue.",
        _always(lambda fleet: fleet.unseen_queue_tasks),
    ),
    Metric(
        "agents_refusing",
        "Serving agents that take no more work although they have slots (CPU, heap, memory or busyness at the limit).",
        _always(lambda fleet: fleet.agents_refusing),
    ),
    Metric(
        "free_slots",
        "Tasks the serving agents could take on right now.",
        _always(lambda fleet: fleet.free_slots),
    ),
    Metric(
        "agents_saturated",
        "Serving agents with no free slot.",
        _always(lambda fleet: fleet.agents_saturated),
    ),
    Metric(
        "demand_tasks",
        "Tasks the fleet should have room for: active, queued, held, replacement, unseen. Absent while not trusted.",
        _known(lambda fleet: fleet.demand_tasks),
    ),
    Metric(
        "desired_agents",
        "Agents it takes to hold demand_tasks at target_tasks_per_agent each. Absent while not trusted.",
        _known(lambda fleet: fleet.desired_agents),
    ),
    Metric(
        "coverage_ratio",
        "Share of the agents that should answer and do, 0 to 1; 1 if there are none.",
        _always(lambda fleet: fleet.coverage),
    ),
    Metric(
        "trusted",
        "1 if a scaler may act on the fleet's figures, 0 while coverage is too low or discovery too old.",
        _always(lambda fleet: fleet.trusted),
    ),
    Metric(
        "target_tasks_per_agent",
        "Load per agent that scaling aims at (setting capacity.target_tasks_per_agent).",
        _always(lambda fleet: fleet.target_tasks_per_agent),
    ),
    Metric(
        "tasks_per_agent",
        "Tasks one agent runs at once (setting capacity.tasks_per_agent).",
        _always(lambda fleet: fleet.tasks_per_agent),
    ),
    Metric(
        "restarts_total",
        "Restarts of agents' containers since the exporter began. Unlike a sum over pods it keeps those of pods that "
        "are gone. Absent without Kubernetes.",
        _known(lambda fleet: fleet.restarts),
        type="counter",
    ),
    Metric(
        "scaler_min_agents",
        "Fewest agents the fleet's scaler (its HPA) keeps. Absent, like all of it, while the scaler is not known.",
        _of_scalers(lambda scaler: scaler.min_agents),
        ("scaler",),
    ),
    Metric(
        "scaler_max_agents",
        "Most agents the fleet's scaler asks for.",
        _of_scalers(lambda scaler: scaler.max_agents),
        ("scaler",),
    ),
    Metric(
        "scaler_current_agents",
        "Agents the fleet's scaler last saw; 0 while its Deployment is scaled to 0, which switches it off.",
        _of_scalers(lambda scaler: scaler.current_agents),
        ("scaler",),
    ),
    Metric(
        "scaler_desired_agents",
        "Agents the fleet's scaler last decided on. Absent until it has decided.",
        _of_scalers(lambda scaler: scaler.desired_agents),
        ("scaler",),
    ),
    Metric(
        "scaler_active",
        "1 if the fleet's scaler gets its metrics, 0 if it does not or is switched off. Absent until it has said.",
        _of_scalers(lambda scaler: None if scaler.active is None else scaler.active.holds),
        ("scaler",),
    ),
)

AGENT_METRICS: tuple[Metric[Agent], ...] = (
    Metric(
        "agent_info",
        "Always 1; what is known of the agent's build, node and dialect (otel or legacy). Unknown labels are empty.",
        _agent_info,
        ("version", "commit", "node", "endpoint"),
    ),
    Metric("agent_state", "1 for the state the agent is in, 0 for the others.", _agent_state, ("state",)),
    Metric(
        "agent_up",
        "1 if the last scrape of the agent succeeded, 0 if it failed. Absent before the first.",
        _known(_agent_up),
    ),
    Metric(
        "agent_connected",
        "1 if the agent says it is connected to the Matillion control plane, 0 if it says it is not.",
        _fresh(lambda reading: reading.connected),
    ),
    Metric(
        "agent_tasks_active",
        "Tasks the agent is running. Interactive tasks are not limited, so it can exceed tasks_per_agent.",
        _fresh(lambda reading: reading.tasks_active),
    ),
    Metric(
        "agent_tasks_queued",
        "Tasks waiting for a slot of the agent. Absent on agents that do not report a queue.",
        _fresh(lambda reading: reading.tasks_queued),
    ),
    Metric(
        "agent_requests_active",
        "HTTP requests the agent is handling.",
        _fresh(lambda reading: reading.requests_active),
    ),
    Metric(
        "agent_sessions_open",
        "Data warehouse sessions the agent holds open.",
        _fresh(lambda reading: reading.sessions_open),
    ),
    Metric(
        "agent_busyness_score",
        "The agent's own estimate of its load.",
        _fresh(lambda reading: reading.busyness_score),
    ),
    Metric(
        "agent_heap_used_bytes",
        "Java heap in use, over all heap pools.",
        _fresh(lambda reading: reading.heap_used_bytes),
    ),
    Metric(
        "agent_heap_limit_bytes",
        "Java heap limit, over the heap pools that have one.",
        _fresh(lambda reading: reading.heap_limit_bytes),
    ),
    Metric(
        "agent_memory_working_set_bytes",
        "Memory the agent's container uses, as metrics-server measured it. Absent when that is not known or too old.",
        _known(lambda agent: agent.memory_working_set_bytes),
    ),
    Metric(
        "agent_memory_limit_bytes",
        "Memory limit of the agent's container.",
        _fact(lambda facts: facts.memory_limit_bytes),
    ),
    Metric(
        "agent_restarts_total",
        "Restarts of the agent's container during the life of its pod, as Kubernetes counts them.",
        _fact(lambda facts: facts.restarts),
        type="counter",
    ),
    Metric(
        "agent_created_timestamp_seconds",
        "When the agent's pod was made (Unix time). Absent without Kubernetes.",
        _fact(lambda facts: facts.created_time),
    ),
    Metric(
        "agent_last_terminated",
        "Always 1; why the agent's container ended last time (OOMKilled, Error, …).",
        _reason(lambda facts: facts.last_terminated_reason),
        ("reason",),
    ),
    Metric(
        "agent_waiting",
        "Always 1; why the agent's container does not run now (CrashLoopBackOff, ImagePullBackOff, …).",
        _reason(lambda facts: facts.waiting_reason),
        ("reason",),
    ),
    Metric(
        "agent_task_failures_total",
        "Failed tasks in the agent's log since it was first followed. Absent while nobody follows it (pod_logs).",
        _known(lambda agent: agent.snapshot.task_failures),
        type="counter",
    ),
    Metric(
        "agent_scrape_duration_seconds",
        "How long the last scrape of the agent took, good or not.",
        _known(lambda agent: agent.snapshot.scrape_seconds),
    ),
    Metric(
        "agent_last_scrape_timestamp_seconds",
        "When the agent was last scraped successfully, in Unix time.",
        _known(lambda agent: agent.snapshot.read_time),
    ),
)
