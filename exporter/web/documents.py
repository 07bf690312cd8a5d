"""Fleets and agents as JSON documents: names with units, null for what is not known, never NaN.

Pure. It must not know of HTTP; `docs/http.md` shows every field.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import TypeAlias, TypeVar

from exporter.fleet.agent_figures import AGENT_FIGURES
from exporter.fleet.attention import looked_at, needs_attention
from exporter.fleet.departure import Departure, lost_by_fleet
from exporter.fleet.drains import cut_short
from exporter.fleet.explain import explain
from exporter.fleet.figures import FLEET_FIGURES, SCALER_FIGURES
from exporter.fleet.health import health
from exporter.fleet.model import Agent, Fleet, IgnoredPod, PodFacts
from exporter.fleet.outlets import in_section
from exporter.fleet.outlook import Outlook
from exporter.fleet.remarks import ignored_remarks, remarks
from exporter.fleet.runbook import agent_runbook, fleet_runbook
from exporter.fleet.scaler import Condition, Scaler
from exporter.forecast.history import GAP, SLOT_SECONDS, History
from exporter.web.about import About

MAX_IGNORED = 100
"""Pods listed; a selector that finds a whole cluster is a mistake that a hundred show well enough."""

LOST_SECONDS = 86_400.0
"""How far back lost tasks are added up for a person who was not there when they were lost."""

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Document: TypeAlias = dict[str, Json]


_Of = TypeVar("_Of")

_FLEET, _FLEET_AGENTS = tuple(in_section(FLEET_FIGURES)), tuple(in_section(FLEET_FIGURES, "agents"))
_FORECAST = tuple(in_section(FLEET_FIGURES, "forecast"))
_AGENT, _AGENT_POD = tuple(in_section(AGENT_FIGURES)), tuple(in_section(AGENT_FIGURES, "kubernetes"))
_SCALER = tuple(in_section(SCALER_FIGURES))


def fleet_document(fleet: Fleet) -> Document:
    """Return a fleet's figures, with how far they can be trusted; what a scaler may not use is null."""
    state = health(fleet)
    return {
        "namespace": fleet.namespace,
        "fleet": fleet.name,
        "health": state.word,
        "problems": list(state.problems),
        "runbook": fleet_runbook(fleet, state),
        "untrusted_reason": fleet.untrusted_reason,
        **_figures(_FLEET, fleet),
        "agents": _figures(_FLEET_AGENTS, fleet),
        "forecast": _forecast_document(fleet),
        "scalers": None if fleet.scalers is None else [_scaler_document(scaler) for scaler in fleet.scalers],
        "remarks": list(remarks(fleet)),
    }


def _forecast_document(fleet: Fleet) -> Document | None:
    if fleet.outlook is None:
        return None
    return {
        **_figures(_FORECAST, fleet),
        "withheld_reason": fleet.outlook.reason,
        "like_days": fleet.outlook.like_days or None,
    }


def _scaler_document(scaler: Scaler) -> Document:
    return {
        "name": scaler.name,
        "keda": scaler.keda,
        "target": scaler.target,
        **_figures(_SCALER, scaler),
        "active": _condition_document(scaler.active),
        "able": _condition_document(scaler.able),
        "limited": _condition_document(scaler.limited),
        "metrics": list(scaler.metrics),
    }


def _condition_document(condition: Condition | None) -> Document | None:
    if condition is None:
        return None
    return {"holds": condition.holds, "reason": condition.reason, "message": condition.message}


def ignored_document(pods: Sequence[IgnoredPod]) -> Document:
    """Return the pods found beside the agents, and the remarks about all of them."""
    shown: list[Json] = [
        {"namespace": pod.namespace, "pod": pod.pod, "reason": pod.reason} for pod in pods[:MAX_IGNORED]
    ]
    return {"passed_over": shown, "remarks": list(ignored_remarks(pods))}


def departures_head(departures: Sequence[Departure], since: float, wall_now: float) -> Document:
    """Return since when departures are on record, and what was lost in a day; both times are Unix seconds."""
    lost: list[Json] = [
        {"namespace": namespace, "fleet": fleet, "tasks_lost": tasks}
        for (namespace, fleet), tasks in lost_by_fleet(departures, wall_now - LOST_SECONDS).items()
    ]
    return {"since_time_seconds": round(since, 3), "lost_in_a_day": lost}


def departure_document(departure: Departure) -> Document:
    """Return how an agent left, and with which tasks."""
    return {
        "namespace": departure.namespace,
        "fleet": departure.fleet,
        "pod": departure.pod,
        "uid": departure.uid,
        "node": departure.node,
        "cause": departure.cause,
        "requested_time_seconds": known(departure.requested_time),
        "replaced": departure.replaced,
        "tasks_at_request": known(departure.tasks_at_request),
        "ended_time_seconds": known(departure.ended_time),
        "tasks_lost": known(departure.tasks_lost),
        "reason": departure.reason,
    }


def demand_document(fleet: Fleet, demand_tasks: float, now: float) -> Document:
    """Return what a scaler reads: demand, the load per agent to aim at, and how much stands behind it.

    `now` is monotonic: the fleet may be of a moment ago.
    """
    age = None if fleet.read_age is None else fleet.read_age + now - fleet.now
    return {
        "value": demand_tasks,
        "target": fleet.target_tasks_per_agent,
        "coverage": known(fleet.coverage),
        "age_seconds": known(age),
    }


