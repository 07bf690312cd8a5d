"""Every threshold, window and selector of the rules, in one place.

To change when an alert fires, change it here and run `make alerts`. Times are seconds; the `for` of an alert is among
them under the alert's name. Knows nothing of how a rule is written.
"""

from dataclasses import dataclass

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

RUNBOOK_BASE_URL = "https://matillion-fleet-exporter.example/runbooks/"
"""Where the pages of `alerts/runbooks/` are published: a host that cannot exist (RFC 2606), until you name yours.

That is the chart's `prometheus.runbookBaseUrl`, or `python -m alerts.build --runbook-base-url`.
"""

CLUSTER_LABEL = "cluster"
"""The label that tells clusters apart where one Prometheus holds several; where there is none it changes nothing."""
FLEET = (CLUSTER_LABEL, "namespace", "fleet")
AGENT = (*FLEET, "pod")
INSTALLATION = (CLUSTER_LABEL, "namespace", "job")
"""What the replicas of one exporter have in common and two exporters do not: labels that Prometheus gives a target."""

OUT_OF_WORK = "disconnected|stopped"
"""States of an agent that answers and takes no work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """When alerts fire. Shares are 0 to 1, times are seconds."""

    agent_disconnected_for: float = 2 * MINUTE
    """An agent that has just started connects within seconds."""
    fleet_disconnected_for: float = MINUTE
    agent_unreachable_for: float = 2 * MINUTE
    """After the exporter's own `stale_after`, 30 s."""
    agent_not_starting_for: float = 10 * MINUTE
    """A node takes minutes to come, a Fargate pod one or two, and a large image some more."""
    coverage_low: float = 0.5
    """The exporter's `capacity.min_coverage`: below it, demand is withheld and scalers stand still."""
    coverage_low_for: float = 5 * MINUTE

    queue_growing_window: float = 4 * MINUTE
    """Shorter than `queue_growing_for`, so that a queue that jumped once and stays does not count as growing."""
    queue_growing_for: float = 5 * MINUTE
    saturated_for: float = 5 * MINUTE
    legacy_for: float = HOUR
    """Longer than a start, in which the other page may only be slower to come."""
    refusing_share: float = 0.5
    """Fewer are a busy hour of some agents: the others take the work."""
    refusing_for: float = 10 * MINUTE
    """Longer than a heavy task's first minutes."""
    exhaustion_window: float = 30 * MINUTE
    exhaustion_horizon: float = 30 * MINUTE
    """Time enough for a person to raise the fleet's maximum and for nodes and agents to start."""
    exhaustion_floor: float = 0.5
    """Growth in a fleet that is not even half full is more likely a day that begins than slots that end."""
    exhaustion_history: float = 15 * MINUTE
    """A line through less than this is a line through noise."""
    exhaustion_for: float = 10 * MINUTE

    at_maximum_for: float = 15 * MINUTE
    """A burst that is worked off sooner is what a maximum is for."""
    scaler_inactive_for: float = 10 * MINUTE
    """A scaler may miss its metrics while the exporter, or the API server, is replaced."""

    memory_pressure: float = 0.85
    memory_pressure_for: float = 5 * MINUTE
    memory_critical: float = 0.95
    memory_critical_for: float = MINUTE
    heap_floor_window: float = 5 * MINUTE
    """The least heap within it is what a young collection left: used heap goes up and down with every collection."""
    leak_floor: float = 0.6
    """Below it growth is more likely an agent that warms up than one that leaks."""
    leak_window: float = HOUR
    leak_horizon: float = 4 * HOUR
    leak_for: float = 15 * MINUTE

    oom_window: float = 15 * MINUTE
    """How long an alert about something that happened stays."""
    crash_loop_window: float = 3 * MINUTE
    """A container in a crash loop runs for a while in between. Shorter than `crash_looping_for`: once is not a loop."""
    crash_looping_for: float = 5 * MINUTE
    restarts: int = 2
    restarts_window: float = HOUR

    versions: int = 2
    """A rollout has two at a time."""
    version_skew_for: float = DAY
    drain_too_long_for: float = 11 * HOUR
    """The vendor's pods are killed after 12 hours (`terminationGracePeriodSeconds: 43200`): an hour to act."""
    bridge: float = 15 * MINUTE
    """How long alerts that watch for many hours see over a gap: an exporter that restarts must not reset them."""
    task_failures: int = 5
    task_failures_window: float = 15 * MINUTE

    exporter_down_for: float = 5 * MINUTE
    exporter_remembered: float = 6 * HOUR
    """How long an exporter that vanished is missed by name while others are there."""
    sync_age: float = 2 * MINUTE
    """The exporter's `capacity.max_sync_age`."""
    stale_for: float = 2 * MINUTE
    replicas_disagree: float = 0.5
    """Share of a fleet's agents by which a replica sees fewer than another; a node that only one reaches is less."""
    replicas_disagree_for: float = 5 * MINUTE
    """A replica that has just begun has yet to hear of every agent, and in a rollout each is replaced once."""
    cloudwatch_age: float = 10 * MINUTE
    cloudwatch_window: float = 10 * MINUTE
    cloudwatch_lost_window: float = 15 * MINUTE
    cloudwatch_failing_for: float = 5 * MINUTE
    no_leader_for: float = 2 * MINUTE
    """A lease changes hands within 15 seconds."""
