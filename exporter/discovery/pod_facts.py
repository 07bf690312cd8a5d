"""Parses a raw pod: to a `Target`, an `IgnoredPod` or a `FinishedPod`.

Pure, and total: a field that makes no sense is not known, never an error. It must not know where the pod came from,
nor which clock `ready_since` is on. What makes a pod an agent is in `likeness`, where its metrics are in
`pod_endpoints`, why it waits in `pod_waiting`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from exporter.discovery.likeness import agent_container, ignored_reason
from exporter.discovery.pod_addresses import off_limits
from exporter.discovery.pod_endpoints import declared_endpoints
from exporter.discovery.pod_waiting import MAX_REASON_LENGTH, waiting
from exporter.fleet.model import Endpoint, FinishedPod, IgnoredPod, PodFacts, Target
from exporter.fleet.protection import PROTECTION, is_protected, kept_annotations
from exporter.kube.fields import Json, condition, count, line, mapping, mappings, named, text
from exporter.kube.quantity import parse_quantity
from exporter.kube.times import unix_time

_FINISHED = frozenset({"Succeeded", "Failed"})
_MAX_IMAGE_LENGTH = 600
"""Characters. A host has up to 253, a repository 255, a digest 72; Kubernetes itself allows any text."""
_DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' default (kubernetes.io, "Pod Lifecycle"): `DefaultTerminationGracePeriodSeconds`."""


@dataclass(frozen=True, slots=True)
class PodReader:
    """How pods are read: the same for every pod of a source."""

    fleet_label: str
    endpoints: Sequence[Endpoint]
    """Tried for agents that declare none, best first."""
    ready_since: Callable[[str, bool, float | None], float | None]
    """Returns the instant on the process' clock for a UID, its readiness, and its Unix time (None: unknown)."""
    protection: Mapping[str, str] = field(default_factory=lambda: PROTECTION)
    """The annotations that protect a pod from disruption."""
    own: Collection[str] = ()
    """The addresses of this process' pod."""

    def read(self, pod: Json) -> Target | IgnoredPod | FinishedPod:
        """Return the agent that runs in a pod, or why it is none."""
        metadata, status = mapping(pod.get("metadata")), mapping(pod.get("status"))
        if text(status.get("phase")) in _FINISHED:
            return FinishedPod(self.facts(pod, agent_container(pod, self.endpoints)))
        namespace, name = text(metadata.get("namespace")) or "", text(metadata.get("name")) or ""
        reason = ignored_reason(pod, self.endpoints)
        if reason is not None:
            return IgnoredPod(namespace, name, reason)
        container, address = agent_container(pod, self.endpoints), text(status.get("podIP"))
        return Target(
            uid=text(metadata.get("uid")) or "",
            namespace=namespace,
            fleet=self.fleet_label_of(pod) or owner_name(pod),
            pod=name,
            address=address,
            endpoints=declared_endpoints(pod, container, self.endpoints),
            off_limits=None if address is None else off_limits(address, self.own),
            facts=self.facts(pod, container),
        )

    def fleet_label_of(self, pod: Json) -> str | None:
        """Return the fleet that the pod's label names; None where it has no such label."""
        return text(mapping(mapping(pod.get("metadata")).get("labels")).get(self.fleet_label))

    def facts(self, pod: Json, container: Json) -> PodFacts:
        """Return what Kubernetes reports of a pod, and of this container of its spec."""
        metadata, spec, status = (mapping(pod.get(part)) for part in ("metadata", "spec", "status"))
        of_agent = named(status.get("containerStatuses"), container.get("name"))
        state = mapping(of_agent.get("state"))
        # The end of a container that has not been started again is in `state`, and is later than `lastState`.
        ended = mapping(state.get("terminated")) or mapping(mapping(of_agent.get("lastState")).get("terminated"))
        ready = condition(status, "Ready")
        is_ready = ready.get("status") == "True"
        waits = waiting(status, state)
        annotations = kept_annotations(mapping(metadata.get("annotations")), self.protection)
        return PodFacts(
            ready=is_ready,
            ready_since=self.ready_since(
                text(metadata.get("uid")) or "", is_ready, unix_time(ready.get("lastTransitionTime"))
            ),
            created_time=unix_time(metadata.get("creationTimestamp")),
            draining_time=_deletion_requested(metadata),
            drain_deadline_time=unix_time(metadata.get("deletionTimestamp")),
            disruption=_disruption(status),
            drain_grace_seconds=count(metadata.get("deletionGracePeriodSeconds")),
            grace_seconds=_own_grace(spec),
            node=text(spec.get("nodeName")),
            container=text(container.get("name")),
            started_time=unix_time(mapping(state.get("running")).get("startedAt")),
            image=line(container.get("image"), _MAX_IMAGE_LENGTH) or None,
            restarts=count(of_agent.get("restartCount")),
            waiting_reason=waits.reason,
            waiting_message=waits.message,
            last_terminated_reason=line(ended.get("reason"), MAX_REASON_LENGTH) or None,
            last_terminated_time=unix_time(ended.get("finishedAt")),
            last_exit_code=count(ended.get("exitCode")),
            memory_limit_bytes=_limit("memory", container, of_agent),
            cpu_limit_cores=_limit("cpu", container, of_agent),
            template=_template(metadata),
            workload=workload(pod),
            annotations=annotations,
            protected=is_protected(annotations, self.protection),
        )


def workload(pod: Json) -> str | None:
    """Return the name of the workload that controls a pod; None where nothing does.

    A Deployment's name is its ReplicaSet's without the hash that the pod carries as `pod-template-hash`.
    """
    metadata = mapping(pod.get("metadata"))
    for owner in mappings(metadata.get("ownerReferences")):
        name = text(owner.get("name"))
        if owner.get("controller") is True and name is not None:
            return name.removesuffix(f"-{_template(metadata)}") or name
    return None


def owner_name(pod: Json) -> str:
    """Return what is the fleet of a pod without the fleet label: its workload, or itself where nothing controls it."""
    return workload(pod) or text(mapping(pod.get("metadata")).get("name")) or ""


def _deletion_requested(metadata: Json) -> float | None:
    """When the deletion was asked for: Kubernetes notes only when the grace will be over."""
    over = unix_time(metadata.get("deletionTimestamp"))
    return None if over is None else over - (count(metadata.get("deletionGracePeriodSeconds")) or 0)


def _disruption(status: Json) -> str | None:
    """Return why Kubernetes ends the pod; its status' own reason is more specific than the condition."""
    target = condition(status, "DisruptionTarget")
    reason = text(target.get("reason")) if target.get("status") == "True" else None
    return line(status.get("reason"), MAX_REASON_LENGTH) or line(reason, MAX_REASON_LENGTH) or None


def _own_grace(spec: Json) -> int:
    """Return the grace period that the pod requests, or Kubernetes' default."""
    own = count(spec.get("terminationGracePeriodSeconds"))
    return _DEFAULT_GRACE_SECONDS if own is None else own


def _template(metadata: Json) -> str | None:
    return text(mapping(metadata.get("labels")).get("pod-template-hash"))


def _limit(resource: str, container: Json, status: Json) -> float | None:
    """Return the limit in force; one of 0 is none at all to a container runtime.

    A limit can be changed while the container runs. In recent versions of Kubernetes the status has the limit in force
    ("Resize CPU and Memory Resources assigned to Containers"); the spec has the requested one.
    """
    for place in (status, container):
        limit = parse_quantity(mapping(mapping(place.get("resources")).get("limits")).get(resource))
        if limit is not None:
            return limit if limit > 0 else None
    return None
