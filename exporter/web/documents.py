"""Fleets and agents as JSON documents: names with units, null for what is not known, never NaN.

Pure. It must not know of HTTP; `docs/http.md` shows every field.
"""

from collections.abc import Sequence
from math import isfinite
from typing import TypeAlias

from exporter.fleet.attention import needs_attention
from exporter.fleet.explain import explain
from exporter.fleet.model import Agent, AgentState, Condition, Fleet, PassedOver, PodFacts, Scaler
from exporter.fleet.remarks import passed_over_remarks, remarks
from exporter.fleet.scaling import hpa_agents

MOST_PASSED_OVER = 100
"""Pods listed; a selector that finds a whole cluster is a mistake that a hundred show well enough."""

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Document: TypeAlias = dict[str, Json]


def fleet_document(fleet: Fleet) -> Document:
    """Return a fleet's figures, with how far they can be trusted; what a scaler may not use is null."""
    agents: Document = {"total": len(fleet.agents)}
    agents |= {state.value: fleet.states[state] for state in AgentState}
    return {
        "namespace": fleet.namespace,
        "fleet": fleet.name,
        "trusted": fleet.trusted,
        "untrusted_reason": fleet.untrusted_reason,
        "coverage": known(fleet.coverage),
        "sync_age_seconds": known(fleet.sync_age),
        "reading_age_seconds": known(fleet.read_age),
        "agents": agents,
        "agents_saturated": fleet.agents_saturated,
        "agents_refusing": fleet.agents_refusing,
        "desired_agents": fleet.desired_agents,
        "hpa_agents": hpa_agents(fleet),
        "tasks_per_agent": fleet.tasks_per_agent,
        "target_tasks_per_agent": fleet.target_tasks_per_agent,
        "capacity_tasks": fleet.capacity_tasks,
        "tasks_active": known(fleet.tasks_active),
        "tasks_draining": known(fleet.tasks_draining),
        "tasks_queued": known(fleet.tasks_queued),
        "held_tasks": known(fleet.held_tasks),
        "replacement_tasks": known(fleet.replacement_tasks),
        "unseen_queue_tasks": known(fleet.unseen_queue_tasks),
        "demand_tasks": known(fleet.demand_tasks),
        "free_slots": known(fleet.free_slots),
        "scalers": None if fleet.scalers is None else [_scaler_document(scaler) for scaler in fleet.scalers],
        "free_slots_certain": fleet.free_slots_certain,
        "remarks": list(remarks(fleet)),
    }


def _scaler_document(scaler: Scaler) -> Document:
    return {
        "name": scaler.name,
        "keda": scaler.keda,
        "target": scaler.target,
        "min_agents": scaler.min_agents,
        "max_agents": scaler.max_agents,
        "current_agents": scaler.current_agents,
        "desired_agents": scaler.desired_agents,
        "active": _condition_document(scaler.active),
        "able": _condition_document(scaler.able),
        "limited": _condition_document(scaler.limited),
        "metrics": list(scaler.metrics),
        "tolerance_up": known(scaler.tolerance_up),
        "tolerance_down": known(scaler.tolerance_down),
    }


def _condition_document(condition: Condition | None) -> Document | None:
    if condition is None:
        return None
    return {"holds": condition.holds, "reason": condition.reason, "message": condition.message}


def passed_over_document(pods: Sequence[PassedOver]) -> Document:
    """Return what is found beside the agents, and the sentences that say so of all of them."""
    shown: list[Json] = [
        {"namespace": pod.namespace, "pod": pod.pod, "reason": pod.reason} for pod in pods[:MOST_PASSED_OVER]
    ]
    return {"passed_over": shown, "remarks": list(passed_over_remarks(pods))}


def demand_document(fleet: Fleet, demand_tasks: float) -> Document:
    """Return what a scaler reads: demand, the load per agent to aim at, and how much stands behind it."""
    return {
        "value": demand_tasks,
        "target": fleet.target_tasks_per_agent,
        "coverage": known(fleet.coverage),
        "age_seconds": known(fleet.read_age),
    }


def agent_document(agent: Agent, now: float, wall_now: float) -> Document:
    """Return all that is known of one agent; `now` is monotonic, `wall_now` the same instant in Unix seconds."""
    snapshot = agent.snapshot
    target, reading = snapshot.target, snapshot.reading
    return {
        "namespace": target.namespace,
        "fleet": target.fleet,
        "pod": target.pod,
        "uid": target.uid,
        "state": agent.state.value,
        "reason": explain(agent, now, wall_now),
        "needs_attention": needs_attention(agent, wall_now),
        "refusing": agent.refusing,
        "fresh": agent.fresh,
        "address": target.address,
        "endpoint_url": snapshot.url,
        "reading_age_seconds": None if snapshot.read_at is None else known(max(0.0, now - snapshot.read_at)),
        "scrape_duration_seconds": known(snapshot.scrape_seconds),
        "scrape_error": snapshot.error,
        "dialect": None if reading is None else reading.dialect.value,
        "version": None if reading is None else reading.version,
        "commit": None if reading is None else reading.commit,
        "status": None if reading is None else reading.status,
        "connected": None if reading is None else reading.connected,
        "tasks_active": None if reading is None else known(reading.tasks_active),
        "tasks_queued": None if reading is None else known(reading.tasks_queued),
        "requests_active": None if reading is None else known(reading.requests_active),
        "sessions_open": None if reading is None else known(reading.sessions_open),
        "busyness_score": None if reading is None else known(reading.busyness_score),
        "heap_used_bytes": None if reading is None else known(reading.heap_used_bytes),
        "heap_limit_bytes": None if reading is None else known(reading.heap_limit_bytes),
        "memory_working_set_bytes": known(agent.memory_working_set_bytes),
        "task_failures": snapshot.task_failures,
        "kubernetes": None if target.facts is None else _facts_document(target.facts, now),
    }


def _facts_document(facts: PodFacts, now: float) -> Document:
    return {
        "ready": facts.ready,
        "ready_for_seconds": None if facts.ready_since is None else known(max(0.0, now - facts.ready_since)),
        "created_time_seconds": known(facts.created_time),
        "draining_time_seconds": known(facts.draining_time),
        "node": facts.node,
        "image": facts.image,
        "started_time_seconds": known(facts.started_time),
        "restarts": facts.restarts,
        "crash_looping": facts.crash_looping,
        "waiting_reason": facts.waiting_reason,
        "waiting_message": facts.waiting_message,
        "last_terminated_reason": facts.last_terminated_reason,
        "last_terminated_time_seconds": known(facts.last_terminated_time),
        "memory_limit_bytes": known(facts.memory_limit_bytes),
        "cpu_limit_cores": known(facts.cpu_limit_cores),
        "workload": facts.workload,
    }


def known(value: float | None) -> float | None:
    """Return the value, or None where it is no finite number: JSON has no other, and an unknown is not a number."""
    return value if value is not None and isfinite(value) else None
