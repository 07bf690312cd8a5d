"""Dashboard 4, "Matillion exporter": whether the exporter finds and scrapes the agents, keeps up and publishes."""

from grafana_foundation_sdk.builders import dashboard

from alerts.durations import in_words
from alerts.prometheus.recording import LEADERS, SYNC_AGE
from alerts.settings import Settings
from dashboards.annotations import leader_change
from dashboards.frame import CLUSTER, EXPORTER_NAMESPACE, EXPORTER_UID, JOB, framed
from dashboards.panels import GRAY, GREEN, RED, YELLOW, Names, Placed, Query, Section, figure, graph, timeline
from dashboards.queries import OF_EXPORTER, REPLICA, of_replicas, recorded
from exporter.publish.instruments import EXPORTER_PREFIX

_SETTINGS = Settings()
_LEGEND = "{{instance}}"
_OUTCOME = "{{instance}} {{outcome}}"
_CODE = "{{instance}} {{code}}"
_LEADING: Names = {1: ("leader", GREEN), 0: ("standby", GRAY)}


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    return framed(
        EXPORTER_UID,
        "Matillion exporter",
        "The exporter itself: what it scrapes, how fast, how current its data is, and what it publishes.",
        (CLUSTER, EXPORTER_NAMESPACE, JOB),
        (
            Section("Now", _now()),
            Section("Scraping", _reading()),
            Section("Discovery", _finding()),
            Section("Publishing", _publishing()),
            Section("Process", _process()),
        ),
        events=(leader_change(OF_EXPORTER),),
    )


def _now() -> tuple[Placed, ...]:
    installation = f"{EXPORTER_PREFIX}build_info{{{OF_EXPORTER}}}"
    return (
        Placed(
            figure(
                "Replicas",
                "Replicas of the exporter that Prometheus scrapes.",
                [Query(f"count(max by ({REPLICA}) ({installation}))")],
                limits=((None, RED), (1, GREEN)),
            ),
            8,
            3,
        ),
        Placed(
            figure(
                "Version",
                "Two versions during a rollout.",
                [Query(of_replicas("build_info", also_by="version"), "{{version}}")],
                text=True,
            ),
            8,
            3,
        ),
        Placed(
            figure(
                "Leaders",
                "Replicas that publish to CloudWatch: should be one. No data without leader election.",
                [Query(f"max({recorded(LEADERS, of=OF_EXPORTER)})")],
                limits=((None, RED), (1, GREEN)),
            ),
            8,
            3,
        ),
        Placed(
            figure("Targets", "Targets that discovery has found.", [Query(f"max({of_replicas('discovery_targets')})")]),
            8,
            3,
        ),
        Placed(
            figure(
                "Age of the target list",
                "Time since the oldest source of targets was last confirmed as current; above "
                f"{in_words(_SETTINGS.sync_age)} demand is withheld.",
                [Query(f"max({recorded(SYNC_AGE, of=OF_EXPORTER)})")],
                unit="s",
                limits=((None, GREEN), (_SETTINGS.sync_age / 2, YELLOW), (_SETTINGS.sync_age, RED)),
            ),
            8,
            3,
        ),
        Placed(
            figure(
                "CloudWatch per month",
                "Estimated cost of the published metrics. No data unless CloudWatch is enabled.",
                [Query(f"max({of_replicas('cloudwatch_estimated_monthly_cost_dollars')})")],
                unit="currencyUSD",
            ),
            8,
            3,
        ),
    )


def _reading() -> tuple[Placed, ...]:
    def latency(quantile: float) -> str:
        rate = f"rate({EXPORTER_PREFIX}scrape_duration_seconds_bucket{{{OF_EXPORTER}}}[$__rate_interval])"
        return f"histogram_quantile({quantile}, max by ({REPLICA}, le) ({rate}))"

    return (
        Placed(
            graph(
                "Scrapes by outcome",
                "Scrapes of agents per second, by their outcome; every one but ok is a kind of failure. What does not "
                "happen has no line.",
                [Query(f"{of_replicas('scrapes_total', also_by='outcome', rate=True)} > 0", _OUTCOME)],
                unit="reqps",
            ),
            12,
        ),
        Placed(
            graph(
                "Scrape duration",
                "Median and 99th percentile, successful or not.",
                [Query(latency(0.5), "{{instance}} median"), Query(latency(0.99), "{{instance}} p99")],
                unit="s",
            ),
            6,
        ),
        Placed(
            graph(
                "Rejected lines",
                "Lines of agents' pages per second that could not be parsed; the rest of the page is used.",
                [Query(of_replicas("rejected_lines_total", rate=True), _LEGEND)],
            ),
            6,
        ),
    )


