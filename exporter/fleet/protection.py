"""What the annotations of an agent's pod should be: its deletion cost, and its protection from disruption.

Pure: compares what a pod carries with what the agent's work calls for, and returns the difference. The state is on the
pods alone, so that a new leader continues where another stopped. What protects a pod is removed only if the mark
beside it lists it, with the value it still has: what an operator or another program set stays.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from exporter.fleet.model import Agent, AgentState, Fleet, Reading
from exporter.fleet.read_back import read_json

COST = "controller.kubernetes.io/pod-deletion-cost"
"""A ReplicaSet deletes the cheapest pods first; a pod without it costs 0 (kubernetes.io, "ReplicaSet")."""
MARK = "matillion-fleet-exporter/protected-by"
"""The instance that protects a pod or a node, and the annotations it set there: JSON, as `Mark.text`."""
CLUSTER_AUTOSCALER = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""The Cluster Autoscaler removes no node with a pod of which this is false (kubernetes/autoscaler, FAQ)."""
KARPENTER = "karpenter.sh/do-not-disrupt"
"""Karpenter removes no node with such a pod, or with this annotation of its own (karpenter.sh, "Disruption")."""
PROTECTION: Mapping[str, str] = {CLUSTER_AUTOSCALER: "false", KARPENTER: "true"}
"""What keeps the Cluster Autoscaler and Karpenter from removing a pod's node."""

_HIGHEST_COST = 2**31 - 1
"""The annotation is a 32-bit number; one that is not makes Kubernetes reject the pod's update."""
_FINE_BELOW = 5
"""Tasks below which each one counts: agents with few tasks are the candidates of a scale-down."""


class Urgency(IntEnum):
    """Which patch comes first."""

    ROUTINE = 0
    """Removal of a protection, or a deletion cost alone."""
    DRAINING = 1
    BUSY = 2
    """A pod with work, not draining, is not protected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRules:
    """What is annotated, and by which instance."""

    instance: str
    """`<namespace>/<lease name>`: the same for all replicas of one release, and for those after an upgrade."""
    protection: Mapping[str, str] | None
    """The annotations of pods with work; None if protection is disabled, which removes those of this instance."""
    idle_for: float
    """Seconds without work after which a pod's protection is removed."""
    bucket: int | None
    """Step size of the deletion cost in tasks; None if costs are disabled, which leaves them as they are."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Which instance protects an object, and with what."""

    by: str
    annotations: Mapping[str, str]

    @property
    def text(self) -> str:
        """The mark as the value of an annotation."""
        return json.dumps({"by": self.by, "annotations": dict(self.annotations)}, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Patch:
    """Changes of one pod's annotations; None removes one."""

    annotations: Mapping[str, str | None]
    urgency: Urgency
    cost_change: int
    """Difference between the deletion cost the pod has and the one it should have."""

    @property
    def protection(self) -> Mapping[str, str | None]:
        """The changes without the deletion cost."""
        return {key: value for key, value in self.annotations.items() if key != COST}


def read_mark(value: object) -> Mark | None:
    """Return the mark in an annotation's value; None where that is not one."""
    return _parsed_mark(value) if isinstance(value, str) else None


# The pods of an installation carry the same few marks, and each is read at every look at all agents.
@lru_cache(maxsize=16)
def _parsed_mark(value: str) -> Mark | None:
    try:
        given = read_json(value)
    except ValueError:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("by"), str):
        return None
    listed = given.get("annotations")
    if not isinstance(listed, dict):
        return None
    ours = {key: text for key, text in listed.items() if isinstance(text, str) and key not in {COST, MARK}}
    return Mark(given["by"], ours)


def kept_annotations(annotations: Mapping[str, object], protection: Iterable[str]) -> Mapping[str, str]:
    """Return those of an object's annotations that decisions here are based on, and no others."""
    mark = read_mark(annotations.get(MARK))
    keys = {COST, MARK, *protection, *(mark.annotations if mark is not None else ())}
    return {key: value for key in sorted(keys) if isinstance(value := annotations.get(key), str)}


def is_protected(annotations: Mapping[str, str], protection: Mapping[str, str]) -> bool | None:
    """Return whether all of the protection's annotations are on a pod; None if there are none to be on."""
    return protection.items() <= annotations.items() if protection else None


