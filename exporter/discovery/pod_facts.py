"""What a raw pod says: one `Target`, or none.

Pure, and total: a field that makes no sense is not known, never an error. It must not know where the pod came from,
nor which clock `ready_since` is on.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from exporter.fleet.model import PodFacts, Target

Json = Mapping[str, Any]

AGENT_PORTS = (9464, 8080)
"""Where an agent shows its metrics, OpenTelemetry first (the vendor's images and charts)."""
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation by which a pod says which of its containers is meant (kubernetes.io, "Well-Known Labels")."""

_FINISHED = frozenset({"Succeeded", "Failed"})
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([KMGTPE]i|[numkMGTPE])?)", re.ASCII)
_QUANTITY_LENGTH = 64
"""Longer than any quantity Kubernetes writes; keeps a hostile one from costing time."""
_FACTORS = {
    **{prefix + "i": Decimal(1024**power) for power, prefix in enumerate("KMGTPE", start=1)},
    **{
        suffix: Decimal(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
}


@dataclass(frozen=True, slots=True)
class PodReader:
    """How pods are read: the same for every pod of a source."""

    fleet_label: str
    agent_ports: Sequence[int]
    """Ports by which the agent's container is told from its sidecars, the best first."""
    ready_since: Callable[[str, float | None], float]
    """Gives, for a UID and the Unix time of its last change to Ready (None if unsaid), the instant on our clock."""

    def target(self, pod: Json) -> Target | None:
        """Return the agent that runs in a pod; None when it has finished, and so is no agent any more."""
        metadata, spec, status = (_mapping(pod.get(part)) for part in ("metadata", "spec", "status"))
        if _text(status.get("phase")) in _FINISHED:
            return None
        return Target(
            uid=_text(metadata.get("uid")) or "",
            namespace=_text(metadata.get("namespace")) or "",
            fleet=self.fleet_label_of(pod) or owner_name(pod),
            pod=_text(metadata.get("name")) or "",
            address=_text(status.get("podIP")),
            facts=self._facts(metadata, spec, status),
        )

    def fleet_label_of(self, pod: Json) -> str | None:
        """Return the fleet that the pod's label names; None where it has no such label."""
        return _text(_mapping(_mapping(pod.get("metadata")).get("labels")).get(self.fleet_label))

    def _facts(self, metadata: Json, spec: Json, status: Json) -> PodFacts:
        container = agent_container(metadata, spec, self.agent_ports)
        of_agent = _named(status.get("containerStatuses"), container.get("name"))
        state = _mapping(of_agent.get("state"))
        # A container that has ended and not been started again yet says so in `state`: that is later than `lastState`.
        ended = _mapping(state.get("terminated")) or _mapping(_mapping(of_agent.get("lastState")).get("terminated"))
        ready = _condition(status.get("conditions"), "Ready")
        is_ready = ready.get("status") == "True"
        uid = _text(metadata.get("uid")) or ""
        return PodFacts(
            ready=is_ready,
            ready_since=self.ready_since(uid, unix_time(ready.get("lastTransitionTime"))) if is_ready else None,
            created_time=unix_time(metadata.get("creationTimestamp")),
            draining_time=_asked_to_end(metadata),
            node=_text(spec.get("nodeName")),
            container=_text(container.get("name")),
            started_time=unix_time(_mapping(state.get("running")).get("startedAt")),
            image=_text(container.get("image")),
            restarts=_count(of_agent.get("restartCount")),
            waiting_reason=_text(_mapping(state.get("waiting")).get("reason")) or _unscheduled(status),
            last_terminated_reason=_text(ended.get("reason")),
            last_terminated_time=unix_time(ended.get("finishedAt")),
            memory_limit_bytes=_limit(container),
        )


def agent_container(metadata: Json, spec: Json, ports: Sequence[int]) -> Json:
    """Choose the container that is the agent among its sidecars.

    First what the pod itself says by annotation; then the container that declares an agent's port; else the first, as
    kubectl does. A service mesh puts its proxy first, but sets the annotation and uses ports of its own.
    """
    containers = [container for container in _sequence(spec.get("containers")) if isinstance(container, Mapping)]
    named = _named(containers, _mapping(metadata.get("annotations")).get(DEFAULT_CONTAINER))
    if named:
        return named
    for port in ports:
        for container in containers:
            if any(_mapping(entry).get("containerPort") == port for entry in _sequence(container.get("ports"))):
                return container
    return containers[0] if containers else {}


def owner_name(pod: Json) -> str:
    """Return the name of the workload a pod belongs to, which is the fleet of a pod that has no fleet label.

    A Deployment's name is its ReplicaSet's without the hash that the pod carries as `pod-template-hash`. A pod that
    nothing controls is a fleet of its own.
    """
    metadata = _mapping(pod.get("metadata"))
    for owner in map(_mapping, _sequence(metadata.get("ownerReferences"))):
        name = _text(owner.get("name"))
        if owner.get("controller") is True and name is not None:
            template = _text(_mapping(metadata.get("labels")).get("pod-template-hash"))
            return name.removesuffix(f"-{template}") or name
    return _text(metadata.get("name")) or ""


def parse_quantity(text: object) -> float | None:
    """Read a Kubernetes quantity (`4Gi`, `129M`, `4e9`, `1500m`, `128974848`); None where it is not one.

    Grammar: kubernetes.io, "Quantity" in the API reference.
    """
    if not isinstance(text, str) or len(text) > _QUANTITY_LENGTH:
        return None
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    try:
        value = float(Decimal(number + (exponent or "")) * _FACTORS.get(suffix, Decimal(1)))
    except ArithmeticError:
        return None
    return value if math.isfinite(value) else None


def unix_time(text: object) -> float | None:
    """Read an RFC 3339 time as Unix seconds; None where it is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def _asked_to_end(metadata: Json) -> float | None:
    """When the deletion was asked for: Kubernetes notes only when the grace will be over."""
    over = unix_time(metadata.get("deletionTimestamp"))
    return None if over is None else over - (_count(metadata.get("deletionGracePeriodSeconds")) or 0)


def _unscheduled(status: Json) -> str | None:
    """Why no node was found for the pod, if that is so; its containers have nothing to say of it."""
    scheduled = _condition(status.get("conditions"), "PodScheduled")
    return _text(scheduled.get("reason")) if scheduled.get("status") == "False" else None


def _limit(container: Json) -> float | None:
    """Memory limit in bytes; a limit of 0 is none at all to a container runtime."""
    limits = _mapping(_mapping(container.get("resources")).get("limits"))
    limit = parse_quantity(limits.get("memory"))
    return limit if limit is not None and limit > 0 else None


def _condition(conditions: object, kind: str) -> Json:
    return next((entry for entry in map(_mapping, _sequence(conditions)) if entry.get("type") == kind), {})


def _named(entries: object, name: object) -> Json:
    return next((entry for entry in map(_mapping, _sequence(entries)) if name and entry.get("name") == name), {})


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    """Text that says something; an empty one does not."""
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
