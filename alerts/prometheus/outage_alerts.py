"""Alerts about fleets that do no work, or not all of theirs: agents that do not serve, are cut off or are gone."""

from typing import Literal

from alerts.prometheus.labels import A_FLEET, BEGINNING, FLEET, OUT_OF_WORK
from alerts.prometheus.recording import AGENTS, CAPACITY, COVERAGE, HEALTH, REPLICAS
from alerts.prometheus.rules import Alert, Clock, asked, on
from alerts.settings import Settings


def rules(settings: Settings, clock: Clock) -> tuple[Alert, ...]:
    """Return the alerts."""
    return (_no_capacity(settings, clock), *_gone(settings), *_control_plane(settings))


def _no_capacity(settings: Settings, clock: Clock) -> Alert:
    return Alert(
        name="MatillionFleetNoCapacity",
        severity="critical",
        for_seconds=settings.no_capacity_for,
        when="the fleet has pods and its health is `down`: none of them serves",
        # A container in a crash loop runs between its crashes.
        expr=f"""
        {REPLICAS} > 0
        and {on(FLEET)} max_over_time({HEALTH}{{health="down"}}[{clock(settings.crash_loop_window)}]) == 1
        """,
        summary=f"No agent of {A_FLEET} serves",
        description=f"""None of the {{{{ $value | humanize }}}} agents of {A_FLEET} serves: it takes no tasks, and
        what runs may be lost. First: fleet-exporter status, or kubectl -n {{{{ $labels.namespace }}}} get pods, tells
        why for each of them.""",
    )


def _gone(settings: Settings) -> tuple[Alert, ...]:
    def gone(severity: Literal["critical", "warning"], health: str, when: str, cause: str) -> Alert:
        return Alert(
            name="MatillionFleetGone",
            severity=severity,
            for_seconds=settings.gone_for,
            when=when,
            # The exporter remembers only fleets that have served.
            expr=f"""
            {CAPACITY} == 0
            and {on(FLEET)} {REPLICAS} == 0
            and {on(FLEET)} {HEALTH}{{health="{health}"}} == 1
            """,
            summary=f"No agent of {A_FLEET} is left",
            description=f"""{BEGINNING} has lost all its agents, and has slots for {{{{ $value | humanize }}}} tasks:
            {cause}. First: kubectl -n {{{{ $labels.namespace }}}} get deploy,hpa,events.""",
        )

    return (
        gone(
            "critical",
            "down",
            "the fleet has no agents, and its HPA asks for some or was switched off by hand",
            "an HPA scales it that does not scale to 0",
        ),
        gone(
            "warning",
            "degraded",
            "the same of a fleet without an HPA, which may be intended",
            "nothing says whether that is intended",
        ),
    )


def _control_plane(settings: Settings) -> tuple[Alert, ...]:
    out_of_work = f'sum by ({", ".join(FLEET)}) ({AGENTS}{{state=~"{OUT_OF_WORK}"}})'
    return (
        Alert(
            name="MatillionFleetDisconnected",
            severity="critical",
            for_seconds=settings.fleet_disconnected_for,
            when="no agent of the fleet is connected",
            expr=f"""
            (
              {out_of_work} > 0
              and {on(FLEET)} {AGENTS}{{state="serving"}} == 0
            )
            unless {on(FLEET)} {COVERAGE} < {settings.coverage_low:g}
            """,
            summary=f"No agent of {A_FLEET} is connected",
            description=f"""All {{{{ $value | humanize }}}} agents of {A_FLEET} that answer are disconnected from the
            Matillion control plane or stopped: the fleet takes no new tasks. Running tasks continue.""",
        ),
        Alert(
            name="MatillionFleetPartlyDisconnected",
            severity="critical",
            for_seconds=settings.agent_disconnected_for,
            when=f"at least {settings.partly_disconnected:.0%} of the agents, and "
            f"{settings.partly_disconnected_agents} of them, are disconnected or stopped",
            expr=f"""
            (
              {out_of_work} >= {settings.partly_disconnected_agents}
              and {on(FLEET)} {out_of_work} / {on(FLEET)} {REPLICAS} >= {settings.partly_disconnected:g}
              and {on(FLEET)} {AGENTS}{{state="serving"}} > 0
            )
            unless {on(FLEET)} {COVERAGE} < {settings.coverage_low:g}
            """,
            summary=f"Agents of {A_FLEET} are disconnected",
            description=f"""{{{{ $value | humanize }}}} agents of {A_FLEET} are disconnected from the Matillion
            control plane or stopped, {asked(REPLICAS, "of {} in all", "of an unknown number in all")}: their slots are
            missing. First compare the nodes and zones of those that are with those of the others.""",
        ),
        Alert(
            name="MatillionFleetCoverageLow",
            severity="critical",
            for_seconds=settings.coverage_low_for,
            when=f"less than {settings.coverage_low:.0%} of the agents that should answer do; demand is withheld",
            expr=f"{COVERAGE} < {settings.coverage_low:g}",
            summary=f"Too few agents of {A_FLEET} answer",
            description=f"""Only {{{{ $value | humanizePercentage }}}} of the agents of {A_FLEET} that should answer do.
            The fleet's demand is withheld and autoscaling stops until they answer again.""",
        ),
    )
