"""Alerts about the exporter: whether it runs, and whether what it reports and publishes is correct."""

from alerts.prometheus.labels import FLEET, INSTALLATION
from alerts.prometheus.recording import LEADERS, SYNC_AGE
from alerts.prometheus.rules import Alert, Clock, Group, latest, on
from alerts.settings import Settings

_EXPORTER = "exporter {{ $labels.job }} in namespace {{ $labels.namespace }}"
_BUILD_INFO = "matillion_fleet_exporter_build_info"
_REPLICA = (*INSTALLATION, "instance")


def groups(settings: Settings, clock: Clock) -> tuple[Group, ...]:
    """Return the alerts of the exporter."""
    return (
        Group(
            "matillion-fleet-exporter.alerts",
            (
                _down(settings, clock),
                _stale(settings),
                _replicas_disagree(settings),
                _cloudwatch(settings, clock),
                _spool(settings),
                _external_metrics(settings, clock),
                _no_leader(settings),
            ),
        ),
    )


def _down(settings: Settings, clock: Clock) -> Alert:
    # Sampled, so that an exporter that comes and goes is noticed without reading every sample of a week.
    recent = f"{clock(3600)}:{clock(60)}"
    remembered = f"{clock(settings.exporter_remembered)}:{clock(settings.exporter_sampled)}"
    by = ", ".join(INSTALLATION)
    return Alert(
        name="MatillionExporterDown",
        severity="critical",
        for_seconds=settings.exporter_down_for,
        when="no metrics arrive from the exporter: the fleets are not monitored",
        # By name as long as it is remembered; after that, and where there never was one, by the absence of all.
        expr=f"""
        (
          time() - (
            max by ({by}) (max_over_time(timestamp({_BUILD_INFO})[{recent}]))
            or
            max by ({by}) (max_over_time(timestamp({_BUILD_INFO})[{remembered}]))
          )
          unless {on(INSTALLATION)} {latest("exporter_build_info", INSTALLATION)}
        )
        or
        (
          absent({_BUILD_INFO}) - 1
          unless on () max_over_time({_BUILD_INFO}[{remembered}])
        )
        """,
        summary="The exporter of the Matillion fleets is down",
        description=f"""{{{{ if $labels.job }}}}Prometheus has had no metrics from {_EXPORTER} for
        {{{{ $value | humanizeDuration }}}}.{{{{ else }}}}Prometheus has metrics from {{{{ $value | humanize }}}}
        exporters: none is installed, or none is scraped.{{{{ end }}}} No alert about fleets and agents can fire.
        The runbook may be out of reach; first: kubectl get pods -A -l
        app.kubernetes.io/name=matillion-fleet-exporter""",
    )


def _stale(settings: Settings) -> Alert:
    replica = ", ".join(_REPLICA)
    return Alert(
        name="MatillionExporterStale",
        severity="critical",
        for_seconds=settings.stale_for,
        when="the exporter has no current list of agents; demand is withheld",
        # A replica without a first list of agents has no age of one: the age of its process stands for it.
        expr=f"""
        {SYNC_AGE} > {settings.sync_age:g}
        or
        max by ({", ".join(INSTALLATION)}) (
          time() - max by ({replica}) (process_start_time_seconds)
          and on ({replica}) {_BUILD_INFO}
          unless on ({replica}) matillion_fleet_exporter_discovery_sync_age_seconds
        ) > {settings.sync_age:g}
        """,
        summary=f"The {_EXPORTER} has no current list of agents",
        description=f"""The list of agents of {_EXPORTER} is {{{{ $value | humanizeDuration }}}} old, or has not been
        read once in that time. The demand of every fleet is withheld and autoscaling stops.""",
    )


def _replicas_disagree(settings: Settings) -> Alert:
    # Everything else takes the best of all replicas; this looks at the worst. The namespace label is that of the fleet,
    # so the job alone identifies the replicas of one installation.
    together = (*FLEET, "job")
    return Alert(
        name="MatillionReplicasDisagree",
        severity="warning",
        for_seconds=settings.replicas_disagree_for,
        when="a replica of the exporter reaches far fewer of a fleet's agents than another",
        expr=f"""
        {latest("coverage_ratio", together)}
        - {on(together)} group_right ()
        {latest("coverage_ratio", (*together, "instance"))}
        > {settings.replicas_disagree:g}
        """,
        summary="""A replica of the exporter does not reach the agents of fleet {{ $labels.fleet }} in namespace
        {{ $labels.namespace }}""",
        description="""Replica {{ $labels.instance }} of exporter {{ $labels.job }} gets answers from
        {{ $value | humanizePercentage }} fewer of the agents of fleet {{ $labels.fleet }} in namespace
        {{ $labels.namespace }} than another replica. Scalers depend on the other replica alone.""",
    )


