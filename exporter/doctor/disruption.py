"""PodDisruptionBudgets on the agents: with two over one pod every eviction fails (kubernetes/kubernetes#75957).

Then no node can be drained, and no Fargate pod patched in time.
"""

from collections.abc import Sequence

from exporter.doctor.check import Check, CheckFailedError, Finding, failed, not_checked, ok
from exporter.doctor.environment import REQUEST_SECONDS, Environment, described
from exporter.doctor.network_policies import selects
from exporter.kube.api import AccessDeniedError, ApiError, KubeError, Resource
from exporter.kube.fields import Json, line, mapping, mappings, text

SUBJECT = "agents"
NAME = "disruption budgets"
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")
_NOT_FOUND = 404


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _budgets(env))] if env.settings.discovery.kubernetes.enabled else []


async def _budgets(env: Environment) -> Sequence[Finding]:
    return [await _in_namespace(env, namespace) for namespace in env.namespaces]


async def _in_namespace(env: Environment, namespace: str | None) -> Finding:
    title = NAME if namespace is None else f"{NAME} in {namespace}"
    kube = await env.kube()
    try:
        answer = await kube.get(BUDGETS.within(namespace), timeout=REQUEST_SECONDS)
        pods = await env.pods(namespace)
    except AccessDeniedError:
        fix = f"run the doctor with your own kubeconfig, or {BUDGETS.within(namespace).grant('list')}"
        return not_checked(title, "no permission to list them; the exporter does not need it", fix)
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return not_checked(title, "the API server does not serve policy/v1 (Kubernetes 1.21 or later)")
        raise CheckFailedError(described(error)) from None
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    budgets = list(mappings(answer.get("items")))
    doubled = dict.fromkeys(names for pod in pods if len(names := _over(pod, budgets)) > 1)
    if not doubled:
        return ok(title, _listed(pods, budgets))
    listed = "; ".join(" and ".join(names) for names in doubled)
    return failed(
        title,
        f"agent pods are selected by more than one ({listed}): every eviction of these pods fails, so "
        "their nodes cannot be drained",
        "delete all but one: disable this chart's (agentsDisruptionBudget.enabled) or the vendor's "
        "(podDisruptionBudget.enabled)",
    )


def _listed(pods: Sequence[Json], budgets: Sequence[Json]) -> str:
    """Name the budgets over agents, none of which has more than one, with what they allow."""
    found = []
    for one in budgets:
        metadata, spec = mapping(one.get("metadata")), mapping(one.get("spec"))
        if selected := sum(bool(_over(pod, [one])) for pod in pods):
            limits = [f"{key}: {line(str(spec[key]), 20)}" for key in ("maxUnavailable", "minAvailable") if key in spec]
            name = f"{metadata.get('namespace')}/{metadata.get('name')}"
            found.append(f"{name} ({', '.join(limits)}) selects {selected} agent pods")
    return "; ".join(sorted(found)) or "none selects an agent pod"


def _over(pod: Json, budgets: Sequence[Json]) -> tuple[str, ...]:
    """Return the budgets that select a pod; an empty selector selects all, none at all nothing (policy/v1)."""
    metadata = mapping(pod.get("metadata"))
    return tuple(
        text(mapping(one.get("metadata")).get("name")) or ""
        for one in budgets
        if mapping(one.get("metadata")).get("namespace") == metadata.get("namespace")
        if (selector := mapping(one.get("spec")).get("selector")) is not None
        if selects(mapping(selector), mapping(metadata.get("labels")))
    )
