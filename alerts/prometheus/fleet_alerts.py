"""Alerts about a whole fleet: its connection, slots and queue, and whether its agents answer at all."""

from typing import Literal

from alerts.durations import in_words
from alerts.prometheus.labels import FLEET, OUT_OF_WORK
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
from alerts.settings import Settings

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
            when="no agent of the fleet is connected",
            expr=f"""
            (
              sum by ({", ".join(FLEET)}) ({AGENTS}{{state=~"{OUT_OF_WORK}"}}) > 0
              and {on(FLEET)} {AGENTS}{{state="serving"}} == 0
            )
            unless {on(FLEET)} {COVERAGE} < {settings.coverage_low:g}
            """,
            summary=f"No agent of {_FLEET} is connected",
            description=f"""All {{{{ $value | humanize }}}} agents of {_FLEET} that answer are disconnected from the
            Matillion control plane or stopped: the fleet takes no new tasks. Running tasks continue.""",
        ),
        Alert(
            name="MatillionFleetCoverageLow",
            severity="critical",
            for_seconds=settings.coverage_low_for,
            when=f"less than {settings.coverage_low:.0%} of the agents that should answer do; demand is withheld",
            expr=f"{COVERAGE} < {settings.coverage_low:g}",
            summary=f"Too few agents of {_FLEET} answer",
            description=f"""Only {{{{ $value | humanizePercentage }}}} of the agents of {_FLEET} that should answer do.
            The fleet's demand is withheld and autoscaling stops until they answer again.""",
        ),
    )