def _finding() -> tuple[Placed, ...]:
    return (
        Placed(
            graph(
                "Age of the target list",
                "A sawtooth of up to a minute is normal: an unchanged list is confirmed about once a minute.",
                [Query(of_replicas("discovery_sync_age_seconds"), _LEGEND)],
                unit="s",
                limits=((None, GREEN), (_SETTINGS.sync_age, RED)),
            ),
            8,
        ),
        Placed(
            graph(
                "Targets",
                "By replica; all should have the same number.",
                [Query(of_replicas("discovery_targets"), _LEGEND)],
            ),
            8,
        ),
        Placed(
            graph(
                "Watch restarts",
                "Watches of the Kubernetes API that were restarted within 15 minutes, by reason. Expired is normal.",
                [
                    Query(
                        f"max by ({REPLICA}, reason) "
                        f"(round(increase({EXPORTER_PREFIX}watch_restarts_total{{{OF_EXPORTER}}}[15m])))",
                        "{{instance}} {{reason}}",
                    )
                ],
            ),
            8,
        ),
    )


def _publishing() -> tuple[Placed, ...]:
    return (
        Placed(
            timeline("Leader", "The replica that publishes.", [Query(of_replicas("leader"), _LEGEND)], _LEADING),
            8,
        ),
        Placed(
            graph(
                "CloudWatch requests by outcome",
                "Requests per second; only the leader sends them. Empty unless CloudWatch is enabled.",
                [Query(of_replicas("cloudwatch_requests_total", also_by="outcome", rate=True), _OUTCOME)],
                unit="reqps",
            ),
            8,
        ),
        Placed(
            graph(
                "CloudWatch data points by outcome",
                "Data points per second. All but the accepted ones are lost.",
                [Query(of_replicas("cloudwatch_datums_total", also_by="outcome", rate=True), _OUTCOME)],
            ),
            8,
        ),
        Placed(
            graph(
                "CloudWatch spool",
                "Data points that wait to be sent. They survive outages and restarts.",
                [Query(of_replicas("cloudwatch_spool_datums"), _LEGEND)],
            ),
            8,
        ),
        Placed(
            graph(
                "Oldest data in the spool",
                "The line is the threshold of the alert, which fires if CloudWatch accepts nothing at the same time.",
                [Query(of_replicas("cloudwatch_spool_oldest_age_seconds"), _LEGEND)],
                unit="s",
                limits=((None, GREEN), (_SETTINGS.cloudwatch_age, RED)),
            ),
            8,
        ),
        Placed(
            graph(
                "External metrics requests by code",
                "Requests of the autoscaler per second. Empty unless external_metrics is enabled.",
                [
                    Query(
                        of_replicas("external_metrics_requests_total", also_by="code", rate=True),
                        "{{instance}} {{code}}",
                    )
                ],
                unit="reqps",
            ),
            8,
        ),
    )


def _process() -> tuple[Placed, ...]:
    return (
        Placed(
            graph(
                "Event loop lag",
                "Maximum delay of a timer by the event loop in the last minute. Above 0.05 s the exporter lacks CPU.",
                [Query(of_replicas("event_loop_lag_seconds"), _LEGEND)],
                unit="s",
                limits=((None, GREEN), (0.05, YELLOW), (1, RED)),
            ),
            8,
        ),
        Placed(
            graph(
                "CPU",
                "CPU cores used.",
                [Query(of_replicas("process_cpu_seconds_total", rate=True, prefix=""), _LEGEND)],
            ),
            8,
        ),
        Placed(
            graph(
                "Memory",
                "Resident memory.",
                [Query(of_replicas("process_resident_memory_bytes", prefix=""), _LEGEND)],
                unit="bytes",
            ),
            8,
        ),
    )
