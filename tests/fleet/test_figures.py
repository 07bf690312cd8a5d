"""The tables of figures: what each outlet tells of an agent or a fleet; what is not known is told by none."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from exporter.fleet.agent_figures import AGENT_FAMILIES, AGENT_FIGURES
from exporter.fleet.cloudwatch_catalogue import CLOUDWATCH_METRICS, METRIC_NAMES
from exporter.fleet.departure import LossReason
from exporter.fleet.figures import FLEET_FAMILIES, FLEET_FIGURES, FLEET_HISTOGRAMS, SCALER_FIGURES
from exporter.fleet.model import AgentState, Dialect, Fleet
from exporter.fleet.outlets import PREFIX, Basis, Figure, HistogramFamily, LabeledValue, Without
from exporter.fleet.scaler import Condition
from exporter.fleet.starts import START_BOUNDS
from exporter.publish.external_metrics_values import EXTERNAL_METRICS
from exporter.publish.fleet_datums import Baseline, Selection, count
from exporter.publish.instruments import EXPORTER_METRICS, EXPORTER_PREFIX
from exporter.publish.prometheus import render
from exporter.web.documents import agent_document, ahead_document, fleet_document
from exporter.web.history import History
from tests.factories import (
    NOW,
    WALL_NOW,
    make_facts,
    make_fleet,
    make_memory,
    make_outlook,
    make_reading,
    make_scaler,
    make_snapshot,
)
from tests.series import FLEET_NAMES
from tests.web.serving import StaticView

LOST = dict.fromkeys(LossReason, 0.0) | {LossReason.OOM_KILLED: 12.0, LossReason.DELETED: 3.0}
FIGURES: tuple[Figure[Any], ...] = (*FLEET_FIGURES, *SCALER_FIGURES, *AGENT_FIGURES)
OUTLETS = ("metrics", "json", "cloudwatch", "external", "history")


def _read(fleet: Fleet) -> dict[str, list[LabeledValue]]:
    """Return what `/metrics` says, by name without the prefix: the further labels' values, and the value.

    Of a histogram it is all series under its name, with the suffix before the labels' values.
    """
    series: dict[str, list[LabeledValue]] = {name.removeprefix(PREFIX): [] for name in FLEET_NAMES}
    for family in text_string_to_metric_families("".join(render([fleet], openmetrics=False))):
        for sample in family.samples:
            own = [value for label, value in sample.labels.items() if label not in ("namespace", "fleet", "pod")]
            name = sample.name.removeprefix(PREFIX)
            if family.type == "histogram":
                name = family.name.removeprefix(PREFIX)
                own.insert(0, sample.name.removeprefix(family.name))
            series[name].append((tuple(own), sample.value))
    return series


def _of_an_agent(name: str) -> bool:
    return name.startswith("agent_") and name not in {row.name for row in FLEET_HISTOGRAMS}


def _of_fleet(fleet: Fleet) -> dict[str, list[LabeledValue]]:
    return {name: values for name, values in _read(fleet).items() if not _of_an_agent(name)}


def _of_agent(**fields: Any) -> dict[str, list[LabeledValue]]:
    read = _read(make_fleet([make_snapshot(**fields)]))
    return {name: values for name, values in read.items() if _of_an_agent(name)}


_END = make_facts(protected=True, grace_seconds=43_200.0, drain_grace_seconds=600.0, drain_deadline_time=WALL_NOW + 540)
"""The end of a drain without its beginning: an agent that serves, of which everything is known."""


def _known() -> Fleet:
    """Return a fleet of which every figure is known."""
    full = make_reading(9, requests_active=2, sessions_open=3, busyness_score=0.5)
    facts = replace(_END, restarts=4, waiting_reason="CrashLoopBackOff", last_terminated_reason="OOMKilled")
    return make_fleet(
        [make_snapshot(reading=full, facts=facts, usage=make_memory(3e9), task_failures=2)],
        restarts=6,
        tasks_lost=LOST,
        starts=(44.5,),
        scalers=[make_scaler(tolerance_up=0.1, tolerance_down=0.1)],
        outlook=make_outlook(),
    )


def test_every_figure_of_a_fleet_is_read() -> None:
    """Two serving agents, one disconnected, one draining, one unreachable: each figure as DESIGN defines it."""
    fleet = make_fleet(
        [
            make_snapshot("a", reading=make_reading(20, tasks_queued=3)),
            make_snapshot("b", reading=make_reading(5, tasks_queued=0)),
            make_snapshot("c", reading=make_reading(2, connected=False)),
            make_snapshot("d", reading=make_reading(7), facts=make_facts(draining_time=1.0)),
            make_snapshot("e", reading=make_reading(4), age=60),
        ],
        restarts=6,
        tasks_lost=LOST,
        starts=(44.5, 180, 1200),
        scalers=[make_scaler("etl-prod", current_agents=5, desired_agents=4)],
        outlook=make_outlook(),
    )
    series = _of_fleet(fleet)
    assert series.pop("health") == [(("down",), 0), (("data incomplete",), 0), (("degraded",), 1), (("ok",), 0)]
    assert series.pop("agents") == [
        (("draining",), 1),
        (("starting",), 0),
        (("unreachable",), 1),
        (("stopped",), 0),
        (("disconnected",), 1),
        (("serving",), 2),
    ]
    assert series.pop("tasks_lost_total") == [((reason,), tasks) for reason, tasks in LOST.items()]
    counts = (0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2)
    assert series.pop("agent_start_seconds") == [
        *((("_bucket", str(bound)), count) for bound, count in zip(START_BOUNDS, counts, strict=True)),
        (("_bucket", "+Inf"), 3),
        (("_count",), 3),
        (("_sum",), 1424.5),
    ]
    scaler = {name: series.pop(name) for name in tuple(series) if name.startswith("scaler_")}
    assert scaler == {
        "scaler_min_agents": [(("etl-prod",), 2)],
        "scaler_max_agents": [(("etl-prod",), 12)],
        "scaler_current_agents": [(("etl-prod",), 5)],
        "scaler_desired_agents": [(("etl-prod",), 4)],
        "scaler_active": [(("etl-prod",), 1)],
    }
    assert {name: value for name, [(_, value)] in series.items()} == {
        "capacity_tasks": 40,
        "tasks_active": 27,
        "tasks_serving": 25,
        "utilization_ratio": 25 / 40,
        "tasks_draining": 7,
        "tasks_queued": 3,
        "held_tasks": 4,
        "replacement_tasks": 16,
        "unseen_queue_tasks": 0,
        "scale_in_held_tasks": 0,
        "agents_refusing": 0,
        "agents_needing_attention": 2,
        "free_slots": 15,
        "agents_saturated": 1,
        "demand_tasks": 50,
        "demand_ahead_tasks": 50,
        "forecast_tasks": 48,
        "forecast_skill_ratio": 0.9,
        "forecast_lead_seconds": 180,
        "forecast_past_timestamp_seconds": WALL_NOW - 60,
        "desired_agents": 4,
        "coverage_ratio": 0.75,
        "trusted": 1,
        "target_tasks_per_agent": 16,
        "tasks_per_agent": 20,
        "restarts_total": 6,
    }


def test_an_untrusted_fleet_has_no_demand() -> None:
    """Demand and desired agents are absent, the rest is shown, and trusted says 0."""
    series = _of_fleet(make_fleet([make_snapshot(age=60)]))
    assert series["demand_tasks"] == []
    assert series["desired_agents"] == []
    assert series["trusted"] == [((), 0)]
    assert series["held_tasks"] == [((), 12)]


def test_unreported_figures_are_absent() -> None:
    """No queue among legacy agents, no active tasks where no agent answers: no series, not 0."""
    legacy = make_fleet([make_snapshot(reading=make_reading(dialect=Dialect.LEGACY))])
    assert _of_fleet(legacy)["tasks_queued"] == []
    assert _of_fleet(make_fleet([make_snapshot(age=60)]))["tasks_active"] == []
    assert _of_fleet(legacy)["restarts_total"] == []
    assert _of_fleet(legacy)["tasks_lost_total"] == []
    assert _of_fleet(legacy)["agent_start_seconds"] == []


def test_a_scaler_that_is_not_known_has_no_series() -> None:
    """None where nobody may read it, none of what an HPA has not said, and one of each where there are two."""
    names = [name for name in _of_fleet(make_fleet()) if name.startswith("scaler_")]
    assert len(names) == 5
    for scalers in (None, ()):
        series = _of_fleet(make_fleet(scalers=scalers))
        assert {name: series[name] for name in names} == {name: [] for name in names}
    new = make_scaler("new", min_agents=None, desired_agents=None, active=None)
    off = make_scaler("off", active=Condition(False, "ScalingDisabled"), current_agents=0, desired_agents=0)
    unsure = make_scaler("unsure", active=Condition(None))
    series = _of_fleet(make_fleet(scalers=[new, off, unsure]))
    assert series["scaler_min_agents"] == [(("off",), 2), (("unsure",), 2)]
    assert series["scaler_desired_agents"] == [(("off",), 0), (("unsure",), 3)]
    assert series["scaler_active"] == [(("off",), 0)]


def test_every_figure_of_an_agent_is_read() -> None:
    """One agent with all there is to know."""
    reading = make_reading(
        9,
        tasks_queued=1,
        requests_active=2,
        sessions_open=3,
        busyness_score=0.5,
        heap_used_bytes=100,
        heap_limit_bytes=200,
    )
    facts = replace(_END, restarts=4, waiting_reason="CrashLoopBackOff", last_terminated_reason="OOMKilled")
    pod = {"facts": facts, "usage": make_memory(3e9), "task_failures": 2}
    assert _of_agent(reading=reading, read_time=1.7e9, scrape_seconds=0.25, **pod) == {
        "agent_info": [(("11.50.0", "abc1234", "node-1", "otel"), 1)],
        "agent_state": [((state,), state is AgentState.SERVING) for state in AgentState],
        "agent_up": [((), 1)],
        "agent_connected": [((), 1)],
        "agent_tasks_active": [((), 9)],
        "agent_tasks_queued": [((), 1)],
        "agent_requests_active": [((), 2)],
        "agent_sessions_open": [((), 3)],
        "agent_busyness_score": [((), 0.5)],
        "agent_heap_used_bytes": [((), 100)],
        "agent_heap_limit_bytes": [((), 200)],
        "agent_memory_working_set_bytes": [((), 3e9)],
        "agent_memory_limit_bytes": [((), 4 * 1024**3)],
        "agent_restarts_total": [((), 4)],
        "agent_protected": [((), 1)],
        "agent_created_timestamp_seconds": [((), WALL_NOW - 3660)],
        "agent_grace_seconds": [((), 43_200)],
        "agent_drain_grace_seconds": [((), 600)],
        "agent_drain_deadline_timestamp_seconds": [((), WALL_NOW + 540)],
        "agent_last_terminated": [(("OOMKilled",), 1)],
        "agent_waiting": [(("CrashLoopBackOff",), 1)],
        "agent_task_failures_total": [((), 2)],
        "agent_scrape_duration_seconds": [((), 0.25)],
        "agent_last_scrape_timestamp_seconds": [((), 1.7e9)],
    }


def test_an_agent_that_never_answered_has_only_its_state() -> None:
    """Nothing is known, so nothing but the state and the name is there."""
    series = _of_agent(never_read=True)
    assert {name for name, values in series.items() if values} == {"agent_info", "agent_state"}
    assert series["agent_info"] == [(("", "", "", ""), 1)]


def test_readings_that_grew_old_are_not_shown() -> None:
    """An unreachable agent keeps its build and the time it last answered; its figures are gone."""
    series = _of_agent(age=60, error="connection refused on 127.0.10.1:9464")
    assert series["agent_tasks_active"] == []
    assert series["agent_connected"] == []
    assert series["agent_up"] == [((), 0)]
    assert series["agent_info"][0][0][0] == "11.50.0"
    assert len(series["agent_last_scrape_timestamp_seconds"]) == 1


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: str(figure.scope + figure.name))
def test_every_row_is_in_an_outlet_or_has_the_reason(figure: Figure[Any]) -> None:
    """Of each outlet there is a name, or a reason in words; a figure that is in none is none."""
    outlets = [getattr(figure, outlet) for outlet in OUTLETS]
    reasons = [outlet.reason for outlet in outlets if isinstance(outlet, Without)]
    assert all(re.fullmatch(r"[a-z`][^\n|]{5,}[^.]", reason) for reason in reasons)
    assert len(reasons) < len(OUTLETS)


def test_metrics_shows_the_rows_that_name_it() -> None:
    """Every name there is has a series where everything is known."""
    assert {name for name, series in _read(_known()).items() if series} == {
        name.removeprefix(PREFIX) for name in FLEET_NAMES
    }


def test_json_shows_the_rows_that_name_it_and_no_other_number() -> None:
    """Every key has the row's value; a number without a row would be missing in the other outlets without a reason."""
    fleet = _known()
    document = fleet_document(fleet)
    scalers = document.pop("scalers")
    assert dict(_numbers(document)) == {
        figure.json_key: figure.read(fleet) for figure in FLEET_FIGURES if figure.json_key is not None
    }
    assert fleet.scalers is not None
    [scaler], [shown] = fleet.scalers, scalers  # type: ignore[misc]
    keys = {figure.json_key: figure.read(scaler) for figure in SCALER_FIGURES if figure.json_key is not None}
    assert {key: shown[key] for key in keys} == keys  # type: ignore[index,call-overload]
    [agent] = fleet.agents
    told = dict(_numbers(agent_document(agent, NOW, WALL_NOW)))
    rows = {figure.json_key: figure.read(agent) for figure in AGENT_FIGURES if figure.json_key is not None}
    assert {key: told[key] for key in rows} == rows


