"""Scaling: the external metrics API as the API server sees it, and who else scales the agents.

Two autoscalers on one Deployment undo each other's work, and the vendor's chart can bring one along.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.discovery.pod_facts import owner_name
from exporter.doctor.check import Check, CheckFailedError, Finding, NotPossibleError, failed, not_checked, ok, warning
from exporter.doctor.surroundings import REQUEST_SECONDS, Surroundings, said
from exporter.kube.api import AccessDeniedError, ApiError, Json, KubeError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.front_proxy import AUTHENTICATION, FrontProxy
from exporter.publish.external_metrics_documents import GROUP, VERSION
from exporter.publish.external_metrics_values import EXTERNAL_METRICS

SUBJECT = "autoscaling"

API_SERVICES = Resource("apiregistration.k8s.io", "v1", "apiservices")
API_SERVICE = f"{VERSION}.{GROUP}"
_HPAS = tuple(Resource("autoscaling", version, "horizontalpodautoscalers") for version in ("v2", "v2beta2"))
"""Newest first: v2beta2 is what clusters before Kubernetes 1.23 have."""
_NOT_FOUND, _UNAVAILABLE = 404, 503
_KEDA_LABEL = "scaledobject.keda.sh/name"
"""KEDA marks the HPAs it makes with it (keda.sh, "Scaling Deployments")."""


@dataclass(frozen=True, slots=True)
class _ApiVersion(Resource):
    """One version of an API group; its description is for every user (ClusterRole system:discovery)."""

    @property
    def path(self) -> str:
        """Path below the server's URL."""
        return f"/apis/{self.group}/{self.version}"

    def __str__(self) -> str:
        return f"the API {self.group}/{self.version}"


def checks(around: Surroundings) -> list[Check]:
    """Return the checks of this subject."""
    settings = around.settings
    if settings.external_metrics.enabled:
        found = [
            Check(SUBJECT, "front proxy", lambda: _front_proxy(around)),
            Check(SUBJECT, "external metrics API", lambda: _api(around)),
        ]
    else:
        found = [Check(SUBJECT, "external metrics API", _off)]
    if settings.discovery.kubernetes.enabled:
        found.append(Check(SUBJECT, "autoscalers", lambda: _autoscalers(around)))
    return found


async def _off() -> Sequence[Finding]:
    raise NotPossibleError("external_metrics.enabled is false")


# -- the external metrics API ------------------------------------------------------------------------------------------


async def _front_proxy(around: Surroundings) -> Sequence[Finding]:
    name, kube = "front proxy", await around.kube()
    try:
        front_proxy = FrontProxy.of(await kube.get(AUTHENTICATION, timeout=REQUEST_SECONDS))
    except AccessDeniedError as error:
        fix = "bind the Role extension-apiserver-authentication-reader of kube-system to the exporter's service account"
        return [failed(name, said(error), fix)]
    except KubeError as error:
        raise CheckFailedError(said(error)) from None
    names = ", ".join(sorted(front_proxy.allowed_names)) or "any name"
    return [ok(name, f"the API server is recognised by a certificate for {names}")]


async def _api(around: Surroundings) -> Sequence[Finding]:
    name, kube = "external metrics API", await around.kube()
    try:
        answer = await kube.get(_ApiVersion(GROUP, VERSION, ""), timeout=REQUEST_SECONDS)
    except ApiError as error:
        if error.status == _NOT_FOUND:
            fix = "install the chart with config.external_metrics.enabled, which registers it (docs/scaling.md)"
            return [failed(name, f"the APIService {API_SERVICE} is not registered", fix)]
        if error.status == _UNAVAILABLE:
            return [await _unavailable(kube, name)]
        raise CheckFailedError(said(error)) from None
    except KubeError as error:
        raise CheckFailedError(said(error)) from None
    served = {one.get("name") for one in answer.get("resources") or [] if isinstance(one, dict)}
    if served >= EXTERNAL_METRICS.keys():
        return [ok(name, f"{API_SERVICE} is registered, available, and this exporter's")]
    fix = (
        "a cluster has one such API, and KEDA brings its own: scale by KEDA then (docs/scaling.md) and set "
        "external_metrics.enabled to false"
    )
    return [
        failed(name, f"{API_SERVICE} is registered for another server: it does not serve this exporter's metrics", fix)
    ]


async def _unavailable(kube: KubeClient, name: str) -> Finding:
    found = f"{API_SERVICE} is registered and not available"
    fix = (
        f"kubectl get apiservice {API_SERVICE} -o yaml says why; most often the API server does not reach the pod's "
        "port (the nodes' security group), or caBundle is not of the certificate's authority"
    )
    try:
        service = await kube.get(API_SERVICES.named(API_SERVICE), timeout=REQUEST_SECONDS)
    except KubeError:
        return failed(name, found, fix)  # the exporter may not read it, and need not
    conditions = service.get("status", {}).get("conditions") or []
    reasons = [f": {one.get('reason')}: {one.get('message')}" for one in conditions if one.get("type") == "Available"]
    return failed(name, f"{found}{''.join(reasons)}", fix)


