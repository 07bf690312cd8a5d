"""Looks at every pod that may be seen, whatever its labels: for agents that the selector misses, and pods that wait.

The exporter itself may look in the watched namespaces only; a person often everywhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.discovery.likeness import agent_marks
from exporter.doctor.environment import Environment, lean
from exporter.kube.api import AccessDeniedError, Json
from exporter.kube.fields import mapping, mappings, text
from exporter.kube.selector import parse_selector

SCAN_SECONDS = 60.0
"""For all pods of a cluster: 10,000 come in 50 answers of half a second."""
EXPORTER = {"app.kubernetes.io/name": "matillion-fleet-exporter"}
"""Labels that the chart gives the exporter's own pods."""

Labels = Mapping[str, str]
_FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that is looked at more closely."""

    raw: Json
    namespace: str
    name: str
    labels: Labels
    matched: bool
    """Whether the exporter takes it for an agent: found by the selector where it is watched, and not passed over."""
    alike: bool
    """Whether it looks like an agent by more than its labels."""

    @property
    def exporters(self) -> bool:
        """Whether it is of an exporter."""
        return EXPORTER.items() <= self.labels.items()


@dataclass(frozen=True, slots=True)
class Scan:
    """What was seen."""

    pods: Sequence[Pod]
    """Agents, what looks like one, and the exporter's own; without pods that have finished."""
    bystanders: Sequence[Labels]
    """Labels of all other pods, each set once."""
    namespaces: Sequence[str] | None
    """Where it was looked; None for the whole cluster."""


async def scan(env: Environment) -> Scan:
    """Look in the whole cluster, or else wherever the API server lets us. Raises KubeError and NotPossibleError."""
    found = _Found(env)
    try:
        await env.look_at_pods(None, found.take)
    except AccessDeniedError:
        found = _Found(env)
        return found.scan([one for one in _places(env) if await _looked(env, one, found)])
    return found.scan(None)


def _places(env: Environment) -> Sequence[str]:
    watched = [one for one in env.namespaces if one is not None]
    return tuple(dict.fromkeys([*watched, *([env.namespace] if env.namespace else [])]))


async def _looked(env: Environment, namespace: str, found: "_Found") -> bool:
    try:
        await env.look_at_pods(namespace, found.take)
    except AccessDeniedError:
        return False
    return True


class _Found:
    """Takes pod after pod, and keeps little of most."""

    def __init__(self, env: Environment) -> None:
        settings = env.settings
        self._watched = settings.discovery.kubernetes.namespaces
        self._selector = parse_selector(settings.discovery.kubernetes.label_selector)
        self._endpoints = settings.scrape.endpoints
        self._pods: list[Pod] = []
        self._bystanders: set[frozenset[tuple[str, str]]] = set()

    def take(self, raw: Json) -> None:
        metadata, status = mapping(raw.get("metadata")), mapping(raw.get("status"))
        if status.get("phase") in _FINISHED or any(
            owner.get("kind") == "Job" for owner in mappings(metadata.get("ownerReferences"))
        ):
            return
        namespace = text(metadata.get("namespace")) or ""
        labels = {key: value for key, value in mapping(metadata.get("labels")).items() if isinstance(value, str)}
        marks = agent_marks(raw, self._endpoints)
        pod = Pod(
            lean(raw),
            namespace,
            text(metadata.get("name")) or "",
            labels,
            matched=marks.enough
            and (not self._watched or namespace in self._watched)
            and self._selector.matches(labels),
            alike=marks.striking,
        )
        if pod.matched or pod.alike or pod.exporters:
            self._pods.append(pod)
        else:
            self._bystanders.add(frozenset(labels.items()))

    def scan(self, namespaces: Sequence[str] | None) -> Scan:
        return Scan(self._pods, [dict(labels) for labels in self._bystanders], namespaces)
