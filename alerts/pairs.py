"""Which CloudWatch alarm stands for which Prometheus alert, and why they differ or why there is none.

Every alert and every alarm is in a row. The reason is empty only where both fire on the same figures.
"""

from dataclasses import dataclass

from alerts.durations import in_words
from alerts.settings import Settings

_NO_FORECAST = "An alarm compares current values with a number; it does not extrapolate."


@dataclass(frozen=True, slots=True)
class Pair:
    """An alert and its alarm; None on one side where there is no counterpart."""

    alert: str | None
    alarm: str | None
    reason: str = ""
    """Why the two differ, or why one of them is missing."""


def pairs(settings: Settings) -> tuple[Pair, ...]:
    """Return every alert, in the order of the rules, and then the alarms without an alert."""
    return (*_fleet(settings), *_agent(settings), *_exporter(settings), *_nodes())


def _fleet(settings: Settings) -> tuple[Pair, ...]:
    no_scaler = (
        "Nothing about scalers is published to CloudWatch. `QueueBuildingUp` and `NoFreeCapacity` show the effect."
    )
    return (
        Pair(
            "MatillionFleetNoCapacity",
            "CapacityLow",
            "The health of a fleet is not published to CloudWatch. The alarm watches the capacity that is left.",
        ),
        Pair(
            "MatillionFleetGone",
            "CapacityLow",
            "The health of a fleet is not published to CloudWatch. Its capacity of 0 is, unless its HPA says that its "
            "Deployment is scaled to 0: a single metric does not tell whether KEDA did it, or a person.",
        ),
        Pair(
            "MatillionFleetDisconnected",
            "CapacityLow",
            "An alarm on one metric cannot require that agents are disconnected and that none serves. It watches the "
            f"capacity that is left: below {settings.min_agents} agents, the vendor's minimum, for "
            f"{in_words(settings.capacity_low_for)}, because an idle fleet that is scaled to zero drains for up to "
            "two.",
        ),
        Pair(
            "MatillionFleetPartlyDisconnected",
            "ConnectivityLost",
            "The alarm fires for a single agent: one metric is no share of another.",
        ),
        Pair(
            "MatillionFleetCoverageLow",
            "AgentsUnreachable",
            f"The alert fires below {settings.coverage_low:.0%}, where demand is withheld, because "
            "`MatillionAgentUnreachable` reports each agent before that. The alarm stands for both, so it already "
            f"fires below {settings.coverage_warning:.0%}, before the other alarms lose their figures.",
        ),
        Pair(
            "MatillionFleetQueueGrowing",
            "QueueBuildingUp",
            "An alarm does not detect a trend: it fires on any queue that lasts, growing or not.",
        ),
        Pair(
            "MatillionFleetQueueStuck",
            "QueueBuildingUp",
            f"One alarm stands for the alerts on a queue: it fires after {in_words(settings.queue_growing_for)}.",
        ),
        Pair(
            "MatillionFleetSaturated",
            "NoFreeCapacity",
            "The alarm counts free slots, since agents that refuse tasks have none: it also fires for them, and for a "
            f"fleet without capacity. The alert takes {settings.saturated:.0%} of the slots, so that a slot that is "
            "free for a moment does not end it.",
        ),
        Pair(
            "MatillionFleetRefusing",
            None,
            "The number of agents that refuse tasks is not published to CloudWatch. Their slots do not count as free, "
            "so `NoFreeCapacity` fires when no other agent has one.",
        ),
        Pair("MatillionFleetCapacityExhaustionPredicted", None, _NO_FORECAST),
        Pair("MatillionFleetAtMaximum", None, no_scaler),
        Pair("MatillionScalerInactive", None, no_scaler),
        Pair(
            "MatillionFleetNotScaling",
            None,
            "How many agents a fleet needs is not published to CloudWatch. `QueueBuildingUp` and `NoFreeCapacity` show "
            "the effect.",
        ),
        Pair("MatillionFleetOversized", None, "It is about money and reports no fault."),
        Pair(
            "MatillionTasksLost",
            "TasksLost",
            "`TasksLost` has no reasons: one alarm counts all of them. The alert is critical or a warning by reason.",
        ),
        Pair("MatillionTaskFailures", "TaskFailures"),
        Pair(
            "MatillionAgentVersionSkew",
            None,
            "Versions are not published to CloudWatch: each would be a billed metric of its own.",
        ),
    )