def past_document(past: History) -> Document:
    """Return the highest demand of each five minutes, null where it is unknown."""
    first, values = past.known_slots()
    return {
        "interval_seconds": SLOT_SECONDS,
        "start_time_seconds": first * SLOT_SECONDS,
        "demand_tasks": [None if value == GAP else value for value in values],
    }


def stored_document(past: History | None, before: float, seconds: float) -> Document | None:
    """Return the demand of the five minutes each before a Unix time, as far as the stored past reaches.

    None if it says nothing of these `seconds`.
    """
    count, last = int(seconds // SLOT_SECONDS), int(before // SLOT_SECONDS)
    first = last - count + 1
    values = past.slots(first, count) if past is not None else ()
    if all(value == GAP for value in values):
        return None
    return {
        "interval_seconds": SLOT_SECONDS,
        "start_time_seconds": first * SLOT_SECONDS,
        "demand_tasks": [None if value == GAP else value for value in values],
    }


def ahead_document(outlook: Outlook | None) -> Document | None:
    """Return the demand expected in the coming five minutes each, null where unknown; None without a forecast."""
    if outlook is None or not outlook.slots:
        return None
    return {
        "interval_seconds": SLOT_SECONDS,
        "start_time_seconds": outlook.start,
        "lead_time_seconds": outlook.lead_time,
        "demand_tasks": list(outlook.slots),
    }


def exporter_document(about: About) -> Document:
    """Return what this exporter is, and how that goes which it does beside answering; None where it is not set up."""
    figures = about.figures()
    leads = figures.get("leader", {}).get("")
    spool, accepted = "cloudwatch_spool_datums", "external_metrics_requests_total"

    def single(name: str) -> float | None:
        return known(figures.get(name, {}).get(""))

    return {
        "out_of_service_reason": about.out_of_service(),
        "version": about.version,
        "cluster": about.cluster,
        "instance": about.instance,
        "leads": None if leads is None else bool(leads),
        "other_leader": about.other_leader(),
        "targets": single("discovery_targets"),
        "sync_age_seconds": single("discovery_sync_age_seconds"),
        "event_loop_lag_seconds": single("event_loop_lag_seconds"),
        "cloudwatch": None
        if spool not in figures
        else {
            "spool_datums": single(spool),
            "spool_oldest_age_seconds": single("cloudwatch_spool_oldest_age_seconds"),
            "spool_durable": bool(single("cloudwatch_spool_durable")),
            "estimated_monthly_cost_dollars": single("cloudwatch_estimated_monthly_cost_dollars"),
            "requests": {outcome: int(count) for outcome, count in figures["cloudwatch_requests_total"].items()},
        },
        "external_metrics": None
        if accepted not in figures
        else {"requests": {code: int(count) for code, count in figures[accepted].items()}},
    }


def agent_document(agent: Agent, now: float, wall_now: float) -> Document:
    """Return all that is known of one agent; `now` is monotonic, `wall_now` the same instant in Unix seconds."""
    snapshot = agent.snapshot
    target, reading = snapshot.target, snapshot.reading
    facts = target.facts
    return {
        "namespace": target.namespace,
        "fleet": target.fleet,
        "pod": target.pod,
        "uid": target.uid,
        "state": agent.state.value,
        "reason": explain(agent, now, wall_now),
        "needs_attention": needs_attention(agent, wall_now),
        "looked_at": looked_at(agent),
        "runbook": agent_runbook(agent, wall_now),
        "drain_cut_short": cut_short(agent, wall_now),
        "refusing": agent.refusing,
        "fresh": agent.fresh,
        "address": target.address,
        "endpoint_url": snapshot.url,
        "reading_age_seconds": None if snapshot.read_at is None else known(max(0.0, now - snapshot.read_at)),
        "scrape_error": snapshot.error,
        "dialect": None if reading is None else reading.dialect.value,
        "version": None if reading is None else reading.version,
        "commit": None if reading is None else reading.commit,
        "status": None if reading is None else reading.status,
        **_figures(_AGENT, agent),
        "kubernetes": None if facts is None else {**_facts_document(facts, now), **_figures(_AGENT_POD, agent)},
    }


def _facts_document(facts: PodFacts, now: float) -> Document:
    return {
        "ready": facts.ready,
        "ready_for_seconds": None if facts.ready_since is None else known(max(0.0, now - facts.ready_since)),
        "draining_time_seconds": known(facts.draining_time),
        "node": facts.node,
        "image": facts.image,
        "started_time_seconds": known(facts.started_time),
        "crash_looping": facts.crash_looping,
        "waiting_reason": facts.waiting_reason,
        "waiting_message": facts.waiting_message,
        "last_terminated_reason": facts.last_terminated_reason,
        "last_terminated_time_seconds": known(facts.last_terminated_time),
        "cpu_limit_cores": known(facts.cpu_limit_cores),
        "workload": facts.workload,
    }


def _figures(readers: Sequence[tuple[str, Callable[[_Of], float | None]]], subject: _Of) -> Document:
    # As `known`, without a call for each of the thousands of figures of an answer.
    return {key: value if (value := read(subject)) is not None and isfinite(value) else None for key, read in readers}


def known(value: float | None) -> float | None:
    """Return the value, or None where it is no finite number: JSON has no other, and an unknown is not a number."""
    return value if value is not None and isfinite(value) else None
