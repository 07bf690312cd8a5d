"""Pods that look like agents and are not found: told wherever they may be seen, with the settings that find them."""

from typing import Any

import pytest

from exporter.config.settings import KubernetesSettings
from exporter.doctor.check import Outcome
from exporter.doctor.lookalikes import selector_for
from exporter.kube.selector import parse_selector
from tests.doctor.cluster import ALL_PODS, PODS, Cluster, Json, examined, settings
from tests.fakes.kube_pods import raw_pod

NOT_MATCHED = ("agents", "not matched")
ELSEWHERE = ("agents", "agents elsewhere")
NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"
OWN = "/api/v1/namespaces/default/pods"


def labels(name: str = "matillion-runner", **more: str) -> dict[str, str]:
    """Return the labels of an agent of the vendor's chart."""
    return {NAME: name, INSTANCE: "prod"} | more


def agent(name: str, namespace: str = "matillion", *, given: dict[str, str] | None = None, **parts: Any) -> Json:
    """Make a pod as the vendor's charts make it; its address is none, so that nobody asks it."""
    container = {
        "name": "agent",
        "image": "etl-agent:current",
        "env": [{"name": "AGENT_ID", "value": "secret-1"}, {"name": "TOKEN", "value": "secret-2"}],
        "ports": [{"containerPort": 8080, "name": "metrics"}],
    }
    spec = {"nodeName": "node-1", "containers": [container]}
    pod = raw_pod(name, namespace=namespace, labels=labels() if given is None else given, **({"spec": spec} | parts))
    pod["status"]["podIP"] = None
    return pod


def put(kube: Cluster, *pods: Json) -> None:
    """Put pods into the cluster, seen by whoever may look everywhere; the selector's find among them, too."""
    kube.said[ALL_PODS] = (200, {"items": list(pods)})
    selector = parse_selector(KubernetesSettings().label_selector)
    found = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == "matillion" and selector.matches(pod["metadata"]["labels"])
    ]
    kube.said[PODS] = (200, {"items": found})


async def test_every_agent_is_found(kube: Cluster) -> None:
    """Nothing else looks like one, wherever it was looked."""
    put(kube, agent("prod-0"), raw_pod("web", namespace="web", labels={"app": "web"}))
    seen = await examined(settings(), kube)
    assert seen[NOT_MATCHED].outcome is Outcome.OK
    assert "no pod in the cluster looks like an agent that the settings miss" in seen[NOT_MATCHED].found
    assert ELSEWHERE not in seen


async def test_agents_of_a_namespace_that_is_not_watched(kube: Cluster) -> None:
    """The list of namespaces that finds them is printed."""
    put(kube, agent("prod-0"), agent("eu-0", "etl-eu"), agent("eu-1", "etl-eu"))
    found = (await examined(settings(), kube))[NOT_MATCHED]
    assert found.outcome is Outcome.WARNING
    assert found.found == (
        "2 pods look like agents and are not found by the settings: etl-eu/eu-0 (AGENT_ID, port 8080 metrics), "
        "etl-eu/eu-1 (AGENT_ID, port 8080 metrics)"
    )
    assert "set discovery.kubernetes.namespaces: [matillion, etl-eu] (in" in found.fix


async def test_agents_with_other_labels(kube: Cluster) -> None:
    """The selector that finds them, as well as those that are found, and nothing else is printed."""
    script_runner = labels(**{"app.kubernetes.io/component": "script-runner"})
    runner = raw_pod("ssh", labels=script_runner, spec={"containers": [{"ports": [{"containerPort": 2222}]}]})
    put(kube, agent("prod-0"), agent("own-0", given=labels("etl-workers")), runner)
    found = (await examined(settings(), kube))[NOT_MATCHED]
    assert found.found.startswith("1 pod looks like an agent and is not found by the settings: matillion/own-0")
    selector = f"{NAME} in (etl-workers,matillion-runner),!app.kubernetes.io/component"
    assert f'set discovery.kubernetes.label_selector: "{selector}" (in' in found.fix
    fixed = await examined(settings(discovery={"kubernetes": {"label_selector": selector}}), kube)
    assert fixed[NOT_MATCHED].outcome is Outcome.OK


async def test_neither_namespace_nor_labels(kube: Cluster) -> None:
    """Both settings are printed."""
    put(kube, agent("own-0", "etl", given={"app": "workers", "pod-template-hash": "5d"}))
    found = (await examined(settings(), kube))[NOT_MATCHED]
    assert 'label_selector: "app=workers,!app.kubernetes.io/component"' in found.fix
    assert "namespaces: [matillion, etl]" in found.fix
    assert "or give each agent the label app.kubernetes.io/name: matillion-runner" in found.fix


