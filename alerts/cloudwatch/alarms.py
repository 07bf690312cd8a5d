"""The alarms of a fleet's stack and the thresholds that a stack may set. Does not know how a template is written.

An alarm compares one statistic of one metric with one number. Where its alert evaluates more than that, `alerts.pairs`
gives the difference.
"""

from dataclasses import dataclass
from typing import Literal

from alerts.durations import in_words
from alerts.settings import MINUTE, Settings
from exporter.config import CapacitySettings

_NODE_PERIOD = 5 * MINUTE
"""Container Insights may skip a minute."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A threshold that a stack may set: a number in the unit of its metric, or of minutes."""

    name: str
    default: float
    description: str
    minimum: int
    maximum: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm, in ALARM while `statistic` over each of `periods` periods is beyond the threshold."""

    name: str
    description: str
    when: str
    """The condition in words, for the documentation."""
    metric: str
    statistic: Literal["Maximum", "Minimum", "Average", "Sum", "SampleCount"]
    comparison: Literal[">", ">=", "<", "<="]
    threshold: float | Parameter
    period: float = MINUTE
    periods: int | Parameter = 1
    to_alarm: int | None = None
    """How many of the periods must be beyond the threshold; None for all."""
    missing: Literal["ignore", "missing", "breaching"] = "ignore"
    """How CloudWatch treats missing data; the reason for each is in docs/cloudwatch.md."""
    of_nodes: bool = False
    """Whether it watches the cluster's nodes (Container Insights) instead of the fleet."""


@dataclass(frozen=True, slots=True)
class Stack:
    """What a stack of one fleet has."""

    parameters: tuple[Parameter, ...]
    alarms: tuple[Alarm, ...]


def stack(settings: Settings) -> Stack:
    """Return the thresholds and the alarms that follow from the settings."""
    queued = Parameter(
        "QueuedTasksThreshold",
        settings.queued_tasks,
        f"Alarm when more tasks than this have been queued for {in_words(settings.queue_growing_for)}.",
        0,
    )
    capacity = Parameter(
        "MinimumCapacityTasks",
        settings.min_agents * CapacitySettings().tasks_per_agent,
        f"Alarm when the fleet has had less capacity than this for {in_words(settings.capacity_low_for)}; "
        f"the default is {settings.min_agents} agents.",
        1,
    )
    coverage = _percent(
        "MinimumCoveragePercent",
        settings.coverage_warning,
        f"Alarm when a smaller share of the agents has answered for {in_words(settings.coverage_low_for)}.",
    )
    restarts = Parameter(
        "RestartsThreshold",
        settings.fleet_restarts,
        f"Alarm on this many restarts of agents within {in_words(settings.fleet_restarts_window)}.",
        1,
    )
    memory = _percent(
        "MemoryPercentThreshold",
        settings.memory_pressure,
        "Alarm when an agent has used more than this percentage of its memory limit for "
        f"{in_words(settings.memory_pressure_for)}.",
    )
    failures = Parameter(
        "TaskFailuresThreshold",
        settings.task_failures,
        f"Alarm when more tasks than this failed within {in_words(settings.task_failures_window)}.",
        0,
    )
    lost = Parameter(
        "TasksLostThreshold",
        settings.tasks_lost,
        f"Alarm when more running tasks than this were lost within {in_words(settings.tasks_lost_window)}.",
        0,
    )
    nodes = _percent(
        "NodePercentThreshold",
        settings.node_usage,
        f"Alarm when the nodes have used more than this on average for {in_words(settings.node_usage_for)} "
        "(CPU or memory).",
    )
    silent = Parameter(
        "SilentMinutes",
        _minutes(settings.exporter_down_for),
        "Alarm after this many minutes without data. For a fleet without an HPA that rests for more than a day at a "
        "time, set it above that.",
        2,
        1440,
    )
    return Stack(
        (queued, capacity, coverage, restarts, memory, lost, failures, nodes, silent),
        (
            *_work(settings, queued, capacity),
            *_health(settings, coverage, restarts, memory),
            _tasks_lost(settings, lost),
            _task_failures(settings, failures),
            _silence(silent),
            *_nodes(settings, nodes),
        ),
    )


