"""Dashboard 5, "Matillion fleet and cluster": Prometheus' figures beside those of CloudWatch for fleet and nodes.

The two halves have variables of their own. All means `.*` in a selector of Prometheus, and `*` in a dimension of
CloudWatch, which knows no patterns: `.*` would be a fleet of that name, and the half would be empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import cloudwatch, dashboard, timeseries
from grafana_foundation_sdk.models.cloudwatch import CloudWatchQueryMode, MetricEditorMode, MetricQueryType
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

from alerts.prometheus.recording import ACTIVE, AGENT_RESTARTS, CAPACITY, COVERAGE, DEMAND, QUEUED
from dashboards import annotations
from dashboards.frame import ALL, CLOUDWATCH, CLOUDWATCH_UID, CLUSTER, FLEET, NAMESPACE, data_source, framed
from dashboards.panels import DASHED, Placed, Query, Section, fixed, graph
from dashboards.queries import BY_FLEET, FLEET_LEGEND, OF_FLEET, of_agents, of_fleets, recorded, total, whole
from exporter.web import palette

OURS = "Matillion/AgentFleet"
CONTAINER_INSIGHTS = "ContainerInsights"
FLEET_DIMENSIONS = {"ClusterName": "$eks_cluster", "Namespace": "$cloudwatch_namespace", "Fleet": "$cloudwatch_fleet"}
"""Exactly the dimensions the exporter publishes with: CloudWatch finds a series by all of them."""
_CLUSTER_DIMENSION = {"ClusterName": "$eks_cluster"}
_POD_DIMENSIONS = {"ClusterName": "$eks_cluster", "Namespace": "$cloudwatch_namespace", "PodName": "*"}
_PERIOD = "60"
_INSIGHTS = "From Container Insights; empty where it is not enabled on the cluster."


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric to ask CloudWatch for."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str
    label: str
    color: str | None = None
    dashed: bool = False


def build() -> dashboard.Dashboard:
    """Return the dashboard."""
    return framed(
        CLOUDWATCH_UID,
        "Matillion fleet and cluster (Prometheus and CloudWatch)",
        "The fleet in Prometheus and in CloudWatch, beside the nodes it runs on (Container Insights).",
        (CLUSTER, NAMESPACE, FLEET),
        (
            Section("Tasks: Prometheus on the left, CloudWatch on the right", _tasks()),
            Section("Nodes and pods", _nodes()),
        ),
        more=(
            data_source("cloudwatch", "CloudWatch", "cloudwatch"),
            _region(),
            _choice("eks_cluster", "EKS cluster", "ClusterName"),
            _choice("cloudwatch_namespace", "Namespace (CloudWatch)", "Namespace"),
            _choice("cloudwatch_fleet", "Fleet (CloudWatch)", "Fleet"),
        ),
        events=annotations.of_fleets(),
    )


def _region() -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable("region")
        .label("Region")
        .datasource(CLOUDWATCH)
        .query("regions()")
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        # That of the data source. The first of the list would be one where nothing is.
        .current(VariableOption(selected=True, text="default", value="default"))
    )


def _choice(name: str, label: str, dimension: str) -> dashboard.QueryVariable:
    """Return a variable with the values of a dimension, all of them chosen at first.

    None narrows another: a filter takes its values as they are, and `*` is none.
    """
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(CLOUDWATCH)
        .query(f"dimension_values($region, {OURS}, CapacityTasks, {dimension})")
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value("*")
        .current(ALL)
    )


def _cloudwatch_graph(
    title: str, description: str, metrics: Sequence[Metric], *, unit: str = "short", lines: str = ""
) -> timeseries.Panel:
    panel = graph(title, description, [], unit=unit).datasource(CLOUDWATCH)
    for index, metric in enumerate(metrics):
        query = (
            cloudwatch.CloudWatchMetricsQuery()
            .datasource(CLOUDWATCH)
            .ref_id(chr(ord("A") + index))
            .id(f"m{index}")
            .query_mode(CloudWatchQueryMode.METRICS)
            .metric_query_type(MetricQueryType.SEARCH)
            .metric_editor_mode(MetricEditorMode.BUILDER)
            .region("$region")
            .namespace(metric.namespace)
            .metric_name(metric.name)
            .dimensions(dict(metric.dimensions))
            .match_exact(True)
            .statistic(metric.statistic)
            .period(_PERIOD)
            .label(metric.label + lines)
        )
        panel.with_target(query)
        style = [fixed(metric.color)] if metric.color else []
        if metric.dashed:
            style.append(DASHED)
        if style:
            panel.override_by_query(chr(ord("A") + index), style)
    return panel


def _ours(name: str, statistic: str, label: str, color: str | None = None, *, dashed: bool = False) -> Metric:
    return Metric(OURS, name, FLEET_DIMENSIONS, statistic, label, color, dashed)


def _tasks() -> tuple[Placed, ...]:
    tasks_of_agents = of_agents("agent_tasks_active", of=OF_FLEET)
    of_fleet = " ${PROP('Dim.Fleet')}"
    note = "A line for each fleet, published once a minute by the leader. A gap means that the figure was withheld."
    return (
        Placed(
            graph(
                "Tasks (Prometheus)",
                "Capacity, running and queued tasks of the selected fleets.",
                [
                    Query(total(CAPACITY), "capacity", palette.CAPACITY, dashed=True),
                    Query(whole(recorded(ACTIVE)), "running", palette.RUNNING),
                    Query(total(QUEUED), "queued", palette.QUEUED),
                ],
            ),
            12,
        ),
        Placed(
            _cloudwatch_graph(
                "Tasks (CloudWatch)",
                note,
                [
                    _ours("CapacityTasks", "Maximum", "capacity", palette.CAPACITY, dashed=True),
                    _ours("ActiveTasks", "Maximum", "running", palette.RUNNING),
                    _ours("QueuedTasks", "Maximum", "queued", palette.QUEUED),
                ],
                lines=of_fleet,
            ),
            12,
        ),
        Placed(
            graph(
                "Demand and coverage (Prometheus)",
                "Demand in tasks, and the greater of demand and forecast (demand ahead); missing while they are "
                "withheld of one of the fleets. Coverage in percent.",
                [
                    Query(whole(recorded(DEMAND)), "demand", palette.DEMAND),
                    Query(whole(of_fleets("demand_ahead_tasks")), "demand ahead", palette.FORECAST, dashed=True),
                    Query(f"100 * min({recorded(COVERAGE)})", "lowest coverage, %"),
                ],
            ),
            12,
        ),
        Placed(
            _cloudwatch_graph(
                "Demand and coverage (CloudWatch)",
                f"{note} Demand ahead needs `DemandAheadTasks` or `all` in `cloudwatch.metrics`.",
                [
                    _ours("DemandTasks", "Maximum", "demand", palette.DEMAND),
                    _ours("DemandAheadTasks", "Maximum", "demand ahead", palette.FORECAST, dashed=True),
                    _ours("ScrapeCoveragePercent", "Minimum", "coverage, %"),
                ],
                lines=of_fleet,
            ),
            12,
        ),
        Placed(
            graph(
                "Tasks per agent (Prometheus)",
                "The busiest and the least busy agent of each fleet.",
                [
                    Query(f"max by ({BY_FLEET}) ({tasks_of_agents})", f"{FLEET_LEGEND} maximum"),
                    Query(f"min by ({BY_FLEET}) ({tasks_of_agents})", f"{FLEET_LEGEND} minimum"),
                ],
            ),
            12,
        ),
        Placed(
            _cloudwatch_graph(
                "Tasks per agent (CloudWatch)",
                "The distribution over the fleet's agents, from one metric.",
                [
                    _ours("AgentActiveTasks", "Maximum", "maximum"),
                    _ours("AgentActiveTasks", "p90", "p90"),
                    _ours("AgentActiveTasks", "Minimum", "minimum"),
                ],
                lines=of_fleet,
            ),
            12,
        ),
    )


def _of_nodes(title: str, metric: str, highest: str) -> Placed:
    of_cluster = " ${PROP('Dim.ClusterName')}"
    metrics = [
        Metric(CONTAINER_INSIGHTS, metric, _CLUSTER_DIMENSION, "Average", f"average{of_cluster}"),
        Metric(CONTAINER_INSIGHTS, metric, _CLUSTER_DIMENSION, "Maximum", f"{highest}{of_cluster}"),
    ]
    return Placed(_cloudwatch_graph(title, _INSIGHTS, metrics, unit="percent"), 6)


def _nodes() -> tuple[Placed, ...]:
    restarts = recorded(AGENT_RESTARTS)
    return (
        _of_nodes("Node CPU", "node_cpu_utilization", "maximum"),
        _of_nodes("Node memory", "node_memory_utilization", "maximum"),
        Placed(
            _cloudwatch_graph(
                "Pod restarts (CloudWatch)",
                f"{_INSIGHTS} Of every namespace of the cluster, unless one is chosen above.",
                [
                    Metric(
                        CONTAINER_INSIGHTS,
                        "pod_number_of_container_restarts",
                        _POD_DIMENSIONS,
                        "Maximum",
                        "${PROP('Dim.PodName')}",
                    ),
                    _ours("AgentRestarts", "Sum", "agents of ${PROP('Dim.Fleet')}"),
                ],
            ),
            6,
        ),
        Placed(
            graph(
                "Agent restarts (Prometheus)",
                "Restarts since each agent's pod was created, for agents with any.",
                [Query(f"{restarts} > 0", "{{pod}}")],
                legend=None,
            ),
            6,
        ),
    )
