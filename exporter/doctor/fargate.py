"""Pods that get no node, and above all those that no Fargate profile selects: they wait for ever.

EKS looks for a profile when a pod is made. One that is selected gets Fargate's own scheduler and a label; any other is
left to the usual scheduler, which finds every Fargate node closed to it (docs.aws.amazon.com/eks, "Define which Pods
use AWS Fargate when launched").
"""

import re
import time
from collections.abc import Iterator, Sequence

from exporter.doctor.check import Check, CheckFailedError, Finding, Once, failed, not_checked, ok, some, warning
from exporter.doctor.environment import Environment, described
from exporter.doctor.scan import SCAN_SECONDS, Pod, Scan
from exporter.kube.api import KubeError
from exporter.kube.fields import condition, line, mapping, text
from exporter.kube.times import unix_time

SUBJECT = "Kubernetes"
NAME = "nodes for the pods"
PROFILE = "eks.amazonaws.com/fargate-profile"
SCHEDULER = "fargate-scheduler"
PATIENCE_SECONDS = 300.0
"""A node group's new node takes two or three minutes, a Fargate pod one or two."""
_LONGEST = 300
_TAINT = re.compile(
    r"0/(\d{1,6}) nodes are available: (\d{1,6}) node\(s\) had (?:untolerated )?taint"
    r"(?: \{eks\.amazonaws\.com/compute-type: fargate\}|(\(s\)))",
    re.ASCII,
)
"""The scheduler's message where a taint of every node is all that is in the way. Up to Kubernetes 1.23 it lacks
`untolerated`; recent versions do not name the taint any more."""
_NODE = "fargate-"
"""How the names of Fargate's nodes begin: `fargate-ip-10-0-1-7.eu-west-1.compute.internal`."""
_NO_NODES = "no nodes available to schedule pods"


def checks(env: Environment, scanned: Once[Scan]) -> list[Check]:
    """Return the checks of this subject; `scanned` is made once for all."""
    if not env.settings.discovery.kubernetes.enabled:
        return []
    return [Check(SUBJECT, NAME, lambda: _pending(env, scanned), SCAN_SECONDS)]


async def _pending(env: Environment, scanned: Once[Scan]) -> Sequence[Finding]:
    try:
        seen = await scanned.get()
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    by_kind: dict[tuple[str, bool], list[Pod]] = {}
    for pod in seen.pods:
        by_kind.setdefault((pod.namespace, pod.exporters), []).append(pod)
    fargate_alone = _fargate_alone(seen)
    findings = [
        finding
        for (where, ours), pods in sorted(by_kind.items())
        for finding in _of(where, pods, ours=ours, fargate_alone=fargate_alone)
    ]
    if not findings and not any(map(_waits_long, seen.pods)):
        count = sum(bool(_node(pod)) for pod in seen.pods)
        findings = [ok(NAME, f"no agent or exporter pod is waiting for a node; {count} are scheduled")]
    ours_seen = env.in_pod or seen.namespaces is None or env.namespace in seen.namespaces
    if not ours_seen:
        why = "whether the exporter's own pods have nodes: no permission to list pods in its namespace"
        findings.append(not_checked("nodes for the exporter", why))
    return findings


def _of(namespace: str, pods: Sequence[Pod], *, ours: bool, fargate_alone: bool) -> Iterator[Finding]:
    what = "the exporter's pods" if ours else "agents"
    name = f"nodes for {'the exporter' if ours else 'agents'} in {namespace}"
    without_profile = [pod.name for pod in pods if _no_profile(pod, fargate_alone=fargate_alone)]
    if without_profile:
        yield failed(
            name,
            f"{what} wait forever: no Fargate profile selects them in namespace {namespace}, and the cluster has no "
            f"other nodes: {some(without_profile)}",
            f"add a selector for the namespace {namespace} to a Fargate profile (aws eks create-fargate-profile "
            f"--selectors namespace={namespace}) and delete the pods, since EKS matches profiles when a pod "
            "is created; or install "
            "in a namespace that a profile already selects, such as the agents' (documentation: install)",
        )
    no_node = [pod.name for pod in pods if _message(pod).startswith(_NO_NODES)]
    if no_node:
        yield failed(
            name,
            f"{what} wait: the cluster has no nodes, and no Fargate profile selects namespace {namespace}: "
            f"{some(no_node)}",
            f"add a selector for the namespace {namespace} to a Fargate profile, or add a node group "
            "(documentation: install)",
        )
    told = {*without_profile, *no_node}
    # `pod_failures` tells of the agents that the settings find.
    others = [pod for pod in pods if _waits_long(pod) and pod.name not in told and not pod.matched]
    if others:
        message = _message(others[0]) or "the scheduler gives no reason"
        yield warning(
            name,
            f"{what} are not scheduled: {some([pod.name for pod in others])}: {message}",
            "check that the node groups can grow, or that subnets and quota leave room for Fargate: "
            f"kubectl -n {namespace} describe pod {others[0].name}",
        )


def _fargate_alone(seen: Scan) -> bool:
    """Return whether every node that is known of is Fargate's, and there are some."""
    nodes = {_node(pod) for pod in seen.pods} - {""}
    return bool(nodes) and all(map(on_fargate, nodes))


def on_fargate(node: str) -> bool:
    """Return whether a node of this name is Fargate's."""
    return node.startswith(_NODE)


def _node(pod: Pod) -> str:
    return text(mapping(pod.raw.get("spec")).get("nodeName")) or ""


def _no_profile(pod: Pod, *, fargate_alone: bool) -> bool:
    """Return whether Fargate's taint is all that is in the way, and no profile selects the pod."""
    if PROFILE in pod.labels or mapping(pod.raw.get("spec")).get("schedulerName") == SCHEDULER:
        return False
    match = _TAINT.match(_message(pod))
    return match is not None and match[1] == match[2] and (not match[3] or fargate_alone)


def _message(pod: Pod) -> str:
    """Return the scheduler's message on a pod that has no node; empty where it has one, or is not considered yet."""
    scheduled = condition(mapping(pod.raw.get("status")), "PodScheduled")
    return line(scheduled.get("message"), _LONGEST) if scheduled.get("status") == "False" else ""


def _waits_long(pod: Pod) -> bool:
    """Fargate's scheduler may leave a pod without a word, so any pod without a node counts."""
    created = unix_time(mapping(pod.raw.get("metadata")).get("creationTimestamp"))
    return not _node(pod) and created is not None and time.time() - created > PATIENCE_SECONDS