def _cloudwatch(settings: Settings, clock: Clock) -> Alert:
    by = ", ".join(INSTALLATION)
    accepted = f'requests_total{{outcome="accepted"}}[{clock(settings.cloudwatch_window)}]'
    lost = f'datums_total{{outcome!="accepted"}}[{clock(settings.cloudwatch_lost_window)}]'
    family = "matillion_fleet_exporter_cloudwatch"
    return Alert(
        name="MatillionExporterCloudWatchFailing",
        severity="warning",
        for_seconds=settings.cloudwatch_failing_for,
        when="CloudWatch accepts nothing, or data was lost",
        # While a backlog is sent its data is old but nothing is wrong, so old data counts only if nothing is accepted.
        # Only the leader publishes: the zero of another replica does not hide its figure.
        expr=f"""
        label_replace(
          (
            {latest("exporter_cloudwatch_spool_oldest_age_seconds", INSTALLATION)} > {settings.cloudwatch_age:g}
            unless {on(INSTALLATION)} max by ({by}) (increase({family}_{accepted})) > 0
          ),
          "problem", "not accepted", "", ""
        )
        or
        label_replace(
          sum by ({by}) (max by ({by}, outcome) (round(increase({family}_{lost})))) > 0,
          "problem", "lost", "", ""
        )
        """,
        summary=f"The {_EXPORTER} cannot publish to CloudWatch",
        description=f"""{{{{ if eq $labels.problem "lost" }}}}About {{{{ $value | humanize }}}} data points of
        {_EXPORTER} were rejected by CloudWatch or dropped within {Clock()(settings.cloudwatch_lost_window)}.
        {{{{ else }}}}CloudWatch accepts nothing from {_EXPORTER}; data has been waiting for
        {{{{ $value | humanizeDuration }}}}. {{{{ end }}}}Alarms and scalers that read CloudWatch lack data.""",
    )


def _spool(settings: Settings) -> Alert:
    return Alert(
        name="MatillionExporterSpoolNotDurable",
        severity="warning",
        for_seconds=settings.spool_not_durable_for,
        when="what CloudWatch has not accepted yet is in memory only",
        expr=f"""
        count by ({", ".join(INSTALLATION)}) (
          max by ({", ".join(_REPLICA)}) (matillion_fleet_exporter_cloudwatch_spool_durable) == 0
        )
        """,
        summary=f"The spool of {_EXPORTER} is not on disk",
        description=f"""{{{{ $value | humanize }}}} replicas of {_EXPORTER} keep what CloudWatch has not accepted yet in
        memory: a restart during an outage of CloudWatch loses it. First: the log of the pod names the file and the
        error; look at its volume.""",
    )


def _external_metrics(settings: Settings, clock: Clock) -> Alert:
    by, window = ", ".join(INSTALLATION), clock(settings.external_metrics_window)
    requests = "matillion_fleet_exporter_external_metrics_requests_total"
    codes = f"""{{{{ range printf
    "max by (code) (increase({requests}{{job=%q,namespace=%q,code!='200'}}[{window}])) > 0"
    $labels.job $labels.namespace | query }}}} {{{{ .Labels.code }}}}{{{{ end }}}}"""
    return Alert(
        name="MatillionExternalMetricsFailing",
        severity="warning",
        for_seconds=settings.external_metrics_for,
        when="the external metrics API answers with errors only: no HPA gets the demand",
        expr=f"""
        sum by ({by}) (max by ({by}, code) (round(increase({requests}{{code!="200"}}[{window}])))) > 0
        unless {on(INSTALLATION)} max by ({by}) (increase({requests}{{code="200"}}[{window}])) > 0
        """,
        summary=f"The external metrics API of {_EXPORTER} answers with errors only",
        description=f"""About {{{{ $value | humanize }}}} requests to the external metrics API of {_EXPORTER} failed
        within {Clock()(settings.external_metrics_window)}, with the codes{codes}, and none succeeded: HPAs keep the
        size of their fleets, whatever the load. First: 401 and 403 are certificates and permissions (fleet-exporter
        doctor), 404 the selector of the HPA, 503 a fleet that is not trusted.""",
    )


def _no_leader(settings: Settings) -> Alert:
    return Alert(
        name="MatillionExporterNoLeader",
        severity="warning",
        for_seconds=settings.no_leader_for,
        when="no replica is the leader",
        expr=f"{LEADERS} == 0",
        summary=f"No replica of {_EXPORTER} is the leader",
        description=f"""The lease of {_EXPORTER} is held by {{{{ $value | humanize }}}} replicas: nothing is published
        to CloudWatch.""",
    )
