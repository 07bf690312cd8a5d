"""Alerts about a whole fleet: its connection, its slots, its queue, and whether it can be seen at all."""

from alerts.prometheus.recording import (
    ACTIVE,
    AGENTS,
    CAPACITY,
    COVERAGE,
    DESIRED,
    FREE_SLOTS,
    QUEUED,
    REFUSING,
    TASK_FAILURES,
    UTILIZATION,
    VERSIONS,
)
from alerts.prometheus.rules import Alert, Clock, Group, latest, on
from alerts.prometheus.settings import FLEET, OUT_OF_WORK, Settings

_FLEET = "fleet {{ $labels.fleet }} in namespace {{ $labels.namespace }}"


def groups(settings: Settings, clock: Clock) -> tuple[Group, ...]:
    """Return the alerts of fleets."""
    return (
        Group(
            "matillion-fleet.alerts",
            (
                *_health(settings),
                *_capacity(settings, clock),
                *_scaling(settings),
                *_work(settings, clock),
            ),
        ),
    )


def _health(settings: Settings) -> tuple[Alert, ...]:
    return (
        Alert(
            name="MatillionFleetDisconnected",
            severity="critical",
            for_seconds=settings.fleet_disconnected_for,
            expr=f"""
            (
              sum by ({", ".join(FLEET)}) ({AGENTS}{{state=~"{OUT_OF_WORK}"}}) > 0
              and {on(FLEET)} {AGENTS}{{state="serving"}} == 0
            )
            unless {on(FLEET)} {COVERAGE} < {settings.coverage_low:g}
            """,
            summary=f"No agent of {_FLEET} is connected",
            description=f"""All {{{{ $value | humanize }}}} agents of {_FLEET} that answer are disconnected from the
            Matillion control plane or stopped: the fleet takes no work. What runs goes on.""",
        ),
        Alert(
            name="MatillionFleetCoverageLow",
            severity="critical",
            for_seconds=settings.coverage_low_for,
            expr=f"{COVERAGE} < {settings.coverage_low:g}",
            summary=f"Too few agents of {_FLEET} can be seen",
            description=f"""Only {{{{ $value | humanizePercentage }}}} of the agents of {_FLEET} that should answer do.
            The fleet's demand is withheld and autoscaling stands still until they answer again.""",
        ),
    )


