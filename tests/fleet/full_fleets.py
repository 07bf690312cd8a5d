"""Fleets of agents that report no queue, or are on their way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from exporter.fleet.model import AgentSnapshot, Dialect, Fleet, Since
from exporter.fleet.policy import Policy
from tests.factories import NOW, POLICY, make_facts, make_fleet, make_reading, make_snapshot

G, T = POLICY.target_tasks_per_agent, POLICY.tasks_per_agent
LONG = Since(known=NOW - 3600, serving=NOW - 3600)
"""Known for an hour, and at work all the time."""


def legacy(count: int, tasks: float, *, since: Since = LONG, stem: str = "old", **fields: Any) -> list[AgentSnapshot]:
    """Agents that report no queue, as all of the vendor's charts up to 0.5 have them."""
    reading = make_reading(tasks, dialect=Dialect.LEGACY, **fields.pop("said", {}))
    return [make_snapshot(f"{stem}-{i}", reading=reading, since=since, **fields) for i in range(count)]


def full(count: int, tasks: float = 20.0, *, seconds: float = 60.0, **fields: Any) -> list[AgentSnapshot]:
    """Legacy agents that had no slot for so long at their last reading, a second ago."""
    return legacy(
        count, tasks, since=replace(LONG, full=NOW - 1.0 - seconds, last_full=NOW - 1.0), stem="full", **fields
    )


def starting(count: int, **fields: Any) -> list[AgentSnapshot]:
    """Pods on their way."""
    return [
        make_snapshot(f"new-{i}", never_read=True, address=None, facts=make_facts(ready=False, **fields))
        for i in range(count)
    ]


def of(*groups: Sequence[AgentSnapshot], policy: Policy = POLICY) -> Fleet:
    return make_fleet([snapshot for group in groups for snapshot in group], policy=policy)
