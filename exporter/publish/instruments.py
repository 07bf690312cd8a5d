"""The exporter's own metrics, in one table: name, type, meaning, labels. What fleets have is in `fleet.figures`.

`docs/metrics.md` and the checks of dashboards and alerts read this table; `prometheus` makes instruments of it.
"""

from dataclasses import dataclass
from typing import Literal

EXPORTER_PREFIX = "matillion_fleet_exporter_"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric of the exporter itself, counted as things happen instead of read from a fleet."""

    name: str
    help: str
    type: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


BUILD_INFO = Instrument("build_info", "Always 1; the version of the exporter.", "gauge", ("version",))
PAGE_INFO = Instrument(
    "page_info",
    "Always 1; the address at which people find the status page and the runbooks: web.external_url, or the Service.",
    "gauge",
    ("url",),
)
SCRAPES = Instrument("scrapes_total", "Finished scrapes of agents by outcome.", "counter", ("outcome",))
SCRAPE_DURATION = Instrument(
    "scrape_duration_seconds",
    "Duration of agent scrapes, successful or not.",
    "histogram",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
REJECTED_LINES = Instrument("rejected_lines_total", "Lines of agents' pages that could not be parsed.", "counter")
DISCOVERY_TARGETS = Instrument("discovery_targets", "Agents known to discovery.", "gauge")
DISCOVERY_SYNC_AGE = Instrument(
    "discovery_sync_age_seconds",
    "Seconds since the oldest source of targets was last known to be current. Absent before the first sync.",
    "gauge",
)
WATCH_RESTARTS = Instrument(
    "watch_restarts_total", "Watches of the Kubernetes API that ended and were restarted.", "counter", ("reason",)
)
LOG_LINES_SKIPPED = Instrument(
    "log_lines_skipped_total",
    "Agent log lines skipped because they exceeded pod_logs.max_lines_per_second.",
    "counter",
)
EVENT_LOOP_LAG = Instrument(
    "event_loop_lag_seconds", "Maximum delay of a timer on the event loop in the last minute.", "gauge"
)
LEADER = Instrument(
    "leader",
    "1 if this replica is the leader, 0 if it stands by. Absent if no feature needs a leader.",
    "gauge",
)
CLOUDWATCH_DATUMS = Instrument(
    "cloudwatch_datums_total", "CloudWatch datums no longer in the spool, by outcome.", "counter", ("outcome",)
)
CLOUDWATCH_REQUESTS = Instrument(
    "cloudwatch_requests_total", "PutMetricData requests by outcome.", "counter", ("outcome",)
)
CLOUDWATCH_SPOOL_DATUMS = Instrument(
    "cloudwatch_spool_datums", "CloudWatch datums in the spool that are not accepted yet.", "gauge"
)
CLOUDWATCH_SPOOL_OLDEST_AGE = Instrument(
    "cloudwatch_spool_oldest_age_seconds",
    "Age of the oldest CloudWatch datum in the spool; 0 if there is none.",
    "gauge",
)
CLOUDWATCH_SPOOL_DURABLE = Instrument(
    "cloudwatch_spool_durable",
    "1 if the spool is on disk and survives a restart, 0 if it is in memory only.",
    "gauge",
)
CLOUDWATCH_COST = Instrument(
    "cloudwatch_estimated_monthly_cost_dollars",
    "Estimated cost of the published CloudWatch metrics and requests per month of 30 days, at list prices.",
    "gauge",
)

EXTERNAL_METRICS_REQUESTS = Instrument(
    "external_metrics_requests_total",
    "Requests to the external metrics API by HTTP status, without those of the kubelet.",
    "counter",
    ("code",),
)

CLOUDWATCH_INSTRUMENTS = (
    CLOUDWATCH_DATUMS,
    CLOUDWATCH_REQUESTS,
    CLOUDWATCH_SPOOL_DATUMS,
    CLOUDWATCH_SPOOL_OLDEST_AGE,
    CLOUDWATCH_SPOOL_DURABLE,
    CLOUDWATCH_COST,
)
"""On the page only while CloudWatch is published to."""

EXPORTER_METRICS = (
    BUILD_INFO,
    PAGE_INFO,
    SCRAPES,
    SCRAPE_DURATION,
    REJECTED_LINES,
    DISCOVERY_TARGETS,
    DISCOVERY_SYNC_AGE,
    WATCH_RESTARTS,
    LOG_LINES_SKIPPED,
    EVENT_LOOP_LAG,
    LEADER,
    EXTERNAL_METRICS_REQUESTS,
    *CLOUDWATCH_INSTRUMENTS,
)
