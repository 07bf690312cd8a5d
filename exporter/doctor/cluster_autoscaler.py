"""The Cluster Autoscaler: how long it lets agents drain when it removes their node.

It evicts a node's pods with at most `--max-graceful-termination-sec` of grace, 600 s by default, and then ends the
instance; that also cuts short the drain of pods that are terminating already (kubernetes/kubernetes#94435). A node is
left alone while a pod on it has `cluster-autoscaler.kubernetes.io/safe-to-evict: "false"`, or local storage unless
`--skip-nodes-with-local-storage=false`. Names and defaults: kubernetes/autoscaler, cluster-autoscaler/FAQ.md, "What are
the parameters to CA?" and "Does CA respect GracefulTermination in scale-down?".
"""

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

from exporter.doctor.check import Check, CheckFailedError, Finding, not_checked, ok, warning
from exporter.doctor.draining import FARGATE, PROTECT, SUBJECT, Draining, draining
from exporter.doctor.environment import Environment, described
from exporter.doctor.keda import DEPLOYMENTS, FALSE
from exporter.fleet.protection import CLUSTER_AUTOSCALER
from exporter.kube.api import AccessDeniedError, KubeError
from exporter.kube.fields import Json, line, mapping, mappings, sequence, text

NAME = "Cluster Autoscaler"
NAMESPACE = "kube-system"
"""Where its manifests and the vendor's guide install it."""
MAX_GRACE, DEFAULT_MAX_GRACE_SECONDS = "--max-graceful-termination-sec", 600
_SKIP_LOCAL, _SCALE_DOWN, _DRAIN_PRIORITY = (
    "--skip-nodes-with-local-storage",
    "--scale-down-enabled",
    "--drain-priority-config",
)
_LABELS = ("app.kubernetes.io/name", "k8s-app", "app")
_ITSELF = re.compile(r"(?:[a-z0-9-]{1,64}-)?cluster-autoscaler(?:-(?:amd64|arm64|s390x))?", re.ASCII)
"""Its name in labels and images: the Helm chart puts the cloud provider before it, older images a platform behind."""
_LONGEST = 253


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _check(env))] if env.settings.discovery.kubernetes.enabled else []


async def _check(env: Environment) -> Sequence[Finding]:
    drain = await draining(env)
    if drain.fargate:
        return [ok(NAME, FARGATE)]
    fix = f"run the doctor with your own kubeconfig, or {DEPLOYMENTS.grant('list')}"
    try:
        found, everywhere = await _find(env)
    except AccessDeniedError:
        return [not_checked(NAME, "no permission to list Deployments; the exporter does not need it", fix)]
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    if found:
        return [_finding(one, drain) for one in found]
    if everywhere:
        return [ok(NAME, "the cluster has none")]
    return [not_checked(NAME, f"there is none in {NAMESPACE}; no permission to look elsewhere", fix)]


async def _find(env: Environment) -> tuple[Sequence[Json], bool]:
    """Return its Deployments, and whether the whole cluster was looked at. Raises KubeError and NotPossibleError."""
    found: list[Json] = []

    def take(deployment: Json) -> None:
        if is_cluster_autoscaler(deployment) and mapping(deployment.get("spec")).get("replicas") != 0:
            found.append(deployment)

    try:
        await env.look_at(DEPLOYMENTS, take)
    except AccessDeniedError:
        found.clear()
        await env.look_at(DEPLOYMENTS.within(NAMESPACE), take)
        return found, False
    return found, True


def is_cluster_autoscaler(deployment: Json) -> bool:
    """Return whether a Deployment runs it, by its labels or its images."""
    labels = mapping(mapping(deployment.get("metadata")).get("labels"))
    images = [line(one.get("image"), 2 * _LONGEST).rpartition("/")[2] for one in _containers(deployment)]
    names = [line(labels.get(key), _LONGEST) for key in _LABELS]
    return any(map(_ITSELF.fullmatch, (*names, *(re.split("[:@]", image)[0] for image in images))))


def _containers(deployment: Json) -> Sequence[Json]:
    template = mapping(mapping(deployment.get("spec")).get("template"))
    return list(mappings(mapping(template.get("spec")).get("containers")))


def _finding(deployment: Json, drain: Draining) -> Finding:
    metadata, flags = mapping(deployment.get("metadata")), flags_of(deployment)
    namespace, name = (text(metadata.get(key)) or "" for key in ("namespace", "name"))
    title = f"{NAME} {namespace}/{name}"
    if kept := _kept(flags, drain):
        return ok(title, kept)
    if flags.get(_DRAIN_PRIORITY):
        return not_checked(title, f"its grace for agents is set by {_DRAIN_PRIORITY}, which is not evaluated here")
    given = flags.get(MAX_GRACE, str(DEFAULT_MAX_GRACE_SECONDS))
    if not (given.isascii() and given.isdecimal()):
        return not_checked(title, f"{MAX_GRACE}={line(given, _LONGEST)} is not a number of seconds")
    if int(given) >= drain.grace:
        found = f"it removes nodes with agents that run tasks; these drain for up to {drain.grace} s, their grace"
        return warning(title, f"{found}, and the node is paid for meanwhile", PROTECT)
    default = "" if MAX_GRACE in flags else ", the default"
    return warning(
        title,
        f"it ends agents {given} s ({MAX_GRACE}{default}) after it begins to remove their node, draining agents too, "
        f"although their grace is {drain.grace} s: tasks that still run are killed",
        f"{PROTECT}, or set {MAX_GRACE}={drain.grace} in Deployment {namespace}/{name}",
    )


def _kept(flags: Mapping[str, str], drain: Draining) -> str:
    """Return why it removes no node of an agent with tasks; empty if it does."""
    if flags.get(_SCALE_DOWN) in FALSE:
        return f"it removes no nodes ({_SCALE_DOWN}=false)"
    if CLUSTER_AUTOSCALER in drain.protecting:
        return "it keeps nodes of agents with tasks (protection.enabled)"
    if drain.local_storage and flags.get(_SKIP_LOCAL) not in FALSE:
        return f"it keeps nodes with agents, whose volumes are local storage ({_SKIP_LOCAL})"
    return ""


def flags_of(deployment: Json) -> dict[str, str]:
    """Return the flags of a Deployment's containers by name, a later one before an earlier; alone, a flag is "true".

    `--flag value` is understood like `--flag=value`; Go's boolean flags take a value only after `=`.
    """
    parts = [part for one in _containers(deployment) for key in ("command", "args") for part in sequence(one.get(key))]
    words = [word for part in parts if isinstance(part, str) for word in part.split()]
    found: dict[str, str] = {}
    for word, following in zip_longest(words, words[1:], fillvalue="--"):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            separate = name in (MAX_GRACE, _DRAIN_PRIORITY) and not following.startswith("--")
            found[name] = value if equals else following if separate else "true"
    return found
