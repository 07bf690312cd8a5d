"""What to do where connections to agents time out: most often a NetworkPolicy does not allow them."""

from collections.abc import Mapping, Sequence
from typing import Any

from exporter.doctor.environment import REQUEST_SECONDS, Environment
from exporter.fleet.model import Target
from exporter.kube.api import Json, KubeError, Resource
from exporter.kube.selector import SelectorError, parse_selector
from exporter.terminal import counted

POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")

_OPEN = (
    "allow the exporter with the chart's networkPolicy.agents.enabled (documentation: install, step 3), or label its "
    "namespace as the policy requires"
)


async def hint(env: Environment, namespace: str, silent: Sequence[Target], answering: Sequence[Target] = ()) -> str:
    """Return what may keep the exporter from agents of a namespace, and what to do.

    `answering` are agents of the same fleet that answer on the same port: what lets those through is not to blame,
    unless a policy selects only the silent ones.
    """
    first = silent[0]
    if env.client is None:
        return "check whether a NetworkPolicy or a firewall blocks the connection"
    try:
        answer = await env.client.get(POLICIES.within(namespace), timeout=REQUEST_SECONDS)
        found = await env.pods(namespace if namespace in env.namespaces else None)
    except KubeError:
        if answering:
            return _hangs(silent, answering)
        # The exporter has no permission to read it, and needs none.
        return (
            "packets seem to be dropped: check whether a NetworkPolicy selects the agents "
            f"(kubectl -n {namespace} get networkpolicy); if so, {_OPEN}"
        )
    policies = answer.get("items")
    names = set(closing(policies, _labels_of(found, silent))) - set(closing(policies, _labels_of(found, answering)))
    if names:
        listed = f"a NetworkPolicy of namespace {namespace} ({', '.join(sorted(names))})"
        return f"{listed} restricts ingress to these pods and does not seem to allow the exporter: {_OPEN}"
    if answering:
        return _hangs(silent, answering)
    return (
        "packets seem to be dropped, but no NetworkPolicy selects these pods: check the policies for the exporter's "
        "own egress, the nodes' security groups, and whether the agents hang "
        f"(kubectl -n {namespace} logs {first.pod} --tail=50)"
    )


def _hangs(silent: Sequence[Target], answering: Sequence[Target]) -> str:
    """Return what to do about agents that do not answer while others of their fleet do."""
    first = silent[0]
    others = f"{counted(len(answering), 'other agent')} of the fleet {'answers' if len(answering) == 1 else 'answer'}"
    nodes = _nodes(silent)
    shared = len(nodes) == 1 < len(silent) and not nodes & _nodes(answering)
    where = f"; all are on node {nodes.pop()}, so check that node first" if shared else ""
    hang = "this agent hangs" if len(silent) == 1 else "these agents hang"
    pod = f"-n {first.namespace}"
    return (
        f"{others}, so no NetworkPolicy is to blame: {hang}{where}: read its log (kubectl {pod} logs {first.pod} "
        f"--tail=50) and replace it once its tasks have ended (kubectl {pod} delete pod {first.pod})"
    )


def _nodes(targets: Sequence[Target]) -> set[str]:
    return {one.facts.node for one in targets if one.facts is not None and one.facts.node is not None}


def _labels_of(pods: Sequence[Json], targets: Sequence[Target]) -> Sequence[Mapping[str, str]]:
    names = {target.pod for target in targets}
    return [_labels(pod) for pod in pods if pod.get("metadata", {}).get("name") in names]


def closing(policies: object, labels: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the names of the ingress policies that select any of these pods (kubernetes.io, "Network Policies")."""
    items = [item for item in policies if isinstance(item, dict)] if isinstance(policies, list) else []
    return sorted(
        str(item.get("metadata", {}).get("name"))
        for item in items
        # Without policyTypes a policy is for ingress.
        if "Ingress" in (item.get("spec", {}).get("policyTypes") or ["Ingress"])
        if any(selects(item.get("spec", {}).get("podSelector") or {}, one) for one in labels)
    )


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Match a LabelSelector object; one that makes no sense selects nothing."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    parts += map(_requirement, selector.get("matchExpressions") or [])
    try:
        return parse_selector(",".join(parts)).matches(labels)
    except SelectorError:
        return False


def _requirement(expression: Mapping[str, Any]) -> str:
    """Write one of `matchExpressions` as it stands in a selector's text."""
    key, values = expression.get("key"), ",".join(map(str, expression.get("values") or []))
    forms = {
        "In": f"{key} in ({values})",
        "NotIn": f"{key} notin ({values})",
        "Exists": f"{key}",
        "DoesNotExist": f"!{key}",
    }
    return forms.get(str(expression.get("operator")), "(")


def _labels(pod: Json) -> Mapping[str, str]:
    labels = pod.get("metadata", {}).get("labels")
    return labels if isinstance(labels, dict) else {}
