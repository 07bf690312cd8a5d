"""Worlds over time, as the input of `promtool test rules`.

A world is what the exporter sees in one minute: snapshots of agents, from which the real aggregation and the real
`/metrics` page make the series, and the exporter's own series as text. So the rules are tested on what the exporter
says of an agent that hangs, drains or leaks, not on series somebody thought it would have.
"""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from alerts.build import files
from alerts.settings import Settings
from exporter.fleet.capacity import aggregate
from exporter.fleet.departure import LossReason
from exporter.fleet.model import AgentSnapshot, Lasting
from exporter.fleet.outlook import Outlook
from exporter.fleet.scaler import Scaler
from exporter.publish.prometheus import render
from tests.factories import NOW, POLICY, WALL_NOW
from tests.waiting import PATIENCE

JOB, NAMESPACE = "matillion-fleet-exporter", "monitoring"
PROMTOOL = shutil.which("promtool")

Page = dict[str, float]


@dataclass(frozen=True, eq=False)
class World:
    """What a replica of the exporter knows in one minute."""

    snapshots: Sequence[AgentSnapshot] = ()
    own: Mapping[str, float] = field(default_factory=dict)
    """Series of the exporter itself, and of agents' metrics that are not read from snapshots."""
    sync_age: float = 1.0
    scalers: tuple[Scaler, ...] | None = None
    """The scalers of each fleet; None where they are unknown."""
    lost: tuple[tuple[LossReason, float], ...] = ()
    """Tasks lost in each fleet so far; reasons that are not given have none."""
    outlook: Outlook | None = None
    """What is expected of each fleet; None without a forecast."""
    lasting: Lasting | None = None
    """What has lasted in each fleet; None at its beginning."""
    empty: tuple[tuple[str, str], ...] = ()
    """Fleets that are known and have no agents."""

    @property
    def page(self) -> Page:
        """The series of `/metrics`, by their text without the labels of the target."""
        return _fleets_page(
            tuple(self.snapshots),
            self.sync_age,
            scalers=self.scalers,
            lost=self.lost,
            outlook=self.outlook,
            lasting=self.lasting,
            empty=self.empty,
        ) | dict(self.own)


@lru_cache(maxsize=1024)
def _fleets_page(
    snapshots: tuple[AgentSnapshot, ...],
    sync_age: float,
    *,
    scalers: tuple[Scaler, ...] | None,
    lost: tuple[tuple[LossReason, float], ...],
    outlook: Outlook | None,
    lasting: Lasting | None,
    empty: tuple[tuple[str, str], ...],
) -> Page:
    by_fleet: dict[tuple[str, str], list[AgentSnapshot]] = {key: [] for key in empty}
    for snapshot in snapshots:
        by_fleet.setdefault((snapshot.target.namespace, snapshot.target.fleet), []).append(snapshot)
    tasks_lost = dict.fromkeys(LossReason, 0.0) | dict(lost)
    fleets = [
        aggregate(
            *key,
            members,
            POLICY,
            NOW,
            wall_now=WALL_NOW,
            sync_age=sync_age,
            scalers=scalers,
            tasks_lost=tasks_lost,
            outlook=outlook,
            before=lasting,
        )
        for key, members in sorted(by_fleet.items())
    ]
    lines = "".join(render(fleets, openmetrics=False)).splitlines()
    return {text: float(value) for text, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


Course = Callable[[int], World | None]
"""What there is to see in a minute; None while the exporter cannot be scraped."""


def as_target(page: Page, instance: str) -> Page:
    """Return the page as Prometheus stores it (`honor_labels`): a label that the page gives wins over the target's.

    `instance` is that of a replica of the usual job, or `job/instance`.
    """
    return {_as_target(text, instance): value for text, value in page.items()}


@cache
def _as_target(text: str, instance: str) -> str:
    name, _, labels = text.rstrip("}").partition("{")
    job, _, address = instance.rpartition("/")
    target = f'job="{job or JOB}",instance="{address}"' + (
        "" if "namespace=" in labels else f',namespace="{NAMESPACE}"'
    )
    return f"{name}{{{labels}{',' if labels else ''}{target}}}"


def input_series(replicas: Mapping[str, Course], minutes: int) -> list[dict[str, str]]:
    """Return what each replica shows in each minute, in promtool's notation; what goes away is marked stale."""
    pages: list[Page] = []
    for minute in range(minutes):
        page: Page = {}
        for instance, course in replicas.items():
            world = course(minute)
            page |= as_target(world.page, instance) if world is not None else {}
        pages.append(page)
    names = sorted({name for page in pages for name in page})
    return [{"series": name, "values": " ".join(_values(page.get(name) for page in pages))} for name in names]


def _values(values: Iterable[float | None]) -> Iterable[str]:
    shown = False
    for value, run in groupby(values):
        length = len(list(run))
        if value is None:
            if shown:
                yield "stale"
                length -= 1
            if length:
                yield f"_x{length}"
        else:
            yield f"{value!r}+0x{length - 1}"
        shown = value is not None


@dataclass(frozen=True)
class Firing:
    """An alert as it must look."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Check:
    """At this minute the alert fires exactly so, or (None) not at all."""

    minute: int
    firing: Firing | None


def group(
    name: str,
    replicas: Mapping[str, Course],
    minutes: int,
    *,
    alert: str = "",
    checks: Sequence[Check] = (),
    never_firing: str = "",
) -> dict[str, Any]:
    """Return a test group; `never_firing` is a matcher of ALERTS that must at no time have been firing."""
    silence = f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing",{never_firing}}}[{minutes}m]))'
    return {
        "name": name,
        "interval": "1m",
        "input_series": input_series(replicas, minutes),
        "alert_rule_test": [
            {
                "eval_time": f"{check.minute}m",
                "alertname": alert,
                "exp_alerts": []
                if check.firing is None
                else [{"exp_labels": dict(check.firing.labels), "exp_annotations": dict(check.firing.annotations)}],
            }
            for check in checks
        ],
        "promql_expr_test": [{"expr": silence, "eval_time": f"{minutes - 1}m", "exp_samples": []}]
        if never_firing
        else [],
    }


@cache
def _rule_groups() -> list[dict[str, Any]]:
    """Return the rules as they are generated."""
    return [group for _, text in files(Settings()) for group in yaml.safe_load(text)["groups"]]


def run_promtool(
    folder: Path, groups: Sequence[dict[str, Any]], *, alert: str | None = None, evaluated_every: str = "1m"
) -> None:
    """Run the groups against the rules as they are generated: the recording rules and one alert, or all alerts.

    Raises AssertionError with promtool's own words.
    """
    rule_groups = [dict(group) for group in _rule_groups()]
    for rule_group in rule_groups:
        rules = rule_group["rules"]
        rule_group["rules"] = [rule for rule in rules if alert is None or rule.get("alert", alert) == alert]
    (folder / "rules.yaml").write_text(json.dumps({"groups": rule_groups}))
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": evaluated_every,
        "group_eval_order": [rule_group["name"] for rule_group in rule_groups],
        "tests": list(groups),
    }
    # JSON is YAML, and is written ten times faster.
    (folder / "tests.yaml").write_text(json.dumps(document))
    assert PROMTOOL is not None
    result = subprocess.run(
        [PROMTOOL, "test", "rules", "tests.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
