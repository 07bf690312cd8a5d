"""What would set the replicas of the agents' Deployments back, while an autoscaler scales them.

The API server records for each field its owner (kubernetes.io, "Server-Side Apply"). What applies a manifest with
`spec.replicas` in it again takes running agents away; the vendor's chart has it there with every upgrade.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.doctor.autoscaling import SUBJECT
from exporter.doctor.check import Check, CheckFailedError, Finding, not_checked, ok, warning
from exporter.doctor.environment import REQUEST_SECONDS, Environment, described
from exporter.doctor.keda import DEPLOYMENTS
from exporter.doctor.workloads import Fleets, fleets_in, scalers_in
from exporter.fleet.read_back import read_json
from exporter.fleet.scaler import Scaler
from exporter.kube.api import AccessDeniedError, ApiError, KubeError
from exporter.kube.fields import Json, count, mapping, mappings, text

NAME = "replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""What a client-side apply, also that of Argo CD, keeps of the manifest (kubernetes.io, "Declarative Management")."""
_ARGO = "argocd.argoproj.io/tracking-id"
_RELEASE = "meta.helm.sh/release-name"
_AUTOSCALERS = ("kube-controller-manager", "keda")
_NOT_FOUND = 404
_GITOPS = "documentation: install, GitOps"


@dataclass(frozen=True, slots=True)
class _Program:
    """Something that applies manifests."""

    name: str
    fix: str
    """What to do, with `{name}` of the Deployment and its present number of replicas `{now}`."""


_HELM = _Program(
    "the next helm upgrade",
    "pass the current number in the same command: --set dpcAgent.replicas={now} (documentation: install, step 6)",
)
_PROGRAMS: Mapping[str, _Program] = {
    "helm-controller": _Program(
        "Flux's helm-controller",
        f"make its drift detection ignore /spec/replicas, and set dpcAgent.replicas in its values ({_GITOPS})",
    ),
    "kustomize-controller": _Program(
        "Flux's kustomize-controller",
        f"put the current number, {{now}}, into what it applies with each change ({_GITOPS})",
    ),
    "argocd": _Program(
        "Argo CD",
        "add ignoreDifferences for /spec/replicas of the Deployment {name} to its Application, with the sync option "
        f"RespectIgnoreDifferences=true ({_GITOPS})",
    ),
    "terraform": _Program("Terraform", f"make it read dpcAgent.replicas in the same apply ({_GITOPS})"),
    "hashicorp": _Program("Terraform", f"make it read dpcAgent.replicas in the same apply ({_GITOPS})"),
    "helm": _HELM,
    "kubectl": _Program("kubectl", "do not apply or scale the Deployment {name} by hand while an HPA scales it"),
}
"""By how the names of their field managers begin, the longer first: each is called as its program is."""


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _replicas(env))] if env.settings.discovery.kubernetes.enabled else []


async def _replicas(env: Environment) -> Sequence[Finding]:
    findings: list[Finding] = []
    for namespace in env.namespaces:
        try:
            fleets = await fleets_in(env, namespace)
            scalers = await scalers_in(env, namespace)
            findings += [await _of(env, where, workload, scalers) for where, workload in _deployments(fleets)]
        except KubeError as error:
            raise CheckFailedError(described(error)) from None
    return findings or [not_checked(NAME, "no Deployment of agents was found")]


def _deployments(fleets: Fleets) -> Sequence[tuple[str, str]]:
    return sorted({(where, workload) for (where, _), names in fleets.items() for workload in names})


async def _of(env: Environment, namespace: str, name: str, scalers: Sequence[Scaler] | None) -> Finding:
    title, kube = f"replicas of {namespace}/{name}", await env.kube()
    try:
        deployment = await kube.get(DEPLOYMENTS.within(namespace).named(name), timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        grant = DEPLOYMENTS.within(namespace).grant("get")
        why = "what would reset them: no permission to read the Deployment; the exporter does not need it"
        return not_checked(title, why, f"run the doctor with your own kubeconfig, or {grant}")
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return not_checked(title, "the agents' pods are not owned by a Deployment")
        raise
    now = count(mapping(deployment.get("spec")).get("replicas"))
    shown = f"{now} replicas" if now != 1 else "1 replica"
    scaling = [one.name for one in scalers or () if (one.namespace, one.target) == (namespace, name)]
    found = list(dict.fromkeys(resetters(deployment)))
    if not scaling:
        unknown = "whether an autoscaler targets it is unknown" if scalers is None else "no autoscaler"
        return ok(title, f"{shown}; {unknown}")
    if not found:
        return ok(title, f"{shown}, set by {' and '.join(scaling)}; nothing else is known to set them")
    names = " and ".join(program.name for program in found)
    fix = "; ".join(program.fix.format(name=name, now=now) for program in found)
    return warning(title, f"{shown}, scaled by {' and '.join(scaling)}; {names} would reset them", fix)


def resetters(deployment: Json) -> Iterator[_Program]:
    """Yield what would set the replicas to a number of its own.

    An owner by server-side apply is certain. One that only updates loses the field to an autoscaler and still sets it
    back: Helm 3, which sends what differs from the cluster, and a client-side apply, which keeps what it applied.
    """
    metadata = mapping(deployment.get("metadata"))
    annotations = mapping(metadata.get("annotations"))
    managers = [text(entry.get("manager")) or "" for entry in mappings(metadata.get("managedFields"))]
    for entry in mappings(metadata.get("managedFields")):
        manager = text(entry.get("manager")) or ""
        owns = "f:replicas" in mapping(mapping(entry.get("fieldsV1")).get("f:spec"))
        if owns and not manager.startswith(_AUTOSCALERS):
            yield _program(manager)
    if _applied_replicas(annotations):
        argo = _ARGO in annotations or any(manager.startswith("argocd") for manager in managers)
        yield _PROGRAMS["argocd" if argo else "kubectl"]
    if _RELEASE in annotations:
        # Helm is a part of the others; which of them it was shows in the manager's name.
        others = [manager for manager in managers if manager.lower().startswith(("helm-controller", "terraform"))]
        yield _program(others[0]) if others else _HELM


def _program(manager: str) -> _Program:
    known = (program for start, program in _PROGRAMS.items() if manager.lower().startswith(start))
    return next(
        known, _Program(manager or "an unnamed field manager", "make sure that it leaves spec.replicas of {name} alone")
    )


def _applied_replicas(annotations: Json) -> bool:
    try:
        applied = read_json(text(annotations.get(LAST_APPLIED)) or "{}")
    except ValueError:
        return False
    return count(mapping(mapping(applied).get("spec")).get("replicas")) is not None
