"""The Deployments of the fleets: what they are called, and whether autoscalers scale what is there.

An autoscaler on a name that does not exist does nothing, and looks like one that has nothing to do.
"""

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from exporter.discovery.pod_facts import workload
from exporter.discovery.scaler_facts import read_scaler
from exporter.discovery.scalers import HPAS, AnyVersion
from exporter.doctor.autoscaling import SUBJECT, served
from exporter.doctor.check import Check, CheckFailedError, Finding, failed, not_checked, ok, warning
from exporter.doctor.environment import REQUEST_SECONDS, Environment, described
from exporter.doctor.keda import DEPLOYMENTS, SCALED_OBJECTS
from exporter.doctor.pods import pod_reader
from exporter.fleet.model import Target
from exporter.fleet.scaler import Scaler
from exporter.fleet.scaler_remarks import is_vendors
from exporter.kube.api import AccessDeniedError, ApiError, KubeError
from exporter.kube.fields import Json, mapping, mappings, text

NAME = "Deployments"
CHART_LABEL, RELEASE_LABEL = "app.kubernetes.io/name", "app.kubernetes.io/instance"
CHARTS = ("matillion-runner", "matillion-agent")
"""The vendor's charts; the first is the newer one."""
_MAX_NAME_LENGTH = 63
"""At which the vendor's charts cut a full name."""
_OURS = ("matillion_fleet_", "/api/v1/fleets/", "Matillion/AgentFleet")
"""What is in an autoscaler of this exporter's figures: its metrics, its URL or its namespace in CloudWatch."""
_NO_TARGET = "FailedGetScale"
"""Reason of an HPA's `AbleToScale` where its target cannot be had (kubernetes, pkg/controller/podautoscaler)."""
_NOT_FOUND = 404

Fleets = Mapping[tuple[str, str], Mapping[str, Mapping[str, str]]]
"""By namespace and fleet: the workloads of its pods, each with the labels of one of them."""


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _deployments(env))] if env.settings.discovery.kubernetes.enabled else []


async def fleets_in(env: Environment, namespace: str | None) -> Fleets:
    """Return the fleets of a namespace with what owns their pods. Raises KubeError and NotPossibleError."""
    read = pod_reader(env.settings).read
    found: dict[tuple[str, str], dict[str, Mapping[str, str]]] = {}
    for pod in await env.pods(namespace):
        target, owner = read(pod), workload(pod)
        if isinstance(target, Target) and owner is not None:
            labels = mapping(mapping(pod.get("metadata")).get("labels"))
            found.setdefault((target.namespace, target.fleet), {})[owner] = labels
    return found


