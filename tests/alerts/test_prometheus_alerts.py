"""Every alert fires when it must, not before, not for less, once for two replicas, and ends.

What happens and what is just not enough stands in the rows of `prometheus_cases`; `promtool test rules` judges.
"""

import re
from pathlib import Path
from urllib.parse import quote

import pytest

from alerts.settings import RUNBOOK_BASE_URL
from tests.alerts.prometheus_case import Case
from tests.alerts.prometheus_cases import CASES
from tests.alerts.prometheus_timeline import PROMTOOL, Check, Course, Firing, group, run_promtool
from tests.alerts.test_prometheus_rules import ALERTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)"),
]

INSTANCES = [f"10.0.0.{number}:9850" for number in (1, 2, 3)]


def runbook(case: Case) -> str:
    """Return where the alert leads: to its page, with the names that the alert is about."""
    [link] = {rule["annotations"]["runbook_url"] for rule in ALERTS if rule["alert"] == case.alert}
    assert link.partition("?")[0] == f"{RUNBOOK_BASE_URL}{case.alert}"
    return re.sub(
        r"\{\{\$labels\.(\w+)\|urlquery\}\}", lambda match: quote(case.labels.get(match[1], ""), safe=""), link
    )


def firing(case: Case) -> Firing:
    """Return how the alert looks when it fires."""
    return Firing(
        {"severity": case.severity, **case.labels},
        {
            "summary": case.summary,
            "description": case.description,
            "runbook_url": runbook(case),
        },
    )


def life(case: Case, *replicas: Course) -> dict[str, object]:
    """Return the test of the alert's whole life: not yet, now, over."""
    fires = case.onset + case.after
    checks = [Check(fires, firing(case)), Check(case.ends + case.lingers, None)]
    if fires:
        checks.insert(0, Check(fires - 1, None))
    instances = dict(zip(INSTANCES, replicas, strict=False))
    name = f"{case.alert} {case.variant}, {len(instances)} replica(s)"
    return group(name, instances, case.ends + case.lingers + 2, alert=case.alert, checks=checks)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert} {case.variant}".rstrip().replace(" ", "-"))
def test_the_alert_fires_when_it_should_with_its_text(case: Case, tmp_path: Path) -> None:
    """It fires in its minute and with its words, not a minute before, ends, and two replicas make one alert of it."""
    beside = () if case.beside is None else (case.beside,)
    groups = [life(case, case.world, *beside), life(case, case.world, *(beside or (case.world,)), *beside)]
    minutes = case.onset + case.after + 20
    groups += [
        group(
            f"{case.alert}: not enough, {number}",
            dict(zip(INSTANCES, (course, *beside), strict=False)),
            minutes,
            never_firing=f'alertname="{case.alert}"',
        )
        for number, course in enumerate(case.not_enough, start=1)
    ]
    run_promtool(tmp_path, groups, alert=case.alert)
