"""Writes the generated tables of docs/alerts.md and docs/cloudwatch.md."""

from collections.abc import Iterable, Iterator

from alerts.cloudwatch.alarms import Stack
from alerts.pairs import Pair
from alerts.prometheus.rules import Alert, Clock

END = "<!-- End of the generated table. -->"
ALERTS = "<!-- Generated (make alerts) from alerts/prometheus/*.py: the alerts. -->"
PAIRS = "<!-- Generated (make alerts) from alerts/pairs.py: alerts and alarms. -->"
ALARMS = "<!-- Generated (make alerts) from alerts/cloudwatch/alarms.py: the alarms. -->"


def of_alerts(alerts: Iterable[Alert]) -> Iterator[str]:
    """Yield the lines of the table of Prometheus alerts."""
    yield "| alert | severity | for | fires when |"
    yield "| --- | --- | --- | --- |"
    for alert in alerts:
        wait = Clock()(alert.for_seconds) if alert.for_seconds else "at once"
        yield f"| {_runbook(alert.name)} | {alert.severity} | {wait} | {alert.when} |"


def of_pairs(pairs: Iterable[Pair]) -> Iterator[str]:
    """Yield the lines of the table of alerts and their alarms."""
    yield "| Prometheus alert | CloudWatch alarm | why they differ, or why one is missing |"
    yield "| --- | --- | --- |"
    for pair in pairs:
        alert = _runbook(pair.alert) if pair.alert else "–"
        alarm = f"`{pair.alarm}`" if pair.alarm else "–"
        yield f"| {alert} | {alarm} | {pair.reason or 'The same figures.'} |"


def of_alarms(stack: Stack) -> Iterator[str]:
    """Yield the lines of the table of CloudWatch alarms."""
    yield "| alarm | when |"
    yield "| --- | --- |"
    for alarm in stack.alarms:
        yield f"| `{alarm.name}` | {alarm.when} |"


def _runbook(alert: str) -> str:
    return f"[{alert}](../alerts/runbooks/{alert}.md)"