def _agent(settings: Settings) -> tuple[Pair, ...]:
    return (
        Pair(
            "MatillionAgentDisconnected",
            "ConnectivityLost",
            "`AgentsDisconnected` does not include stopped agents. `CapacityLow` fires when too many slots are "
            "missing.",
        ),
        Pair(
            "MatillionAgentUnreachable",
            "AgentsUnreachable",
            "One alarm for the fleet instead of an alert for each agent, which would take billed metrics for each "
            f"agent: it fires when more than {1 - settings.coverage_warning:.0%} of the agents have not answered for "
            f"{in_words(settings.coverage_low_for)}.",
        ),
        Pair("MatillionAgentLegacyMetrics", None, "It asks for an upgrade and reports no fault."),
        Pair(
            "MatillionAgentNotStarting",
            None,
            "Starting agents are not published to CloudWatch. `CapacityLow` fires when the fleet is too small "
            "without them.",
        ),
        Pair(
            "MatillionAgentDrainTooLong",
            None,
            "How long an agent has been draining is not published to CloudWatch, only how many are.",
        ),
        Pair(
            "MatillionAgentDrainCutShort",
            None,
            "When a draining agent will be killed is not published to CloudWatch.",
        ),
        Pair(
            "MatillionAgentMemoryPressure",
            "MemoryNearLimit",
            "The alarm watches the container's memory. The Java heap is not published to CloudWatch.",
        ),
        Pair(
            "MatillionAgentMemoryCritical",
            None,
            "`MemoryNearLimit` fires earlier on the same metric. To be notified only of the critical state, set "
            f"`MemoryPercentThreshold` to {100 * settings.memory_critical:g}.",
        ),
        Pair("MatillionAgentMemoryExhaustionPredicted", None, _NO_FORECAST),
        Pair(
            "MatillionAgentOOMKilled",
            "Restarts",
            "`AgentRestarts` has no reasons: one alarm counts every restart of the fleet, and takes "
            f"{settings.fleet_restarts} within {in_words(settings.fleet_restarts_window)}.",
        ),
        Pair(
            "MatillionAgentCrashLooping",
            "CrashLooping",
            "Both bridge the moments in which the container runs: the alert with a window, the alarm with its number "
            "of data points. The alarm counts draining agents as well.",
        ),
        Pair(
            "MatillionAgentRestarting",
            "Restarts",
            f"The alert is about one agent: {settings.restarts} restarts within {in_words(settings.restarts_window)}. "
            "The alarm is about the fleet, where as many are often unrelated: it takes "
            f"{settings.fleet_restarts} within {in_words(settings.fleet_restarts_window)}, "
            "which probably have one cause.",
        ),
    )


def _exporter(settings: Settings) -> tuple[Pair, ...]:
    silence = (
        "The cause is not visible in CloudWatch, only that nothing is published. The alarm waits as long as for an "
        f"exporter that is down, {in_words(settings.exporter_down_for)}."
    )
    return (
        Pair(
            "MatillionExporterDown",
            "ExporterSilent",
            "The alarm is about one fleet, and also fires once the exporter has forgotten one without pods: then "
            "nothing is published either.",
        ),
        Pair("MatillionExporterStale", "ExporterSilent", silence),
        Pair(
            "MatillionReplicasDisagree",
            None,
            "Only the leader publishes, so CloudWatch never has the figures of two replicas.",
        ),
        Pair("MatillionExporterCloudWatchFailing", "ExporterSilent", silence),
        Pair(
            "MatillionExporterSpoolNotDurable",
            None,
            "What the exporter says of itself is not published to CloudWatch; the data still arrives.",
        ),
        Pair(
            "MatillionExternalMetricsFailing",
            None,
            "What the exporter says of itself is not published to CloudWatch. `QueueBuildingUp` and `NoFreeCapacity` "
            "show the effect.",
        ),
        Pair("MatillionExporterNoLeader", "ExporterSilent", silence),
    )


def _nodes() -> tuple[Pair, ...]:
    reason = (
        "The exporter has no figures of nodes. Prometheus usually has them from node-exporter, with its own alerts."
    )
    return (Pair(None, "NodeCpu", reason), Pair(None, "NodeMemory", reason))
