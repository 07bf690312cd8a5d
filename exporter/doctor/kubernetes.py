"""The API server: whether it answers, what it allows, what holds the Lease, and whether it knows memory in use.

`needs` is the list of all permissions; the chart's roles grant exactly those.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporter.config import Settings
from exporter.discovery.pods import PODS
from exporter.discovery.scalers import HPAS
from exporter.doctor.check import (
    CHECK_SECONDS,
    Check,
    CheckFailedError,
    Finding,
    NotPossibleError,
    failed,
    not_checked,
    ok,
    warning,
)
from exporter.doctor.environment import REQUEST_SECONDS, Environment, described, uses_kubernetes
from exporter.history.config_maps import VERBS as HISTORY_VERBS
from exporter.kube.access_review import REVIEWS
from exporter.kube.api import AccessDeniedError, ApiError, Json, KubeError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.config_maps import CONFIG_MAPS
from exporter.kube.front_proxy import AUTHENTICATION
from exporter.kube.lease import LEASES, LeaseRecord, LeaseStore
from exporter.podhealth.pod_metrics import POD_METRICS
from exporter.publish.last_readings import config_map_name
from exporter.publish.node_annotations import NODES
from exporter.publish.node_annotations import VERBS as NODE_VERBS

SUBJECT = "Kubernetes"

_OWN_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
_NOT_FOUND = 404
_CHECK_EVERY = 0.5
_LONGEST_LOOK = 15.0
"""Seconds to wait for a Lease's renewal: a holder that lives writes every 2 s, and the others wait for 15."""


@dataclass(frozen=True, slots=True)
class Need:
    """A right that a feature takes."""

    purpose: str
    resource: Resource
    verbs: tuple[str, ...]
    essential: bool = True
    """Whether the feature does not work at all without it."""


def elects(settings: Settings) -> bool:
    """Return whether replicas with these settings agree on a leader: there is work for one alone, and a Lease."""
    logs = settings.pod_logs
    annotated = settings.deletion_cost.enabled or settings.protection.enabled
    led = settings.cloudwatch.enabled or annotated or (logs.enabled and not logs.every_replica) or _records(settings)
    return led and settings.leader_election.enabled and uses_kubernetes(settings)


def _records(settings: Settings) -> bool:
    """Return whether the past of the fleets is kept in ConfigMaps."""
    forecast = settings.forecast
    return forecast.enabled and forecast.source == "self" and settings.discovery.kubernetes.enabled


def needs(settings: Settings, own_namespace: str) -> list[Need]:
    """Return every permission that the enabled features need."""
    found: list[Need] = []
    if settings.discovery.kubernetes.enabled:
        for namespace in settings.discovery.kubernetes.namespaces or (None,):
            where = "the cluster" if namespace is None else namespace
            pods = PODS.within(namespace)
            found.append(Need(f"find agents in {where}", pods, ("list", "watch")))
            found.append(Need(f"see memory in {where}", POD_METRICS.within(namespace), ("list",), essential=False))
            if settings.scalers.enabled:
                hpas = HPAS.within(namespace)
                found.append(Need(f"see what scales in {where}", hpas, ("list", "watch"), essential=False))
            if settings.deletion_cost.enabled or settings.protection.enabled:
                found.append(Need(f"annotate agents in {where}", pods, ("patch",)))
            if settings.pod_logs.enabled:
                log = Resource(PODS.group, PODS.version, PODS.plural, namespace, subresource="log")
                found.append(Need(f"read logs in {where}", log, ("get",)))
        if settings.protection.nodes:
            found.append(Need("annotate nodes", NODES, NODE_VERBS))
    found += _needs_in_own_namespace(settings, own_namespace)
    if settings.external_metrics.enabled:
        found.append(Need("check a user's permissions", REVIEWS, ("create",)))
        found.append(Need("authenticate the API server", AUTHENTICATION, ("get",)))
    return found


def _needs_in_own_namespace(settings: Settings, own_namespace: str) -> Iterator[Need]:
    maps = CONFIG_MAPS.within(own_namespace)
    if elects(settings):
        leases = LEASES.within(own_namespace)
        yield Need("renew the Lease", leases.named(settings.leader_election.lease_name), ("get", "update"))
        yield Need("create the Lease", leases, ("create",))
        if settings.discovery.kubernetes.enabled:
            readings = maps.named(config_map_name(settings.leader_election.lease_name))
            yield Need("keep the last readings", readings, ("get", "update"), essential=False)
            yield Need("create the notes of last readings", maps, ("create",), essential=False)
    if _records(settings):
        yield Need("keep the past of the fleets", maps, HISTORY_VERBS)


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    settings = env.settings
    if not uses_kubernetes(settings):
        return [Check(SUBJECT, "API server", lambda: _unused("discovery.kubernetes and external_metrics are off"))]
    found = [
        Check(SUBJECT, "API server", lambda: _api_server(env)),
        Check(SUBJECT, "permissions", lambda: _rights(env)),
    ]
    if elects(settings):
        found.append(Check(SUBJECT, "Lease", lambda: _lease(env), CHECK_SECONDS + _LONGEST_LOOK))
    if settings.discovery.kubernetes.enabled:
        found.append(Check(SUBJECT, "memory in use", lambda: _memory(env)))
    return found


