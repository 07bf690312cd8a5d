"""KEDA: whether its ScaledObjects on the agents hold a fleet that cannot be seen, and whether it is new enough.

KEDA silently drops a field that it does not know, and a busy fleet then shrinks when no agent is reachable.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporter.discovery.pod_facts import owner_name
from exporter.discovery.scaler_facts import read_scaler
from exporter.discovery.scalers import HPAS, AnyVersion
from exporter.doctor.autoscaling import SUBJECT, served
from exporter.doctor.check import Check, CheckFailedError, Finding, Once, failed, not_checked, ok
from exporter.doctor.environment import REQUEST_SECONDS, Environment, described
from exporter.kube.api import AccessDeniedError, KubeError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.fields import Json, count, line, mapping, mappings

NAME = "KEDA"
SCALED_OBJECTS = Resource("keda.sh", "v1alpha1", "scaledobjects")
CRD = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions").named("scaledobjects.keda.sh")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
OPERATOR = "app.kubernetes.io/name=keda-operator"
"""KEDA's chart and its plain manifests label the operator's Deployment so, and CRD and Deployment with the version."""

Version = tuple[int, int]
NULLS_SINCE, BEHAVIOR_SINCE = (2, 16), (2, 17)
"""`ignoreNullValues` of aws-cloudwatch (kedacore/keda#5635), and `behavior` of a fallback (#6464)."""

_VERSION_LABEL = "app.kubernetes.io/version"
_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?![0-9])")
_LONGEST = 253
FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})
"""What programs in Go read as false (strconv.ParseBool)."""
_HOLDING = frozenset({"currentReplicas", "currentReplicasIfHigher"})
"""Behaviors of a fallback that take no agent away (keda.sh, "ScaledObject specification")."""

Workloads = frozenset[tuple[str, str]]
"""Namespace and name of what the agents' pods belong to."""


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _keda(env))] if env.settings.discovery.kubernetes.enabled else []


async def _keda(env: Environment) -> Sequence[Finding]:
    kube = await env.kube()
    try:
        if not await served(kube, SCALED_OBJECTS):
            return [ok(NAME, "it is not installed")]
        version = Once(lambda: keda_version(kube))
        findings: list[Finding] = []
        for namespace in env.namespaces:
            findings += await _in_namespace(env, kube, namespace, version)
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    return findings


