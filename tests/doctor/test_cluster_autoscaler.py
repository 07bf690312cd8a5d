"""The Cluster Autoscaler: its Deployment is found, its flags are read, and compared with the agents' grace."""

from typing import Any

import pytest

from exporter.doctor.check import Outcome
from exporter.doctor.cluster_autoscaler import flags_of, is_cluster_autoscaler
from tests.doctor.cluster import DEPLOYMENTS, Cluster, Json, examined, settings
from tests.doctor.draining_agents import agent, given

SYSTEM = "/apis/apps/v1/namespaces/kube-system/deployments"
NAME = ("agents", "Cluster Autoscaler")
FOUND = ("agents", "Cluster Autoscaler kube-system/cluster-autoscaler")
IMAGE = "registry.k8s.io/autoscaling/cluster-autoscaler:v1.30.0"
LOCAL: Json = {"volumes": [{"name": "libraries", "emptyDir": {}}]}


def autoscaler(*flags: str, namespace: str = "kube-system", image: str = IMAGE, **spec: Any) -> Json:
    """Make its Deployment as the manifests for AWS have it."""
    container = {"name": "cluster-autoscaler", "image": image, "command": ["./cluster-autoscaler", "--v=4", *flags]}
    template = {"spec": {"containers": [container]}}
    metadata = {"name": "cluster-autoscaler", "namespace": namespace}
    return {"metadata": metadata, "spec": {"replicas": 1, "template": template} | spec}


async def test_the_default_grace(kube: Cluster) -> None:
    """600 s, a sentence of what is killed, and the line to change."""
    kube.said[DEPLOYMENTS] = (200, {"items": [autoscaler()]})
    found = (await examined(settings(), given(kube, agent(), agent("b-0", grace=3600))))[FOUND]
    assert found.outcome is Outcome.WARNING
    assert found.found == (
        "it ends agents 600 s (--max-graceful-termination-sec, the default) after it begins to remove their node, "
        "draining agents too, although their grace is 43200 s: tasks that still run are killed"
    )
    assert "set protection.enabled: true" in found.fix
    assert "or set --max-graceful-termination-sec=43200 in Deployment kube-system/cluster-autoscaler" in found.fix


@pytest.mark.parametrize(
    ("flags", "outcome", "part"),
    [
        (["--max-graceful-termination-sec=900"], Outcome.WARNING, "900 s (--max-graceful-termination-sec) after"),
        (["--max-graceful-termination-sec", "900"], Outcome.WARNING, "900 s"),
        (["--max-graceful-termination-sec=43200"], Outcome.WARNING, "run tasks; these drain for up to 43200 s"),
        (["--max-graceful-termination-sec=$(GRACE)"], Outcome.NOT_CHECKED, "$(GRACE) is not a number of seconds"),
        (["--max-graceful-termination-sec"], Outcome.NOT_CHECKED, "=true is not a number of seconds"),
        (["--scale-down-enabled=false"], Outcome.OK, "it removes no nodes"),
        (["--scale-down-enabled"], Outcome.WARNING, "600 s"),
        (["--drain-priority-config=0:43200"], Outcome.NOT_CHECKED, "set by --drain-priority-config"),
    ],
    ids=str,
)
async def test_flags(kube: Cluster, flags: list[str], outcome: Outcome, part: str) -> None:
    """Each form of a flag is read; a value that cannot be known is not judged."""
    kube.said[DEPLOYMENTS] = (200, {"items": [autoscaler(*flags)]})
    found = (await examined(settings(), given(kube, agent())))[FOUND]
    assert found.outcome is outcome
    assert part in found.found


@pytest.mark.parametrize(
    ("flags", "volumes", "kept"),
    [
        ([], [LOCAL, LOCAL], True),
        ([], [{"volumes": [{"name": "host", "hostPath": {"path": "/x"}}]}], True),
        (["--skip-nodes-with-local-storage"], [LOCAL], True),
        (["--skip-nodes-with-local-storage=false"], [LOCAL], False),
        ([], [LOCAL, {}], False),
        ([], [{"volumes": [{"name": "memory", "emptyDir": {"medium": "Memory"}}]}], False),
        ([], [{"volumes": [{"name": "settings", "configMap": {"name": "x"}}]}], False),
    ],
    ids=str,
)
async def test_local_storage(kube: Cluster, flags: list[str], volumes: list[Json], *, kept: bool) -> None:
    """A node is kept for an agent's volume that is stored on it, unless the flag says otherwise."""
    kube.said[DEPLOYMENTS] = (200, {"items": [autoscaler(*flags)]})
    agents = [agent(f"a-{number}", **spec) for number, spec in enumerate(volumes)]
    found = (await examined(settings(), given(kube, *agents)))[FOUND]
    assert found.outcome is (Outcome.OK if kept else Outcome.WARNING)
    assert ("it keeps nodes with agents" in found.found) is kept


@pytest.mark.parametrize("flags", [[], ["--max-graceful-termination-sec=43200"]], ids=str)
async def test_protected_agents(kube: Cluster, flags: list[str]) -> None:
    """With protection their nodes are kept; not with annotations that mean nothing to this autoscaler."""
    kube.said[DEPLOYMENTS] = (200, {"items": [autoscaler(*flags)]})
    given(kube, agent())
    found = (await examined(settings(protection={"enabled": True}), kube))[FOUND]
    assert found.outcome is Outcome.OK
    assert "it keeps nodes of agents with tasks (protection.enabled)" in found.found
    for annotations in ({"example.org/keep": "true"}, {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}):
        other = settings(protection={"enabled": True, "annotations": annotations})
        assert (await examined(other, kube))[FOUND].outcome is Outcome.WARNING