def _percent(name: str, share: float, description: str) -> Parameter:
    return Parameter(name, round(100 * share), description, 1, 100)


def _minutes(seconds: float) -> int:
    """Return how many periods of a minute a duration is."""
    return round(seconds / MINUTE)


def _work(settings: Settings, queued: Parameter, capacity: Parameter) -> tuple[Alarm, ...]:
    disconnected = settings.agent_disconnected_for
    return (
        Alarm(
            name="ConnectivityLost",
            description="Agents have lost their connection to the Matillion control plane and take no new tasks. Check "
            "the egress path (proxy, NAT, firewall) and the vendor's status page.",
            when=f"an agent has been disconnected from the control plane for {in_words(disconnected)}",
            metric="AgentsDisconnected",
            statistic="Maximum",
            comparison=">=",
            threshold=1,
            periods=_minutes(disconnected),
        ),
        Alarm(
            name="QueueBuildingUp",
            description="Tasks are waiting for a slot. If the fleet does not grow, check the autoscaler and its "
            "maximum. Agents that report no queue cannot raise this alarm; NoFreeCapacity covers them.",
            when=f"more than `{queued.name}` ({queued.default:g}) tasks were queued throughout "
            f"{in_words(settings.queue_growing_for)}; silent where agents report no queue",
            metric="QueuedTasks",
            statistic="Minimum",
            comparison=">",
            threshold=queued,
            periods=_minutes(settings.queue_growing_for),
        ),
        Alarm(
            name="NoFreeCapacity",
            description="No agent of the fleet has had a free slot for "
            f"{in_words(settings.saturated_for)}. New tasks wait. Check the autoscaler and its maximum.",
            when=f"no slot has been free for {in_words(settings.saturated_for)}",
            metric="FreeSlots",
            statistic="Maximum",
            comparison="<=",
            threshold=0,
            periods=_minutes(settings.saturated_for),
        ),
        Alarm(
            name="CapacityLow",
            description="The serving agents can run fewer tasks than the configured minimum. Agents are missing, "
            "disconnected, stopped or unreachable.",
            when=f"capacity has been below `{capacity.name}` ({capacity.default:g}) for "
            f"{in_words(settings.capacity_low_for)}",
            metric="CapacityTasks",
            statistic="Maximum",
            comparison="<",
            threshold=capacity,
            periods=_minutes(settings.capacity_low_for),
        ),
    )


def _health(settings: Settings, coverage: Parameter, restarts: Parameter, memory: Parameter) -> tuple[Alarm, ...]:
    # The agent runs for moments between its crashes.
    crashes, of_minutes = _minutes(settings.crash_loop_window), _minutes(settings.crash_looping_for)
    return (
        Alarm(
            name="AgentsUnreachable",
            description="Agents that should answer do not. Below its min_coverage setting the exporter withholds every "
            "figure that agents report, and the alarms on those keep their state. Check the pods and the NetworkPolicy "
            "that admits the exporter.",
            when=f"coverage has been below `{coverage.name}` ({coverage.default:g}) for "
            f"{in_words(settings.coverage_low_for)}",
            metric="ScrapeCoveragePercent",
            statistic="Maximum",
            comparison="<",
            threshold=coverage,
            periods=_minutes(settings.coverage_low_for),
        ),
        Alarm(
            name="CrashLooping",
            description="Kubernetes delays the restart of an agent because it keeps crashing. See kubectl describe pod "
            "and kubectl logs --previous.",
            when=f"an agent was in a crash loop in {crashes} of {of_minutes} minutes",
            metric="AgentsCrashLooping",
            statistic="Maximum",
            comparison=">=",
            threshold=1,
            periods=of_minutes,
            to_alarm=crashes,
        ),
        Alarm(
            name="Restarts",
            description=f"Containers of agents restarted several times within "
            f"{in_words(settings.fleet_restarts_window)}, and their tasks failed with them. See kubectl describe pod "
            "for the reason (OOMKilled, a failed probe, an eviction).",
            when=f"agents restarted `{restarts.name}` ({restarts.default:g}) times or more within "
            f"{in_words(settings.fleet_restarts_window)}",
            metric="AgentRestarts",
            statistic="Sum",
            comparison=">=",
            threshold=restarts,
            period=settings.fleet_restarts_window,
            missing="missing",
        ),
        Alarm(
            name="MemoryNearLimit",
            description="The agent that uses the most memory is close to its limit; at the limit it is killed with all "
            "its tasks. Needs metrics-server.",
            when=f"an agent has been above `{memory.name}` ({memory.default:g}) of its memory limit for "
            f"{in_words(settings.memory_pressure_for)}; needs metrics-server",
            metric="MemoryUtilizationPercent",
            statistic="Maximum",
            comparison=">",
            threshold=memory,
            periods=_minutes(settings.memory_pressure_for),
        ),
    )


