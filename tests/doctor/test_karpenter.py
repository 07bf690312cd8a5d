"""Karpenter's NodePools: what they do to agents with tasks, in either version of the API."""

import pytest

from exporter.doctor.check import Outcome
from exporter.doctor.karpenter import Rules, rules_of
from tests.doctor.cluster import Cluster, Json, examined, settings
from tests.doctor.draining_agents import agent, given

API = "/apis/karpenter.sh/{}"
POOLS = "/apis/karpenter.sh/{}/nodepools"
NAME = ("agents", "Karpenter")


def pool(name: str = "default", *, disruption: Json | None = None, **template: str) -> Json:
    """Make a NodePool of v1, with what Karpenter's CRD fills in."""
    filled = {"consolidationPolicy": "WhenEmptyOrUnderutilized", "consolidateAfter": "0s"} | (disruption or {})
    return {
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"expireAfter": "720h"} | template}, "disruption": filled},
    }


def served(kube: Cluster, *pools: Json, version: str = "v1") -> Cluster:
    """Let the API server have NodePools."""
    kube.said[API.format(version)] = (200, {})
    kube.said[POOLS.format(version)] = (200, {"items": list(pools)})
    return given(kube, agent())


async def test_not_installed(kube: Cluster) -> None:
    """Then there is nothing to say."""
    given(kube, agent())
    assert NAME not in await examined(settings(), kube)
    assert NAME not in await examined(settings(), served(kube))


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_node_that_does_not_wait(kube: Cluster, version: str) -> None:
    """Its own grace goes before that of the agents, and protects none of them; the line to change is named."""
    seen = await examined(settings(), served(kube, pool(terminationGracePeriod="1h30m"), version=version))
    found = seen["agents", "Karpenter NodePool default"]
    assert found.outcome is Outcome.WARNING
    assert found.found == (
        "nodes end 1h30m (terminationGracePeriod) after their removal begins, although the agents' grace is 43200 s: "
        "tasks that still run are killed, those of protected agents too; consolidation is WhenEmptyOrUnderutilized "
        "after 0s and nodes expire after 720h"
    )
    assert (
        "set spec.template.spec.terminationGracePeriod: 12h or remove it: kubectl edit nodepools default" in found.fix
    )


@pytest.mark.parametrize("grace", [None, "12h0m0s", "48h", "one day"])
async def test_a_node_that_waits(kube: Cluster, grace: str | None) -> None:
    """Without a grace of its own, or with one that is long enough, agents drain as long as they may."""
    one = pool() if grace is None else pool(terminationGracePeriod=grace)
    found = (await examined(settings(), served(kube, one)))["agents", "Karpenter NodePool default"]
    assert found.outcome is Outcome.WARNING
    assert "agents drain for up to 43200 s, their grace, when their node is removed" in found.found
    assert "set protection.enabled: true" in found.fix
    found = (await examined(settings(protection={"enabled": True}), kube))["agents", "Karpenter NodePool default"]
    assert found.outcome is Outcome.OK
    assert "nodes of agents with tasks are not consolidated" in found.found


@pytest.mark.parametrize(
    ("expires", "protection", "outcome"),
    [
        ("Never", {"enabled": True, "nodes": True}, Outcome.OK),
        ("720h", {"enabled": True, "nodes": True}, Outcome.WARNING),
        ("Never", {"enabled": True}, Outcome.WARNING),
        ("Never", {"enabled": False, "nodes": True}, Outcome.WARNING),
        ("Never", {"enabled": True, "nodes": True, "annotations": {"example.org/keep": "true"}}, Outcome.WARNING),
    ],
)
async def test_a_node_that_is_never_removed(kube: Cluster, expires: str, protection: Json, outcome: Outcome) -> None:
    """A short grace does no harm where nodes with tasks, draining ones too, are kept and do not expire."""
    one = pool(terminationGracePeriod="1h", expireAfter=expires)
    seen = await examined(settings(protection=protection), served(kube, one))
    assert seen["agents", "Karpenter NodePool default"].outcome is outcome


async def test_equal_pools_are_told_once(kube: Cluster) -> None:
    """By their names in one finding; another pool has its own."""
    short = [pool(name, terminationGracePeriod="1h") for name in ("spot", "gpu")]
    seen = await examined(settings(), served(kube, *short, pool()))
    found = seen["agents", "Karpenter NodePools gpu, spot"]
    assert "kubectl edit nodepools gpu spot" in found.fix
    assert "agents drain" in seen["agents", "Karpenter NodePool default"].found


async def test_on_fargate(kube: Cluster) -> None:
    """Karpenter removes none of its nodes."""
    served(kube, pool(terminationGracePeriod="1h"))
    given(kube, agent(nodeName="fargate-ip-10-0-1-7"))
    found = (await examined(settings(), kube))[NAME]
    assert found.outcome is Outcome.OK
    assert "all agents run on Fargate" in found.found


async def test_no_permission(kube: Cluster) -> None:
    """That it is installed shows all the same; the rule to add is named. An error is a failure."""
    served(kube)
    kube.refuse(POOLS.format("v1"), 403, "Forbidden")
    found = (await examined(settings(), kube))[NAME]
    assert found.outcome is Outcome.NOT_CHECKED
    assert 'apiGroups: ["karpenter.sh"], resources: ["nodepools"], verbs: ["list"]' in found.fix
    kube.refuse(API.format("v1"), 500, "InternalError")
    assert (await examined(settings(), kube))[NAME].outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("spec", "rules"),
    [
        ({}, Rules(None, "720h", "WhenEmptyOrUnderutilized")),
        (
            {"disruption": {"expireAfter": "Never", "consolidationPolicy": "WhenEmpty", "consolidateAfter": "30s"}},
            Rules(None, "Never", "WhenEmpty after 30s"),
        ),
        ({"disruption": {"consolidateAfter": "Never"}}, Rules(None, "720h", "")),
        ({"disruption": {"budgets": [{"nodes": "0"}]}}, Rules(None, "720h", "")),
        (
            {"disruption": {"budgets": [{"nodes": "0", "schedule": "@daily", "duration": "10m"}, {"nodes": "10%"}]}},
            Rules(None, "720h", "WhenEmptyOrUnderutilized"),
        ),
        (
            {"disruption": {"budgets": [{"nodes": "0", "reasons": ["Drifted"]}]}},
            Rules(None, "720h", "WhenEmptyOrUnderutilized"),
        ),
    ],
    ids=str,
)
def test_rules(spec: Json, rules: Rules) -> None:
    """Either version's fields, and Karpenter's defaults; only a budget of 0 for all times and reasons stops it."""
    assert rules_of({"spec": spec}) == rules


def test_the_rules_as_words() -> None:
    """What is off is said to be."""
    assert Rules(None, "Never", "").removal == "nodes are not consolidated and nodes do not expire"
    assert Rules(None, "336h", "WhenEmpty").removal == "consolidation is WhenEmpty and nodes expire after 336h"
