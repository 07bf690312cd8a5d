"""The rule files as a whole: generated, well formed, complete, each alert with all that belongs to one."""

import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.build import FOLDER, files, main
from alerts.prometheus.recording import UTILIZATION
from alerts.prometheus.rules import Clock
from alerts.settings import RUNBOOK_BASE_URL, Settings
from exporter.config import CapacitySettings
from exporter.fleet.attention import MEMORY_SHARE
from exporter.fleet.drains import LATE_SECONDS, LATE_SHARE, SHORT_SECONDS
from exporter.fleet.health import REFUSING_SHARE, STUCK_SECONDS
from exporter.fleet.losses import LATELY_SECONDS
from tests.alerts.inhibitions import inhibitions
from tests.alerts.prometheus_cases import CASES
from tests.alerts.prometheus_timeline import PROMTOOL, group, run_promtool
from tests.alerts.prometheus_worlds import agent, seeing
from tests.series import EXPORTER_NAMES, FLEET_NAMES
from tests.waiting import PATIENCE

AMTOOL = shutil.which("amtool")
ALERTS_WITH_FOR = {
    "MatillionAgentDisconnected": "2m",
    "MatillionFleetDisconnected": "1m",
    "MatillionFleetPartlyDisconnected": "2m",
    "MatillionFleetNoCapacity": "5m",
    "MatillionFleetGone": "5m",
    "MatillionFleetQueueStuck": "15m",
    "MatillionFleetNotScaling": "10m",
    "MatillionFleetOversized": "2h",
    "MatillionAgentUnreachable": "2m",
    "MatillionFleetCoverageLow": "5m",
    "MatillionFleetQueueGrowing": "5m",
    "MatillionFleetSaturated": "5m",
    "MatillionFleetCapacityExhaustionPredicted": "10m",
    "MatillionFleetAtMaximum": "15m",
    "MatillionScalerInactive": "10m",
    "MatillionFleetRefusing": "10m",
    "MatillionAgentLegacyMetrics": "1h",
    "MatillionAgentMemoryPressure": "5m",
    "MatillionAgentMemoryCritical": "1m",
    "MatillionAgentOOMKilled": None,
    "MatillionAgentMemoryExhaustionPredicted": "15m",
    "MatillionAgentCrashLooping": "5m",
    "MatillionAgentRestarting": None,
    "MatillionAgentVersionSkew": "1d",
    "MatillionAgentNotStarting": "10m",
    "MatillionAgentDrainTooLong": None,
    "MatillionAgentDrainCutShort": "1m",
    "MatillionTasksLost": None,
    "MatillionTaskFailures": None,
    "MatillionExporterDown": "5m",
    "MatillionExporterStale": "2m",
    "MatillionReplicasDisagree": "5m",
    "MatillionExporterCloudWatchFailing": "5m",
    "MatillionExporterSpoolNotDurable": "15m",
    "MatillionExternalMetricsFailing": "10m",
    "MatillionExporterNoLeader": "2m",
}
"""All alerts: names and times are a contract with routes and silences."""

AGGREGATED = (
    r"max by \([^)]*\) \(\s*"
    r"((sum by \([^)]*, job, instance\) |round|increase|max_over_time|timestamp)\(\s*)*$"
)
"""What stands before a raw series."""
FOREIGN = {"process_start_time_seconds"}