def _numbers(document: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}.")
        elif isinstance(value, int | float):
            yield prefix + key, value


@pytest.mark.parametrize("row", FLEET_HISTOGRAMS, ids=lambda row: str(row.name))
def test_json_has_a_quantile_of_a_histogram(row: HistogramFamily[Fleet]) -> None:
    """Under the key that its row names."""
    assert row.json in {figure.json_key for figure in FLEET_FIGURES}


def test_the_history_keeps_the_rows_that_name_it() -> None:
    """A column for each, with its value."""
    fleet = _known()
    history = History(StaticView([fleet]), wall_clock=lambda: WALL_NOW)
    history.sample()
    [document] = history.documents()
    rows = {figure.name: [figure.read(fleet)] for figure in FLEET_FIGURES if figure.history is True}
    ahead = ahead_document(fleet.outlook)
    head = {"namespace": "matillion", "fleet": "etl", "time_seconds": [WALL_NOW]}
    assert document == {**head, **rows, "stored": None, "ahead": ahead}


def test_cloudwatch_and_scalers_get_the_rows_that_name_them() -> None:
    """A datum for each metric where everything is known; ratios are percent there."""
    fleets = [_known()]
    increases, _ = count(CLOUDWATCH_METRICS, fleets, Baseline(WALL_NOW - 86400, {}), WALL_NOW)
    datums = Selection(cluster="c", metrics=CLOUDWATCH_METRICS).datums(fleets, (), increases, 60)
    values = {datum.series.metric: datum.values for datum in datums}
    assert values.keys() == set(METRIC_NAMES)
    assert values["UtilizationPercent"] == (45,)
    assert {name.removeprefix(PREFIX) for name in EXTERNAL_METRICS} >= {
        "demand_tasks",
        "tasks_active",
        "tasks_queued",
        "free_slots",
        "utilization_percent",
    }
    assert all(figure.rests_on is Basis.READINGS for figure in EXTERNAL_METRICS.values()), "what trust is about"


