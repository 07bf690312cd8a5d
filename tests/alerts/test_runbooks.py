"""The runbooks: a page of substance for each alert, whose commands, panels, settings and series there are."""

import re

import pytest

from alerts.build import FOLDER
from exporter.cli import _parser
from exporter.config.shape import keys
from exporter.fleet import cloudwatch_catalogue
from tests.alerts.test_prometheus_rules import ALERTS_WITH_FOR, RECORDINGS
from tests.dashboards.dashboards_as_json import DASHBOARDS, panels
from tests.fakes.helm import CHART
from tests.series import EXPORTER_NAMES, FLEET_NAMES

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((FOLDER.parent / "runbooks").glob("*.md"))}
each_page = pytest.mark.parametrize("page", PAGES)


def test_each_alert_has_its_page() -> None:
    """No alert is without one, and a page that no alert leads to is out of date."""
    assert set(PAGES) == set(ALERTS_WITH_FOR)


@each_page
def test_it_is_of_substance(page: str) -> None:
    """It has what the alert means, how to diagnose it (commands and a dashboard), what to do, and false alarms."""
    text = PAGES[page]
    assert text.startswith(f"# {page}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Meaning", "Diagnosis", "Mitigation", "False alarms"]
    diagnosis = text.partition("## Diagnosis")[2].partition("## Mitigation")[0]
    assert "```" in diagnosis, "commands"
    assert re.search(r"/d/matillion-[a-z]+", diagnosis), "a dashboard"
    assert len(text.split()) > 150


@each_page
def test_dashboards_and_panels_are_there(page: str) -> None:
    """Every uid is a dashboard's, and every name in italics that of a dashboard or a panel."""
    text = PAGES[page]
    assert set(re.findall(r"/d/([\w-]+)", text)) <= set(DASHBOARDS)
    titles = {dashboard["title"] for dashboard in DASHBOARDS.values()}
    titles |= {panel["title"] for dashboard in DASHBOARDS.values() for panel in panels(dashboard)}
    prometheus_pages = {"Status → Targets"}
    italics = {" ".join(name.split()) for name in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text)}
    assert italics <= titles | prometheus_pages


@each_page
def test_variables_in_links_are_the_dashboards(page: str) -> None:
    """A link sets no variable that its dashboard does not have."""
    for uid, asked in re.findall(r"/d/([\w-]+)\?([^`\s]+)", PAGES[page]):
        variables = {f"var-{variable['name']}" for variable in DASHBOARDS[uid]["templating"]["list"]}
        assert {part.partition("=")[0] for part in asked.split("&")} <= variables | {"from", "to"}


@each_page
def test_settings_and_series_are_there(page: str) -> None:
    """What the text calls a setting or a series is one."""
    text = PAGES[page]
    paths = {key.path for key in keys()}
    named = set(re.findall(r"`((?:[a-z_]+\.)+[a-z_]+)`", text)) - {"settings.py"}
    assert named <= paths, "settings"
    known = FLEET_NAMES | EXPORTER_NAMES | {rule["record"] for rule in RECORDINGS}
    assert set(re.findall(r"(?:\w+:)?\bmatillion_fleet_\w+(?::\w+)?", text)) <= known
    published = cloudwatch_catalogue.METRIC_NAMES
    assert set(re.findall(r"`((?:Agent|Scrape|Demand|Capacity)[A-Z]\w+)`", text)) <= set(published)


@each_page
def test_commands_of_the_exporter_are_its_own(page: str) -> None:
    """They have a form that the program takes, and in the pod they name the file that the chart mounts."""
    for command in re.findall(r"(?<![\w/-])fleet-exporter ([a-z][^`\n#]*)", PAGES[page]):
        _parser().parse_args(command.split())  # which ends the process where it does not understand
    mounted = re.search(r"--config, (\S+)\]", (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8"))
    assert mounted is not None
    assert set(re.findall(r"--config (\S+)", PAGES[page])) <= {mounted.group(1)}
