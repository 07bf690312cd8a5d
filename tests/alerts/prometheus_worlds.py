"""Agents and exporters in every condition the alerts are about, a line each."""

from collections.abc import Mapping
from typing import Any

from exporter.fleet.model import AgentSnapshot, Dialect
from exporter.fleet.scaler import Scaler
from tests.alerts.prometheus_timeline import Course, World
from tests.factories import WALL_NOW, make_facts, make_reading, make_snapshot

GIB = 1024.0**3
LIMIT = 4 * GIB
HEAP_LIMIT = 3 * GIB
OWN = "matillion_fleet_exporter_"


def agent(pod: str, tasks: float = 12, *, facts: Mapping[str, Any] | None = None, **fields: Any) -> AgentSnapshot:
    """Return an agent with a current image, healthy but for the given fields of a reading or of a snapshot."""
    given = {name: fields.pop(name) for name in tuple(fields) if name in _READING}
    heap = {"heap_used_bytes": 0.4 * HEAP_LIMIT, "heap_limit_bytes": HEAP_LIMIT}
    return make_snapshot(
        pod, reading=make_reading(tasks, **(heap | given)), facts=make_facts(**(facts or {})), **fields
    )


def legacy(pod: str, tasks: float = 12, **fields: Any) -> AgentSnapshot:
    """Return an agent with an old image: no queue, no heap."""
    none = {"dialect": Dialect.LEGACY, "tasks_queued": None, "heap_used_bytes": None, "heap_limit_bytes": None}
    return agent(pod, tasks, **(none | fields))


def starting(pod: str, **facts: Any) -> AgentSnapshot:
    """Return an agent whose pod was just created; the arguments are what Kubernetes reports of it."""
    created = {"created_time": WALL_NOW - 60.0} | facts
    return make_snapshot(pod, never_read=True, address=None, facts=make_facts(ready=False, **created))


def draining(
    pod: str, tasks: float = 3, *, since: int = 0, grace: int = 12 * 60, own: int = 12 * 60, age: float = 1.0
) -> AgentSnapshot:
    """Return an agent whose pod was deleted in a minute, with some minutes of grace, and that finishes its tasks."""
    facts = {
        "draining_time": 60.0 * since,
        "drain_deadline_time": 60.0 * (since + grace),
        "drain_grace_seconds": 60.0 * grace,
        "grace_seconds": 60.0 * own,
    }
    return agent(pod, tasks, facts=facts, age=age)


_READING = {"tasks_queued", "connected", "status", "version", "dialect", "heap_used_bytes", "heap_limit_bytes"}


def own(minute: int = 0, **changes: float | None) -> dict[str, float]:
    """Return the series of a healthy exporter that leads and publishes; None takes one away."""
    series = {
        f'{OWN}build_info{{version="1.0.0"}}': 1.0,
        f"{OWN}discovery_sync_age_seconds": 1.0,
        f"{OWN}leader": 1.0,
        f'{OWN}cloudwatch_requests_total{{outcome="accepted"}}': float(minute),
        f'{OWN}cloudwatch_requests_total{{outcome="failed"}}': 0.0,
        f'{OWN}cloudwatch_datums_total{{outcome="accepted"}}': 16.0 * minute,
        f'{OWN}cloudwatch_datums_total{{outcome="rejected"}}': 0.0,
        f"{OWN}cloudwatch_spool_datums": 0.0,
        f"{OWN}cloudwatch_spool_oldest_age_seconds": 0.0,
        "process_start_time_seconds": 0.0,
    }
    names = {
        "sync_age": f"{OWN}discovery_sync_age_seconds",
        "leader": f"{OWN}leader",
        "accepted": f'{OWN}cloudwatch_requests_total{{outcome="accepted"}}',
        "rejected_datums": f'{OWN}cloudwatch_datums_total{{outcome="rejected"}}',
        "oldest_age": f"{OWN}cloudwatch_spool_oldest_age_seconds",
    }
    changed = {names[name]: value for name, value in changes.items()}
    return {name: value for name, value in (series | changed).items() if value is not None}


def working_set(pod: str, share: float) -> dict[str, float]:
    """Return the series that metrics-server makes possible: the memory a container uses, as a share of its limit."""
    return {
        f'matillion_fleet_agent_memory_working_set_bytes{{namespace="matillion",fleet="etl",pod="{pod}"}}': share
        * LIMIT
    }


def task_failures(pod: str, count: float) -> dict[str, float]:
    """Return the count of failed tasks that following the pod's log makes possible."""
    return {f'matillion_fleet_agent_task_failures_total{{namespace="matillion",fleet="etl",pod="{pod}"}}': count}


FLEET = (agent("etl-0"), agent("etl-1"), legacy("etl-2"))
"""A healthy fleet that mixes images, 36 tasks in 60 slots."""


def with_fleet(*snapshots: AgentSnapshot) -> tuple[AgentSnapshot, ...]:
    """Return the healthy fleet with some of its agents in another condition."""
    changed = {snapshot.target.pod: snapshot for snapshot in snapshots}
    return tuple(({snapshot.target.pod: snapshot for snapshot in FLEET} | changed).values())


def healthy(minute: int) -> World:
    """Return a world in which nothing is wrong."""
    return World(FLEET, own(minute))


def seeing(*snapshots: AgentSnapshot, extra: Mapping[str, float] | None = None) -> Course:
    """Return a course in which a healthy exporter reaches these agents all the time."""
    return lambda minute: World(snapshots, own(minute) | (extra or {}))


def scaled(*scalers: Scaler, tasks: float = 12) -> Course:
    """Return a course in which three agents with so many tasks each have these scalers."""
    agents = tuple(agent(f"etl-{number}", tasks) for number in range(3))
    return lambda minute: World(agents, own(minute), scalers=scalers)


def then(before: Course, since: int, after: Course) -> Course:
    """Return a course that turns into another at a minute."""
    return lambda minute: before(minute) if minute < since else after(minute)
