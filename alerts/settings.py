"""Every threshold, window and duration of the alerts, for Prometheus and for CloudWatch.

To change when an alert fires, change it here and run `make alerts`. Times are in seconds; the `for` of an alert is
named after the alert. Does not know how a rule or an alarm is written.
"""

from dataclasses import dataclass

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

RUNBOOK_BASE_URL = "http://matillion-fleet-exporter.matillion.svc:9850/runbooks/"
"""Where the pages of `alerts/runbooks/` are served: by the exporter itself, at its Service as the chart names it.

The chart writes its own Service, or `web.external_url`, in its place. For another place, set the chart's
`prometheus.runbookBaseUrl` or use `python -m alerts.build --runbook-base-url`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """When alerts fire. Shares are 0 to 1, times are in seconds."""

    agent_disconnected_for: float = 2 * MINUTE
    """A new agent connects within seconds."""
    fleet_disconnected_for: float = MINUTE
    partly_disconnected: float = 0.25
    """Share of a fleet's agents; fewer are replaced by others (`capacity.max_replaced`)."""
    partly_disconnected_agents: int = 2
    """One agent alone is its own alert, however small its fleet."""
    no_capacity_for: float = 5 * MINUTE
    """A fleet whose agents are all replaced at once starts within this."""
    gone_for: float = 5 * MINUTE
    agent_unreachable_for: float = 2 * MINUTE
    """After the exporter's own `stale_after`, 30 s."""
    agent_not_starting_for: float = 10 * MINUTE
    """A node takes minutes to start, a Fargate pod one or two, and a large image a few more."""
    coverage_low: float = 0.5
    """The exporter's `capacity.min_coverage`: below it, demand is withheld and scalers stand still."""
    coverage_low_for: float = 5 * MINUTE
    coverage_warning: float = 0.8
    """CloudWatch only, where no alarm is about a single agent: well above `coverage_low`, so that it fires in time."""

    queued_tasks: int = 0
    queue_growing_window: float = 4 * MINUTE
    """Shorter than `queue_growing_for`, so that a queue that jumped once and then stays does not count as growing."""
    queue_growing_for: float = 5 * MINUTE
    queue_stuck_for: float = 15 * MINUTE
    """An HPA, a node and an agent take less than this together."""
    queue_stuck_window: float = 15 * MINUTE
    """With `queue_stuck_for`, how long tasks have waited when it is a page."""
    saturated: float = 0.97
    """Share of the slots. Where tasks end and begin all the time, one slot or another is free for a moment."""
    saturated_for: float = 5 * MINUTE
    min_agents: int = 2
    """The vendor's recommendation for an HPA: never fewer than two agents."""
    capacity_low_for: float = 3 * MINUTE
    """CloudWatch only. An idle fleet that is scaled to zero drains for up to two minutes."""
    legacy_for: float = HOUR
    """Longer than a start, during which the OpenTelemetry page may just be slower to appear."""
    refusing_share: float = 0.5
    """Fewer than this is a busy hour for some agents: the others take the work."""
    refusing_for: float = 10 * MINUTE
    """Longer than the first minutes of a heavy task."""
    exhaustion_window: float = 30 * MINUTE
    exhaustion_horizon: float = 30 * MINUTE
    """Enough time to raise the fleet's maximum and for nodes and agents to start."""
    exhaustion_floor: float = 0.5
    """Growth in a fleet that is less than half full is more likely the start of the day than a lack of slots."""
    exhaustion_history: float = 15 * MINUTE
    """A line through less than this is a line through noise."""
    exhaustion_for: float = 10 * MINUTE

    at_maximum_for: float = 15 * MINUTE
    """A maximum is there to cap bursts that are worked off sooner than this."""
    not_scaling_window: float = 5 * MINUTE
    not_scaling_for: float = 10 * MINUTE
    """With the window, 15 minutes since the last agent was added: a node and an agent take less together."""
    oversized: float = 2.0
    """Agents for each that the demand needs. An HPA's stabilization and a scale-in that waits keep fewer."""
    oversized_agents: int = 2
    """The vendor's recommendation: never fewer than two agents."""
    oversized_for: float = 2 * HOUR
    """Longer than the drains and the pauses between two batches."""
    scaler_inactive_for: float = 10 * MINUTE
    """A scaler may miss its metrics while the exporter or the API server is replaced."""

    memory_pressure: float = 0.85
    memory_pressure_for: float = 5 * MINUTE
    memory_critical: float = 0.95
    memory_critical_for: float = MINUTE
    heap_floor_window: float = 5 * MINUTE
    """The minimum within it is what a young collection left: used heap rises and falls with every collection."""
    leak_floor: float = 0.6
    """Below it, growth is more likely an agent that warms up than one that leaks."""
    leak_window: float = HOUR
    leak_horizon: float = 4 * HOUR
    leak_for: float = 15 * MINUTE

    oom_window: float = 15 * MINUTE
    """How long an alert about a past event stays active."""
    crash_loop_window: float = 3 * MINUTE
    """A container in a crash loop runs between crashes. Shorter than `crash_looping_for`: one crash is no loop."""
    crash_looping_for: float = 5 * MINUTE
    restarts: int = 2
    """Of one agent."""
    restarts_window: float = HOUR
    fleet_restarts: int = 3
    """CloudWatch only, of the whole fleet: fewer can be agents that have nothing to do with each other."""
    fleet_restarts_window: float = 15 * MINUTE
    """Within an hour, a large fleet has unrelated restarts; within minutes, they have one cause."""

    versions: int = 2
    """A rollout has two at a time."""
    version_skew_for: float = DAY
    drain_late: float = HOUR
    """An hour to act before the pod's own grace period ends; 12 hours in the vendor's charts."""
    drain_late_share: float = 0.1
    """The same as a share of the grace period, for pods with a short one; the smaller of the two applies."""
    drain_short: float = 15 * MINUTE
    """With less time left, a task that still runs is likely killed."""
    drain_cut_short_for: float = MINUTE
    """A last task that ends at once is no page; of the ten minutes that the Cluster Autoscaler leaves, most remain."""
    bridge: float = 15 * MINUTE
    """The gap that alerts with a `for` of many hours bridge: a restart of the exporter must not reset them."""
    tasks_lost: int = 0
    """Each lost task is a pipeline that failed through no fault of its own."""
    tasks_lost_window: float = 15 * MINUTE
    """How long an alert about a past event stays active."""
    task_failures: int = 5
    """Single failures are usually the pipeline's or the warehouse's, and say nothing about the agents."""
    task_failures_window: float = 15 * MINUTE

    exporter_down_for: float = 5 * MINUTE
    exporter_remembered: float = 7 * DAY
    """How long an exporter that vanished is reported by name while others are there: over a long weekend."""
    exporter_sampled: float = 10 * MINUTE
    """Between two looks at that past; of the last hour each minute counts."""
    spool_not_durable_for: float = 15 * MINUTE
    """A volume that is full or slow for a moment is tried again."""
    external_metrics_window: float = 10 * MINUTE
    """An HPA asks every 15 seconds, KEDA every 30."""
    external_metrics_for: float = 10 * MINUTE
    """A fleet is not trusted for a while after its nodes were lost, and no HPA asks while the API server restarts."""
    sync_age: float = 2 * MINUTE
    """The exporter's `capacity.max_sync_age`."""
    stale_for: float = 2 * MINUTE
    replicas_disagree: float = 0.5
    """Share of a fleet's agents that only one of two replicas reaches; the agents of a single node are fewer."""
    replicas_disagree_for: float = 5 * MINUTE
    """A new replica takes a moment to read every agent, and a rollout replaces each replica once."""
    cloudwatch_age: float = 10 * MINUTE
    cloudwatch_window: float = 10 * MINUTE
    cloudwatch_lost_window: float = 15 * MINUTE
    cloudwatch_failing_for: float = 5 * MINUTE
    no_leader_for: float = 2 * MINUTE
    """A lease changes hands within 15 seconds."""
    node_usage: float = 0.8
    """CloudWatch only. The vendor's agents take no new task above 80% CPU."""
    node_usage_for: float = 15 * MINUTE