async def scalers_in(env: Environment, namespace: str | None) -> Sequence[Scaler] | None:
    """Return the HPAs of a namespace; None where they may not be listed. Raises KubeError and NotPossibleError."""
    kube = await env.kube()
    try:
        answer = await AnyVersion(kube).get(HPAS.within(namespace), timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        return None
    return [scaler for hpa in mappings(answer.get("items")) if (scaler := read_scaler(hpa)) is not None]


def vendor_deployment(release: str, chart: str) -> str:
    """Return what the vendor's chart calls the Deployment of a release's agents."""
    full = release if chart in release else f"{release}-{chart}"
    return f"{full[:_MAX_NAME_LENGTH].removesuffix('-')}-app"


async def _deployments(env: Environment) -> Sequence[Finding]:
    findings: list[Finding] = []
    for namespace in env.namespaces:
        try:
            fleets = await fleets_in(env, namespace)
            findings += [_named(*fleet, workloads) for fleet, workloads in sorted(fleets.items())]
            findings += await _targets(env, namespace, fleets)
        except KubeError as error:
            raise CheckFailedError(described(error)) from None
    return findings or [not_checked(NAME, "no agents were found")]


def _named(namespace: str, fleet: str, workloads: Mapping[str, Mapping[str, str]]) -> Finding:
    title = f"Deployment of {namespace}/{fleet}"
    if len(workloads) > 1:
        return warning(
            title,
            f"its pods belong to {len(workloads)}: {', '.join(sorted(workloads))}; an autoscaler scales only one",
            "set discovery.kubernetes.fleet_label to a label that distinguishes them, or use different release names",
        )
    [(name, labels)] = workloads.items()
    chart, release = labels.get(CHART_LABEL, ""), labels.get(RELEASE_LABEL, "")
    expected = vendor_deployment(release, chart if chart in CHARTS else CHARTS[0])
    if release != fleet or name != expected:
        return ok(title, f"it is {name}: set autoscaling.fleets[].deployment to that in the chart's values")
    given = "" if chart == CHARTS[0] else f" with chart: {chart}"
    return ok(title, f"it is {name}, as named by the vendor's chart: autoscaling.fleets[] finds it by that name{given}")


# -- whether autoscalers scale what is there ---------------------------------------------------------------------------


async def _targets(env: Environment, namespace: str | None, fleets: Fleets) -> Sequence[Finding]:
    owners = {(where, name) for (where, _), workloads in fleets.items() for name in workloads}
    findings: list[Finding] = []
    for scaler in await scalers_in(env, namespace) or ():
        if (scaler.namespace, scaler.target) in owners or not _of_agents(scaler):
            continue
        unable = scaler.able is not None and scaler.able.holds is False and scaler.able.reason == _NO_TARGET
        there = False if unable else await _is_there(env, scaler.namespace, scaler.target)
        findings += _missing(f"HPA {scaler.name}", scaler.namespace, scaler.target, fleets, there)
    for scaled in await _scaled_objects(env, namespace):
        where, name = (text(mapping(scaled.get("metadata")).get(key)) or "" for key in ("namespace", "name"))
        target = text(mapping(mapping(scaled.get("spec")).get("scaleTargetRef")).get("name")) or ""
        if (where, target) not in owners:
            there = await _is_there(env, where, target)
            findings += _missing(f"ScaledObject {name}", where, target, fleets, there)
    return findings


def _of_agents(scaler: Scaler) -> bool:
    return is_vendors(scaler) or any(metric.startswith(_OURS) for metric in scaler.metrics)


async def _scaled_objects(env: Environment, namespace: str | None) -> Sequence[Json]:
    """Return the ScaledObjects on Deployments that go by this exporter; none where they may not be seen."""
    kube = await env.kube()
    if not await served(kube, SCALED_OBJECTS):
        return ()
    try:
        answer = await kube.get(SCALED_OBJECTS.within(namespace), timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        return ()  # its own check reports it
    return [
        one
        for one in mappings(answer.get("items"))
        if mapping(mapping(one.get("spec")).get("scaleTargetRef")).get("kind", "Deployment") == "Deployment"
        if any(mark in json.dumps(mapping(one.get("spec")).get("triggers")) for mark in _OURS)
    ]


async def _is_there(env: Environment, namespace: str, name: str) -> bool | None:
    """Return whether there is such a Deployment; None where it may not be read."""
    kube = await env.kube()
    try:
        await kube.get(DEPLOYMENTS.within(namespace).named(name), timeout=REQUEST_SECONDS)
    except AccessDeniedError:
        return None
    except ApiError as error:
        if error.status == _NOT_FOUND:
            return False
        raise
    return True


def _missing(scaler: str, namespace: str, target: str, fleets: Fleets, there: bool | None) -> Sequence[Finding]:
    """Return that the Deployment of an autoscaler for agents is none of theirs, if it does not exist at all."""
    title = f"target of {namespace}/{scaler.rsplit(maxsplit=1)[-1]}"
    names = sorted({name for (where, _), workloads in fleets.items() if where == namespace for name in workloads})
    listed = f"the agents' are {', '.join(names)}" if names else "no agents were found in that namespace"
    if there is None:
        why = f"whether the Deployment {target} targeted by the {scaler} exists; {listed}"
        grant = DEPLOYMENTS.within(namespace).grant("get")
        return [not_checked(title, why, f"run the doctor with your own kubeconfig, or {grant}")]
    if there:
        return ()
    nearest = get_close_matches(target, names, n=1, cutoff=0.0)
    fix = (
        f"point it to {nearest[0]}: in this chart's values set autoscaling.fleets[].deployment to that or leave it "
        "out, elsewhere set scaleTargetRef.name"
        if nearest
        else "kubectl get deployments --all-namespaces lists what exists"
    )
    return [failed(title, f"the {scaler} targets the Deployment {target}, which does not exist; {listed}", fix)]
