"""Prometheus alerts and CloudWatch alarms: thresholds from one place, and a reason for every difference."""

from collections.abc import Mapping
from dataclasses import fields, replace

import pytest

from alerts.build import alerts, files
from alerts.cloudwatch.alarms import Alarm, Parameter, stack
from alerts.durations import in_words
from alerts.pairs import pairs
from alerts.settings import Settings
from tests.alerts.test_cloudwatch_template import FLEET_ALARMS, NODE_ALARMS
from tests.alerts.test_prometheus_rules import ALERTS_WITH_FOR

PAIRS = pairs(Settings())
MOVED_TOGETHER = {
    "agent_disconnected_for": ("MatillionAgentDisconnected", "ConnectivityLost"),
    "coverage_low_for": ("MatillionFleetCoverageLow", "AgentsUnreachable"),
    "queued_tasks": ("MatillionFleetQueueGrowing", "QueueBuildingUp"),
    "queue_growing_for": ("MatillionFleetQueueGrowing", "QueueBuildingUp"),
    "saturated_for": ("MatillionFleetSaturated", "NoFreeCapacity"),
    "memory_pressure": ("MatillionAgentMemoryPressure", "MemoryNearLimit"),
    "memory_pressure_for": ("MatillionAgentMemoryPressure", "MemoryNearLimit"),
    "crash_looping_for": ("MatillionAgentCrashLooping", "CrashLooping"),
    "crash_loop_window": ("MatillionAgentCrashLooping", "CrashLooping"),
    "tasks_lost": ("MatillionTasksLost", "TasksLost"),
    "tasks_lost_window": ("MatillionTasksLost", "TasksLost"),
    "task_failures": ("MatillionTaskFailures", "TaskFailures"),
    "task_failures_window": ("MatillionTaskFailures", "TaskFailures"),
    "exporter_down_for": ("MatillionExporterDown", "ExporterSilent"),
}
"""Settings that an alert and its alarm have in common."""
ALARMS_ONLY = {
    "coverage_warning": "AgentsUnreachable",
    "min_agents": "CapacityLow",
    "capacity_low_for": "CapacityLow",
    "fleet_restarts": "Restarts",
    "fleet_restarts_window": "Restarts",
    "node_usage": "NodeCpu",
    "node_usage_for": "NodeCpu",
}
"""Settings of alarms that differ from their alert, or have none."""


def alarms(settings: Settings) -> Mapping[str, Alarm]:
    """Return the alarms by their names."""
    return {alarm.name: alarm for alarm in stack(settings).alarms}


def figures(alarm: Alarm) -> tuple[float, float, int | None]:
    """Return an alarm's threshold, the seconds it looks at, and how many data points of them it takes."""
    threshold = alarm.threshold.default if isinstance(alarm.threshold, Parameter) else alarm.threshold
    periods = alarm.periods.default if isinstance(alarm.periods, Parameter) else alarm.periods
    return threshold, alarm.period * periods, alarm.to_alarm


def test_every_alert_and_every_alarm_has_its_pair_or_its_reason() -> None:
    """Each alert is in one row, in the order of the rules; each alarm is in at least one; nothing else is."""
    assert [pair.alert for pair in PAIRS if pair.alert] == list(
        dict.fromkeys(alert.name for alert in alerts(Settings()))
    )
    assert {pair.alert for pair in PAIRS} == {*ALERTS_WITH_FOR, None}
    assert {pair.alarm for pair in PAIRS} == {*FLEET_ALARMS, *NODE_ALARMS, None}
    assert [pair for pair in PAIRS if not (pair.alert and pair.alarm) and len(pair.reason.split()) < 4] == []


def test_a_pair_without_a_reason_has_the_same_figures() -> None:
    """The alert compares the same number, over the same time."""
    rules = {alert.name: alert for alert in alerts(Settings())}
    same = [pair for pair in PAIRS if not pair.reason]
    assert [pair.alert for pair in same] == ["MatillionTaskFailures"]
    alarm = alarms(Settings())["TaskFailures"]
    threshold, seconds, _ = figures(alarm)
    assert rules["MatillionTaskFailures"].expr.endswith(f" {alarm.comparison} {threshold:g}")
    assert seconds == Settings().task_failures_window


def changed(setting: str) -> Settings:
    """Return settings of which one is twice what it is by default, and shares are halved."""
    value = getattr(Settings(), setting)
    return replace(Settings(), **{setting: value / 2 if isinstance(value, float) and value < 1 else 2 * value + 60})


def alerts_moved(settings: Settings) -> set[str]:
    """Return the alerts that fire on other figures than by default, in the rules that Prometheus reads."""
    before, after = dict(files(Settings())), dict(files(settings))
    if before["recording-rules.yaml"] != after["recording-rules.yaml"]:
        return {"MatillionTaskFailures"}  # the window of the one recording that an alert has a threshold for
    pairs_of_rules = zip(alerts(Settings()), alerts(settings), strict=True)
    return {old.name for old, new in pairs_of_rules if (old.expr, old.for_seconds) != (new.expr, new.for_seconds)}


def alarms_moved(settings: Settings) -> set[str]:
    """Return the alarms that fire on other figures than by default."""
    before, after = alarms(Settings()), alarms(settings)
    return {name for name in before if figures(before[name]) != figures(after[name])}


@pytest.mark.parametrize("setting", MOVED_TOGETHER)
def test_a_common_threshold_moves_the_alert_and_the_alarm(setting: str) -> None:
    """What is changed in the settings changes both sides of the pair."""
    alert, alarm = MOVED_TOGETHER[setting]
    settings = changed(setting)
    assert alert in alerts_moved(settings)
    assert alarms_moved(settings) == {alarm}
    assert [pair for pair in PAIRS if (pair.alert, pair.alarm) == (alert, alarm)]


@pytest.mark.parametrize("setting", ALARMS_ONLY)
def test_a_threshold_of_alarms_alone_moves_no_alert(setting: str) -> None:
    """An intended difference is a setting of its own."""
    settings = changed(setting)
    assert not alerts_moved(settings)
    assert ALARMS_ONLY[setting] in alarms_moved(settings)


def test_no_other_setting_moves_an_alarm() -> None:
    """The two tables above are complete."""
    others = {field.name for field in fields(Settings)} - MOVED_TOGETHER.keys() - ALARMS_ONLY.keys()
    assert {name for name in others if alarms_moved(changed(name))} == set()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (60, "1 minute"),
        (300, "5 minutes"),
        (5400, "90 minutes"),
        (3600, "1 hour"),
        (172800, "2 days"),
        (45, "45 seconds"),
    ],
)
def test_durations_are_in_their_largest_whole_unit(seconds: float, words: str) -> None:
    """As a sentence has them."""
    assert in_words(seconds) == words
