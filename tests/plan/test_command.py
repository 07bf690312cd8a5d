"""The command: a sample month, a plan of it in each form, and one sentence for what is wrong."""

import json
from pathlib import Path

import pytest
import yaml

from exporter.cli import main
from tests.chart.conftest import chart, helm, tools
from tests.chart.rendering import Chart
from tests.plan.samples import MIDNIGHT, STEP, nightly

__all__ = ["chart", "helm", "tools"]

COLUMNS = ("waited_task_hours", "late_share", "agent_hours", "p95_wait_seconds", "cost_dollars", "peak_nodes")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file of eight days."""
    file = tmp_path_factory.mktemp("plan") / "past.csv"
    values = nightly(8).values
    file.write_text(
        "time,demand\n" + "".join(f"{MIDNIGHT + index * STEP:.0f},{value}\n" for index, value in enumerate(values))
    )
    return file


@pytest.mark.slow
def test_a_sample_month(capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty days, a value every five minutes, the same for the same seed."""
    assert main(["simulate", "--month", "nightly"]) == 0
    text = capsys.readouterr().out
    header, first, *rest = text.splitlines()
    assert (header, first[:17], len(rest)) == ("time,demand", "2026-05-29T22:00:", 30 * 288 - 1)
    assert main(["simulate", "--month", "nightly", "--seed", "1"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.slow
def test_a_plan_for_programs(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON with what is compared and what is recommended, and nothing else on the output."""
    assert main(["plan", "--csv", str(past), "--json"]) == 0
    out = capsys.readouterr()
    assert out.err == ""
    found = json.loads(out.out)
    assert sorted(found) == ["alternatives", "assumed", "recommended"]
    assert found["assumed"] == {"start_seconds": 90.0, "start_source": "assumed"}
    assert [one["name"] for one in found["alternatives"]] == ["today", "following", "ahead", "fixed", "cron"]
    for one in (*found["alternatives"], found["recommended"]):
        assert all(isinstance(one[column], int | float) for column in COLUMNS)
    assert found["recommended"]["name"] == "ahead"


@pytest.mark.slow
def test_the_values_render(past: Path, tmp_path: Path, chart: Chart, capsys: pytest.CaptureFixture[str]) -> None:
    """What is to be pasted makes the HPA of the recommendation, and settings that the exporter takes."""
    options = ["--fleet", "matillion/etl-prod", "--timezone", "Europe/Berlin", "--max", "12"]
    assert main(["plan", "--csv", str(past), "--json", *options]) == 0
    recommended = json.loads(capsys.readouterr().out)["recommended"]
    file = tmp_path / "values.yaml"
    file.write_text(recommended["values"])
    assert yaml.safe_load(recommended["values"])["autoscaling"]["ahead"] is True
    objects = chart.objects(
        file, externalMetrics__tls__source="certManager", externalMetrics__tls__certManager__issuerRef={"name": "ca"}
    )
    spec = objects.one("HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (recommended["min_agents"], recommended["max_agents"])
    [metric] = spec["metrics"]
    assert metric["external"]["metric"]["name"] == "matillion_fleet_demand_ahead_tasks"
    assert objects.config["forecast"]["timezone"] == "Europe/Berlin"


@pytest.mark.slow
def test_a_plan_for_people(past: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal and the page begin with the recommendation; what is from outside is no markup."""
    page = tmp_path / "report.html"
    assert main(["plan", "--csv", str(past), "--fleet", "<b>/x&y", "--html", str(page), "--today-agents", "6"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("Scale ahead of demand with 2 to 15 agents")
    for part in ("today 6 ", "* ahead of demand", "slots, following", "autoscaling:", "What this rests on:"):
        assert part in text
    assert "\x1b" not in text
    written = page.read_text()
    assert "&lt;b&gt;/x&amp;y" in written
    for part in ("<b>", "<script", "http://", "https://", "src=", "url("):
        assert part not in written


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--min", "5", "--max", "3"], "--min (5) is more than --max (3)"),
        (["--target", "19"], "--target 19 is too close to the 20 tasks"),
        (["--today-agents", "5", "--today-max", "9"], "--today-agents is a fixed size"),
        ([], "none.csv cannot be read: No such file or directory"),
    ],
)
def test_wrong_use_is_one_sentence(options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With exit code 2."""
    assert main(["plan", "--csv", "none.csv", *options]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("fleet-exporter: ")
    assert sentence in line


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--csv", "x", "--fleet", "etl"],
        ["--csv", "x", "--timezone", "Mars"],
        ["--csv", "x", "--start-time", "soon"],
        ["--csv", "x", "--min", "0"],
        ["--csv", "x", "--price", "-1"],
    ],
)
def test_what_an_option_cannot_be(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The parser explains it."""
    with pytest.raises(SystemExit) as end:
        main(["plan", *options])
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err
