"""The API server: who is asked, what is allowed, who leads, and whether memory is known."""

from collections.abc import Iterator
from itertools import count, repeat
from typing import Any

import pytest

from exporter.doctor.check import Outcome
from exporter.doctor.kubernetes import elects, needs
from tests.doctor.cluster import LEASE, MAY, METRICS, WHO, Cluster, Json, examined, settings

SUBJECT = "Kubernetes"
PUBLISHING: dict[str, Any] = {"cluster": "test", "deletion_cost": {"enabled": True}}


def lease(holder: str = "exporter-1_a1", renewed: str = "2026-01-01T00:00:00.000000Z", seconds: int = 1) -> Json:
    """Make a Lease as the API server stores it."""
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": seconds}
    return {"kind": "Lease", "metadata": {"name": "x", "resourceVersion": renewed}, "spec": spec}


async def test_a_good_cluster(kube: Cluster) -> None:
    """Who is asked for, what is allowed, and that memory is known."""
    seen = await examined(settings(), kube, in_pod=True)
    assert seen[SUBJECT, "API server"].outcome is Outcome.OK
    assert "system:serviceaccount:monitoring:exporter" in seen[SUBJECT, "API server"].found
    assert seen[SUBJECT, "may find agents in matillion"].outcome is Outcome.OK
    assert seen[SUBJECT, "may see memory in matillion"].outcome is Outcome.OK
    assert seen[SUBJECT, "memory in use"].outcome is Outcome.OK
    assert (SUBJECT, "the exporter's service account") not in seen


async def test_from_outside(kube: Cluster) -> None:
    """Outside a pod it says whose rights it looks at, and how to look at the exporter's."""
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "the exporter's service account"].outcome is Outcome.NOT_CHECKED
    assert "documentation: doctor" in seen[SUBJECT, "the exporter's service account"].fix


async def test_an_api_server_without_self_subject_reviews(kube: Cluster) -> None:
    """Before Kubernetes 1.28 there is no such question: it answers all the same."""
    del kube.said[WHO]
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "API server"].outcome is Outcome.OK
    assert seen[SUBJECT, "may find agents in matillion"].outcome is Outcome.OK


async def test_credentials_that_are_not_taken(kube: Cluster) -> None:
    """401 is one failure with what to do, and all the rest is not checked rather than failed as well."""
    kube.refuse(WHO, 401, "Unauthorized")
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "API server"].outcome is Outcome.FAILED
    assert "has not expired" in seen[SUBJECT, "API server"].found
    assert [one.outcome for name, one in findings(seen) if name != "API server"] == [Outcome.NOT_CHECKED] * 4
    assert not seen.report.good


async def test_no_cluster_at_all() -> None:
    """Without a kubeconfig it says where it looked."""
    seen = await examined(settings())
    assert seen[SUBJECT, "API server"].outcome is Outcome.FAILED
    assert "/nowhere" in seen[SUBJECT, "API server"].found


async def test_a_server_that_is_away(kube: Cluster) -> None:
    """A refused connection is one failure that names the server."""
    kube.kubeconfig.write_text(kube.kubeconfig.read_text().replace("http://127.0.0.1:", "http://127.0.0.1:1/"))
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "API server"].outcome is Outcome.FAILED
    assert "firewall or NetworkPolicy" in seen[SUBJECT, "API server"].found


async def test_nothing_to_do_with_kubernetes() -> None:
    """An exporter with listed addresses needs no cluster, and is told so."""
    static = {"static": {"targets": [{"address": "127.98.0.1"}]}}
    seen = await examined(settings(discovery=static))
    assert seen[SUBJECT, "API server"].outcome is Outcome.NOT_CHECKED