async def _unused(why: str) -> Sequence[Finding]:
    raise NotPossibleError(why)


async def _api_server(env: Environment) -> Sequence[Finding]:
    started = time.monotonic()
    try:
        user = await env.user()
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    took = f"it responds in {(time.monotonic() - started) * 1000:.0f} ms"
    return [ok("API server", f"{took}; authenticated as {user}" if user else took), *_not_the_exporter(env)]


def _not_the_exporter(env: Environment) -> Sequence[Finding]:
    if env.in_pod:
        return ()
    return [
        not_checked(
            "the exporter's service account",
            "not running in a pod: the permissions below are those of the kubeconfig's user",
            "to check the exporter's own permissions, run the doctor in its pod (documentation: doctor)",
        )
    ]


# -- permissions -------------------------------------------------------------------------------------------------------


async def _rights(env: Environment) -> Sequence[Finding]:
    kube = await env.kube()
    return await asyncio.gather(*(_right(kube, need) for need in needs(env.settings, env.namespace)))


async def _right(kube: KubeClient, need: Need) -> Finding:
    name = f"may {need.purpose}"
    try:
        allowed = await asyncio.gather(*(_allowed(kube, need.resource, verb) for verb in need.verbs))
    except KubeError as error:
        return failed(name, described(error))
    missing = [verb for verb, may in zip(need.verbs, allowed, strict=True) if not may]
    group = f" ({need.resource.group})" if need.resource.group else ""
    if not missing:
        return ok(name, f"{' and '.join(need.verbs)} {need.resource}{group}: allowed")
    found = f"{' and '.join(missing)} {need.resource}{group}: not allowed"
    if not need.essential:
        return warning(name, f"{found}, so it is unknown", need.resource.grant(*missing))
    return failed(name, found, need.resource.grant(*missing))


async def _allowed(kube: KubeClient, resource: Resource, verb: str) -> bool:
    """Ask whether this user may do something. Raises KubeError."""
    attributes = {
        "verb": verb,
        "group": resource.group,
        "version": resource.version,
        "resource": resource.plural,
        "subresource": resource.subresource,
        "namespace": resource.namespace,
        "name": resource.name,
    }
    spec = {"resourceAttributes": {key: value for key, value in attributes.items() if value is not None}}
    review = {
        "apiVersion": f"{_OWN_REVIEWS.group}/{_OWN_REVIEWS.version}",
        "kind": "SelfSubjectAccessReview",
        "spec": spec,
    }
    answer = await kube.send("POST", _OWN_REVIEWS, review, timeout=REQUEST_SECONDS)
    status = answer.get("status")
    return isinstance(status, dict) and status.get("allowed") is True and status.get("denied") is not True


# -- the Lease ---------------------------------------------------------------------------------------------------------


async def _lease(env: Environment) -> Sequence[Finding]:
    name = "Lease"
    settings = env.settings.leader_election
    store = LeaseStore(await env.kube(), env.namespace, settings.lease_name, REQUEST_SECONDS)
    first = await _read(store)
    if first is None:
        why = f"{store} does not exist: no exporter with these settings has been leader yet"
        fix = "if one is running, its log shows why it is not the leader"
        return [warning(name, why, fix) if env.in_pod else not_checked(name, why)]
    record = LeaseRecord.of(first)
    if not record.holder:
        return [
            warning(
                name,
                f"{store} has no holder",
                "check that the exporter is running; its log shows why it is not the leader",
            )
        ]
    patience = min(record.duration or settings.lease_duration, _LONGEST_LOOK)
    if await _changes(store, first, patience):
        return [ok(name, f"{record.holder} holds it and renews it")]
    found = f"{record.holder} holds it and has not renewed it for {patience:g} s"
    return [
        warning(
            name,
            found,
            "its holder is gone or disconnected; check that the exporter's pods are running, and their logs",
        )
    ]


async def _changes(store: LeaseStore, first: Json, seconds: float) -> bool:
    """Wait for the Lease to change: whether a holder lives shows in that alone, never in another machine's times."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        await asyncio.sleep(_CHECK_EVERY)
        if await _read(store) != first:
            return True
    return False


async def _read(store: LeaseStore) -> Json | None:
    try:
        return await store.read()
    except KubeError as error:
        raise CheckFailedError(described(error)) from None


# -- memory ------------------------------------------------------------------------------------------------------------


async def _memory(env: Environment) -> Sequence[Finding]:
    name, kube = "memory in use", await env.kube()
    for namespace in env.namespaces:
        try:
            await kube.get(POD_METRICS.within(namespace), [("limit", "1")], timeout=REQUEST_SECONDS)
        except AccessDeniedError:
            raise NotPossibleError("no permission, see above") from None
        except ApiError as error:
            if error.status != _NOT_FOUND:
                fix = "check that metrics-server is running: kubectl get apiservice v1beta1.metrics.k8s.io"
                return [warning(name, f"unknown: {described(error)}", fix)]
            found = "unknown: the cluster has no metrics API (metrics.k8s.io)"
            return [warning(name, found, "install metrics-server; the memory alerts depend on it")]
        except KubeError as error:
            raise CheckFailedError(described(error)) from None
    return [ok(name, "the metrics API (metrics.k8s.io) responds")]
