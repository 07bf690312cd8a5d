"""The agents: found by their labels, and read as the exporter would read them, on real sockets."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.config import Settings
from exporter.doctor.check import Outcome
from exporter.simulator.vitals import LEGACY, OLDEST, Behaviour
from tests.doctor.cluster import PODS, POLICIES, Cluster, Json, examined, settings
from tests.doctor.conftest import Agents
from tests.fakes.hostile import silent_port
from tests.fakes.kube_pods import LABEL, raw_pod

SUBJECT = "agents"
QUICK: Json = {"scrape": {"interval": "1s", "timeout": "300ms"}}


def at_port(port: int) -> Settings:
    """Return settings that look for agents at one port."""
    endpoint = {"kind": "otel", "port": port, "path": "/metrics"}
    return settings(scrape={**QUICK["scrape"], "endpoints": [endpoint]})


def pod(name: str, address: str | None, **parts: Any) -> Json:
    """Make a pod with an agent at an address."""
    made = raw_pod(name, **parts)
    made["status"]["podIP"] = address
    made["metadata"]["ownerReferences"] = [{"controller": True, "kind": "ReplicaSet", "name": "prod-abc"}]
    return made


def young(name: str) -> Json:
    """Make a pod that was created just now and has no address yet."""
    made = pod(name, None, metadata={"creationTimestamp": datetime.now(UTC).isoformat()})
    made["status"]["containerStatuses"][0] |= {"lastState": {}}
    return made


async def test_agents_that_are_well(kube: Cluster, agent: Agents) -> None:
    """One line for each namespace and each fleet: how many, in which dialects, connected, and what they run."""
    hosts = [await agent(), await agent(tasks=3), await agent(image=LEGACY)]
    kube.said[PODS] = (200, {"items": [pod(f"prod-{number}", host) for number, host in enumerate(hosts)]})
    seen = await examined(settings(**QUICK), kube, in_pod=True)
    assert seen[SUBJECT, "pods in matillion"].found == "3 pods in 1 fleet: prod (3)"
    assert (SUBJECT, "passed over") not in seen
    found = seen[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.OK
    assert found.found == "3 of 3 agents answer (2 otel, 1 legacy), 3 connected, 27 tasks running"
    assert found.fix == ""


async def test_an_agent_that_lost_its_control_plane(kube: Cluster, agent: Agents) -> None:
    """It answers and takes no work: a warning that names it, and a failure once it is all of them."""
    hosts = [await agent(), await agent(connected=False)]
    kube.said[PODS] = (200, {"items": [pod(f"prod-{number}", host) for number, host in enumerate(hosts)]})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.WARNING
    assert "prod-1: not connected to the control plane" in found.found
    kube.said[PODS] = (200, {"items": [pod("prod-1", hosts[1])]})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.FAILED


async def test_an_agent_that_does_not_answer(kube: Cluster, agent: Agents) -> None:
    """One of three is a warning; most of them are a failure, since the fleet's demand is withheld then."""
    hosts = [await agent(), await agent(), "127.97.0.251"]
    items = [pod(f"prod-{number}", host) for number, host in enumerate(hosts)]
    kube.said[PODS] = (200, {"items": items})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.WARNING
    assert "prod-2: never scraped" in found.found
    assert "connection refused on 127.97.0.251:9464 and :8080" in found.found
    assert "scrape.endpoints" in found.fix
    kube.said[PODS] = (200, {"items": [*items[1:], pod("prod-9", "127.97.0.252")]})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.FAILED
    assert "withheld from every autoscaler" in found.found