async def test_a_missing_right(kube: Cluster) -> None:
    """Each right is named with the very rule to add; the others are not hidden."""
    kube.denied = {("watch", "pods"), ("get", "pods/log")}
    logs = {"enabled": True, "failure_pattern": "failed"}
    seen = await examined(settings(pod_logs=logs), kube)
    found = seen[SUBJECT, "may find agents in matillion"]
    assert (found.outcome, found.found) == (Outcome.FAILED, "watch pods in namespace 'matillion': not allowed")
    assert 'resources: ["pods"], verbs: ["watch"]' in found.fix
    assert seen[SUBJECT, "may read logs in matillion"].outcome is Outcome.FAILED
    assert 'resources: ["pods/log"], verbs: ["get"]' in seen[SUBJECT, "may read logs in matillion"].fix
    assert seen[SUBJECT, "may create the Lease"].outcome is Outcome.OK


async def test_a_right_that_can_be_done_without(kube: Cluster) -> None:
    """Without the right to see memory the exporter works, and does not know it."""
    kube.denied = {("list", "pods"), ("watch", "horizontalpodautoscalers")}
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "may see memory in matillion"].outcome is Outcome.WARNING
    assert seen[SUBJECT, "may see what scales in matillion"].outcome is Outcome.WARNING


async def test_a_review_that_fails(kube: Cluster) -> None:
    """An API server that does not say what is allowed has not allowed it."""
    kube.refuse(MAY, 500, "InternalError")
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "may find agents in matillion"].outcome is Outcome.FAILED
    assert "HTTP 500" in seen[SUBJECT, "may find agents in matillion"].found


# -- what is needed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, False),
        ({"deletion_cost": {"enabled": True}}, True),
        ({"protection": {"enabled": True}}, True),
        ({"cloudwatch": {"enabled": True}}, True),
        ({"pod_logs": {"enabled": True}}, True),
        ({"pod_logs": {"enabled": True, "every_replica": True}}, False),
        ({"cloudwatch": {"enabled": True}, "leader_election": {"enabled": False}}, False),
        ({"external_metrics": {"enabled": True}}, False),
        ({"forecast": {"enabled": True}}, True),
        ({"forecast": {"enabled": True, "source": "prometheus", "prometheus_url": "http://prometheus"}}, False),
    ],
)
def test_when_an_election_is_needed(sections: Json, expected: bool) -> None:
    """There is an election where there is work for one replica alone."""
    assert elects(settings(**sections)) is expected


def test_a_whole_cluster_needs_cluster_wide_permissions() -> None:
    """Without a list of namespaces every right on agents is for all of them."""
    found = needs(settings(discovery={"kubernetes": {"namespaces": []}}), "monitoring")
    assert [(need.resource.plural, need.resource.group, need.resource.namespace) for need in found] == [
        ("pods", "", None),
        ("pods", "metrics.k8s.io", None),
        ("horizontalpodautoscalers", "autoscaling", None),
    ]


@pytest.mark.parametrize(
    ("protection", "verbs"),
    [
        ({"enabled": True}, [("pods", "matillion", ("patch",))]),
        (
            {"enabled": True, "nodes": True},
            [("pods", "matillion", ("patch",)), ("nodes", None, ("get", "list", "patch"))],
        ),
    ],
)
def test_protection_needs_permission_to_annotate(protection: Json, verbs: list[Any]) -> None:
    """Pods in their namespaces, nodes in the cluster, and nodes only if they are protected too."""
    found = [
        (need.resource.plural, need.resource.namespace, need.verbs)
        for need in needs(settings(protection=protection), "x")
    ]
    assert [one for one in found if "patch" in one[2]] == verbs


def test_scalers_that_are_not_read_need_no_right() -> None:
    """With `scalers.enabled: false` there is nothing to grant."""
    kinds = [need.resource.kind for need in needs(settings(scalers={"enabled": False}), "monitoring")]
    assert "horizontalpodautoscalers" not in kinds


