"""The catalogue: each row read from a known agent or fleet, and what is not known has no series."""

import re
from collections.abc import Iterable
from typing import Any

import pytest

from exporter.fleet.catalogue import AGENT_METRICS, FLEET_METRICS, Metric, Series
from exporter.fleet.model import Agent, AgentState, Condition, Dialect, Fleet
from exporter.publish.instruments import EXPORTER_METRICS
from tests.factories import (
    WALL_NOW,
    make_agent,
    make_facts,
    make_fleet,
    make_memory,
    make_reading,
    make_scaler,
    make_snapshot,
)


def _read(table: Iterable[Metric[Any]], subject: Agent | Fleet) -> dict[str, list[Series]]:
    return {metric.name: [(tuple(labels), float(value)) for labels, value in metric.read(subject)] for metric in table}


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
        scalers=[make_scaler("etl-prod", current_agents=5, desired_agents=4)],
    )
    series = _read(FLEET_METRICS, fleet)
    assert series.pop("agents") == [
        (("draining",), 1),
        (("starting",), 0),
        (("unreachable",), 1),
        (("stopped",), 0),
        (("disconnected",), 1),
        (("serving",), 2),
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
        "tasks_draining": 7,
        "tasks_queued": 3,
        "held_tasks": 4,
        "replacement_tasks": 16,
        "unseen_queue_tasks": 0,
        "agents_refusing": 0,
        "free_slots": 15,
        "agents_saturated": 1,
        "demand_tasks": 50,
        "desired_agents": 4,
        "coverage_ratio": 0.75,
        "trusted": 1,
        "target_tasks_per_agent": 16,
        "tasks_per_agent": 20,
        "restarts_total": 6,
    }


def test_an_untrusted_fleet_has_no_demand() -> None:
    """Demand and desired agents are absent, the rest is shown, and trusted says 0."""
    series = _read(FLEET_METRICS, make_fleet([make_snapshot(age=60)]))
    assert series["demand_tasks"] == []
    assert series["desired_agents"] == []
    assert series["trusted"] == [((), 0)]
    assert series["held_tasks"] == [((), 12)]


def test_figures_nobody_reports_are_absent() -> None:
    """No queue among legacy agents, no active tasks where no agent answers: no series, not 0."""
    legacy = make_fleet([make_snapshot(reading=make_reading(dialect=Dialect.LEGACY))])
    assert _read(FLEET_METRICS, legacy)["tasks_queued"] == []
    assert _read(FLEET_METRICS, make_fleet([make_snapshot(age=60)]))["tasks_active"] == []
    assert _read(FLEET_METRICS, legacy)["restarts_total"] == []


def test_a_scaler_that_is_not_known_has_no_series() -> None:
    """None where nobody may read it, none of what an HPA has not said, and one of each where there are two."""
    names = [metric.name for metric in FLEET_METRICS if metric.name.startswith("scaler_")]
    for scalers in (None, ()):
        series = _read(FLEET_METRICS, make_fleet(scalers=scalers))
        assert {name: series[name] for name in names} == {name: [] for name in names}
    new = make_scaler("new", min_agents=None, desired_agents=None, active=None)
    off = make_scaler("off", active=Condition(False, "ScalingDisabled"), current_agents=0, desired_agents=0)
    unsure = make_scaler("unsure", active=Condition(None))
    series = _read(FLEET_METRICS, make_fleet(scalers=[new, off, unsure]))
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
    facts = make_facts(restarts=4, waiting_reason="CrashLoopBackOff", last_terminated_reason="OOMKilled")
    pod = {"facts": facts, "usage": make_memory(3e9), "task_failures": 2}
    agent = make_agent(make_snapshot(reading=reading, read_time=1.7e9, scrape_seconds=0.25, **pod))
    assert _read(AGENT_METRICS, agent) == {
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
        "agent_created_timestamp_seconds": [((), WALL_NOW - 3660)],
        "agent_last_terminated": [(("OOMKilled",), 1)],
        "agent_waiting": [(("CrashLoopBackOff",), 1)],
        "agent_task_failures_total": [((), 2)],
        "agent_scrape_duration_seconds": [((), 0.25)],
        "agent_last_scrape_timestamp_seconds": [((), 1.7e9)],
    }


def test_an_agent_that_never_answered_has_only_its_state() -> None:
    """Nothing is known, so nothing but the state and the name is there."""
    series = _read(AGENT_METRICS, make_agent(never_read=True))
    assert {name for name, values in series.items() if values} == {"agent_info", "agent_state"}
    assert series["agent_info"] == [(("", "", "", ""), 1)]


def test_readings_that_grew_old_are_not_shown() -> None:
    """An unreachable agent keeps its build and the time it last answered; its figures are gone."""
    series = _read(AGENT_METRICS, make_agent(age=60, error="connection refused on 127.0.10.1:9464"))
    assert series["agent_tasks_active"] == []
    assert series["agent_connected"] == []
    assert series["agent_up"] == [((), 0)]
    assert series["agent_info"][0][0][0] == "11.50.0"
    assert len(series["agent_last_scrape_timestamp_seconds"]) == 1


@pytest.mark.parametrize(
    "metric", [*FLEET_METRICS, *AGENT_METRICS, *EXPORTER_METRICS], ids=lambda metric: str(metric.name)
)
def test_rows_follow_the_conventions(metric: Any) -> None:
    """Names are snake case, counters end in _total and nothing else does, help is one plain sentence or two."""
    name, text, kind = metric.name, metric.help, metric.type
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert name.endswith("_total") == (kind == "counter")
    assert re.fullmatch(r'[A-Z1][^\n\\"]+\.', text)


def test_names_are_unique() -> None:
    """No name is given twice within its prefix."""
    tables: tuple[tuple[Any, ...], ...] = ((*FLEET_METRICS, *AGENT_METRICS), EXPORTER_METRICS)
    for table in tables:
        names = [metric.name for metric in table]
        assert len(names) == len(set(names))
