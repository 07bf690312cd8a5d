"""Pods that are not scheduled: for want of a Fargate profile, of any node, or of room."""

from datetime import UTC, datetime
from typing import Any

import pytest

from exporter.doctor.check import Outcome
from exporter.doctor.fargate import NAME
from tests.doctor.cluster import ALL_PODS, PODS, Cluster, Json, examined, settings
from tests.fakes.kube_pods import raw_pod

OWN = "/api/v1/namespaces/default/pods"
FARGATE = (
    "0/2 nodes are available: 2 node(s) had untolerated taint {eks.amazonaws.com/compute-type: fargate}. preemption: "
    "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
)
OLD = "0/3 nodes are available: 3 node(s) had taint {eks.amazonaws.com/compute-type: fargate}, that the pod didn't"
RECENT = (
    "0/2 nodes are available: 2 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes"
)
MIXED = (
    "0/5 nodes are available: 2 node(s) had untolerated taint {eks.amazonaws.com/compute-type: fargate}, "
    "3 Insufficient memory."
)
NO_NODES = "no nodes available to schedule pods"
EXPORTER = {"app.kubernetes.io/name": "matillion-fleet-exporter"}
AGENT = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}


def waiting(message: str, *, namespace: str = "monitoring", labels: Json = EXPORTER, **spec: Any) -> Json:
    """Make a pod that waits for a node."""
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod = raw_pod("waiting-0", namespace=namespace, labels=labels)
    pod["spec"] = {"containers": pod["spec"]["containers"], **spec}
    pod["status"] = {"phase": "Pending", "conditions": [scheduled] if message else []}
    return pod


def running(node: str) -> Json:
    """Make an agent on a node that nobody asks."""
    pod = raw_pod("prod-0", labels=AGENT)
    pod["spec"]["nodeName"], pod["status"]["podIP"] = node, None
    return pod


@pytest.mark.parametrize("message", [FARGATE, OLD])
async def test_no_profile_for_the_exporter(kube: Cluster, message: str) -> None:
    """The namespace that no profile selects is named, with what to do."""
    kube.said[ALL_PODS] = (200, {"items": [running("fargate-ip-10-0-1-7"), waiting(message)]})
    found = (await examined(settings(), kube))["Kubernetes", "nodes for the exporter in monitoring"]
    assert found.outcome is Outcome.FAILED
    assert "the exporter's pods wait forever: no Fargate profile selects them in namespace monitoring" in found.found
    assert "waiting-0" in found.found
    assert "--selectors namespace=monitoring" in found.fix


async def test_no_profile_for_agents(kube: Cluster) -> None:
    """The same for agents, which the exporter itself sees where it may list their pods alone."""
    kube.refuse(ALL_PODS, 403, "Forbidden")
    kube.refuse(OWN, 403, "Forbidden")
    kube.said[PODS] = (200, {"items": [waiting(FARGATE, namespace="matillion", labels=AGENT)]})
    seen = await examined(settings(), kube)
    found = seen["Kubernetes", "nodes for agents in matillion"]
    assert found.outcome is Outcome.FAILED
    assert "agents wait forever" in found.found
    assert seen["Kubernetes", "nodes for the exporter"].outcome is Outcome.NOT_CHECKED
    in_pod = await examined(settings(), kube, in_pod=True)
    assert ("Kubernetes", "nodes for the exporter") not in in_pod, "who asks in its pod has a node"


@pytest.mark.parametrize(("node", "outcome"), [("fargate-ip-10-0-1-7", Outcome.FAILED), ("ip-10", Outcome.WARNING)])
async def test_a_taint_without_a_name(kube: Cluster, node: str, outcome: Outcome) -> None:
    """Recent schedulers do not name the taint: it is Fargate's where every node that is known of is."""
    kube.said[ALL_PODS] = (200, {"items": [running(node), waiting(RECENT)]})
    found = (await examined(settings(), kube))["Kubernetes", "nodes for the exporter in monitoring"]
    assert found.outcome is outcome


async def test_no_nodes_at_all(kube: Cluster) -> None:
    """The first pods of a cluster of Fargate alone; or its node groups are empty."""
    kube.said[ALL_PODS] = (200, {"items": [waiting(NO_NODES)]})
    found = (await examined(settings(), kube))["Kubernetes", "nodes for the exporter in monitoring"]
    assert found.outcome is Outcome.FAILED
    assert "the cluster has no nodes, and no Fargate profile selects namespace monitoring" in found.found


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (waiting(MIXED), "3 Insufficient memory"),
        (waiting(FARGATE, labels=EXPORTER | {"eks.amazonaws.com/fargate-profile": "apps"}), "fargate"),
        (waiting("", schedulerName="fargate-scheduler"), "the scheduler gives no reason"),
        (waiting(FARGATE, schedulerName="fargate-scheduler"), "fargate"),
    ],
)
async def test_other_reasons(kube: Cluster, pod: Json, said: str) -> None:
    """A pod that waits for room, or that a profile does select, is a warning in the scheduler's words."""
    kube.said[ALL_PODS] = (200, {"items": [pod]})
    found = (await examined(settings(), kube))["Kubernetes", "nodes for the exporter in monitoring"]
    assert found.outcome is Outcome.WARNING
    assert said in found.found
    assert "kubectl -n monitoring describe pod waiting-0" in found.fix


async def test_a_pod_that_was_just_made(kube: Cluster) -> None:
    """Nodes and Fargate take minutes: such a pod is no trouble yet."""
    young = waiting(MIXED)
    young["metadata"]["creationTimestamp"] = datetime.now(UTC).isoformat()
    kube.said[ALL_PODS] = (200, {"items": [young, running("ip-10")]})
    found = (await examined(settings(), kube))["Kubernetes", NAME]
    assert (found.outcome, found.found) == (
        Outcome.OK,
        "no agent or exporter pod is waiting for a node; 1 are scheduled",
    )
