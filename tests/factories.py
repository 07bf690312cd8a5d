"""Values of the core with sane defaults, so that a test says only what it is about.

An agent made here is a healthy OpenTelemetry agent with 12 tasks, read one second before `NOW`. Every factory takes the
fields of what it makes as keywords. A fleet is always the product of the real `aggregate`: figures that it would never
give are not worth a test.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from exporter.fleet.capacity import aggregate
from exporter.fleet.classification import classify
from exporter.fleet.departure import LossReason
from exporter.fleet.model import (
    Agent,
    AgentSnapshot,
    AgentStatus,
    Dialect,
    Fleet,
    Lasting,
    PodFacts,
    Reading,
    Target,
    UsageSample,
)
from exporter.fleet.outlook import Outlook
from exporter.fleet.policy import Policy
from exporter.fleet.scaler import Condition, Scaler
from exporter.fleet.starts import Starts

NOW = 10_000.0
"""The monotonic instant at which tests judge."""
WALL_NOW = 1_767_234_600.0
"""The same instant for people: 2026-01-01 02:30:00 UTC."""
POLICY = Policy()


def make_facts(**fields: Any) -> PodFacts:
    """Return the facts of a pod that has been Ready for an hour."""
    ready = fields.get("ready", True)
    defaults: dict[str, Any] = {
        "ready": ready,
        "ready_since": NOW - 3600 if ready else None,
        "created_time": WALL_NOW - 3660,
        "node": "node-1",
        "container": "agent",
        "started_time": WALL_NOW - 3610,
        "image": "registry.example/agent:1.2.3",
        "restarts": 0,
        "memory_limit_bytes": 4.0 * 1024**3,
    }
    return PodFacts(**(defaults | fields))


def make_drain(seconds: float, *, granted: float = 43_200.0, own: float = 43_200.0, **fields: Any) -> PodFacts:
    """Return the facts of a pod that was deleted so many seconds before `WALL_NOW`, with a grace period in force."""
    deleted = WALL_NOW - seconds
    return make_facts(
        draining_time=deleted,
        drain_deadline_time=deleted + granted,
        drain_grace_seconds=granted,
        grace_seconds=own,
        **fields,
    )


def make_target(pod: str = "agent-1", **fields: Any) -> Target:
    """Return a static target; pass `facts=make_facts()` for one found in Kubernetes."""
    defaults: dict[str, Any] = {"uid": f"uid-{pod}", "namespace": "matillion", "fleet": "etl", "address": "127.0.10.1"}
    return Target(**(defaults | {"pod": pod} | fields))


def make_reading(tasks_active: float = 12.0, **fields: Any) -> Reading:
    """Return what a running, connected agent's OpenTelemetry page says; one of the legacy dialect has no queue."""
    dialect = fields.get("dialect", Dialect.OTEL)
    defaults: dict[str, Any] = {
        "dialect": dialect,
        "tasks_queued": 0.0 if dialect is Dialect.OTEL else None,
        "heap_used_bytes": 1.0 * 1024**3 if dialect is Dialect.OTEL else None,
        "heap_limit_bytes": 3.0 * 1024**3 if dialect is Dialect.OTEL else None,
        "status": AgentStatus.RUNNING,
        "connected": True,
        "version": "11.50.0",
        "commit": "abc1234",
    }
    return Reading(**(defaults | {"tasks_active": tasks_active} | fields))


def make_memory(working_set_bytes: float = 1.0 * 1024**3, *, age: float = 20.0, **fields: Any) -> UsageSample:
    """Return a sample of a container's memory that was measured `age` seconds ago, and counts for a minute more."""
    defaults: dict[str, Any] = {"taken_time": WALL_NOW - age, "good_until": NOW + 60.0}
    return UsageSample(working_set_bytes=working_set_bytes, **(defaults | fields))


