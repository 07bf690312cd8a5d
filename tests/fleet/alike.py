"""Fleets of agents that are alike."""

from typing import Any

from exporter.fleet.model import AgentSnapshot, Fleet
from exporter.fleet.policy import Policy
from tests.factories import POLICY, make_facts, make_fleet, make_reading, make_snapshot

CRASHED = "CrashLoopBackOff"
NOT_READY = make_facts(ready=False)


def agents(count: int, tasks: float = 12.0, **fields: Any) -> list[AgentSnapshot]:
    """Agents alike; `queued` is what each of them has waiting."""
    stem = f"{len(fields)}-{tasks}-{'-'.join(map(str, fields.values()))}"
    reading = {name: fields.pop(name) for name in ("status", "connected") if name in fields}
    queued = fields.pop("queued", None)
    latest = make_reading(tasks, tasks_queued=queued, **reading)
    return [
        make_snapshot(f"{stem}-{i}", reading=None if fields.get("never_read") else latest, **fields)
        for i in range(count)
    ]


def fleet(*groups: list[AgentSnapshot], policy: Policy = POLICY, **fields: Any) -> Fleet:
    return make_fleet([snapshot for group in groups for snapshot in group], policy=policy, **fields)


def deleted(**fields: Any) -> dict[str, Any]:
    return {"facts": make_facts(draining_time=1.0, **fields)}
