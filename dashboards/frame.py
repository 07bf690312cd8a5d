"""What every dashboard has: variables, links to the others, its initial time range; and the uids of all of them.

The uids are a contract: runbooks and bookmarks link to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from alerts.prometheus.labels import CLUSTER_LABEL
from dashboards.annotations import Event
from dashboards.panels import PROMETHEUS, Section, lay_out
from exporter.fleet.outlets import PREFIX
from exporter.publish.instruments import EXPORTER_PREFIX

TAG = "matillion-fleet"
FLEET_UID = "matillion-fleet"
AGENTS_UID = "matillion-agents"
CAPACITY_UID = "matillion-capacity"
EXPORTER_UID = "matillion-exporter"
CLOUDWATCH_UID = "matillion-cloudwatch"

ALL = VariableOption(selected=True, text="All", value="$__all")


@dataclass(frozen=True, slots=True)
class LabelVariable:
    """A variable with the values of a label, all of them chosen at first."""

    name: str
    label: str
    metric: str
    given: tuple[str, ...] = ()
    """Variables that narrow the choice, each named like its label."""

    def build(self) -> dashboard.QueryVariable:
        """Return Grafana's variable."""
        matchers = ", ".join(f'{name}=~"${name}"' for name in self.given)
        query = f"label_values({PREFIX}{self.metric}{{{matchers}}}, {self.name})"
        return (
            dashboard.QueryVariable(self.name)
            .label(self.label)
            .datasource(PROMETHEUS)
            .query({"query": query, "refId": "StandardVariableQuery"})
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            # Also true of series without the label: one Prometheus for one cluster has no label for it.
            .all_value(".*")
            .current(ALL)
        )


CLUSTER = LabelVariable(CLUSTER_LABEL, "Cluster", "exporter_build_info")
NAMESPACE = LabelVariable("namespace", "Namespace", "capacity_tasks", (CLUSTER_LABEL,))
FLEET = LabelVariable("fleet", "Fleet", "capacity_tasks", (CLUSTER_LABEL, "namespace"))
POD = LabelVariable("pod", "Pod", "agent_state", (CLUSTER_LABEL, "namespace", "fleet"))
EXPORTER_NAMESPACE = LabelVariable("namespace", "Exporter's namespace", "exporter_build_info", (CLUSTER_LABEL,))
JOB = LabelVariable("job", "Exporter", "exporter_build_info", (CLUSTER_LABEL, "namespace"))


PAGE = (
    dashboard.QueryVariable("page")
    .label("Status page")
    .description("Where the exporter's status page and runbooks are: its web.external_url, or else its Service.")
    .datasource(PROMETHEUS)
    .query(
        {
            "query": f'label_values({EXPORTER_PREFIX}page_info{{{CLUSTER_LABEL}=~"$cluster"}}, url)',
            "refId": "StandardVariableQuery",
        }
    )
    .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
    .sort(VariableSort.ALPHABETICAL_ASC)
)


def data_source(name: str, label: str, kind: str) -> dashboard.DatasourceVariable:
    """Return a variable that chooses a data source of a kind."""
    return dashboard.DatasourceVariable(name).label(label).type(kind)


def framed(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[LabelVariable],
    sections: Sequence[Section],
    *,
    since: str = "now-6h",
    refresh: str = "30s",
    more: Sequence[dashboard.QueryVariable | dashboard.DatasourceVariable | dashboard.CustomVariable] = (),
    events: Sequence[Event] = (),
) -> dashboard.Dashboard:
    """Return a dashboard with its panels laid out; `more` are variables of its own, `events` what its graphs mark."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .editable()
        .time(since, "now")
        .refresh(refresh)
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Matillion dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .link(link_to_page("Status page", "/"))
        .with_variable(data_source("datasource", "Prometheus", "prometheus"))
    )
    for variable in variables:
        made.with_variable(variable.build())
    for own in (*more, PAGE):
        made.with_variable(own)
    for event in events:
        made.annotation(event)
    lay_out(made, sections)
    return made


def link_to(uid: str, title: str, *fields: tuple[str, str]) -> dashboard.DashboardLink:
    """Return a link from a table's row to another dashboard; `fields` are (variable, the row's column)."""
    chosen = "&".join(f"var-{variable}=${{__data.fields.{column}}}" for variable, column in fields)
    url = f"/d/{uid}?${{datasource:queryparam}}&{chosen}&${{__url_time_range}}"
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url)


def link_to_page(title: str, path: str) -> dashboard.DashboardLink:
    """Return a link to a page of the exporter."""
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(f"${{page}}{path}").target_blank(True)


CLOUDWATCH = DataSourceRef(type_val="cloudwatch", uid="${cloudwatch}")