def _tasks_lost(settings: Settings, lost: Parameter) -> Alarm:
    return Alarm(
        name="TasksLost",
        description="Agents were killed, deleted or went away with running tasks, within the last "
        f"{in_words(settings.tasks_lost_window)}. fleet-exporter ledger lists them with the reasons.",
        when=f"more than `{lost.name}` ({lost.default:g}) running tasks were lost with their agents within "
        f"{in_words(settings.tasks_lost_window)}",
        metric="TasksLost",
        statistic="Sum",
        comparison=">",
        threshold=lost,
        period=settings.tasks_lost_window,
        missing="missing",
    )


def _task_failures(settings: Settings, failures: Parameter) -> Alarm:
    return Alarm(
        name="TaskFailures",
        description=f"Tasks failed within the last {in_words(settings.task_failures_window)}, according to the agents' "
        "logs. Needs pod_logs in the exporter, or the metric filter of task-failures.yaml.",
        when=f"more than `{failures.name}` ({failures.default:g}) tasks failed within "
        f"{in_words(settings.task_failures_window)}; needs `pod_logs`, or "
        "[a metric filter](pod-health.md#counted-by-cloudwatch-logs-instead) on logs that are in CloudWatch already",
        metric="TaskFailures",
        statistic="Sum",
        comparison=">",
        threshold=failures,
        period=settings.task_failures_window,
        missing="missing",
    )


def _silence(silent: Parameter) -> Alarm:
    return Alarm(
        name="ExporterSilent",
        description="No data for SilentMinutes. The exporter is down, has no leader, cannot reach CloudWatch, has not "
        "heard from the Kubernetes API for too long, or has forgotten a fleet without pods. Meanwhile the fleet's "
        "other alarms keep their state and mean nothing.",
        when=f"no data has arrived for `{silent.name}` ({silent.default:g})",
        metric="ScrapeCoveragePercent",
        statistic="SampleCount",
        comparison="<",
        threshold=1,
        periods=silent,
        missing="breaching",
    )


def _nodes(settings: Settings, used: Parameter) -> tuple[Alarm, ...]:
    def nodes(name: str, description: str, what: str) -> Alarm:
        return Alarm(
            name=name,
            description=description,
            when=f"the nodes' {what} has been above `{used.name}` ({used.default:g}) for "
            f"{in_words(settings.node_usage_for)}; with `NodeAlarms=true`, needs Container Insights",
            metric=f"node_{what.lower()}_utilization",
            statistic="Average",
            comparison=">",
            threshold=used,
            period=_NODE_PERIOD,
            periods=round(settings.node_usage_for / _NODE_PERIOD),
            missing="missing",
            of_nodes=True,
        )

    return (
        nodes(
            "NodeCpu",
            f"The cluster's nodes are short of CPU. Above {settings.node_usage:.0%} an agent refuses tasks, according "
            "to the vendor.",
            "CPU",
        ),
        nodes("NodeMemory", "The cluster's nodes are short of memory; agents may be evicted.", "memory"),
    )
