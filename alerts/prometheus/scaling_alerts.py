"""Alerts about what scales a fleet: its limits, its silence, and a size that does not follow the work."""

from alerts.durations import in_words
from alerts.prometheus.labels import A_FLEET, BEGINNING, FLEET
from alerts.prometheus.recording import DEMAND, DESIRED, REPLICAS
from alerts.prometheus.rules import Alert, Clock, asked, latest, on
from alerts.settings import Settings


def rules(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    """Return the alerts."""
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
            summary=f"The scaler of {A_FLEET} is at its maximum",
            description=f"""The demand of {A_FLEET} needs {{{{ $value | humanize }}}} agents, and the maximum of its
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
            summary=f"The scaler of {A_FLEET} is inactive",
            description=f"""The HPA {{{{ $labels.scaler }}}} of {A_FLEET} does not get its metrics (ScalingActive is
            {{{{ $value | humanize }}}}): the fleet keeps its size, whatever its load.""",
        ),
        Alert(
            name="MatillionFleetNotScaling",
            severity="warning",
            for_seconds=settings.not_scaling_for,
            when="the demand is more than all pods have slots for, the HPA's maximum allows more, and none has been "
            f"added for {in_words(settings.not_scaling_window + settings.not_scaling_for)}",
            # A fleet above its target that still has slots may be meant to run so full.
            expr=f"""
            {DESIRED}
            and {on(FLEET)} {DEMAND} > {on(FLEET)} ({latest("tasks_per_agent", FLEET)} * {on(FLEET)} {REPLICAS})
            unless {on(FLEET)} {REPLICAS} > min_over_time({REPLICAS}[{clock(settings.not_scaling_window)}])
            unless {on(FLEET)} {REPLICAS} >= {on(FLEET)} {latest("scaler_max_agents", FLEET)}
            """,
            summary=f"{BEGINNING} does not grow",
            description=f"""{BEGINNING} needs {{{{ $value | humanize }}}} agents and
            has {asked(REPLICAS, "{}", "an unknown number of them")}, and none has been added for
            {Clock()(settings.not_scaling_window + settings.not_scaling_for)}. First: kubectl -n
            {{{{ $labels.namespace }}}} describe hpa tells what it follows and what keeps it.""",
        ),
        Alert(
            name="MatillionFleetOversized",
            severity="info",
            for_seconds=settings.oversized_for,
            when=f"there are more than {settings.oversized:g} times the agents that the demand needs, and more than "
            "the HPA's minimum",
            expr=f"""
            {REPLICAS} > {on(FLEET)} {settings.oversized:g} * {DESIRED}
            unless {on(FLEET)} {REPLICAS} <= {on(FLEET)} max by ({", ".join(FLEET)}) (matillion_fleet_scaler_min_agents)
            unless {on(FLEET)} {REPLICAS} <= {settings.oversized_agents}
            """,
            summary=f"{BEGINNING} is larger than its work",
            description=f"""{BEGINNING} has had {{{{ $value | humanize }}}} agents for
            {Clock()(settings.oversized_for)}, and needs {asked(DESIRED, "{}", "an unknown number of them")}: the others
            cost money. First look at what its HPA follows, and whether it has one.""",
        ),
    )