async def _in_namespace(
    env: Environment, kube: KubeClient, namespace: str | None, version: Once[Version | None]
) -> Sequence[Finding]:
    name = NAME if namespace is None else f"{NAME} in {namespace}"
    pods = await env.pods(namespace)
    agents = frozenset((str(mapping(pod.get("metadata")).get("namespace", "")), owner_name(pod)) for pod in pods)
    try:
        answer = await kube.get(SCALED_OBJECTS.within(namespace), timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        return [await _unread(kube, name, namespace, agents)]
    scaled = [one for item in mappings(answer.get("items")) if (one := _read(item)).workload in agents]
    if not scaled:
        return [ok(name, "no ScaledObject scales the agents")]
    return [_finding(one, await version.get() if one.takes else None) for one in scaled]


async def _unread(kube: KubeClient, name: str, namespace: str | None, agents: Workloads) -> Finding:
    """Return what the HPAs that KEDA creates show where its ScaledObjects may not be read."""
    fix = f"{SCALED_OBJECTS.within(namespace).grant('list')}, or run the doctor with your own kubeconfig"
    try:
        answer = await AnyVersion(kube).get(HPAS.within(namespace), timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        return not_checked(name, "no permission to list ScaledObjects", fix)
    scalers = [one for hpa in mappings(answer.get("items")) if (one := read_scaler(hpa)) is not None and one.keda]
    theirs = sorted(one.target for one in scalers if (one.namespace, one.target) in agents)
    if not theirs:
        return ok(name, "none of its HPAs scales the agents")
    return not_checked(
        name, f"it scales {', '.join(theirs)}, and there is no permission to list its ScaledObjects", fix
    )


# -- what a ScaledObject declares --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A ScaledObject as the API server has it: fields that its CRD does not know are gone."""

    name: str
    workload: tuple[str, str]
    """Namespace and name of what it scales."""
    cloudwatch: Sequence[Json]
    """The settings of its triggers that ask CloudWatch."""
    fallback: Json | None

    @property
    def takes(self) -> dict[str, Version]:
        """Since when KEDA knows what is in it, by its name."""
        nulls = {"ignoreNullValues": NULLS_SINCE} if self.cloudwatch else {}
        return nulls | ({"a fallback's behavior": BEHAVIOR_SINCE} if self.fallback_holds else {})

    @property
    def fallback_holds(self) -> bool:
        """Whether it has a fallback, and one that takes no agent away."""
        return self.fallback is not None and self.fallback.get("behavior") in _HOLDING


def _read(item: Json) -> _Scaled:
    metadata, spec = mapping(item.get("metadata")), mapping(item.get("spec"))
    namespace = line(metadata.get("namespace"), _LONGEST)
    triggers = [one for one in mappings(spec.get("triggers")) if one.get("type") == "aws-cloudwatch"]
    return _Scaled(
        name=f"ScaledObject {namespace}/{line(metadata.get('name'), _LONGEST)}",
        workload=(namespace, line(mapping(spec.get("scaleTargetRef")).get("name"), _LONGEST)),
        cloudwatch=[mapping(one.get("metadata")) for one in triggers],
        fallback=mapping(spec["fallback"]) if spec.get("fallback") is not None else None,
    )


def _finding(scaled: _Scaled, version: Version | None) -> Finding:
    """Judge a ScaledObject; `version` is KEDA's, None where it is not known."""
    faults = [*_faults(scaled), *(_too_old(scaled, version) if version is not None else ())]
    if faults:
        found, fixes = zip(*faults, strict=True)
        return failed(scaled.name, "; ".join(found), "; ".join(dict.fromkeys(fixes)))
    if scaled.takes and version is None:
        needed = " and ".join(f"{what} (KEDA {_text(since)})" for what, since in scaled.takes.items())
        fix = f"{CRD.grant('get')}, or run the doctor with your own kubeconfig"
        return not_checked(scaled.name, f"it relies on {needed}, but KEDA's version is unknown", fix)
    seen = "" if version is None else f" (KEDA {_text(version)})"
    return ok(scaled.name, f"without data it keeps the size of {scaled.workload[1]}{seen}")


def _faults(scaled: _Scaled) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with it in any KEDA, each with its fix."""
    if any(line(trigger.get("ignoreNullValues"), _LONGEST) not in FALSE for trigger in scaled.cloudwatch):
        found = "it treats missing CloudWatch data as minMetricValue, so it shrinks a fleet the exporter cannot see"
        fix = (
            f'set ignoreNullValues: "false" in the trigger (KEDA {_text(NULLS_SINCE)} or later; documentation: scaling)'
        )
        yield found, fix
    if scaled.fallback is not None and not scaled.fallback_holds:
        replicas = count(scaled.fallback.get("replicas"))
        size = "its replicas" if replicas is None else f"{replicas} agents"
        yield (
            f"its fallback sets a fleet of any size to {size} when the exporter cannot see it",
            (
                "remove the fallback: without it the fleet keeps its size; or set its behavior to "
                f"currentReplicasIfHigher (KEDA {_text(BEHAVIOR_SINCE)} or later; documentation: scaling)"
            ),
        )


def _too_old(scaled: _Scaled, version: Version) -> Iterator[tuple[str, str]]:
    """Yield what a KEDA of this version does not know."""
    for what, since in scaled.takes.items():
        if version < since:
            found = f"KEDA {_text(version)} does not support {what}: it shrinks a fleet the exporter cannot see"
            fix = f"upgrade KEDA to {_text(since)} or later, its CRDs too; or scale on metrics-api without a fallback"
            yield found, f"{fix} (documentation: scaling)"


# -- which KEDA --------------------------------------------------------------------------------------------------------


async def keda_version(kube: KubeClient) -> Version | None:
    """Return KEDA's version: what runs if that may be read, else what its CRD states. Raises KubeError."""
    return await _of_operator(kube) or await _of_crd(kube)


async def _of_operator(kube: KubeClient) -> Version | None:
    try:
        answer = await kube.get(DEPLOYMENTS, [("labelSelector", OPERATOR)], timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        return None
    versions = [
        version
        for operator in mappings(answer.get("items"))
        if (version := _of_image(operator) or _of_label(operator)) is not None
    ]
    return min(versions, default=None)


def _of_image(deployment: Json) -> Version | None:
    pod = mapping(mapping(mapping(deployment.get("spec")).get("template")).get("spec"))
    for container in mappings(pod.get("containers")):
        image, _, _ = line(container.get("image"), 2 * _LONGEST).partition("@")
        _, _, tag = image.rpartition("/")[2].partition(":")
        if (version := _parsed(tag)) is not None:
            return version
    return None


async def _of_crd(kube: KubeClient) -> Version | None:
    try:
        crd = await kube.get(CRD, timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        return None
    label = _of_label(crd)
    return max(label or BEHAVIOR_SINCE, BEHAVIOR_SINCE) if _knows_behavior(crd) else label


def _knows_behavior(crd: Json) -> bool:
    for version in mappings(mapping(crd.get("spec")).get("versions")):
        node: Json = mapping(mapping(version.get("schema")).get("openAPIV3Schema"))
        for field in ("spec", "fallback", "behavior"):
            node = mapping(mapping(node.get("properties")).get(field))
        if node:
            return True
    return False


def _of_label(thing: Json) -> Version | None:
    return _parsed(line(mapping(mapping(thing.get("metadata")).get("labels")).get(_VERSION_LABEL), _LONGEST))


def _parsed(words: str) -> Version | None:
    found = _VERSION.match(words)
    return None if found is None else (int(found[1]), int(found[2]))


def _text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"