ROWS = [
    *((row.metric_name.removeprefix(PREFIX), row.type, row.explained("Absent")) for row in FLEET_FAMILIES),
    *((row.metric_name.removeprefix(PREFIX), row.type, row.explained("Absent")) for row in FLEET_HISTOGRAMS),
    *((row.metric_name.removeprefix(PREFIX), row.type, row.explained("Absent")) for row in AGENT_FAMILIES),
    *((row.metric_name.removeprefix(PREFIX), row.type, row.explained("Absent")) for row in FIGURES),
    *((row.name, row.type, row.help) for row in EXPORTER_METRICS),
]


@pytest.mark.parametrize(("name", "kind", "text"), ROWS, ids=[name for name, _, _ in ROWS])
def test_rows_follow_the_conventions(name: str, kind: str, text: str) -> None:
    """Names are snake case, counters end in _total and nothing else does, help is one plain sentence or two."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert name.endswith("_total") == (kind == "counter")
    assert re.fullmatch(r'[A-Z1][^\n\\"]+\.', text)


def test_names_are_unique() -> None:
    """No name is given twice in an outlet."""
    rows = [*FLEET_FAMILIES, *FLEET_HISTOGRAMS, *AGENT_FAMILIES, *FIGURES]
    on_metrics = [row.metric_name for row in rows if row.metrics is True]
    on_metrics += [EXPORTER_PREFIX + instrument.name for instrument in EXPORTER_METRICS]
    for names in (on_metrics, METRIC_NAMES, [(type(row), row.json_key) for row in FIGURES if row.json_key is not None]):
        assert len(names) == len(set(names))