def rules(kind: str) -> list[dict[str, Any]]:
    """Return the rules of the checked-in files that are alerts, or recordings."""
    groups = [group for path in sorted(FOLDER.glob("*.yaml")) for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


ALERTS = rules("alert")
RECORDINGS = rules("record")


def test_the_alerts_are_those_that_are_promised() -> None:
    """Each alert is there once for each severity, with the time it is promised to wait."""
    assert {rule["alert"]: rule.get("for") for rule in ALERTS} == ALERTS_WITH_FOR
    assert len(ALERTS) == len({(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS})


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_has_all_that_belongs_to_one(rule: dict[str, Any]) -> None:
    """Severity, summary, a description that names what it is about and its value for people, and a runbook."""
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    page, _, names = notes["runbook_url"].partition("?")
    assert page == f"{RUNBOOK_BASE_URL}{rule['alert']}"
    text = notes["summary"] + notes["description"]
    assert re.search(r"\{\{ \$value \| humanize\w* \}\}", notes["description"])
    named = ["job", "namespace"] if re.search("Exporter|External", rule["alert"]) else ["fleet", "namespace"]
    named += ["pod"] if rule["alert"].startswith("MatillionAgent") and "Skew" not in rule["alert"] else []
    for label in named:
        assert f"$labels.{label}" in text
        assert label == "job" or f"{label}={{{{$labels.{label}|urlquery}}}}" in names.split("&")


def test_the_exporter_uses_the_thresholds_of_the_alerts() -> None:
    """An agent needs attention from the threshold of its alert on; demand is withheld where the alerts fire."""
    settings, capacity = Settings(), CapacitySettings()
    assert settings.memory_pressure == MEMORY_SHARE
    assert (settings.drain_late, settings.drain_late_share, settings.drain_short) == (
        LATE_SECONDS,
        LATE_SHARE,
        SHORT_SECONDS,
    )
    assert (settings.queue_stuck_for, settings.refusing_share) == (STUCK_SECONDS, REFUSING_SHARE)
    assert settings.not_scaling_window + settings.not_scaling_for == STUCK_SECONDS
    assert settings.tasks_lost_window == LATELY_SECONDS
    assert (capacity.min_coverage, capacity.max_sync_age) == (settings.coverage_low, settings.sync_age)


def test_every_alert_has_its_tests() -> None:
    """Each has a row in the table of cases, and something that is just not enough for it."""
    assert {case.alert for case in CASES} == set(ALERTS_WITH_FOR)
    assert {case.alert for case in CASES if case.not_enough} == set(ALERTS_WITH_FOR)


def test_every_series_is_aggregated_over_replicas() -> None:
    """No raw series is used but under `max by (…)`, or where its presence alone is asked for."""
    for rule in chain(ALERTS, RECORDINGS):
        expr = rule["expr"]
        for match in re.finditer(r"\bmatillion_fleet_\w+|\bprocess_start_time_seconds", expr):
            if expr[: match.start()].endswith(":"):
                continue  # a recorded series, which is aggregated already
            before = expr[: match.start()]
            presence = re.search(r"(absent|unless on \(\) max_over_time|(and|unless) on \([^)]*\)) ?\(?\s*$", before)
            assert presence or re.search(AGGREGATED, before), f"{match.group()} in {expr}"


def test_every_metric_is_known() -> None:
    """What the rules read is on /metrics, recorded by a rule, or foreign by intent."""
    known = FLEET_NAMES | EXPORTER_NAMES | {rule["record"] for rule in RECORDINGS} | FOREIGN
    for rule in chain(ALERTS, RECORDINGS):
        used = set(re.findall(r"(?:\w+:)?\b(?:matillion_fleet_|process_)\w+(?::\w+)?", rule["expr"]))
        assert used <= known


def test_recordings_are_named_by_level_metric_and_operation() -> None:
    """`level:metric:operation`, once each."""
    names = [rule["record"] for rule in RECORDINGS]
    assert len(set(names)) == len(names)
    assert all(
        re.fullmatch(r"(fleet|agent|installation):matillion_fleet_\w+:(max|ratio|count|increase)", n) for n in names
    )


def test_the_files_are_as_generated(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`--check` accepts the files in the repository, and names one that is out of date."""
    assert main(["--check"]) == 0
    assert main(["--output", str(tmp_path)]) == 0
    (tmp_path / "alerts.yaml").write_text("changed")
    assert main(["--check", "--output", str(tmp_path)]) == 1
    assert "alerts.yaml" in capsys.readouterr().err


def test_times_can_be_shortened_and_runbooks_be_elsewhere() -> None:
    """A fleet can be watched sixty times as fast, and runbooks published on another server."""
    texts = dict(files(Settings(), faster=60, runbook_base_url="https://wiki.test/runbooks"))
    groups = yaml.safe_load(texts["alerts.yaml"])["groups"]
    by_name = {rule["alert"]: rule for group in groups for rule in group["rules"]}
    assert by_name["MatillionFleetQueueGrowing"]["for"] == "5s"
    assert "[4s]" in by_name["MatillionFleetQueueGrowing"]["expr"]
    url = "https://wiki.test/runbooks/MatillionFleetQueueGrowing?namespace="
    assert by_name["MatillionFleetQueueGrowing"]["annotations"]["runbook_url"].startswith(url)


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "5m"), (5400, "1h30m"), (86400, "1d"), (0.5, "500ms"), (0, "0s"), (90, "1m30s")]
)
def test_times_are_written_as_prometheus_reads_them(seconds: float, text: str) -> None:
    """Whole units, the largest first."""
    assert Clock()(seconds) == text


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_reports_nothing() -> None:
    """`promtool check rules --lint=all` passes on every file."""
    assert PROMTOOL is not None
    paths = sorted(str(path) for path in FOLDER.glob("*.yaml"))
    command = [PROMTOOL, "check", "rules", "--lint=all", "--lint-fatal", *paths]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("SUCCESS") == len(paths) == 2


DOCUMENTED = (FOLDER.parents[1] / "docs" / "alerts.md").read_text()


def test_the_documentation_lists_the_alerts_as_they_are() -> None:
    """Each alert's row in docs/alerts.md has its severity and its time."""
    rows = re.findall(r"^\| \[(\w+)\]\(\.\./alerts/runbooks/\1\.md\) \| (\w+) \| ([\w ]+) \|", DOCUMENTED, re.MULTILINE)
    assert rows == [(rule["alert"], rule["labels"]["severity"], rule.get("for", "at once")) for rule in ALERTS]


def test_the_documented_inhibitions_name_alerts_and_labels_that_there_are() -> None:
    """Alertmanager would accept a rule for an alert that does not exist, and it would inhibit nothing."""
    for source, target, equal in inhibitions(DOCUMENTED):
        for matchers in (source, target):
            alternatives = re.sub(r"(\w+)\(([\w|]+)\)", _spelled_out, matchers.pop("alertname").pattern)
            assert set(alternatives.split("|")) <= ALERTS_WITH_FOR.keys()
            assert matchers.keys() <= {"severity", "reason"}
        assert equal <= {"cluster", "namespace", "fleet", "pod", "memory"}


def _spelled_out(match: re.Match[str]) -> str:
    return "|".join(match.group(1) + ending for ending in match.group(2).split("|"))


@pytest.mark.slow
@pytest.mark.skipif(AMTOOL is None, reason="amtool is not installed (Debian: prometheus-alertmanager)")
def test_alertmanager_takes_the_documented_inhibitions(tmp_path: Path) -> None:
    """`amtool check-config` accepts them."""
    assert AMTOOL is not None
    [block] = [b for b in re.findall(r"```yaml\n(.*?)```", DOCUMENTED, re.DOTALL) if "inhibit_rules" in b]
    config = tmp_path / "alertmanager.yaml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n" + block)
    result = subprocess.run(
        [AMTOOL, "check-config", str(config)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "11 inhibit rules" in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_utilization_is_recorded_of_the_agents_that_have_the_slots(tmp_path: Path) -> None:
    """Three of four agents lost the control plane with 16 tasks each: the one that serves is 65 % full, not 305 %."""
    lost = [agent(f"etl-{number}", 16, connected=False) for number in (1, 2, 3)]
    test = group("utilization", {"10.0.0.1:9850": seeing(agent("etl-0", 13), *lost)}, 5)
    recorded = {"labels": f'{UTILIZATION}{{namespace="matillion",fleet="etl"}}', "value": 0.65}
    run_promtool(
        tmp_path,
        [test | {"promql_expr_test": [{"expr": UTILIZATION, "eval_time": "4m", "exp_samples": [recorded]}]}],
    )
