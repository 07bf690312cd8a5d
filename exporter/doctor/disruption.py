"""PodDisruptionBudgets on the agents: with two over one pod every eviction fails (kubernetes/kubernetes#75957).

Then no node can be drained, and no Fargate pod patched in time.
"""

from collections.abc import Sequence

from exporter.doctor.check import Check, CheckFailedError, Finding, failed, not_checked, ok
from exporter.doctor.network_policies import selects
from exporter.doctor.surroundings import REQUEST_SECONDS, Surroundings, said
from exporter.kube.api import AccessDeniedError, ApiError, KubeError, Resource
from exporter.kube.fields import Json, mapping, mappings, text

SUBJECT = "agents"
NAME = "disruption budgets"
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")
_NOT_FOUND = 404


def checks(around: Surroundings) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _budgets(around))] if around.settings.discovery.kubernetes.enabled else []


async def _budgets(around: Surroundings) -> Sequence[Finding]:
    return [await _in_namespace(around, namespace) for namespace in around.namespaces]


async def _in_namespace(around: Surroundings, namespace: str | None) -> Finding:
    title = NAME if namespace is None else f"{NAME} in {namespace}"
    kube = await around.kube()
    try:
        answer = await kube.get(BUDGETS.within(namespace), timeout=REQUEST_SECONDS)
        pods = await around.pods(namespace)
    except AccessDeniedError:
        fix = f"run the doctor with your own kubeconfig, or {BUDGETS.within(namespace).grant('list')}"
        return not_checked(title, "they may not be listed, and the exporter needs no right to", fix)
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return not_checked(title, "the API server has no policy/v1, which is there since Kubernetes 1.21")
        raise CheckFailedError(said(error)) from None
    except KubeError as error:
        raise CheckFailedError(said(error)) from None
    budgets = list(mappings(answer.get("items")))
    doubled = dict.fromkeys(names for pod in pods if len(names := _over(pod, budgets)) > 1)
    if not doubled:
        return ok(title, "no pod of an agent has more than one")
    listed = "; ".join(" and ".join(names) for names in doubled)
    return failed(
        title,
        f"pods of agents have more than one ({listed}): every eviction of theirs fails, so no node can be drained",
        "delete all but one, such as your own where the vendor's chart makes one (podDisruptionBudget.enabled)",
    )


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
