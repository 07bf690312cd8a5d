"""Writes the thresholds and the alarms of the CloudFormation template; what surrounds them is written by hand."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from alerts.cloudwatch.alarms import Alarm, Parameter, Stack
from alerts.pairs import Pair

FILE = Path(__file__).parent / "matillion-fleet.yaml"
END = "  # End of the generated lines."
THRESHOLDS = "  # Thresholds, generated (make alerts) from alerts/cloudwatch/alarms.py and alerts/settings.py."
ALARMS = "  # Alarms, generated (make alerts) from alerts/cloudwatch/alarms.py and alerts/settings.py."

_COMPARISONS = {
    ">": "GreaterThanThreshold",
    ">=": "GreaterThanOrEqualToThreshold",
    "<": "LessThanThreshold",
    "<=": "LessThanOrEqualToThreshold",
}


def thresholds(stack: Stack) -> Iterator[str]:
    """Yield the lines of the parameters that are thresholds."""
    for parameter in stack.parameters:
        yield f"  {parameter.name}:"
        yield "    Type: Number"
        yield f"    Default: {parameter.default:g}"
        yield f"    MinValue: {parameter.minimum}"
        if parameter.maximum is not None:
            yield f"    MaxValue: {parameter.maximum}"
        yield f"    Description: {_scalar(parameter.description)}"


def alarms(stack: Stack, pairs: Iterable[Pair]) -> Iterator[str]:
    """Yield the lines of the alarms' resources; the description of one with an alert links to its runbook."""
    runbooks: dict[str | None, str] = {}
    for pair in pairs:
        if pair.alert is not None:
            # Of several, the first: they are in the order of the rules, and those of a whole fleet come first.
            runbooks.setdefault(pair.alarm, pair.alert)
    for alarm in stack.alarms:
        yield from _alarm(alarm, runbooks.get(alarm.name))
        yield ""


def _alarm(alarm: Alarm, runbook: str | None) -> Iterator[str]:
    yield f"  {alarm.name}:"
    yield "    Type: AWS::CloudWatch::Alarm"
    if alarm.of_nodes:
        yield "    Condition: WithNodeAlarms"
    yield "    Properties:"
    yield from (f"      {line}" for line in _properties(alarm, runbook))


def _properties(alarm: Alarm, runbook: str | None) -> Iterator[str]:
    namespace = "ContainerInsights" if alarm.of_nodes else "!Ref MetricNamespace"
    dimensions = ("ClusterName",) if alarm.of_nodes else ("ClusterName", "Namespace", "Fleet")
    actions = '!If [HasTopic, [!Ref AlarmTopicArn], !Ref "AWS::NoValue"]'
    yield f'AlarmName: !Sub "${{ClusterName}}-${{Namespace}}-${{Fleet}}-{alarm.name}"'
    yield f"AlarmDescription: {_described(alarm, runbook)}"
    yield f"Namespace: {namespace}"
    yield f"MetricName: {alarm.metric}"
    yield "Dimensions:"
    yield from (f"  - {{Name: {name}, Value: !Ref {name}}}" for name in dimensions)
    yield f"Statistic: {alarm.statistic}"
    yield f"Period: {alarm.period:g}"
    yield f"EvaluationPeriods: {_number(alarm.periods)}"
    if alarm.to_alarm is not None:
        yield f"DatapointsToAlarm: {alarm.to_alarm}"
    yield f"Threshold: {_number(alarm.threshold)}"
    yield f"ComparisonOperator: {_COMPARISONS[alarm.comparison]}"
    yield f"TreatMissingData: {alarm.missing}"
    yield f"AlarmActions: {actions}"
    yield f"OKActions: {actions}"


def _described(alarm: Alarm, runbook: str | None) -> str:
    if runbook is None:
        return _scalar(alarm.description)
    link = f"${{PageUrl}}/runbooks/{runbook}?namespace=${{Namespace}}&fleet=${{Fleet}}"
    return f"!Sub {json.dumps(f'{alarm.description} Runbook: {link}', ensure_ascii=False)}"


def _number(value: float | Parameter) -> str:
    return f"!Ref {value.name}" if isinstance(value, Parameter) else f"{value:g}"


def _scalar(text: str) -> str:
    """Return a text as YAML in one line, in quotes where it takes them."""
    written: Any = yaml.safe_dump([text], width=float("inf"), allow_unicode=True)
    return str(written).removeprefix("- ").rstrip("\n")
