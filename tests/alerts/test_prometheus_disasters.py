"""Every disaster reaches a person, and no other alert does; the health of the fleet says the same."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from exporter.fleet.health import Word
from tests.alerts.inhibitions import inhibitions, matches
from tests.alerts.prometheus_case import HOUR, ONSET
from tests.alerts.prometheus_disasters import DISASTERS, Disaster
from tests.alerts.prometheus_timeline import PROMTOOL, group, run_promtool
from tests.alerts.test_prometheus_rules import DOCUMENTED

NIGHT = 8 * HOUR
FLEET_IS_DOWN = {
    "MatillionFleetNoCapacity critical",
    "MatillionFleetDisconnected critical",
    "MatillionFleetGone critical",
}
"""The pages that say that a fleet does no work."""


def firing(minute: int) -> str:
    """Return the query for what is firing, each alert once."""
    return f'group by (alertname, severity) (ALERTS{{alertstate="firing"}} @ {60 * minute})'


def samples(alerts: set[str]) -> list[dict[str, Any]]:
    """Return the answer to that query."""
    named = [alert.split() for alert in sorted(alerts)]
    return [{"labels": f'{{alertname="{name}", severity="{severity}"}}', "value": 1} for name, severity in named]


def checks(disaster: Disaster) -> list[dict[str, Any]]:
    """Return what is asked at the end, and whenever an alert has to have begun."""
    minutes = sorted({ONSET + after for after in disaster.fires.values()} | {disaster.minutes - 1})
    expected = [{alert for alert, after in disaster.fires.items() if ONSET + after <= minute} for minute in minutes]
    return [
        {"expr": firing(minute), "eval_time": f"{disaster.minutes - 1}m", "exp_samples": samples(alerts)}
        for minute, alerts in zip(minutes, expected, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_in_each_disaster_what_must_fire_does_and_nothing_else(tmp_path: Path) -> None:
    """With two replicas, in its minute, and still at the end."""
    groups = [
        group(name, disaster.replicas, disaster.minutes) | {"promql_expr_test": checks(disaster)}
        for name, disaster in DISASTERS.items()
    ]
    run_promtool(tmp_path, groups)


@pytest.mark.slow
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_after_eight_hours_the_same_is_firing(tmp_path: Path) -> None:
    """Nothing resolves by itself, and nothing joins in but what is said of every such fleet.

    Evaluated every five minutes, which takes a quarter of the time; the test above is about the minutes.
    """
    groups = [
        group(name, disaster.replicas, NIGHT)
        | {
            "promql_expr_test": [
                {
                    "expr": 'group by (alertname, severity) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{NIGHT}m",
                    "exp_samples": samples({*disaster.fires, *disaster.later}),
                }
            ]
        }
        for name, disaster in DISASTERS.items()
    ]
    run_promtool(tmp_path, groups, evaluated_every="5m")


@pytest.mark.parametrize("name", DISASTERS)
def test_the_health_of_the_fleet_says_the_same(name: str) -> None:
    """`down` is a page that the fleet does no work; `degraded` a fleet's alert; `ok` neither."""
    disaster = DISASTERS[name]
    world = disaster.course(disaster.minutes - 1)
    assert world is not None
    [word] = [
        text.split('health="')[1].split('"')[0] for text, value in world.page.items() if "_health{" in text and value
    ]
    assert word == disaster.health
    assert (word == Word.DOWN) == bool(FLEET_IS_DOWN & disaster.fires.keys())
    of_fleets = [alert for alert in disaster.fires if alert.startswith("MatillionFleet") and not alert.endswith("info")]
    assert (word == Word.OK) == (not of_fleets)


def test_the_page_for_a_fleet_that_is_down_is_of_a_disaster() -> None:
    """Each of them is in the table."""
    assert set(chain.from_iterable(disaster.fires for disaster in DISASTERS.values())) >= FLEET_IS_DOWN


@pytest.mark.parametrize("name", DISASTERS)
def test_one_disaster_is_one_page(name: str) -> None:
    """With the documented inhibitions one critical alert is left at most, and nothing that it explains.

    All alerts of a disaster are about one fleet. What is about the same agent inhibits only that agent's.
    """
    fires = [dict(zip(("alertname", "severity"), alert.split(), strict=True)) for alert in DISASTERS[name].fires]
    left = [
        target
        for target in fires
        if not any(
            matches(inhibited, target) and any(source != target and matches(inhibiting, source) for source in fires)
            for inhibiting, inhibited, _ in inhibitions(DOCUMENTED)
        )
    ]
    critical = [alert for alert in left if alert["severity"] == "critical"]
    assert len(critical) <= 1
    assert bool(critical) == any(alert["severity"] == "critical" for alert in fires)
    if FLEET_IS_DOWN & DISASTERS[name].fires.keys():
        assert left == critical
