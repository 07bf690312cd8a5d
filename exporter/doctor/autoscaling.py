"""Scaling: the external metrics API as the API server sees it, and what else scales the agents.

Two autoscalers on one Deployment undo each other's work, and the vendor's chart can bring one along.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.discovery.pod_facts import owner_name
from exporter.discovery.scaler_facts import read_scaler
from exporter.discovery.scalers import HPAS, AnyVersion
from exporter.doctor.check import Check, CheckFailedError, Finding, NotPossibleError, failed, not_checked, ok, warning
from exporter.doctor.environment import REQUEST_SECONDS, Environment, described
from exporter.fleet.scaler import Scaler
from exporter.kube.api import AccessDeniedError, ApiError, KubeError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.front_proxy import AUTHENTICATION, FrontProxy
from exporter.publish.external_metrics_documents import GROUP, VERSION
from exporter.publish.external_metrics_values import EXTERNAL_METRICS

SUBJECT = "autoscaling"

API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices")
API_SERVICE = f"{VERSION}.{GROUP}"
_NOT_FOUND, _UNAVAILABLE = 404, 503


@dataclass(frozen=True, slots=True)
class ApiVersion(Resource):
    """One version of an API group; its description is for every user (ClusterRole system:discovery)."""

    @property
    def path(self) -> str:
        """Path below the server's URL."""
        return f"/apis/{self.group}/{self.version}"

    def __str__(self) -> str:
        return f"the API {self.group}/{self.version}"


async def served(kube: KubeClient, resource: Resource) -> bool:
    """Return whether the API server has a resource's API: every user may see that, while its objects need permission.

    Raises KubeError.
    """
    try:
        await kube.get(ApiVersion(resource.group, resource.version, ""), timeout=REQUEST_SECONDS)
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return False
        raise
    return True


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    settings = env.settings
    if settings.external_metrics.enabled:
        found = [
            Check(SUBJECT, "front proxy", lambda: _front_proxy(env)),
            Check(SUBJECT, "external metrics API", lambda: _api(env)),
        ]
    else:
        found = [Check(SUBJECT, "external metrics API", _off)]
    if settings.discovery.kubernetes.enabled:
        found.append(Check(SUBJECT, "autoscalers", lambda: _autoscalers(env)))
    return found


async def _off() -> Sequence[Finding]:
    raise NotPossibleError("external_metrics.enabled is false")


# -- the external metrics API ------------------------------------------------------------------------------------------


async def _front_proxy(env: Environment) -> Sequence[Finding]:
    name, kube = "front proxy", await env.kube()
    try:
        front_proxy = FrontProxy.of(await kube.get(AUTHENTICATION, timeout=REQUEST_SECONDS))
    except AccessDeniedError as error:
        fix = "bind the Role extension-apiserver-authentication-reader of kube-system to the exporter's service account"
        return [failed(name, described(error), fix)]
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    names = ", ".join(sorted(front_proxy.allowed_names)) or "any name"
    return [ok(name, f"the API server is authenticated by a client certificate for {names}")]


async def _api(env: Environment) -> Sequence[Finding]:
    name, kube = "external metrics API", await env.kube()
    try:
        answer = await kube.get(ApiVersion(GROUP, VERSION, ""), timeout=REQUEST_SECONDS)
    except ApiError as error:
        if error.status == _NOT_FOUND:
            fix = "install the chart with config.external_metrics.enabled, which registers it (documentation: scaling)"
            return [failed(name, f"the APIService {API_SERVICE} is not registered", fix)]
        if error.status == _UNAVAILABLE:
            return [await _unavailable(kube, name)]
        raise CheckFailedError(described(error)) from None
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    served = {one.get("name") for one in answer.get("resources") or [] if isinstance(one, dict)}
    if served >= EXTERNAL_METRICS.keys():
        return [ok(name, f"{API_SERVICE} is registered, available, and served by this exporter")]
    fix = (
        "a cluster has only one such API, and KEDA installs its own: scale with KEDA (documentation: scaling) and set "
        "external_metrics.enabled to false"
    )
    return [
        failed(
            name, f"{API_SERVICE} is registered by another server, which does not serve this exporter's metrics", fix
        )
    ]