async def test_without_agents(kube: Cluster) -> None:
    """Before the first agent there is the vendor's grace to go by."""
    kube.said[DEPLOYMENTS] = (200, {"items": [autoscaler()]})
    assert "although their grace is 43200 s" in (await examined(settings(), kube))[FOUND].found


async def test_none(kube: Cluster) -> None:
    """Other Deployments are none, nor is one at 0 replicas."""
    other = autoscaler(image="registry.k8s.io/cpa/cluster-proportional-autoscaler:1.8.9")
    other["metadata"]["name"] = "coredns-autoscaler"
    kube.said[DEPLOYMENTS] = (200, {"items": [other, autoscaler(replicas=0)]})
    found = (await examined(settings(), given(kube, agent())))[NAME]
    assert (found.outcome, found.found) == (Outcome.OK, "the cluster has none")


async def test_on_fargate(kube: Cluster) -> None:
    """No node autoscaler removes Fargate's nodes, so nothing is looked for; one agent elsewhere changes that."""
    kube.said[DEPLOYMENTS] = (200, {"items": [autoscaler()]})
    given(kube, agent(nodeName="fargate-ip-10-0-1-7"), agent("b-0", nodeName=None))
    found = (await examined(settings(), kube))[NAME]
    assert found.outcome is Outcome.OK
    assert "all agents run on Fargate" in found.found
    assert not kube.queries(DEPLOYMENTS)
    given(kube, agent(nodeName="fargate-ip-10-0-1-7"), agent("b-0", nodeName="ip-10-0-1-8"))
    assert (await examined(settings(), kube))[FOUND].outcome is Outcome.WARNING


async def test_page_by_page(kube: Cluster) -> None:
    """A large cluster has more Deployments than one response."""
    pages = [
        {"items": [], "metadata": {"continue": "more"}},
        {"items": [autoscaler(namespace="scaling")], "metadata": {}},
    ]
    kube.said[DEPLOYMENTS] = lambda: (200, pages.pop(0))
    seen = await examined(settings(), given(kube, agent()))
    assert seen["agents", "Cluster Autoscaler scaling/cluster-autoscaler"].outcome is Outcome.WARNING
    assert [query.get("continue") for query in kube.queries(DEPLOYMENTS)] == [None, "more"]


async def test_where_it_may_be_looked_for(kube: Cluster) -> None:
    """In kube-system alone it is found; if it is not there, that is all that is known. Without permission, nothing."""
    kube.refuse(DEPLOYMENTS, 403, "Forbidden")
    kube.said[SYSTEM] = (200, {"items": [autoscaler()]})
    given(kube, agent())
    assert (await examined(settings(), kube))[FOUND].outcome is Outcome.WARNING
    kube.said[SYSTEM] = (200, {"items": []})
    found = (await examined(settings(), kube))[NAME]
    assert found.outcome is Outcome.NOT_CHECKED
    assert "there is none in kube-system; no permission to look elsewhere" in found.found
    kube.refuse(SYSTEM, 403, "Forbidden")
    found = (await examined(settings(), kube))[NAME]
    assert found.outcome is Outcome.NOT_CHECKED
    assert 'apiGroups: ["apps"], resources: ["deployments"], verbs: ["list"]' in found.fix
    kube.refuse(SYSTEM, 500, "InternalError")
    assert (await examined(settings(), kube))[NAME].outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("labels", "image", "itself"),
    [
        ({}, IMAGE, True),
        ({}, "111122223333.dkr.ecr.eu-west-1.amazonaws.com/mirror/cluster-autoscaler@sha256:00", True),
        ({}, "localhost:5000/cluster-autoscaler-arm64", True),
        ({"app": "cluster-autoscaler"}, "internal/ca:1", True),
        ({"k8s-app": "cluster-autoscaler"}, "internal/ca:1", True),
        ({"app.kubernetes.io/name": "aws-cluster-autoscaler"}, "internal/ca:1", True),
        ({"app": "cluster-autoscaler-dashboard"}, "internal/x:1", False),
        ({}, "quay.io/openshift/cluster-autoscaler-operator:4", False),
        ({"app.kubernetes.io/name": "karpenter"}, "public.ecr.aws/karpenter/controller:1.0", False),
    ],
)
def test_how_it_is_recognized(labels: Json, image: str, *, itself: bool) -> None:
    """By the labels of its manifests and its Helm chart, and by its image, in any registry."""
    one = autoscaler(image=image)
    one["metadata"] |= {"name": "ca", "labels": labels}
    assert is_cluster_autoscaler(one) is itself


def test_a_shell_before_the_flags() -> None:
    """The words of a shell's command are flags, too; what makes no sense is none."""
    template = {"containers": [{"command": ["sh", "-c", "./cluster-autoscaler --v 4 --a=b=c"], "args": [7]}]}
    assert flags_of({"spec": {"template": {"spec": template}}}) == {"--v": "true", "--a": "b=c"}
    assert flags_of({}) == {}