def _capacity(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    window = clock(settings.exhaustion_window)
    ahead = f"{settings.exhaustion_horizon / clock.faster:g}"
    in_words = Clock()(settings.exhaustion_horizon)
    growing = clock(settings.queue_growing_window)
    return (
        Alert(
            name="MatillionFleetQueueGrowing",
            severity="warning",
            for_seconds=settings.queue_growing_for,
            expr=f"""
            {QUEUED} > 0
            and {on(FLEET)} deriv({QUEUED}[{growing}]) > 0
            """,
            summary=f"The queue of {_FLEET} keeps growing",
            description=f"""{{{{ $value | humanize }}}} tasks wait for a slot of {_FLEET}, and more come than agents
            take on.""",
        ),
        Alert(
            name="MatillionFleetSaturated",
            severity="warning",
            for_seconds=settings.saturated_for,
            # A fleet without capacity has no free slot either; that is an outage, and other alerts are about it.
            expr=f"""
            {ACTIVE}
            and {on(FLEET)} {FREE_SLOTS} == 0
            and {on(FLEET)} {CAPACITY} > 0
            unless {on(FLEET)} {REFUSING} > 0
            """,
            summary=f"No free slot in {_FLEET}",
            description=f"""Every slot of {_FLEET} is taken: {{{{ $value | humanize }}}} tasks run and new ones wait.
            Agents with an old image do not report a queue, so the queue shown can be too short or missing.""",
        ),
        Alert(
            name="MatillionFleetRefusing",
            severity="warning",
            for_seconds=settings.refusing_for,
            expr=f"""
            {REFUSING} / {on(FLEET)} sum by ({", ".join(FLEET)}) ({AGENTS}{{state="serving"}} > 0)
            >= {settings.refusing_share:g}
            """,
            summary=f"Agents of {_FLEET} take no more work",
            description=f"""{{{{ $value | humanizePercentage }}}} of the serving agents of {_FLEET} have free slots and
            take no work: their CPU, heap or memory is at its limit. Tasks wait although the count of tasks says that
            there is room.""",
        ),
        Alert(
            name="MatillionFleetCapacityExhaustionPredicted",
            severity="warning",
            for_seconds=settings.exhaustion_for,
            # Work must grow beyond today's slots, and free slots must really get fewer: the first alone is true of a
            # fleet whose autoscaler keeps pace, the second alone of one that is scaled down or rolled out.
            expr=f"""
            predict_linear({ACTIVE}[{window}], {ahead}) > {on(FLEET)} {CAPACITY}
            and {on(FLEET)} predict_linear({FREE_SLOTS}[{window}], {ahead}) < 0
            and {on(FLEET)} {FREE_SLOTS} > 0
            and {on(FLEET)} {UTILIZATION} > {settings.exhaustion_floor:g}
            and {on(FLEET)} {ACTIVE} offset {clock(settings.exhaustion_history)}
            """,
            summary=f"{_FLEET[0].upper()}{_FLEET[1:]} will be full within {in_words}",
            description=f"""If work goes on growing as it does, {_FLEET} has {{{{ $value | humanize }}}} tasks in
            {in_words}, more than its agents have slots for, and its free slots are getting fewer.""",
        ),
    )


def _scaling(settings: Settings) -> tuple[Alert, ...]:
    of_scaler = (*FLEET, "scaler")
    return (
        Alert(
            name="MatillionFleetAtMaximum",
            severity="warning",
            for_seconds=settings.at_maximum_for,
            # Desired agents are the demand over the target, rounded up: more than the maximum exactly when the demand
            # is more than the maximum times the target.
            expr=f"{DESIRED} > {on(FLEET)} {latest('scaler_max_agents', FLEET)}",
            summary=f"The scaler of {_FLEET} stops at its maximum",
            description=f"""The demand of {_FLEET} takes {{{{ $value | humanize }}}} agents, and its scaler (HPA) asks
            for fewer at most: work waits although agents could be added.""",
        ),
        Alert(
            name="MatillionScalerInactive",
            severity="warning",
            for_seconds=settings.scaler_inactive_for,
            # Scaling a Deployment to 0 switches its HPA off, which somebody wanted.
            expr=f"""
            {latest("scaler_active", of_scaler)} == 0
            unless {on(of_scaler)} {latest("scaler_current_agents", of_scaler)} == 0
            """,
            summary=f"The scaler of {_FLEET} is not active",
            description=f"""The HPA {{{{ $labels.scaler }}}} of {_FLEET} does not get its metrics (ScalingActive is
            {{{{ $value | humanize }}}}): the fleet stays as large as it is, whatever work comes.""",
        ),
    )


def _work(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    return (
        Alert(
            name="MatillionTaskFailures",
            severity="warning",
            for_seconds=0,
            expr=f"{TASK_FAILURES} > {settings.task_failures}",
            summary=f"Tasks fail in {_FLEET}",
            description=f"""About {{{{ $value | humanize }}}} tasks failed in {_FLEET} within
            {Clock()(settings.task_failures_window)}, by the agents' logs.""",
        ),
        Alert(
            name="MatillionAgentVersionSkew",
            severity="warning",
            for_seconds=settings.version_skew_for,
            expr=f"last_over_time({VERSIONS}[{clock(settings.bridge)}]) > {settings.versions}",
            summary=f"{{{{ $value | humanize }}}} versions of the agent run in {_FLEET}",
            description=f"""Agents of {{{{ $value | humanize }}}} different versions have been running in {_FLEET} for
            {Clock()(settings.version_skew_for)}; a rollout has two for a while.""",
        ),
    )
