"""Writes what docs/http.md shows: answers about the agent that tests are made with, and the tables of figures."""

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, cast

from exporter.fleet.agent_figures import AGENT_FIGURES
from exporter.fleet.departure import Departure, LossReason
from exporter.fleet.figures import FLEET_FIGURES, SCALER_FIGURES
from exporter.fleet.outlets import Figure
from exporter.fleet.scaler import Condition
from exporter.web.about import About
from exporter.web.documents import (
    Document,
    agent_document,
    departure_document,
    departures_head,
    exporter_document,
    fleet_document,
    ignored_document,
)
from exporter.web.history import INTERVAL, History
from tests.factories import NOW, WALL_NOW, make_facts, make_fleet, make_scaler, make_snapshot
from tests.web.serving import StaticView
from tools.generated import DOCS, Block

PAGE = DOCS / "http.md"
_END = "<!-- End of what is generated. -->"
_LEFT = Departure(
    uid="uid-agent-1",
    namespace="matillion",
    fleet="etl",
    pod="agent-1",
    node="node-1",
    requested_time=WALL_NOW - 900,
    replaced=False,
    tasks_at_request=7,
    ended_time=WALL_NOW - 300,
    tasks_lost=2,
    reason=LossReason.EVICTED,
)

_ABOUT = About(
    version="1.0.0",
    cluster="prod-eks",
    instance="matillion-fleet-exporter-5f7c9-x2x4q",
    figures=lambda: {
        "leader": {"": 1.0},
        "discovery_targets": {"": 24.0},
        "discovery_sync_age_seconds": {"": 1.2},
        "event_loop_lag_seconds": {"": 0.004},
        "cloudwatch_spool_datums": {"": 0.0},
        "cloudwatch_spool_oldest_age_seconds": {"": 0.0},
        "cloudwatch_spool_durable": {"": 1.0},
        "cloudwatch_estimated_monthly_cost_dollars": {"": 12.3},
        "cloudwatch_requests_total": {"accepted": 1440.0, "denied": 0.0},
        "external_metrics_requests_total": {"200": 5760.0, "403": 0.0},
    },
)


def blocks() -> Iterator[Block]:
    """Yield what is generated of the page."""
    fleet = make_fleet([make_snapshot(facts=make_facts())])
    active = Condition(True, "ValidMetricFound", "the HPA was able to successfully calculate a replica count")
    limited = Condition(True, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
    scaler = make_scaler(current_agents=12, desired_agents=12, active=active, limited=limited)
    [scaled] = cast("list[Document]", fleet_document(make_fleet(scalers=[scaler]))["scalers"])
    head: Document = {"time_seconds": WALL_NOW}
    agent = agent_document(fleet.agents[0], NOW, WALL_NOW)
    history = History(cast("Any", StaticView([fleet])), wall_clock=lambda: WALL_NOW)
    history.sample()
    yield _example("fleets", head | ignored_document(()) | {"fleets": [fleet_document(fleet)]})
    yield _example("scaler", scaled)
    yield _example("agents", head | {"agents": [agent]})
    left = departures_head([_LEFT], WALL_NOW - 86_400, WALL_NOW) | {"departures": [departure_document(_LEFT)]}
    yield _example("departures", head | left)
    yield _example("history", head | {"interval_seconds": INTERVAL, "history": list(history.documents())})
    yield _example("exporter", head | {"not_ready_reason": None} | exporter_document(_ABOUT))
    yield _table("fleet", FLEET_FIGURES)
    yield _table("scaler", SCALER_FIGURES)
    yield _table("agent", AGENT_FIGURES)


def _example(name: str, answer: Any) -> Block:
    return Block(PAGE, f"<!-- The example is generated (make docs): {name}. -->", _END, partial(_json, answer))


def _json(answer: Any) -> Iterator[str]:
    # The columns of a history are read best in one line each.
    written = re.sub(r"\[\n\s+(-?[\d.]+)\n\s+\]", r"[\1]", json.dumps(answer, indent=2))
    yield from ("```json", *written.split("\n"), "```")


def _table(name: str, figures: Iterable[Figure[Any]]) -> Block:
    begin = f"<!-- The table is generated (make docs): figures of {name}s. -->"
    return Block(PAGE, begin, _END, partial(_rows, figures))


def _rows(figures: Iterable[Figure[Any]]) -> Iterator[str]:
    yield from ("| key | unit | meaning |", "| --- | --- | --- |")
    for figure in figures:
        if figure.json_key is not None:
            yield f"| `{figure.json_key}` | {figure.unit} | {figure.explained('Null')} |"
