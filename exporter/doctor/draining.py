"""How agents drain: the grace they have, and what of them node autoscalers look at.

A deleted agent continues its tasks until they have ended or its grace is over; then it is killed with what still runs.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from exporter.discovery.pod_facts import workload
from exporter.doctor.check import Check, CheckFailedError, Finding, not_checked, ok, warning
from exporter.doctor.environment import Environment, described
from exporter.doctor.fargate import on_fargate
from exporter.doctor.pods import pod_reader
from exporter.fleet.model import Target
from exporter.fleet.protection import PROTECTION
from exporter.kube.api import KubeError
from exporter.kube.fields import Json, count, mapping, mappings, text

SUBJECT = "agents"
NAME = "grace"
GRACE_SECONDS = 43_200
"""`terminationGracePeriodSeconds` in the vendor's charts: tasks may run for hours."""
PROTECT = "set protection.enabled: true (documentation: disruption)"
"""What keeps node autoscalers from agents with tasks."""
FARGATE = "all agents run on Fargate, whose nodes no autoscaler removes"


@dataclass(frozen=True, slots=True)
class Draining:
    """What a node autoscaler deals with."""

    grace: int
    """The agents' longest grace in seconds; the vendor's where no agents were found."""
    local_storage: bool
    """Whether every agent has a volume that is stored on its node."""
    fargate: bool
    """Whether every agent that has a node runs on Fargate."""
    protecting: AbstractSet[str]
    """The annotations of `PROTECTION` that agents with tasks get, with the value that has an effect."""
    nodes_protected: bool
    """Whether the nodes of draining agents with tasks are annotated, too."""


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _grace(env))] if env.settings.discovery.kubernetes.enabled else []


async def draining(env: Environment) -> Draining:
    """Return how the agents drain. Raises CheckFailedError and NotPossibleError."""
    protection = env.settings.protection
    specs = [mapping(pod.get("spec")) for pod, _ in await _agents(env)]
    graces = [seconds for spec in specs if (seconds := grace_seconds(spec)) is not None]
    nodes = {node for spec in specs if (node := text(spec.get("nodeName")))}
    return Draining(
        grace=max(graces, default=GRACE_SECONDS),
        local_storage=bool(specs) and all(any(map(_is_local, mappings(spec.get("volumes")))) for spec in specs),
        fargate=bool(nodes) and all(map(on_fargate, nodes)),
        protecting={
            key for key, value in PROTECTION.items() if protection.enabled and protection.annotations.get(key) == value
        },
        nodes_protected=protection.enabled and protection.nodes,
    )


def grace_seconds(spec: Json) -> int | None:
    """Return the grace in a pod's spec, which the API server fills in; None if it has none."""
    return count(spec.get("terminationGracePeriodSeconds"))


def _is_local(volume: Json) -> bool:
    """Return whether a volume keeps the Cluster Autoscaler from its node, by its FAQ ("What types of pods …")."""
    return "hostPath" in volume or ("emptyDir" in volume and mapping(volume["emptyDir"]).get("medium") != "Memory")


async def _agents(env: Environment) -> Sequence[tuple[Json, Target]]:
    read = pod_reader(env.settings).read
    try:
        pods = [pod for namespace in env.namespaces for pod in await env.pods(namespace)]
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    return [(pod, target) for pod in pods if isinstance(target := read(pod), Target)]


# -- the grace ---------------------------------------------------------------------------------------------------------


async def _grace(env: Environment) -> Sequence[Finding]:
    by_grace: dict[int, list[tuple[Json, Target]]] = {}
    for pod, target in await _agents(env):
        if (seconds := grace_seconds(mapping(pod.get("spec")))) is not None:
            by_grace.setdefault(seconds, []).append((pod, target))
    if not by_grace:
        return [not_checked(NAME, "no agents were found")]
    short = [seconds for seconds in sorted(by_grace) if seconds < GRACE_SECONDS]
    if not short:
        return [ok(NAME, f"a deleted agent may continue its tasks for {min(by_grace)} s or longer")]
    return [_too_short(seconds, by_grace[seconds]) for seconds in short]


def _too_short(seconds: int, agents: Sequence[tuple[Json, Target]]) -> Finding:
    fleets = sorted({f"{target.namespace}/{target.fleet}" for _, target in agents})
    workloads = sorted({f"{target.namespace}/{workload(pod) or target.pod}" for pod, target in agents})
    return warning(
        f"grace of {seconds} s",
        f"a deleted agent of {', '.join(fleets)} is killed after {seconds} s with the tasks that still run: scale-ins, "
        f"rollouts and drains cost every longer task; the vendor's charts set {GRACE_SECONDS} s",
        f"set terminationGracePeriodSeconds: {GRACE_SECONDS} in the pod template of {', '.join(workloads)}, while no "
        f"tasks run: the change replaces the agents, which still have {seconds} s",
    )
