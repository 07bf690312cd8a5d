"""Alerts about a whole fleet: those of other modules, and those about its slots, its queue and its tasks."""

from typing import Literal

from alerts.durations import in_words
from alerts.prometheus import outage_alerts, scaling_alerts
from alerts.prometheus.labels import A_FLEET, BEGINNING, FLEET
from alerts.prometheus.recording import (
    ACTIVE,
    AGENTS,
    CAPACITY,
    FREE_SLOTS,
    QUEUED,
    REFUSING,
    TASK_FAILURES,
    UTILIZATION,
    VERSIONS,
)
from alerts.prometheus.rules import Alert, Clock, Group, asked, on
from alerts.settings import Settings


def groups(settings: Settings, clock: Clock) -> tuple[Group, ...]:
    """Return the alerts of fleets."""
    return (
        Group(
            "matillion-fleet.alerts",
            (
                *outage_alerts.rules(settings, clock),
                *_capacity(settings, clock),
                *scaling_alerts.rules(settings, clock),
                *_work(settings, clock),
            ),
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
            summary=f"The queue of {A_FLEET} keeps growing",
            description=f"""{{{{ $value | humanize }}}} tasks are queued in {A_FLEET}, and more arrive than its agents
            take.""",
        ),
        *_stuck(settings, clock),
        Alert(
            name="MatillionFleetSaturated",
            severity="warning",
            for_seconds=settings.saturated_for,
            when=f"at least {settings.saturated:.0%} of the slots are taken; also where agents report no queue",
            # A fleet without capacity has no utilization; that is an outage, which other alerts cover.
            expr=f"""
            {UTILIZATION} >= {settings.saturated:g}
            unless {on(FLEET)} {REFUSING} > 0
            """,
            summary=f"No free slot in {A_FLEET}",
            description=f"""{{{{ $value | humanizePercentage }}}} of the slots of {A_FLEET} are taken: new tasks
            wait. First compare its desired agents with its scaler's maximum. Agents with an old image do not report a
            queue, so the reported queue can be too short or missing.""",
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
            summary=f"Agents of {A_FLEET} refuse tasks",
            description=f"""{{{{ $value | humanizePercentage }}}} of the serving agents of {A_FLEET} have free slots and
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
            summary=f"{BEGINNING} will be full within {horizon}",
            description=f"""If its load keeps growing at this rate, {A_FLEET} will have {{{{ $value | humanize }}}}
            tasks in {horizon}, more than its agents have slots for. Its free slots are decreasing.""",
        ),
    )


def _stuck(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    def stuck(severity: Literal["critical", "warning"], expr: str, lasted: float) -> Alert:
        slots = asked(FREE_SLOTS, "{} free slots beside them", "an unknown number of free slots")
        return Alert(
            name="MatillionFleetQueueStuck",
            severity=severity,
            for_seconds=settings.queue_stuck_for,
            when=f"tasks have been queued for {in_words(lasted)}, whether their number grows or not",
            expr=expr,
            summary=f"Tasks wait in {A_FLEET}",
            description=f"""{{{{ $value | humanize }}}} tasks are queued in {A_FLEET}, and some have been for
            {Clock()(lasted)}; {slots}. With free slots, its agents refuse work: look at their CPU and heap first.
            Without, more agents are needed: look at its HPA first.""",
        )

    lasted = settings.queue_stuck_window + settings.queue_stuck_for
    window = clock(settings.queue_stuck_window)
    return (
        stuck(
            "critical",
            f"""
            {QUEUED} > {settings.queued_tasks}
            and {on(FLEET)} min_over_time({QUEUED}[{window}]) > {settings.queued_tasks}
            and {on(FLEET)} {QUEUED} offset {window} > {settings.queued_tasks}
            """,
            lasted,
        ),
        stuck("warning", f"{QUEUED} > {settings.queued_tasks}", settings.queue_stuck_for),
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
            summary=f"Running tasks were lost in {A_FLEET} ({{{{ $labels.reason }}}})",
            description=f"""About {{{{ $value | humanize }}}} tasks of {A_FLEET} were running on agents that ended
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
            summary=f"Tasks are failing in {A_FLEET}",
            description=f"""About {{{{ $value | humanize }}}} tasks failed in {A_FLEET} within
            {Clock()(settings.task_failures_window)}, according to the agents' logs.""",
        ),
        Alert(
            name="MatillionAgentVersionSkew",
            severity="warning",
            for_seconds=settings.version_skew_for,
            when=f"more than {settings.versions} versions run in one fleet",
            expr=f"last_over_time({VERSIONS}[{clock(settings.bridge)}]) > {settings.versions}",
            summary=f"{{{{ $value | humanize }}}} agent versions are running in {A_FLEET}",
            description=f"""Agents of {{{{ $value | humanize }}}} different versions have been running in {A_FLEET} for
            {Clock()(settings.version_skew_for)}; a rollout has two at a time.""",
        ),
    )
