"""Every figure of an agent: one row each, its outlets as columns.

A new row is on `/metrics`, in the JSON documents and on the pages of the documentation by itself; whether it is in
CloudWatch must be stated, or the reason it is absent.
"""

from collections.abc import Callable

from exporter.fleet.model import Agent, AgentState, PodFacts, Reading
from exporter.fleet.outlets import AgentFigure, Basis, CloudWatch, Family, LabeledValue, MetricSet, Unit, Without

_NOT_ALARMED = Without("no alarm reads it, and each metric is billed")


def _reading(read: Callable[[Reading], float | None]) -> Callable[[Agent], float | None]:
    def value(agent: Agent) -> float | None:
        reading = agent.snapshot.reading
        return None if reading is None else read(reading)

    return value


def _fact(read: Callable[[PodFacts], float | None]) -> Callable[[Agent], float | None]:
    def value(agent: Agent) -> float | None:
        facts = agent.snapshot.target.facts
        return None if facts is None else read(facts)

    return value


def _up(agent: Agent) -> float | None:
    return None if agent.snapshot.scrape_seconds is None else agent.snapshot.error is None


def _memory_utilization(agent: Agent) -> float | None:
    used, facts = agent.memory_working_set_bytes, agent.snapshot.target.facts
    if used is None or facts is None or not facts.memory_limit_bytes:
        return None
    return used / facts.memory_limit_bytes


def _info(agent: Agent) -> tuple[LabeledValue, ...]:
    reading, facts = agent.snapshot.reading, agent.snapshot.target.facts
    version, commit, endpoint = (
        (reading.version or "", reading.commit or "", reading.dialect.value) if reading is not None else ("", "", "")
    )
    return (((version, commit, (facts and facts.node) or "", endpoint), 1.0),)


def _states(agent: Agent) -> list[LabeledValue]:
    return [((state,), state is agent.state) for state in AgentState]


def _reason(read: Callable[[PodFacts], str | None]) -> Callable[[Agent], tuple[LabeledValue, ...]]:
    def series(agent: Agent) -> tuple[LabeledValue, ...]:
        facts = agent.snapshot.target.facts
        reason = read(facts) if facts is not None else None
        return () if reason is None else (((reason,), 1.0),)

    return series


# A table is read across: a row begins with its name, and its outlets are the last line.
# fmt: off
AGENT_FAMILIES: tuple[Family[Agent], ...] = (
    Family("agent_info", ("version", "commit", "node", "endpoint"), _info,
        "Always 1; what is known of the agent's build, node and dialect (otel or legacy). Unknown labels are empty.",
        "version, commit, kubernetes.node, dialect"),
    Family("agent_state", ("state",), _states, "1 for the state the agent is in, 0 for the others.", "state"),
    Family("agent_last_terminated", ("reason",), _reason(lambda facts: facts.last_terminated_reason),
        "Always 1; the reason of the container's last termination (OOMKilled, Error, …).",
        "kubernetes.last_terminated_reason"),
    Family("agent_waiting", ("reason",), _reason(lambda facts: facts.waiting_reason),
        "Always 1; why the agent's container is not running (CrashLoopBackOff, ImagePullBackOff, …).",
        "kubernetes.waiting_reason"),
)