def _capacity(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    window = clock(settings.exhaustion_window)
    ahead = f"{settings.exhaustion_horizon / clock.faster:g}"
    horizon = Clock()(settings.exhaustion_horizon)
    growing = clock(settings.queue_growing_window)
    return (
        Alert(
            name="MatillionFleetQueueGrowing",
            severity="warning",
            for_seconds=settings.queue_growing_for,
            when="tasks are queued, and their number grows",
            expr=f"""
            {QUEUED} > {settings.queued_tasks}
            and {on(FLEET)} deriv({QUEUED}[{growing}]) > 0
            """,
            summary=f"The queue of {_FLEET} keeps growing",
            description=f"""{{{{ $value | humanize }}}} tasks are queued in {_FLEET}, and more arrive than its agents
            take.""",
        ),
        Alert(
            name="MatillionFleetSaturated",
            severity="warning",
            for_seconds=settings.saturated_for,
            when="no slot is free; also where agents report no queue",
            # A fleet without capacity has no free slot either; that is an outage, which other alerts cover.
            expr=f"""
            {ACTIVE}
            and {on(FLEET)} {FREE_SLOTS} == 0
            and {on(FLEET)} {CAPACITY} > 0
            unless {on(FLEET)} {REFUSING} > 0
            """,
            summary=f"No free slot in {_FLEET}",
            description=f"""Every slot of {_FLEET} is taken: {{{{ $value | humanize }}}} tasks are running and new ones
            wait. Agents with an old image do not report a queue, so the reported queue can be too short or missing.""",
        ),
        Alert(
            name="MatillionFleetRefusing",
            severity="warning",
            for_seconds=settings.refusing_for,
            when=f"at least {settings.refusing_share:.0%} of the serving agents have free slots and refuse tasks: CPU, "
            "heap or memory at the limit",
            expr=f"""
            {REFUSING} / {on(FLEET)} sum by ({", ".join(FLEET)}) ({AGENTS}{{state="serving"}} > 0)
            >= {settings.refusing_share:g}
            """,
            summary=f"Agents of {_FLEET} refuse tasks",
            description=f"""{{{{ $value | humanizePercentage }}}} of the serving agents of {_FLEET} have free slots and
            refuse tasks: their CPU, heap or memory is at its limit. Tasks wait although their number suggests that
            slots are free.""",
        ),
        Alert(
            name="MatillionFleetCapacityExhaustionPredicted",
            severity="warning",
            for_seconds=settings.exhaustion_for,
            when=f"at the current growth no slot will be free within {in_words(settings.exhaustion_horizon)}",
            # The load must outgrow today's slots, and free slots must really decrease: the first alone is true of a
            # fleet whose autoscaler keeps up, the second alone of one that is scaled down or rolled out.
            expr=f"""
            predict_linear({ACTIVE}[{window}], {ahead}) > {on(FLEET)} {CAPACITY}
            and {on(FLEET)} predict_linear({FREE_SLOTS}[{window}], {ahead}) < 0
            and {on(FLEET)} {FREE_SLOTS} > 0
            and {on(FLEET)} {UTILIZATION} > {settings.exhaustion_floor:g}
            and {on(FLEET)} {ACTIVE} offset {clock(settings.exhaustion_history)}
            """,
            summary=f"{_FLEET[0].upper()}{_FLEET[1:]} will be full within {horizon}",
            description=f"""If its load keeps growing at this rate, {_FLEET} will have {{{{ $value | humanize }}}} tasks
            in {horizon}, more than its agents have slots for. Its free slots are decreasing.""",
        ),
    )


def _scaling(settings: Settings) -> tuple[Alert, ...]:
    of_scaler = (*FLEET, "scaler")
    return (
        Alert(
            name="MatillionFleetAtMaximum",
            severity="warning",
            for_seconds=settings.at_maximum_for,
            when="demand needs more agents than the HPA's maximum (needs [`scalers`](configuration.md))",
            # Desired agents are demand divided by the target, rounded up: above the maximum exactly when demand is
            # above the maximum times the target.
            expr=f"{DESIRED} > {on(FLEET)} {latest('scaler_max_agents', FLEET)}",
            summary=f"The scaler of {_FLEET} is at its maximum",
            description=f"""The demand of {_FLEET} needs {{{{ $value | humanize }}}} agents, and the maximum of its
            scaler (HPA) is lower: tasks wait although agents could be added.""",
        ),
        Alert(
            name="MatillionScalerInactive",
            severity="warning",
            for_seconds=settings.scaler_inactive_for,
            when="an HPA gets no metrics, so the fleet keeps its size (needs `scalers`)",
            # Scaling a Deployment to 0 disables its HPA, on purpose.
            expr=f"""
            {latest("scaler_active", of_scaler)} == 0
            unless {on(of_scaler)} {latest("scaler_current_agents", of_scaler)} == 0
            """,
            summary=f"The scaler of {_FLEET} is inactive",
            description=f"""The HPA {{{{ $labels.scaler }}}} of {_FLEET} does not get its metrics (ScalingActive is
            {{{{ $value | humanize }}}}): the fleet keeps its size, whatever its load.""",
        ),
    )


def _lost(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    window = in_words(settings.tasks_lost_window)

    def lost(severity: Literal["critical", "warning"], reasons: str, when: str, cause: str) -> Alert:
        # Rounded: `increase` extrapolates to the ends of its window.
        counter = f"matillion_fleet_tasks_lost_total{{{reasons}}}[{clock(settings.tasks_lost_window)}]"
        return Alert(
            name="MatillionTasksLost",
            severity=severity,
            for_seconds=0,
            when=f"{when} within {window}",
            expr=f"max by ({', '.join((*FLEET, 'reason'))}) (round(increase({counter}))) > {settings.tasks_lost}",
            summary=f"Running tasks were lost in {_FLEET} ({{{{ $labels.reason }}}})",
            description=f"""About {{{{ $value | humanize }}}} tasks of {_FLEET} were running on agents that ended
            within {Clock()(settings.tasks_lost_window)}: {cause}. An estimate from each agent's last reading.""",
        )

    return (
        lost(
            "critical",
            'reason!="Deleted"',
            "running tasks were lost with an agent that was killed or went away",
            "{{ $labels.reason }}",
        ),
        lost(
            "warning",
            'reason="Deleted"',
            "running tasks were lost with an agent whose pod was deleted before they finished",
            "their pods were deleted before the tasks finished",
        ),
    )


def _work(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    return (
        *_lost(settings, clock),
        Alert(
            name="MatillionTaskFailures",
            severity="warning",
            for_seconds=0,
            when=f"more than {settings.task_failures} tasks failed within {in_words(settings.task_failures_window)} "
            "(needs `pod_logs`)",
            expr=f"{TASK_FAILURES} > {settings.task_failures}",
            summary=f"Tasks are failing in {_FLEET}",
            description=f"""About {{{{ $value | humanize }}}} tasks failed in {_FLEET} within
            {Clock()(settings.task_failures_window)}, according to the agents' logs.""",
        ),
        Alert(
            name="MatillionAgentVersionSkew",
            severity="warning",
            for_seconds=settings.version_skew_for,
            when=f"more than {settings.versions} versions run in one fleet",
            expr=f"last_over_time({VERSIONS}[{clock(settings.bridge)}]) > {settings.versions}",
            summary=f"{{{{ $value | humanize }}}} agent versions are running in {_FLEET}",
            description=f"""Agents of {{{{ $value | humanize }}}} different versions have been running in {_FLEET} for
            {Clock()(settings.version_skew_for)}; a rollout has two at a time.""",
        ),
    )
