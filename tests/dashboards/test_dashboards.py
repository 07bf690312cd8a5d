"""What the dashboards' JSON must be, without a Grafana: complete, in step, well laid out, and asking real questions."""

import itertools
import json
import re

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from alerts.build import FOLDER as RULES_FOLDER
from dashboards.build import FOLDER, files, main
from exporter.fleet import cloudwatch_catalogue
from exporter.fleet.figures import FLEET_HISTOGRAMS
from exporter.publish import instruments
from tests.dashboards.dashboards_as_json import DASHBOARDS, QUERIES, Asked, cloudwatch_queries, panels, substituted
from tests.series import FLEET_NAMES

UIDS = {"matillion-fleet", "matillion-agents", "matillion-capacity", "matillion-exporter", "matillion-cloudwatch"}

FOREIGN = {"ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Prometheus' own alerts, and what every Python process exports."""
CONTAINER_INSIGHTS = {"node_cpu_utilization", "node_memory_utilization", "pod_number_of_container_restarts"}

RECORDED = {
    rule["record"]: rule["expr"]
    for path in RULES_FOLDER.glob("*.yaml")
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
FUNCTIONS = {"count", "sum", "max", "min", "by", "or", "and", "time", "bool", "on"}


def metrics_of(expr: str) -> set[str]:
    """Return the names of the series a query reads."""
    without_labels = re.sub(r"\{[^}]*\}", "", re.sub(r"\b(by|on) \([^)]*\)", "", expr))
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
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    read = Dashboard.from_json(json.loads(text))
    assert JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(read) + "\n" == text


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


@pytest.mark.parametrize("name", sorted(UIDS))
def test_a_panel_has_all_that_belongs_to_one(name: str) -> None:
    """Title, description, unit where it has numbers, words for no data, its data source by the variable."""
    for panel in panels(DASHBOARDS[name]):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] in {"${datasource}", "${cloudwatch}"}
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["noValue"] == "no data", panel["title"]
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
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__data", "__url_time_range", "PROP"}
    assert used <= set(variables), "a panel uses a variable that the dashboard does not have"
    [menu] = dashboard["links"]
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


@pytest.mark.parametrize("asked", QUERIES, ids=str)
def test_two_replicas_never_double_a_number(asked: Asked) -> None:
    """Raw series of the exporter are read through `max by (…)`; what a rule records is aggregated there."""
    for match in re.finditer(r"(?<![:\w])(matillion_fleet_|process_)\w+|ALERTS", asked.expr):
        before = asked.expr[: match.start()]
        assert re.search(r"max by \([^)]*\) \(\s*((round|rate|increase)\()*$|\} or $", before), match.group()


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