# -- who scales the agents ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scaler:
    """What a HorizontalPodAutoscaler says."""

    name: str
    target: str
    metrics: tuple[str, ...]
    trouble: str
    keda: bool

    @classmethod
    def of(cls, hpa: Json) -> "_Scaler":
        metadata, spec, status = (hpa.get(part) or {} for part in ("metadata", "spec", "status"))
        conditions = [one for one in status.get("conditions") or [] if isinstance(one, dict)]
        return cls(
            str(metadata.get("name")),
            str((spec.get("scaleTargetRef") or {}).get("name")),
            tuple(_metric_names(spec)),
            next((_trouble(one) for one in conditions if _stands_still(one)), ""),
            _KEDA_LABEL in (metadata.get("labels") or {}),
        )


def _stands_still(condition: Mapping[str, Any]) -> bool:
    return condition.get("type") in {"AbleToScale", "ScalingActive"} and condition.get("status") == "False"


def _trouble(condition: Mapping[str, Any]) -> str:
    return f"{condition.get('reason')}: {condition.get('message')}"


def _metric_names(spec: Mapping[str, Any]) -> Iterator[str]:
    for metric in spec.get("metrics") or []:
        for kind in ("external", "pods", "object"):
            if isinstance(metric.get(kind), dict):
                yield str((metric[kind].get("metric") or {}).get("name"))
        if isinstance(metric.get("resource"), dict):
            yield str(metric["resource"].get("name"))


async def _autoscalers(around: Surroundings) -> Sequence[Finding]:
    findings: list[Finding] = []
    for namespace in around.namespaces:
        findings += await _in_namespace(around, namespace)
    return findings


async def _in_namespace(around: Surroundings, namespace: str | None) -> Sequence[Finding]:
    name = "autoscalers" if namespace is None else f"autoscalers in {namespace}"
    kube = await around.kube()
    try:
        hpas = await _list(kube, namespace)
        pods = await around.pods(namespace)
    except AccessDeniedError:
        why = "the exporter may not list HorizontalPodAutoscalers, and need not"
        return [not_checked(name, why, "run the doctor with your own kubeconfig to look for two on one Deployment")]
    except KubeError as error:
        raise CheckFailedError(said(error)) from None
    owners = sorted({(pod.get("metadata", {}).get("namespace", ""), owner_name(pod)) for pod in pods})
    if not owners:
        return [not_checked(name, "no agents were found that something could scale")]
    return [
        _workload(around, f"{where}/{owner}", [s for n, s in hpas if n == where and s.target == owner])
        for where, owner in owners
    ]


async def _list(kube: KubeClient, namespace: str | None) -> list[tuple[str, _Scaler]]:
    for resource in _HPAS:
        try:
            answer = await kube.get(resource.within(namespace), timeout=REQUEST_SECONDS)
        except ApiError as error:
            if error.status != _NOT_FOUND or resource is _HPAS[-1]:
                raise
        else:
            return [(str(hpa["metadata"]["namespace"]), _Scaler.of(hpa)) for hpa in answer.get("items") or []]
    return []


def _workload(around: Surroundings, workload: str, scalers: Sequence[_Scaler]) -> Finding:
    name = f"scaling of {workload}"
    ours = around.settings.external_metrics.enabled
    if len(scalers) > 1:
        listed = " and ".join(f"{one.name} (by {_by(one)})" for one in scalers)
        fix = "take all but one away; in the vendor's chart, switch its HPA off (docs/install.md, step 6)"
        return failed(name, f"{len(scalers)} HorizontalPodAutoscalers work against each other: {listed}", fix)
    if not scalers:
        found = "nothing scales it"
        return (
            warning(name, found, "make an HPA on matillion_fleet_demand_tasks (docs/scaling.md)")
            if ours
            else ok(name, found)
        )
    [scaler] = scalers
    if scaler.trouble:
        return warning(
            name,
            f"{scaler.name} stands still: {scaler.trouble}",
            "an autoscaler that gets no metric holds the fleet's size",
        )
    if ours and not scaler.keda and not EXTERNAL_METRICS.keys() & set(scaler.metrics):
        fix = "scale by matillion_fleet_demand_tasks (docs/scaling.md), or set external_metrics.enabled to false"
        return warning(name, f"{scaler.name} scales it by {_by(scaler)} and not by this exporter's metrics", fix)
    return ok(name, f"{scaler.name}{' (KEDA)' if scaler.keda else ''} scales it by {_by(scaler)}")


def _by(scaler: _Scaler) -> str:
    return ", ".join(scaler.metrics) or "no metric"