async def _unavailable(kube: KubeClient, name: str) -> Finding:
    found = f"{API_SERVICE} is registered but not available"
    fix = (
        f"kubectl get apiservice {API_SERVICE} -o yaml shows the reason; most often the API server "
        "cannot reach the pod's "
        "port (the nodes' security group), or caBundle does not match the certificate's CA"
    )
    try:
        service = await kube.get(API_SERVICES.named(API_SERVICE), timeout=REQUEST_SECONDS)
    except KubeError:
        return failed(name, found, fix)  # the exporter may not read it, and need not
    conditions = service.get("status", {}).get("conditions") or []
    reasons = [f": {one.get('reason')}: {one.get('message')}" for one in conditions if one.get("type") == "Available"]
    return failed(name, f"{found}{''.join(reasons)}", fix)


# -- what scales the agents --------------------------------------------------------------------------------------------


async def _autoscalers(env: Environment) -> Sequence[Finding]:
    findings: list[Finding] = []
    for namespace in env.namespaces:
        findings += await _in_namespace(env, namespace)
    return findings


async def _in_namespace(env: Environment, namespace: str | None) -> Sequence[Finding]:
    name = "autoscalers" if namespace is None else f"autoscalers in {namespace}"
    kube = await env.kube()
    try:
        hpas = await _list(kube, namespace)
        pods = await env.pods(namespace)
    except AccessDeniedError:
        why = "no permission to list HorizontalPodAutoscalers"
        return [not_checked(name, why, "run the doctor with your own kubeconfig to check for two on one Deployment")]
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    owners = sorted({(pod.get("metadata", {}).get("namespace", ""), owner_name(pod)) for pod in pods})
    if not owners:
        return [not_checked(name, "no agents were found to scale")]
    return [
        _workload(env, f"{where}/{owner}", [s for s in hpas if (s.namespace, s.target) == (where, owner)])
        for where, owner in owners
    ]


async def _list(kube: KubeClient, namespace: str | None) -> list[Scaler]:
    answer = await AnyVersion(kube).get(HPAS.within(namespace), timeout=REQUEST_SECONDS)
    return [scaler for hpa in answer.get("items") or [] if (scaler := read_scaler(hpa)) is not None]


def _workload(env: Environment, workload: str, scalers: Sequence[Scaler]) -> Finding:
    name = f"scaling of {workload}"
    ours = env.settings.external_metrics.enabled
    if len(scalers) > 1:
        listed = " and ".join(f"{one.name} (by {_by(one)})" for one in scalers)
        fix = "remove all but one; in the vendor's chart, disable its HPA (documentation: install, step 6)"
        return failed(name, f"{len(scalers)} HorizontalPodAutoscalers conflict: {listed}", fix)
    if not scalers:
        found = "no autoscaler targets it"
        return (
            warning(name, found, "create an HPA on matillion_fleet_demand_tasks (documentation: scaling)")
            if ours
            else ok(name, found)
        )
    [scaler] = scalers
    trouble = next((one for one in (scaler.able, scaler.active) if one is not None and one.holds is False), None)
    if trouble is not None:
        return warning(
            name,
            f"{scaler.name} is not scaling: {trouble.why}",
            "an HPA without its metric keeps the current size; fix the metric",
        )
    if ours and not scaler.keda and not EXTERNAL_METRICS.keys() & set(scaler.metrics):
        fix = "scale on matillion_fleet_demand_tasks (documentation: scaling), or set external_metrics.enabled to false"
        return warning(name, f"{scaler.name} scales it on {_by(scaler)}, not on this exporter's metrics", fix)
    return ok(name, f"{scaler.name}{' (KEDA)' if scaler.keda else ''} scales it on {_by(scaler)}")


def _by(scaler: Scaler) -> str:
    return ", ".join(scaler.metrics) or "no metric"