async def test_connections_that_are_dropped(kube: Cluster) -> None:
    """A timeout is most often a NetworkPolicy: the one that selects the pods is named."""
    closed = {"metadata": {"name": "runner"}, "spec": {"podSelector": {"matchLabels": {LABEL: "prod"}}}}
    other = {"metadata": {"name": "db"}, "spec": {"podSelector": {"matchLabels": {"app": "db"}}}}
    kube.said[POLICIES] = (200, {"items": [closed, other]})
    with silent_port() as port:
        kube.said[PODS] = (200, {"items": [pod("prod-0", "127.0.0.1")]})
        found = (await examined(at_port(port), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.FAILED
    assert "no connection within" in found.found
    assert "a NetworkPolicy of namespace matillion (runner) restricts ingress to these pods" in found.fix


async def test_one_agent_of_fourteen_hangs(kube: Cluster, agent: Agents) -> None:
    """No policy is to blame for it: those that select it select the others, too, which answer."""
    everybody = {"metadata": {"name": "all"}, "spec": {"podSelector": {}}}
    hosts = [await agent() for _ in range(14)]
    agent.at[hosts[2]].behaviour = Behaviour.HUNG
    items = [pod(f"prod-{number}", host) for number, host in enumerate(hosts)]
    kube.said[PODS] = (200, {"items": items})
    kube.said[POLICIES] = (200, {"items": [everybody]})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.WARNING
    assert found.fix == (
        "13 other agents of the fleet answer, so no NetworkPolicy is to blame: this agent hangs: read its log (kubectl "
        "-n matillion logs prod-2 --tail=50) and replace it once its tasks have ended (kubectl -n matillion delete pod "
        "prod-2)"
    )
    kube.refuse(POLICIES, 403, "Forbidden")
    assert (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"].fix == found.fix
    # A policy that selects it alone may be.
    items[2]["metadata"]["labels"]["only"] = "here"
    one = {"metadata": {"name": "one"}, "spec": {"podSelector": {"matchLabels": {"only": "here"}}}}
    kube.said[POLICIES] = (200, {"items": [everybody, one]})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert "a NetworkPolicy of namespace matillion (one) restricts" in found.fix


async def test_agents_of_one_node_hang(kube: Cluster, agent: Agents) -> None:
    """It is the node that they share."""
    hosts = [await agent() for _ in range(4)]
    for host in hosts[2:]:
        agent.at[host].behaviour = Behaviour.HUNG
    items = [pod(f"prod-{number}", host) for number, host in enumerate(hosts)]
    kube.said[PODS] = (200, {"items": items})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert "these agents hang: read its log" in found.fix, "the others are there, too"
    for item in items[2:]:
        item["spec"]["nodeName"] = "node-2"
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert "these agents hang; all are on node node-2, so check that node first" in found.fix


async def test_fleets_with_the_same_finding(kube: Cluster) -> None:
    """It is told once, with the names of the first few."""
    pods = [pod(f"{fleet}-0", "127.97.0.250", labels={LABEL: fleet}) for fleet in "abcde"]
    kube.said[PODS] = (200, {"items": pods})
    seen = await examined(settings(**QUICK), kube)
    assert seen[SUBJECT, "matillion/a, matillion/b, matillion/c and 2 more"].outcome is Outcome.NOT_CHECKED


async def test_nobody_serves_yet(kube: Cluster) -> None:
    """Young pods may take their time; older ones are a failure."""
    kube.said[PODS] = (200, {"items": [young("prod-0")]})
    seen = await examined(settings(**QUICK), kube)
    assert seen[SUBJECT, "matillion/prod"].outcome is Outcome.WARNING
    assert seen[SUBJECT, "matillion/prod"].found == "0 of 1 agent answers, 1 not started; none serves yet"
    kube.said[PODS] = (200, {"items": [pod("prod-0", None)]})
    found = (await examined(settings(**QUICK), kube))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.FAILED


async def test_policies_that_may_not_be_read(kube: Cluster) -> None:
    """The exporter has no right to look at policies: it says how somebody else can."""
    kube.refuse(POLICIES, 403, "Forbidden")
    with silent_port() as port:
        kube.said[PODS] = (200, {"items": [pod("prod-0", "127.0.0.1")]})
        found = (await examined(at_port(port), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert "kubectl -n matillion get networkpolicy" in found.fix


async def test_from_outside_the_cluster(kube: Cluster) -> None:
    """No pod's address is reachable from a person's machine, which is no fault of the agents."""
    kube.said[PODS] = (200, {"items": [pod("prod-0", "127.97.0.250")]})
    seen = await examined(settings(**QUICK), kube)
    assert seen[SUBJECT, "matillion/prod"].outcome is Outcome.NOT_CHECKED
    assert "in the exporter's pod" in seen[SUBJECT, "matillion/prod"].fix
    assert seen.report.good


async def test_no_pod_is_found(kube: Cluster) -> None:
    """An exporter that finds nobody is of no use: how to see the labels that the pods have."""
    seen = await examined(settings(), kube)
    found = seen[SUBJECT, "pods in matillion"]
    assert found.outcome is Outcome.FAILED
    assert "kubectl get pods -n matillion --show-labels" in found.fix
    assert seen[SUBJECT, "answers"].outcome is Outcome.NOT_CHECKED


async def test_pods_that_may_not_be_listed(kube: Cluster) -> None:
    """Said with what to grant, once."""
    kube.refuse(PODS, 403, "Forbidden")
    seen = await examined(settings(), kube)
    assert seen[SUBJECT, "pods in matillion"].outcome is Outcome.FAILED
    assert "add the rule" in seen[SUBJECT, "pods in matillion"].found
    assert seen[SUBJECT, "answers"].outcome is Outcome.NOT_CHECKED


async def test_pods_that_look_odd(kube: Cluster, agent: Agents) -> None:
    """Pods without the fleet's label, and pods that have nothing of an agent, are pointed at."""
    bare = {"nodeName": "node-1", "containers": [{"name": "ssh", "image": "a:1"}]}
    odd = [pod("prod-0", await agent(), labels={}), pod("ssh-0", "127.0.0.9", spec=bare)]
    kube.said[PODS] = (200, {"items": odd})
    seen = await examined(settings(**QUICK), kube, in_pod=True)
    assert seen[SUBJECT, "fleet label"].outcome is Outcome.WARNING
    assert "prod-0 without the label app.kubernetes.io/instance" in seen[SUBJECT, "fleet label"].found
    assert seen[SUBJECT, "passed over"].outcome is Outcome.WARNING
    assert "ssh-0 matched by the selector but not counted: it has no AGENT_ID" in seen[SUBJECT, "passed over"].found
    assert seen[SUBJECT, "pods in matillion"].found == "1 pod in 1 fleet: prod-abc (1)"
    assert seen[SUBJECT, "matillion/prod-abc"].outcome is Outcome.OK


async def test_pods_that_start_and_end(kube: Cluster, agent: Agents) -> None:
    """Whoever has no address yet, or drains, owes no answer; a pod that has finished is no agent any more."""
    starting = young("prod-1")
    draining = pod("prod-2", "127.97.0.249", metadata={"deletionTimestamp": "2026-01-01T12:00:00Z"})
    finished = pod("prod-3", None, status={"phase": "Succeeded"})
    kube.said[PODS] = (200, {"items": [pod("prod-0", await agent()), starting, draining, finished]})
    found = (await examined(settings(**QUICK), kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert found.outcome is Outcome.OK
    assert found.found.startswith("1 of 3 agents answer (1 otel)")


async def test_pods_on_several_pages(kube: Cluster, agent: Agents) -> None:
    """A long list comes in pages, so that it never is in memory as a whole beside a running exporter."""
    items = [pod(f"prod-{number}", await agent()) for number in range(2)]
    pages = iter(
        [
            {"metadata": {"continue": "more"}, "items": items[:1]},
            {"metadata": {"remainingItemCount": 0}, "items": items[1:]},
        ]
    )
    kube.said[PODS] = lambda: (200, next(pages))
    seen = await examined(settings(**QUICK), kube, in_pod=True)
    assert seen[SUBJECT, "pods in matillion"].found == "2 pods in 1 fleet: prod (2)"
    assert [query for query in kube.queries(PODS) if query.get("continue") == "more"]


async def test_listed_agents(agent: Agents, tmp_path: Path) -> None:
    """Agents of the settings and of a file are read without any cluster."""
    file = tmp_path / "targets.yaml"
    file.write_text(f"[{{address: {await agent()}, fleet: filed}}]")
    static = {"targets": [{"address": await agent(image=OLDEST), "fleet": "listed"}], "file": str(file)}
    seen = await examined(settings(discovery={"static": static}, **QUICK))
    assert seen[SUBJECT, "default/filed"].outcome is Outcome.OK
    assert "0 connected and 1 that do not report it" in seen[SUBJECT, "default/listed"].found
    file.write_text("not: a list")
    seen = await examined(settings(discovery={"static": static}, **QUICK))
    assert seen[SUBJECT, "file of static targets"].outcome is Outcome.FAILED
    assert seen[SUBJECT, "default/listed"].outcome is Outcome.OK


async def test_something_else_at_the_agents_port(kube: Cluster) -> None:
    """A page that is no agent's says that the selector, or the path, is wrong."""
    static = {"targets": [{"address": kube.url.removeprefix("http://"), "path": "/metrics"}]}
    found = (await examined(settings(discovery={"static": static}, **QUICK)))[SUBJECT, "default/default"]
    assert found.outcome is Outcome.FAILED
    assert "HTTP 404" in found.found
    assert "ports and paths" in found.fix


@pytest.mark.slow
async def test_many_agents_with_the_same_trouble(kube: Cluster) -> None:
    """A thousand agents that fail alike are one reason with some names, and not a thousand lines."""
    items = [pod(f"prod-{number}", f"127.97.1.{number % 200 + 1}", uid=f"u{number}") for number in range(1000)]
    for item in items:
        item["status"]["podIP"] = "127.97.0.248"
    kube.said[PODS] = (200, {"items": items})
    # Time enough for each to be refused on a busy machine too: to wait in vain is another trouble.
    patient = settings(scrape={"interval": "10s", "timeout": "10s"})
    found = (await examined(patient, kube, in_pod=True))[SUBJECT, "matillion/prod"]
    assert "and 497 more: never scraped" in found.found
    assert "checked 500 of 1000" in found.found
    assert len(found.found) < 600