AGENT_FIGURES: tuple[AgentFigure, ...] = (
    AgentFigure("up", Unit.FLAG, Basis.EXPORTER, _up,
        "1 if the last scrape of the agent succeeded, 0 if it failed.",
        unknown="it was not scraped yet",
        json=Without("`scrape_error` has the reason of the last failed scrape"),
        cloudwatch=Without("`ScrapeCoveragePercent` covers all agents")),
    AgentFigure("connected", Unit.FLAG, Basis.READINGS, _reading(lambda reading: reading.connected),
        "1 if the agent reports a connection to the Matillion control plane, 0 if it reports none.",
        cloudwatch=Without("`AgentsDisconnected` counts them")),
    AgentFigure("tasks_active", Unit.TASKS, Basis.READINGS, _reading(lambda reading: reading.tasks_active),
        "Tasks the agent is running. Interactive tasks are not limited, so it can exceed tasks_per_agent.",
        cloudwatch=CloudWatch("AgentActiveTasks", MetricSet.DEFAULT, draining=False)),
    AgentFigure("tasks_queued", Unit.TASKS, Basis.READINGS, _reading(lambda reading: reading.tasks_queued),
        "Tasks waiting for a slot of the agent.",
        unknown="the agent reports no queue",
        cloudwatch=Without("`QueuedTasks` adds them up")),
    AgentFigure("requests_active", Unit.COUNT, Basis.READINGS, _reading(lambda reading: reading.requests_active),
        "HTTP requests the agent is handling.", cloudwatch=_NOT_ALARMED),
    AgentFigure("sessions_open", Unit.COUNT, Basis.READINGS, _reading(lambda reading: reading.sessions_open),
        "Data warehouse sessions the agent holds open.", cloudwatch=_NOT_ALARMED),
    AgentFigure("busyness_score", Unit.COUNT, Basis.READINGS, _reading(lambda reading: reading.busyness_score),
        "The agent's own estimate of its load.", cloudwatch=_NOT_ALARMED),
    AgentFigure("heap_used_bytes", Unit.BYTES, Basis.READINGS, _reading(lambda reading: reading.heap_used_bytes),
        "Java heap in use, over all heap pools.", cloudwatch=_NOT_ALARMED),
    AgentFigure("heap_limit_bytes", Unit.BYTES, Basis.READINGS, _reading(lambda reading: reading.heap_limit_bytes),
        "Java heap limit, over the heap pools that have one.", cloudwatch=_NOT_ALARMED),
    AgentFigure("memory_working_set_bytes", Unit.BYTES, Basis.KUBERNETES, lambda agent: agent.memory_working_set_bytes,
        "Working set of the agent's container, as measured by metrics-server.",
        unknown="that is unknown or outdated",
        cloudwatch=Without("`MemoryUtilizationPercent` is computed from it")),
    AgentFigure("memory_limit_bytes", Unit.BYTES, Basis.KUBERNETES, _fact(lambda facts: facts.memory_limit_bytes),
        "Memory limit of the agent's container.",
        json="kubernetes.memory_limit_bytes",
        cloudwatch=Without("`MemoryUtilizationPercent` is computed from it")),
    AgentFigure("memory_utilization", Unit.RATIO, Basis.KUBERNETES, _memory_utilization,
        "Memory in use of the limit of the agent's container.",
        unknown="metrics-server has no sample, or there is no limit",
        metrics=Without("the quotient of two series"), json=Without("the quotient of two fields"),
        cloudwatch=CloudWatch("MemoryUtilizationPercent", MetricSet.DEFAULT)),
    AgentFigure("restarts", Unit.COUNT, Basis.KUBERNETES, _fact(lambda facts: facts.restarts),
        "Restarts of the agent's container during the life of its pod, as Kubernetes counts them.",
        unknown="the agent is not in Kubernetes",
        counter=True, json="kubernetes.restarts",
        cloudwatch=CloudWatch("AgentRestarts", MetricSet.DEFAULT)),
    AgentFigure("protected", Unit.FLAG, Basis.KUBERNETES, _fact(lambda facts: facts.protected),
        "1 if the agent's pod carries all annotations of `protection.annotations`, 0 if it does not.",
        unknown="the agent is not in Kubernetes",
        json="kubernetes.protected", cloudwatch=_NOT_ALARMED),
    AgentFigure("created_timestamp_seconds", Unit.SECONDS, Basis.KUBERNETES, _fact(lambda facts: facts.created_time),
        "Creation time of the agent's pod (Unix time).",
        unknown="the agent is not in Kubernetes",
        json="kubernetes.created_time_seconds", cloudwatch=_NOT_ALARMED),
    AgentFigure("grace_seconds", Unit.SECONDS, Basis.KUBERNETES, _fact(lambda facts: facts.grace_seconds),
        "Grace period of the agent's pod: how long its tasks may run on after its deletion.",
        unknown="the agent is not in Kubernetes",
        json="kubernetes.grace_seconds", cloudwatch=_NOT_ALARMED),
    AgentFigure("drain_grace_seconds", Unit.SECONDS, Basis.KUBERNETES, _fact(lambda facts: facts.drain_grace_seconds),
        "Grace period in force for the deletion of the agent's pod; an eviction can shorten it.",
        unknown="the agent is not draining",
        json="kubernetes.drain_grace_seconds", cloudwatch=_NOT_ALARMED),
    AgentFigure("drain_deadline_timestamp_seconds", Unit.SECONDS, Basis.KUBERNETES,
        _fact(lambda facts: facts.drain_deadline_time),
        "Time at which Kubernetes kills the agent with the tasks that still run (Unix time).",
        unknown="the agent is not draining",
        json="kubernetes.drain_deadline_time_seconds", cloudwatch=_NOT_ALARMED),
    AgentFigure("task_failures", Unit.COUNT, Basis.KUBERNETES, lambda agent: agent.snapshot.task_failures,
        "Failed tasks in the agent's log since it was first followed.",
        unknown="pod_logs does not follow it",
        counter=True,
        cloudwatch=CloudWatch("TaskFailures", MetricSet.DEFAULT, begins_again=True)),
    AgentFigure("scrape_duration_seconds", Unit.SECONDS, Basis.EXPORTER, lambda agent: agent.snapshot.scrape_seconds,
        "Duration of the last scrape of the agent, successful or not.",
        cloudwatch=_NOT_ALARMED),
    AgentFigure("last_scrape_timestamp_seconds", Unit.SECONDS, Basis.EXPORTER, lambda agent: agent.snapshot.read_time,
        "Time at which the last successful scrape of the agent began (Unix time).",
        json=Without("`reading_age_seconds` is how long ago that was"), cloudwatch=_NOT_ALARMED),
)
# fmt: on