def works(reading: Reading) -> bool:
    """Return whether an agent reports running or waiting tasks."""
    return reading.tasks_active > 0 or (reading.tasks_queued or 0.0) > 0


def has_work(agent: Agent) -> bool | None:
    """Return whether an agent has running or waiting tasks; None while that cannot be seen."""
    reading = agent.snapshot.reading
    return works(reading) if agent.fresh and reading is not None else None


def deletion_cost(tasks: float, bucket: int) -> int:
    """Return what it costs to delete a pod with so many tasks: rounded up to whole tasks below 5, else to buckets.

    Only an idle pod costs 0.
    """
    step = 1 if tasks < _FINE_BELOW else bucket
    # The smallest float becomes 0 when it is divided.
    steps = max(math.ceil(tasks / step), int(tasks > 0))
    return min(_HIGHEST_COST, steps * step)


def pod_patch(agent: Agent, rules: AnnotationRules, now: float) -> Patch | None:
    """Return how an agent's pod must be changed; None if it is as it should be, or the agent is not a pod.

    An agent that cannot be seen keeps what it has, unless protection is disabled.
    """
    facts = agent.snapshot.target.facts
    if facts is None:
        return None
    if rules.protection is None and rules.bucket is None and MARK not in facts.annotations:
        # The usual case where both are disabled: only a mark can call for a change.
        return None
    draining = agent.state is AgentState.DRAINING
    changes = _protection_changes(agent, facts.annotations, rules, now)
    urgency = Urgency.ROUTINE
    if any(value is not None for key, value in changes.items() if key != MARK):
        urgency = Urgency.DRAINING if draining else Urgency.BUSY
    cost = None if draining else _wanted_cost(agent, rules)
    change = 0 if cost is None else cost - _cost_of(facts.annotations)
    if change:
        changes[COST] = str(cost)
    return Patch(changes, urgency, abs(change)) if changes else None


def _protection_changes(
    agent: Agent, there: Mapping[str, str], rules: AnnotationRules, now: float
) -> dict[str, str | None]:
    work, idle = has_work(agent), agent.snapshot.since.idle
    if rules.protection is None or (work is False and idle is not None and now - idle >= rules.idle_for):
        return mark_changes(there, {}, rules.instance)
    return mark_changes(there, rules.protection, rules.instance) if work else {}


def mark_changes(there: Mapping[str, str], wanted: Mapping[str, str], instance: str) -> dict[str, str | None]:
    """Return how an object's annotations must change so that it carries `wanted`, or nothing of this instance.

    A key that another writer has set keeps its value. Where another instance's mark must be replaced, what it lists is
    listed in the new one, so that nothing stays behind without a mark.
    """
    mark = read_mark(there.get(MARK))
    listed = mark.annotations if mark is not None and (mark.by == instance or wanted) else {}
    own = {key: value for key, value in listed.items() if there.get(key) == value}
    changed: dict[str, str | None] = {
        key: value for key, value in wanted.items() if (key in own or key not in there) and there.get(key) != value
    }
    if mark is not None and mark.by == instance:
        changed |= {key: None for key in own if key not in wanted}
    elif not changed:
        return {}
    marked = {key: value for key, value in (own | changed).items() if value is not None}
    text = Mark(instance, marked).text if marked else None
    return changed if there.get(MARK) == text else changed | {MARK: text}


def _wanted_cost(agent: Agent, rules: AnnotationRules) -> int | None:
    reading = agent.snapshot.reading
    if rules.bucket is None or not agent.fresh or reading is None:
        return None
    # An agent with nothing but waiting tasks is about to begin them.
    return deletion_cost(reading.tasks_active or float(works(reading)), rules.bucket)


def _cost_of(annotations: Mapping[str, str]) -> int:
    try:
        return int(annotations.get(COST, "0"))
    except ValueError:
        return 0


def draining_nodes(fleets: Iterable[Fleet]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the nodes of draining agents with work, and those of draining agents that cannot be seen."""
    found: dict[bool | None, set[str]] = {}
    for fleet in fleets:
        for agent in fleet.agents:
            facts = agent.snapshot.target.facts
            if agent.state is AgentState.DRAINING and facts is not None and facts.node is not None:
                found.setdefault(has_work(agent), set()).add(facts.node)
    return frozenset(found.get(True, ())), frozenset(found.get(None, ()))