async def test_no_label_distinguishes_them(kube: Cluster) -> None:
    """What no selector can find needs a label first."""
    put(kube, agent("own-0", given={"app": "x"}), raw_pod("web", labels={"app": "x", "tier": "web"}))
    found = (await examined(settings(), kube))[NOT_MATCHED]
    assert "give each agent the label app.kubernetes.io/name: matillion-runner" in found.fix


async def test_what_is_no_agent(kube: Cluster) -> None:
    """A web server on 8080, a pod of a Job and one that has finished are none."""
    job = {"ownerReferences": [{"controller": True, "kind": "Job", "name": "migrate"}]}
    web = raw_pod("web", namespace="web", labels={"app": "web"})
    put(kube, web, agent("a", "x", metadata=job), agent("b", "x", status={"phase": "Failed"}))
    assert (await examined(settings(), kube))[NOT_MATCHED].outcome is Outcome.OK


async def test_with_the_exporters_rights(kube: Cluster) -> None:
    """It looks where it may, and says in words where it did not."""
    put(kube, agent("prod-0"), agent("own-0", given={"app": "workers"}))
    kube.said[PODS] = kube.said[ALL_PODS]
    kube.refuse(ALL_PODS, 403, "Forbidden")
    kube.refuse(OWN, 403, "Forbidden")
    seen = await examined(settings(), kube, in_pod=True)
    assert "matillion/own-0" in seen[NOT_MATCHED].found
    assert seen[ELSEWHERE].outcome is Outcome.NOT_CHECKED
    assert "elsewhere than in matillion: no permission to list pods cluster-wide" in seen[ELSEWHERE].found
    assert 'resources: ["pods"], verbs: ["list"]} to a ClusterRole' in seen[ELSEWHERE].fix


async def test_without_any_right(kube: Cluster) -> None:
    """That no pods may be listed is a failure already; here it is not checked."""
    for path in (ALL_PODS, PODS, OWN):
        kube.refuse(path, 403, "Forbidden")
    assert (await examined(settings(), kube))[NOT_MATCHED].outcome is Outcome.NOT_CHECKED


async def test_an_error_of_the_api_server(kube: Cluster) -> None:
    """It is said once for what it kept from being seen."""
    kube.refuse(ALL_PODS, 500, "InternalError")
    assert (await examined(settings(), kube))[NOT_MATCHED].outcome is Outcome.FAILED


async def test_an_agent_by_its_environment_alone(kube: Cluster) -> None:
    """A pod that declares no port is an agent by AGENT_ID, to the doctor as to the exporter; no value is printed."""
    bare = {"containers": [{"name": "agent", "env": [{"name": "AGENT_ID", "value": "secret-1"}]}]}
    put(kube, agent("prod-0", spec=bare), agent("eu-0", "etl-eu", spec=bare))
    seen = await examined(settings(), kube)
    assert seen["agents", "pods in matillion"].found == "1 pod in 1 fleet: prod (1)"
    assert "etl-eu/eu-0 (AGENT_ID)" in seen[NOT_MATCHED].found
    assert not [one for one in seen.report.examined for found in one.findings if "secret" in found.found]


async def test_only_where_pods_are_looked_for() -> None:
    """With listed agents alone there is nothing to match."""
    seen = await examined(settings(discovery={"static": {"targets": [{"address": "127.97.0.1"}]}}))
    assert NOT_MATCHED not in seen


@pytest.mark.parametrize(
    ("agents", "others", "selector"),
    [
        ([{"app": "a"}, {"app": "b"}], [], "app in (a,b),!app.kubernetes.io/component"),
        ([{"app": "a", "x": "1"}, {"app": "b", "x": "1"}], [{"app": "a"}], "x=1,!app.kubernetes.io/component"),
        ([{"app": "a", "app.kubernetes.io/component": "agent"}], [], "app=a"),
        ([{"app": "a"}, {"x": "1"}], [], None),
        ([{"pod-template-hash": "5d"}], [], None),
        ([{"id": str(number)} for number in range(21)], [], None),
        ([{}], [], None),
    ],
)
def test_selector_for(agents: list[dict[str, str]], others: list[dict[str, str]], selector: str | None) -> None:
    """The label is one that says what a pod is, that all agents have, and that tells them from the others."""
    assert selector_for(agents, others) == selector
