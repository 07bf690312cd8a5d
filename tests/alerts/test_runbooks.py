"""The runbooks: a page of substance for each alert, whose commands, panels, settings and series there are."""

import re

import pytest

from alerts.build import FOLDER
from alerts.runbook_pages import EXPORTER_URL, FORWARD
from exporter.cli import _parser
from exporter.config.shape import keys
from exporter.fleet import cloudwatch_catalogue
from tests.alerts.test_prometheus_rules import ALERTS_WITH_FOR, RECORDINGS
from tests.dashboards.dashboards_as_json import DASHBOARDS, panels
from tests.fakes.helm import CHART
from tests.series import EXPORTER_NAMES, FLEET_NAMES
from tests.web.test_docs import EXAMPLES

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((FOLDER.parent / "runbooks").glob("*.md"))}
each_page = pytest.mark.parametrize("page", PAGES)
IN_A_POD = re.compile(r"kubectl -n NAMESPACE exec POD -- curl -sS -m 5\s+localhost:9464/metrics")
"""An address that is that of the pod in which the command runs."""
ANSWERS = {
    "fleets": EXAMPLES["/api/v1/fleets"]["fleets"][0],
    "agents": EXAMPLES["/api/v1/agents"]["agents"][0],
    "departures": EXAMPLES["/api/v1/departures"]["departures"][0],
}
"""An entry of each list that the exporter answers with."""


def part(page: str, heading: str) -> str:
    """Return one part of a page."""
    return PAGES[page].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def numbered(text: str) -> list[str]:
    """Return the entries of a numbered list."""
    return re.findall(r"^\d+\. (.+(?:\n   .+)*)", text, re.MULTILINE)


def test_each_alert_has_its_page() -> None:
    """No alert is without one, and a page that no alert leads to is out of date."""
    assert set(PAGES) == set(ALERTS_WITH_FOR)


@each_page
def test_it_has_its_parts(page: str) -> None:
    """What is lost, why and what to do about it, who else is to be told and with what, and when it is over."""
    text = PAGES[page]
    assert text.startswith(f"# {page}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Impact", "Causes", "Fix", "Escalate", "Done when"]
    assert re.search(r"/d/matillion-[a-z]+", part(page, "Impact")), "a dashboard"
    assert len(text.split()) > 200
    assert part(page, "Done when").strip()


@each_page
def test_it_begins_with_the_way_to_the_exporter(page: str) -> None:
    """The first line works from a laptop and makes the next ones work; no other address is taken for granted."""
    title, _, rest = PAGES[page].partition("\n\n```sh\n")
    assert title == f"# {page}"
    first, *others = rest.partition("\n```\n")[0].splitlines()
    assert first == FORWARD
    assert any(EXPORTER_URL in line for line in others), "a first question to the exporter"
    for line in PAGES[page].splitlines():
        assert not re.search(r"localhost|127\.0\.0\.1", line.replace(EXPORTER_URL, "")) or IN_A_POD.search(PAGES[page])


def test_the_first_line_is_of_what_the_chart_creates() -> None:
    """The Service's port has that name, whatever its number."""
    ports = (CHART / "templates" / "service.yaml").read_text(encoding="utf-8")
    assert re.search(rf"name: {FORWARD.partition('9850:')[2].split()[0]}, ", ports)


@each_page
def test_each_cause_has_its_fix(page: str) -> None:
    """Causes and fixes are numbered alike; each cause has a name."""
    causes, fixes = numbered(part(page, "Causes")), numbered(part(page, "Fix"))
    assert len(causes) == len(fixes) >= 3
    for cause in causes:
        assert cause.startswith("**"), cause


@each_page
def test_it_tells_when_to_escalate_to_whom_and_what_to_attach(page: str) -> None:
    """A time and somebody, and the doctor's report."""
    text = part(page, "Escalate")
    assert re.search(
        r"\*\*(After|At once|The next day|During working hours|Within|When|30 minutes before|Once)", text
    ), "when"
    assert re.search(r"\b(to the|to their|to its|to Matillion)\b", " ".join(text.split())), "to whom"
    assert re.search(r"- Attach [\w`]", text)
    assert re.search(r"fleet-exporter doctor .*--json > doctor\.json", text)


@each_page
def test_what_is_asked_of_the_exporter_is_answered(page: str) -> None:
    """Routes and queries are the API's, and what `jq` selects is in the answers."""
    for route in re.findall(rf"{re.escape(EXPORTER_URL)}(/[^?'`\s]*)", PAGES[page]):
        assert re.fullmatch(r"/(metrics|readyz|api/v1/(fleets(/NAMESPACE/FLEET)?|agents|departures))", route), route
    for kind, program in re.findall(r"/api/v1/(\w+)\S* \| jq (?:-r )?'([^']*)'", PAGES[page]):
        inner = re.sub(r'"[^"]*"', "", program).removeprefix(f".{kind}[]")
        shown = (field.strip() for fields in re.findall(r"\{([^}]*)\}", inner) for field in fields.split(","))
        paths = {field for field in shown if ":" not in field} | set(re.findall(r"\.([a-z_.]+)", inner))
        assert paths
        for path in paths:
            value = ANSWERS[kind]
            for key in path.split("."):
                assert key in value, f"{path} in {program}"
                value = value[key]


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
        _parser().parse_args(command.partition(">")[0].split())  # which ends the process where it does not understand
    mounted = re.search(r"--config, (\S+)\]", (CHART / "templates" / "deployment.yaml").read_text(encoding="utf-8"))
    assert mounted is not None
    assert set(re.findall(r"exec deploy/\S+ -- fleet-exporter \w+ --config (\S+)", PAGES[page])) <= {mounted.group(1)}