def make_snapshot(
    pod: str = "agent-1",
    *,
    target: Target | None = None,
    reading: Reading | None = None,
    tasks_active: float = 12.0,
    age: float = 1.0,
    never_read: bool = False,
    **fields: Any,
) -> AgentSnapshot:
    """Return what is known of one agent `age` seconds after its last good reading, or of one that `never_read` so far.

    Keywords that a target has (`namespace`, `fleet`, `uid`, `address`, `facts`, `endpoint`) go to the target.
    """
    ours = {name: fields.pop(name) for name in tuple(fields) if name in Target.__slots__}
    target = target or make_target(pod, **ours)
    if never_read:
        return AgentSnapshot(target=target, **fields)
    defaults: dict[str, Any] = {
        "read_at": NOW - age,
        "read_time": WALL_NOW - age,
        "url": f"http://{target.address}:9464/metrics",
        "scrape_seconds": 0.012,
    }
    return AgentSnapshot(target=target, reading=reading or make_reading(tasks_active), **(defaults | fields))


def make_agent(
    snapshot: AgentSnapshot | None = None, *, policy: Policy = POLICY, now: float = NOW, **fields: Any
) -> Agent:
    """Return the agent as `classify` sees it; keywords as for `make_snapshot`."""
    return classify(snapshot or make_snapshot(**fields), policy, now)


def make_fleet(
    snapshots: Iterable[AgentSnapshot] | None = None,
    *,
    namespace: str = "matillion",
    name: str = "etl",
    policy: Policy = POLICY,
    now: float = NOW,
    sync_age: float = 1.0,
    restarts: int | None = None,
    tasks_lost: Mapping[LossReason, float] | None = None,
    start_seconds: float | None = None,
    starts: Iterable[float] | None = None,
    scalers: Iterable[Scaler] | None = None,
    scale_in_since: float | None = None,
    before: Lasting | None = None,
    tasks_lost_lately: float = 0.0,
    outlook: Outlook | None = None,
) -> Fleet:
    """Return what `aggregate` makes of the snapshots; of one healthy agent by default."""
    if snapshots is None:
        snapshots = [make_snapshot(namespace=namespace, fleet=name)]
    return aggregate(
        namespace,
        name,
        snapshots,
        policy,
        now,
        wall_now=WALL_NOW + now - NOW,
        sync_age=sync_age,
        restarts=restarts,
        tasks_lost=tasks_lost,
        start_seconds=start_seconds,
        starts=None if starts is None else make_starts(starts),
        scalers=None if scalers is None else tuple(scalers),
        scale_in_since=scale_in_since,
        before=before,
        tasks_lost_lately=tasks_lost_lately,
        outlook=outlook,
    )


def make_starts(seconds: Iterable[float]) -> Starts:
    """Return starts that took so long, oldest first."""
    return reduce(Starts.observed, seconds, Starts())


def make_outlook(tasks: int | None = 48, **fields: Any) -> Outlook:
    """Return a forecast that has helped lately, three minutes ahead."""
    defaults: dict[str, Any] = {
        "lead_time": 180.0,
        "skill": 0.9,
        "reason": None,
        "like_days": "the last 14 days",
        "start": WALL_NOW - WALL_NOW % 300,
        "slots": (12, 48, 48, 20),
        "past_read_time": WALL_NOW - 60,
    }
    return Outlook(tasks=tasks, **(defaults | fields))


def make_scaler(name: str = "etl-prod", **fields: Any) -> Scaler:
    """Return an HPA on this exporter's demand that is as usual: three agents of two to twelve."""
    defaults: dict[str, Any] = {
        "namespace": "matillion",
        "target": "etl-prod-matillion-runner-app",
        "target_kind": "Deployment.apps",
        "min_agents": 2,
        "max_agents": 12,
        "current_agents": 3,
        "desired_agents": 3,
        "active": Condition(True, "ValidMetricFound", "the HPA was able to calculate a replica count"),
        "able": Condition(True, "ReadyForNewScale", "recommended size matches current size"),
        "limited": Condition(False, "DesiredWithinRange", "the desired count is within the acceptable range"),
        "metrics": ("matillion_fleet_demand_tasks",),
    }
    return Scaler(name=name, **(defaults | fields))
