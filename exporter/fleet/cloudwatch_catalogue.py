"""Every metric CloudWatch is given, in one table: name, unit, meaning, how it is read, and the sets it belongs to.

The sister of `catalogue`: each CloudWatch metric is billed, so there are few, and they are selected by name or by set.
The publisher, the estimate of the cost, `docs/cloudwatch.md` and the checks of the alarms all read this table.
A reader that returns None says "not known", and nothing is published. Nor is a row published of a fleet of which it is
not known what the row rests on (`Basis`); nobody else decides that.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from exporter.fleet.model import Agent, AgentState, Fleet, PodFacts

FLEET_DIMENSIONS = ("ClusterName", "Namespace", "Fleet")
"""The dimensions of every metric, no more and no less: CloudWatch finds a series by exactly all of its dimensions."""
AGENT_DIMENSION = "AgentName"
"""What a series of a single agent has besides."""


class MetricSet(StrEnum):
    """Selections of metrics, each containing the one before it."""

    MINIMAL = "minimal"
    """What a scaler and a person in a hurry need."""
    DEFAULT = "default"
    """Besides, everything the alarms and the dashboard read."""
    ALL = "all"


class Basis(StrEnum):
    """What a figure is made of, and so what has to be known of a fleet for the figure to be one of it."""

    READINGS = "readings"
    """The agents' own pages: known while the fleet is trusted. What a part of the agents adds up to is no figure."""
    KUBERNETES = "Kubernetes"
    """What Kubernetes says of the pods, their logs included: known while the list of agents is current."""


@dataclass(frozen=True, slots=True)
class OfFleet:
    """One number a fleet."""

    read: Callable[[Fleet], float | None]


@dataclass(frozen=True, slots=True)
class OverAgents:
    """One number an agent, all of them in one datum, so that minimum, maximum and percentiles are those of the fleet.

    Rounded to whole numbers (tasks, percent): a datum holds at most 150 different ones.
    """

    read: Callable[[Agent], float | None]


@dataclass(frozen=True, slots=True)
class IncreaseOverAgents:
    """By how much the agents' counters grew since the last datum, added up."""

    read: Callable[[Agent], float | None]
    """The counter as it stands, in the life of a pod."""
    begins_again: bool = False
    """Whether a counter that became smaller began again at 0; else it was put right, which is no increase."""


@dataclass(frozen=True, slots=True)
class CloudWatchMetric:
    """One metric in CloudWatch. Where it is read from agents, it can also have a series for each of them."""

    name: str
    unit: Literal["Count", "Percent"]
    smallest_set: MetricSet
    rests_on: Basis
    help: str
    source: OfFleet | OverAgents | IncreaseOverAgents

    @property
    def per_agent(self) -> bool:
        """Whether the metric exists for a single agent."""
        return not isinstance(self.source, OfFleet)

    def known_of(self, fleet: Fleet) -> bool:
        """Return whether what the metric rests on is known of a fleet; while it is not, nothing is published."""
        return fleet.trusted if self.rests_on is Basis.READINGS else fleet.membership_known


def _state(state: AgentState) -> OfFleet:
    return OfFleet(lambda fleet: fleet.states[state])


def _utilization_percent(fleet: Fleet) -> float | None:
    return None if fleet.utilization is None else 100 * fleet.utilization


def _crash_looping(fleet: Fleet) -> float | None:
    """Count the agents Kubernetes holds back; not known where no Kubernetes stands behind the fleet."""
    facts = [agent.snapshot.target.facts for agent in fleet.agents]
    known = [fact for fact in facts if fact is not None]
    return sum(fact.crash_looping for fact in known) if known else None


def _tasks_active(agent: Agent) -> float | None:
    """Return what counts in the fleet's ActiveTasks, so that the distribution's sum is that number."""
    reading = agent.snapshot.reading
    if reading is None or not agent.fresh or agent.state is AgentState.DRAINING:
        return None
    return reading.tasks_active


def _fact(read: Callable[[PodFacts], float | None]) -> Callable[[Agent], float | None]:
    def value(agent: Agent) -> float | None:
        facts = agent.snapshot.target.facts
        return None if facts is None else read(facts)

    return value


def _memory_percent(agent: Agent) -> float | None:
    used, facts = agent.memory_working_set_bytes, agent.snapshot.target.facts
    if used is None or facts is None or not facts.memory_limit_bytes:
        return None
    return 100 * used / facts.memory_limit_bytes