def test_the_past_of_fleets_needs_config_maps() -> None:
    """Only where the exporter records it itself, and only in its own namespace."""
    verbs = ("get", "list", "watch", "create", "update", "delete")
    found = [
        need.resource.namespace
        for need in needs(settings(forecast={"enabled": True}), "monitoring")
        if (need.resource.kind, need.resource.name, need.verbs) == ("configmaps", None, verbs)
    ]
    assert found == ["monitoring"]
    elsewhere = {"enabled": True, "source": "prometheus", "prometheus_url": "http://prometheus"}
    kinds = [need.resource.kind for need in needs(settings(forecast=elsewhere), "monitoring")]
    assert "configmaps" not in kinds


# -- the Lease ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_lease_that_is_renewed(kube: Cluster) -> None:
    """Who holds the Lease, and that it lives: it changes while one looks."""
    renewals: Iterator[Json] = (lease(renewed=f"2026-01-01T00:00:{second:02d}.000000Z") for second in count())
    kube.said[LEASE] = lambda: (200, next(renewals))
    seen = await examined(settings(**PUBLISHING), kube)
    assert seen[SUBJECT, "Lease"].outcome is Outcome.OK
    assert "exporter-1_a1 holds" in seen[SUBJECT, "Lease"].found


@pytest.mark.slow
@pytest.mark.slow
async def test_a_lease_whose_holder_is_gone(kube: Cluster) -> None:
    """A holder whose Lease stays as it is for the whole of its duration is gone, whatever the times in it say."""
    silent = repeat(lease(renewed="2999-01-01T00:00:00.000000Z"))
    kube.said[LEASE] = lambda: (200, next(silent))
    seen = await examined(settings(**PUBLISHING), kube)
    assert seen[SUBJECT, "Lease"].outcome is Outcome.WARNING
    assert "has not renewed it for 1 s" in seen[SUBJECT, "Lease"].found


async def test_a_lease_without_holder(kube: Cluster) -> None:
    """A Lease that was given up."""
    kube.said[LEASE] = (200, lease(holder=""))
    seen = await examined(settings(**PUBLISHING), kube)
    assert seen[SUBJECT, "Lease"].outcome is Outcome.WARNING
    assert "leases 'matillion-fleet-exporter' in namespace 'default' has no holder" in seen[SUBJECT, "Lease"].found


@pytest.mark.parametrize(("in_pod", "outcome"), [(True, Outcome.WARNING), (False, Outcome.NOT_CHECKED)])
async def test_no_lease_yet(kube: Cluster, *, in_pod: bool, outcome: Outcome) -> None:
    """Before the installation that is as it should be; beside a running exporter it is not."""
    seen = await examined(settings(**PUBLISHING), kube, in_pod=in_pod)
    assert seen[SUBJECT, "Lease"].outcome is outcome


async def test_a_lease_that_may_not_be_read(kube: Cluster) -> None:
    """Said with what to grant."""
    kube.refuse(LEASE, 403, "Forbidden")
    seen = await examined(settings(**PUBLISHING), kube)
    assert seen[SUBJECT, "Lease"].outcome is Outcome.FAILED
    assert 'resources: ["leases"]' in seen[SUBJECT, "Lease"].found


# -- memory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "reason", "part"),
    [(404, "NotFound", "no metrics API"), (503, "ServiceUnavailable", "HTTP 503")],
)
async def test_memory_that_is_not_known(kube: Cluster, code: int, reason: str, part: str) -> None:
    """Without the metrics API the exporter works, and its memory alerts do not: a warning that says why."""
    kube.refuse(METRICS, code, reason)
    found = (await examined(settings(), kube))[SUBJECT, "memory in use"]
    assert found.outcome is Outcome.WARNING
    assert part in found.found


async def test_memory_that_may_not_be_asked_for(kube: Cluster) -> None:
    """That right has a line of its own, with the rule to add."""
    kube.refuse(METRICS, 403, "Forbidden")
    assert (await examined(settings(), kube))[SUBJECT, "memory in use"].outcome is Outcome.NOT_CHECKED


def findings(seen: Any) -> list[tuple[str, Any]]:
    """Return this subject's findings by name."""
    return [
        (finding.name, finding)
        for one in seen.report.examined
        if one.check.subject == SUBJECT
        for finding in one.findings
    ]
