"""What the dashboards' JSON must be, without a Grafana: complete, in step, well laid out, and asking real questions."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from alerts.build import FOLDER as RULES_FOLDER
from dashboards.build import FOLDER, files, fitted, main
from exporter.fleet import cloudwatch_catalogue
from exporter.fleet.figures import FLEET_HISTOGRAMS
from exporter.publish import instruments
from exporter.web import palette
from tests.alerts.prometheus_timeline import PROMTOOL, run_promtool
from tests.dashboards.dashboards_as_json import (
    DASHBOARDS,
    EVENT_WORDS,
    QUERIES,
    Asked,
    cloudwatch_queries,
    panels,
    substituted,
)
from tests.series import FLEET_NAMES

UIDS = {"matillion-fleet", "matillion-agents", "matillion-capacity", "matillion-exporter", "matillion-cloudwatch"}

FOREIGN = {"ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Prometheus' own alerts, and what every Python process exports."""
CONTAINER_INSIGHTS = {"node_cpu_utilization", "node_memory_utilization", "pod_number_of_container_restarts"}

CLOUDWATCH_VARIABLES = {"region", "eks_cluster", "cloudwatch_namespace", "cloudwatch_fleet"}

RECORDED = {
    rule["record"]: rule["expr"]
    for path in RULES_FOLDER.glob("*.yaml")
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
FUNCTIONS = {"count", "sum", "max", "min", "by", "or", "and", "unless", "time", "bool", "on"}


def metrics_of(expr: str) -> set[str]:
    """Return the names of the series a query reads."""
    without_labels = re.sub(r"\{[^}]*\}", "", re.sub(r"\b(by|on) \([^)]*\)|\boffset \w+", "", expr))
    words = set(re.findall(r"[a-zA-Z_:][\w:]*(?![\w:]*\s*\()", re.sub(r"\[[^\]]*\]", "", without_labels)))
    return words - FUNCTIONS


def test_the_dashboards_are_those_that_are_promised() -> None:
    """Five, each known by a uid that runbooks and bookmarks can rely on."""
    assert {dashboard["uid"] for dashboard in DASHBOARDS.values()} == UIDS == set(DASHBOARDS)
    assert len({dashboard["title"] for dashboard in DASHBOARDS.values()}) == len(UIDS)


def test_the_files_are_as_generated(capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` is content with the files in the repository, and each run makes the same text."""
    assert main(["--check"]) == 0, capsys.readouterr().err
    assert files() == files()


@pytest.mark.parametrize("name", sorted(UIDS))
def test_the_json_goes_through_the_models_of_grafana(name: str) -> None:
    """What is in the file is what the SDK's models, made from Grafana's schemas, read and write again."""
    plugins.register_default_plugins()
    text = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    for event in text["annotations"].get("list", ()):
        # The schema leaves these to the data source.
        assert {key: type(event.pop(key)) for key in EVENT_WORDS} == dict.fromkeys(EVENT_WORDS, str)
    assert fitted(json.loads(JSONEncoder().encode(Dashboard.from_json(text)))) == text


@pytest.mark.parametrize("name", sorted(UIDS))
def test_no_panel_overlaps_another(name: str) -> None:
    """Panels stand within the 24 columns, none on another, each with a number of its own."""
    dashboard = DASHBOARDS[name]
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["w"] > 0
        assert at["x"] + at["w"] <= 24
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", sorted(UIDS))
def test_every_row_is_full(name: str) -> None:
    """No hole is left to the right of a panel: every line of the grid is either empty or taken from 0 to 24."""
    lines: dict[int, int] = {}
    for panel in DASHBOARDS[name]["panels"]:
        at = panel["gridPos"]
        for y in range(at["y"], at["y"] + at["h"]):
            lines[y] = lines.get(y, 0) + at["w"]
    assert set(lines.values()) == {24}


def test_a_closed_row_holds_its_panels() -> None:
    """What stands below is right under its title; its panels, which ask nothing until it is opened, are within it."""
    rows = [panel for panel in DASHBOARDS["matillion-fleet"]["panels"] if panel["type"] == "row"]
    *open_rows, forecast = rows
    assert [(row["collapsed"], row["panels"]) for row in open_rows] == [(False, [])] * len(open_rows)
    assert (forecast["title"], forecast["collapsed"]) == ("Forecast", True)
    assert sum(panel["gridPos"]["w"] for panel in forecast["panels"]) == 24


def keeps_name(node: object) -> bool:
    """Whether a result of this part of a query has the name of a series."""
    match node:
        case promql_parser.VectorSelector():
            return True
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            return keeps_name(node.expr)
        case promql_parser.BinaryExpr() if str(node.op) in {"and", "unless"}:
            return keeps_name(node.lhs)
        case promql_parser.BinaryExpr() if str(node.op) == "or":
            return keeps_name(node.lhs) or keeps_name(node.rhs)
        case promql_parser.BinaryExpr() if str(node.op) in {"==", "!=", ">", ">=", "<", "<="}:
            return not (node.modifier and node.modifier.return_bool) and keeps_name(node.lhs)
        case promql_parser.BinaryExpr() | promql_parser.AggregateExpr() | promql_parser.Call():
            return False
    raise AssertionError(node)


@pytest.mark.parametrize(
    ("expr", "kept"),
    [
        ("a", True), ("(a{b='c'})", True), ("max by (b) (a)", False), ("a > 1", True), ("a > bool 1", False),
        ("rate(a[1m])", False), ("a * 2", False), ("max(a) or a", True), ("a and max(b)", True), ("max(a) > 1", False),
    ],
)  # fmt: skip
def test_names_are_seen(expr: str, kept: bool) -> None:
    """The check below can fail."""
    assert keeps_name(promql_parser.parse(expr)) == kept


@pytest.mark.parametrize("name", sorted(UIDS))
def test_a_table_has_one_row_for_each_thing(name: str) -> None:
    """No query has the name of a series, which Grafana takes for a label: each figure would have rows of its own."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] == "table":
            for target in panel["targets"]:
                assert not keeps_name(promql_parser.parse(substituted(target["expr"]))), (
                    panel["title"],
                    target["expr"],
                )


@pytest.mark.parametrize("name", sorted(UIDS))
def test_what_is_unknown_is_neither_good_nor_bad(name: str) -> None:
    """A figure in large type, and a cell of a table, without a value has a plain color; a cell shows a dash."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] not in {"stat", "table"}:
            continue
        given = [panel["fieldConfig"]["defaults"].get("thresholds")] if panel["type"] == "stat" else []
        for override in panel["fieldConfig"]["overrides"]:
            values = {one["id"]: one["value"] for one in override["properties"]}
            assert values["noValue"] == "–"
            given += [values["thresholds"]] if "thresholds" in values else []
        assert all(one["steps"][0] == {"value": None, "color": "text"} for one in given), panel["title"]


@pytest.mark.parametrize("name", sorted(UIDS))
def test_no_title_of_a_figure_is_cut(name: str) -> None:
    """At 1440 pixels, a column has 58, a character of a title is some 7.5 wide, and frame and icon need 66."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] == "stat":
            assert len(panel["title"]) * 7.5 + 66 <= panel["gridPos"]["w"] * 58, panel["title"]


@pytest.mark.parametrize("name", sorted(UIDS))
def test_lines_of_many_agents_have_no_legend(name: str) -> None:
    """With dozens of agents, their names would take the room of the graph."""
    seen = 0
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] == "timeseries":
            of_agents = any("{{pod}}" in target.get("legendFormat", "") for target in panel["targets"])
            assert panel["options"]["legend"]["showLegend"] is not of_agents, panel["title"]
            seen += of_agents
    assert seen > 5 or name != "matillion-agents"


def test_alerts_are_marked_where_they_begin() -> None:
    """Not for as long as they fire: hours of a few alerts would turn each graph red."""
    [alerts] = [event for event in DASHBOARDS["matillion-fleet"]["annotations"]["list"] if event["name"] == "Alerts"]
    firing, begun = (text.strip() for text in alerts["expr"].split("unless"))
    assert firing.replace("}", "} offset 1m") == begun


@pytest.mark.parametrize("name", sorted(UIDS))
def test_a_panel_has_all_that_belongs_to_one(name: str) -> None:
    """Title, description, unit where it has numbers, words for no data, its data source by the variable."""
    for panel in panels(DASHBOARDS[name]):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] in {"${datasource}", "${cloudwatch}"}
        defaults = panel["fieldConfig"]["defaults"]
        assert re.search("no data$|no rules are loaded$", defaults["noValue"]), panel["title"]
        if panel["type"] in {"timeseries", "stat", "heatmap"}:
            assert defaults["unit"], panel["title"]
        assert panel["targets"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


@pytest.mark.parametrize("name", sorted(UIDS))
def test_a_dashboard_has_its_variables_and_leads_to_the_others(name: str) -> None:
    """A data source to choose, the selection, and a menu of the other dashboards that takes the selection along."""
    dashboard = DASHBOARDS[name]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    wanted = {"cluster", "namespace"} | ({"job"} if name == "matillion-exporter" else {"fleet"})
    wanted |= {"pod"} if name == "matillion-agents" else set()
    assert wanted <= set(variables)
    for chosen in wanted:
        assert variables[chosen]["allValue"] == ".*"
        assert variables[chosen]["includeAll"]
    text = json.dumps(dashboard["panels"])
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__range", "__data", "__url_time_range", "PROP"}
    assert used <= set(variables), "a panel uses a variable that the dashboard does not have"
    menu, page = dashboard["links"]
    assert (page["type"], page["url"], page["title"]) == ("link", "${page}/", "Status page")
    assert variables["page"]["query"]["query"] == (
        'label_values(matillion_fleet_exporter_page_info{cluster=~"$cluster"}, url)'
    )
    assert (menu["type"], menu["tags"], menu["includeVars"], menu["keepTime"]) == (
        "dashboards",
        ["matillion-fleet"],
        True,
        True,
    )
    assert dashboard["tags"] == ["matillion-fleet"]
    for uid in re.findall(r"/d/([\w-]+)", text):
        assert uid in UIDS


@pytest.mark.parametrize("asked", QUERIES, ids=str)
def test_every_query_is_sound(asked: Asked) -> None:
    """It parses, reads only series that exist, and repeats nothing that a recording rule has."""
    promql_parser.parse(substituted(asked.expr))
    known = FLEET_NAMES | {f"{row.metric_name}_bucket" for row in FLEET_HISTOGRAMS}
    for instrument in instruments.EXPORTER_METRICS:
        suffix = "_bucket" if instrument.type == "histogram" else ""
        known |= {instruments.EXPORTER_PREFIX + instrument.name + suffix}
    read = metrics_of(substituted(asked.expr))
    assert read
    assert read <= known | set(RECORDED) | FOREIGN
    plain = re.sub(r"\{[^}]*\}|\s+", "", asked.expr)
    for record, expr in RECORDED.items():
        assert re.sub(r"\{[^}]*\}|\s+", "", expr) not in plain, f"{record} has that already"


READ = r"(max|min) by \([^)]*\) \(\s*((round|rate|increase|min_over_time)\()*$|\}( offset 1m)? or $"
"""What stands before the name of a raw series."""


@pytest.mark.parametrize("asked", QUERIES, ids=str)
def test_two_replicas_never_double_a_number(asked: Asked) -> None:
    """Raw series of the exporter are read through `max by (…)`; what a rule records is aggregated there."""
    for match in re.finditer(r"(?<![:\w])(matillion_fleet_|process_)\w+|ALERTS", asked.expr):
        before = asked.expr[: match.start()]
        assert re.search(READ, before), match.group()


def test_there_is_something_to_check() -> None:
    """The checks above do look at queries."""
    assert len(QUERIES) > 80
    assert metrics_of("sum(fleet:a:max{b='c'}) / (max by (x) (rate(d_total{e=~'f'}[5m])) > 0)") == {
        "fleet:a:max",
        "d_total",
    }


def test_cloudwatch_is_asked_for_what_is_published() -> None:
    """Our metrics by their names and exactly their dimensions, or those of Container Insights."""
    asked = list(cloudwatch_queries())
    assert asked
    for query in asked:
        dimensions = set(query["dimensions"])
        if query["namespace"] == "Matillion/AgentFleet":
            assert query["metricName"] in cloudwatch_catalogue.METRIC_NAMES
            assert dimensions == set(cloudwatch_catalogue.FLEET_DIMENSIONS)
        else:
            assert query["namespace"] == "ContainerInsights"
            assert query["metricName"] in CONTAINER_INSIGHTS
            assert dimensions in ({"ClusterName"}, {"ClusterName", "Namespace", "PodName"})
        assert query["matchExact"] is True
        assert {value.lstrip("$") for value in query["dimensions"].values()} <= {*CLOUDWATCH_VARIABLES, "*"}
        assert query["region"] == "$region"


def test_all_is_no_pattern_to_cloudwatch() -> None:
    """All clusters, namespaces and fleets are chosen on opening, by `*`; the region is one where something is."""
    dashboard = DASHBOARDS["matillion-cloudwatch"]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    dimensions = re.findall(
        r"dimension_values\(\$region, Matillion/AgentFleet, CapacityTasks, (\w+)\)",
        " ".join(str(variables[name]["query"]) for name in sorted(CLOUDWATCH_VARIABLES)),
    )
    assert set(dimensions) == set(cloudwatch_catalogue.FLEET_DIMENSIONS)
    for name in CLOUDWATCH_VARIABLES - {"region"}:
        assert (variables[name]["allValue"], variables[name]["current"]["value"]) == ("*", "$__all")
    assert variables["region"]["current"]["value"] == "default"
    for panel in panels(dashboard):
        if panel["datasource"]["uid"] == "${cloudwatch}":
            assert not re.search(r"\$(cluster|namespace|fleet)\b", json.dumps(panel)), panel["title"]


def test_figures_have_the_colors_of_the_page() -> None:
    """Where a series is a figure of the page's palette it has its color; states have theirs, in graphs and tables."""
    seen = {}
    for dashboard in DASHBOARDS.values():
        for panel in panels(dashboard):
            fixed = {
                override["matcher"]["options"]: one["value"]["fixedColor"]
                for override in panel["fieldConfig"]["overrides"]
                for one in override["properties"]
                if one["id"] == "color"
            }
            for target in panel["targets"]:
                name = (target.get("legendFormat") or target.get("label") or "").partition(" $")[0]
                if panel["type"] == "timeseries" and name in palette.FIGURES:
                    assert fixed[target["refId"]] == palette.FIGURES[name], (panel["title"], name)
                    seen[name] = fixed[target["refId"]]
            if panel["title"] == "Agents by state":
                assert fixed == {state.value: color for state, color in palette.STATES.items()}
    assert {"capacity", "running", "queued", "demand", "held"} <= set(seen)


def links(table: dict[str, Any], column: str) -> list[dict[str, Any]]:
    """Return the links of a column."""
    [style] = [one for one in table["fieldConfig"]["overrides"] if one["matcher"]["options"] == column]
    [found] = [one["value"] for one in style["properties"] if one["id"] == "links"]
    return list(found)


def test_an_alert_leads_to_its_runbook_and_a_fleet_to_the_page() -> None:
    """The names of the row go along, by the columns' titles."""
    by_title = {panel["title"]: panel for panel in panels(DASHBOARDS["matillion-fleet"])}
    runbook, _ = links(by_title["Firing alerts"], "Alert")
    assert runbook["url"] == (
        "${page}/runbooks/${__data.fields.Alert}"
        "?namespace=${__data.fields.Namespace}&fleet=${__data.fields.Fleet}&pod=${__data.fields.Pod}"
    )
    _, page = links(by_title["Fleets"], "Fleet")
    assert page["url"] == "${page}/?fleet=${__data.fields.Namespace}/${__data.fields.Fleet}"


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_a_withheld_demand_does_not_dip_a_sum(tmp_path: Path) -> None:
    """With the demand of one of two fleets withheld, their sum is absent; with both, it is the sum."""
    agents, demand = "fleet:matillion_fleet_agents:max", "fleet:matillion_fleet_demand_tasks:max"
    [panel] = [one for one in panels(DASHBOARDS["matillion-fleet"]) if one["title"] == "Components of demand"]
    expr = substituted(panel["targets"][0]["expr"])
    series = [
        {"series": f'{agents}{{namespace="m",fleet="{fleet}",state="serving"}}', "values": "2x4"} for fleet in "ab"
    ]
    series.append({"series": f'{demand}{{namespace="m",fleet="a"}}', "values": "30x4"})
    series.append({"series": f'{demand}{{namespace="m",fleet="b"}}', "values": "12x1 stale"})
    checks = [
        {"expr": expr, "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 42}]},
        {"expr": expr, "eval_time": "3m", "exp_samples": []},
    ]
    run_promtool(tmp_path, [{"name": "sum", "interval": "1m", "input_series": series, "promql_expr_test": checks}])