CLOUDWATCH_METRICS: tuple[CloudWatchMetric, ...] = (
    CloudWatchMetric(
        "CapacityTasks",
        "Count",
        MetricSet.MINIMAL,
        Basis.READINGS,
        "Tasks the serving agents can run at once.",
        OfFleet(lambda fleet: fleet.capacity_tasks),
    ),
    CloudWatchMetric(
        "ActiveTasks",
        "Count",
        MetricSet.MINIMAL,
        Basis.READINGS,
        "Tasks running on agents that are not draining.",
        OfFleet(lambda fleet: fleet.tasks_active),
    ),
    CloudWatchMetric(
        "QueuedTasks",
        "Count",
        MetricSet.MINIMAL,
        Basis.READINGS,
        "Tasks waiting for a slot. Not published while no agent reports a queue.",
        OfFleet(lambda fleet: fleet.tasks_queued),
    ),
    CloudWatchMetric(
        "DemandTasks",
        "Count",
        MetricSet.MINIMAL,
        Basis.READINGS,
        "Tasks the fleet should have room for.",
        OfFleet(lambda fleet: fleet.demand_tasks),
    ),
    CloudWatchMetric(
        "ScrapeCoveragePercent",
        "Percent",
        MetricSet.MINIMAL,
        Basis.KUBERNETES,
        "Share of the agents that should answer and do: 0 when nobody can be seen. Its absence means silence.",
        OfFleet(lambda fleet: 100 * fleet.coverage),
    ),
    CloudWatchMetric(
        "FreeSlots",
        "Count",
        MetricSet.DEFAULT,
        Basis.READINGS,
        "Tasks the serving agents could take on right now.",
        OfFleet(lambda fleet: fleet.free_slots),
    ),
    CloudWatchMetric(
        "UtilizationPercent",
        "Percent",
        MetricSet.DEFAULT,
        Basis.READINGS,
        "Tasks on the serving agents in percent of their slots. Not published while no agent serves.",
        OfFleet(_utilization_percent),
    ),
    CloudWatchMetric(
        "AgentsDisconnected",
        "Count",
        MetricSet.DEFAULT,
        Basis.READINGS,
        "Agents that say they have no connection to the Matillion control plane.",
        _state(AgentState.DISCONNECTED),
    ),
    CloudWatchMetric(
        "AgentsCrashLooping",
        "Count",
        MetricSet.DEFAULT,
        Basis.KUBERNETES,
        "Agents whose container Kubernetes holds back because it keeps dying. Not published without Kubernetes.",
        OfFleet(_crash_looping),
    ),
    CloudWatchMetric(
        "AgentActiveTasks",
        "Count",
        MetricSet.DEFAULT,
        Basis.READINGS,
        "Tasks of each agent that is not draining, as a distribution over the fleet: its sum is ActiveTasks.",
        OverAgents(_tasks_active),
    ),
    CloudWatchMetric(
        "AgentRestarts",
        "Count",
        MetricSet.DEFAULT,
        Basis.KUBERNETES,
        "Restarts of agents' containers since the last datum. Not published without Kubernetes.",
        IncreaseOverAgents(_fact(lambda facts: facts.restarts)),
    ),
    CloudWatchMetric(
        "MemoryUtilizationPercent",
        "Percent",
        MetricSet.DEFAULT,
        Basis.KUBERNETES,
        "Memory in use of each agent's limit, as a distribution over the fleet. Not published without metrics-server.",
        OverAgents(_memory_percent),
    ),
    CloudWatchMetric(
        "TaskFailures",
        "Count",
        MetricSet.DEFAULT,
        Basis.KUBERNETES,
        "Failed tasks in the agents' logs since the last datum. Not published while nobody follows them (pod_logs).",
        IncreaseOverAgents(lambda agent: agent.snapshot.task_failures, begins_again=True),
    ),
    CloudWatchMetric(
        "AgentsServing",
        "Count",
        MetricSet.ALL,
        Basis.READINGS,
        "Agents that are connected and take work.",
        _state(AgentState.SERVING),
    ),
    CloudWatchMetric(
        "AgentsUnreachable",
        "Count",
        MetricSet.ALL,
        Basis.KUBERNETES,
        "Agents that should answer and do not.",
        _state(AgentState.UNREACHABLE),
    ),
    CloudWatchMetric(
        "AgentsDraining",
        "Count",
        MetricSet.ALL,
        Basis.KUBERNETES,
        "Agents that finish their tasks and then end.",
        _state(AgentState.DRAINING),
    ),
)

METRIC_NAMES = tuple(metric.name for metric in CLOUDWATCH_METRICS)


def select(chosen: Iterable[str]) -> tuple[CloudWatchMetric, ...]:
    """Return the metrics that names and sets choose, in the order of the table.

    Raises ValueError, with a sentence for the reader, for a name that is neither, or when nothing is chosen.
    """
    names = set(chosen)
    unknown = sorted(names - set(METRIC_NAMES) - set(MetricSet))
    if unknown:
        raise ValueError(f"there is no metric {', '.join(unknown)}")
    sets = [MetricSet(name) for name in names & set(MetricSet)]
    order = list(MetricSet)
    widest = max(map(order.index, sets), default=-1)
    metrics = tuple(
        metric for metric in CLOUDWATCH_METRICS if metric.name in names or order.index(metric.smallest_set) <= widest
    )
    if not metrics:
        raise ValueError("an empty list publishes nothing; set cloudwatch.enabled to false instead")
    return metrics
