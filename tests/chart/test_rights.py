"""The rendered rights are enough and no more, on a real API server that keeps an audit log.

The program runs as the chart's service account, in the chart's pod, with the rendered roles and nothing else. Nothing
it asks is refused, everything is allowed by a rendered binding, and every rule is used.
"""

import asyncio
import json
import os
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector

from exporter.fleet.protection import KARPENTER, MARK, Mark
from exporter.history.stored_fleet import filled, name
from exporter.publish.last_readings import config_map_name
from exporter.simulator.agent import AgentServer, Place
from tests.chart import audit
from tests.chart.audit import Right
from tests.chart.pods import Cluster, Pod, running
from tests.chart.rendering import Chart, Json, Objects
from tests.fakes.built_image import Image
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.helm import Tool
from tests.fakes.ports import free_port
from tests.fakes.simulated_agent import agent_at_work
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "etl"}

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Case:
    """A set of features."""

    values: dict[str, Any] = field(default_factory=dict)
    whole_cluster: bool = False

    @property
    def serves_metrics(self) -> bool:
        """Whether the external metrics API is on, whose rights are used only when somebody asks it."""
        return METRICS.items() <= self.values.items()


CLOUDWATCH: dict[str, Any] = {
    "config__cluster": "test",
    # Nobody listens there: that nothing is accepted takes no right.
    "config__cloudwatch": {
        "enabled": True, "region": "eu-west-1", "namespace": "Test", "endpoint_url": "http://127.0.0.1:9"
    },
    "extraEnv": [{"name": "AWS_ACCESS_KEY_ID", "value": "none"}, {"name": "AWS_SECRET_ACCESS_KEY", "value": "none"}],
}  # fmt: skip
LOGS: dict[str, Any] = {"config__pod_logs": {"enabled": True, "failure_pattern": "failed"}}
COST: dict[str, Any] = {"config__deletion_cost__enabled": True}
PROTECTION: dict[str, Any] = {"config__protection__enabled": True}
NODES: dict[str, Any] = {"config__protection": {"enabled": True, "nodes": True}}
METRICS: dict[str, Any] = {"config__external_metrics__enabled": True}
FORECAST: dict[str, Any] = {"config__forecast__enabled": True}
NO_SCALERS: dict[str, Any] = {"config__scalers__enabled": False}
"""On by default, unlike the others."""

CASES = {
    "nothing but the fleets": Case(),
    "the whole cluster": Case(whole_cluster=True),
    "CloudWatch": Case(CLOUDWATCH),
    "failures in logs": Case(LOGS),
    "deletion cost": Case(COST),
    "protection": Case(PROTECTION),
    "protection of nodes": Case(NODES),
    "external metrics": Case(METRICS),
    "forecast": Case(FORECAST),
    "everything": Case(CLOUDWATCH | LOGS | COST | NODES | METRICS | FORECAST),
    "everything but CloudWatch": Case(LOGS | COST | METRICS),
    "everything but failures in logs": Case(CLOUDWATCH | COST | METRICS),
    "everything but deletion cost": Case(CLOUDWATCH | LOGS | METRICS),
    "everything but external metrics": Case(CLOUDWATCH | LOGS | COST),
    "everything but scalers": Case(CLOUDWATCH | LOGS | COST | METRICS | NO_SCALERS),
}


@pytest.fixture
async def agents(admin: Admin) -> AsyncIterator[tuple[str, str]]:
    """Make two namespaces with a busy agent in each; a real agent's page on a loopback address each."""
    number = next(_numbers)
    async with AsyncExitStack() as stack:
        names = (f"agents-{number}-a", f"agents-{number}-b")
        for index, namespace in enumerate(names):
            agent = agent_at_work(index, "etl", f"etl-{index}", tasks=12)
            host = f"127.91.{os.getpid() % 256}.{number * 2 + index}"
            server = AgentServer(agent, Place(host), clock=lambda: 100.0)
            await server.follow()
            stack.push_async_callback(server.close)
            await admin.create_namespace(namespace)
            await admin.create_pod(namespace, f"etl-{index}", labels=LABELS)
            await admin.run_pod(namespace, f"etl-{index}", host)
        yield names


async def apply(kubectl: Tool, plane: ControlPlane, objects: Objects) -> Json:
    """Give the cluster the rendered service account and roles; return the account."""
    kinds = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    wanted = {"apiVersion": "v1", "kind": "List", "items": [one for one in objects if one["kind"] in kinds]}
    await asyncio.to_thread(
        kubectl.good, "--kubeconfig", plane.kubeconfig, "apply", "--validate=false", "--filename", "-",
        stdin=json.dumps(wanted),
    )  # fmt: skip
    return objects.one("ServiceAccount")


@pytest.mark.parametrize("case_name", CASES)
async def test_rights(
    *,
    case_name: str,
    chart: Chart,
    kubectl: Tool,
    image: Image,
    pod_folder: Path,
    control_plane: ControlPlane,
    admin: Admin,
    agents: tuple[str, str],
) -> None:
    """Nothing is refused, nothing is allowed by anything else, and no right is left unused."""
    case = CASES[case_name]
    namespaces = [] if case.whole_cluster else list(agents)
    values = case.values | {
        "config__discovery__kubernetes__namespaces": namespaces,
        "config__scrape__interval": "500ms",
        "config__scrape__timeout": "400ms",
        "config__web__listen": f"0.0.0.0:{free_port()}",
        "replicaCount": 1,
        "fullnameOverride": f"exporter-{next(_numbers)}",
    }
    if case.serves_metrics:
        values["config__external_metrics__listen"] = f"0.0.0.0:{free_port()}"
    objects = chart.objects(**values)
    account = await given_account(admin, kubectl, control_plane, objects)
    user = f"system:serviceaccount:{account['metadata']['namespace']}:{account['metadata']['name']}"
    asked = audit.Requests(control_plane.audit_log, user)
    token = await token_of(admin, account)
    cluster = Cluster(control_plane.port, control_plane.ca.certificate_file, token, account["metadata"]["namespace"])
    secrets = {
        one["metadata"]["name"]: {key: b64decode(value) for key, value in one["data"].items()}
        for one in objects.of("Secret")
    }
    if NODES.items() <= case.values.items():
        await leave_mark(admin, f"{cluster.namespace}/{values['fullnameOverride']}")
    if FORECAST.items() <= case.values.items():
        await leave_history(admin, cluster.namespace, values["fullnameOverride"], agents[0])
    async with running(objects, image, pod_folder, given=secrets, cluster=cluster) as pod:
        await pod.ready()
        await until_read(pod, dict.fromkeys(agents, 12))
        if case.serves_metrics:
            await ask_metric(pod, control_plane, agents[0])
        rights = list(audit.rights(objects, account))
        await until_used(asked, [right for right in rights if not at_the_end(right)])
        pod.terminate()
        code, log = await pod.end()
    assert code == 0, log
    await until_used(asked, rights)
    assert [one for one in asked() if not one.allowed] == []
    ours = account["metadata"]["name"]
    assert [one for one in asked() if ours not in one.reason] == [], "allowed by somebody else's binding"


async def leave_mark(admin: Admin, instance: str) -> None:
    """Leave a mark on a node, as an earlier leader would: to find, read and remove it takes every right on nodes."""
    annotations = {KARPENTER: "true", MARK: Mark(instance, {KARPENTER: "true"}).text}
    await admin.call(
        "POST", "/api/v1/nodes", {"metadata": {"name": f"node-{next(_numbers)}", "annotations": annotations}}
    )


async def leave_history(admin: Admin, namespace: str, lease_name: str, agents: str) -> None:
    """Leave the past of a fleet that is there and of one that is gone: to be added to, and to be deleted."""
    for fleet in ((agents, "etl"), ("gone", "etl")):
        metadata = {"name": name(lease_name, fleet)}
        config_map = filled({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, lease_name, fleet, {})
        await admin.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map)


def at_the_end(right: Right) -> bool:
    """Whether a right is seen to be used once the exporter has ended, at the latest.

    A watch stands in the audit log when it has ended. Last readings are written anew after 15 s, and at the end.
    """
    readings = any(one.endswith(config_map_name("")) for one in right.names)
    return right.verb == "watch" or (right.verb == "update" and readings)


async def until_read(pod: Pod, tasks: dict[str, int]) -> None:
    """Wait until the fleets of these namespaces have so many tasks: on a busy machine a scrape may fail."""
    shown: dict[str, float | None] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while {namespace: shown.get(namespace) for namespace in tasks} != tasks:
                await asyncio.sleep(0.1)
                fleets = (await pod.get("/api/v1/fleets"))["fleets"]
                shown = {one["namespace"]: one["tasks_active"] for one in fleets}
    except TimeoutError:
        raise AssertionError(f"{shown} instead of {tasks}") from None


async def until_used(asked: audit.Requests, rights: list[Right]) -> None:
    """Wait until every right was used; fails with those that were not."""
    unused = rights
    try:
        async with asyncio.timeout(PATIENCE):
            while unused:
                await asyncio.sleep(0.2)
                unused = [right for right in rights if not any(right.covers(one) for one in asked())]
    except TimeoutError:
        raise AssertionError(f"never used: {unused}") from None


async def given_account(admin: Admin, kubectl: Tool, plane: ControlPlane, objects: Objects) -> Json:
    """Make what is rendered of the account and its rights; the release's namespace stays from test to test."""
    namespace = objects.one("ServiceAccount")["metadata"]["namespace"]
    listed = await admin.call("GET", "/api/v1/namespaces")
    if namespace not in [one["metadata"]["name"] for one in listed["items"]]:
        await admin.create_namespace(namespace)
    return await apply(kubectl, plane, objects)


async def token_of(admin: Admin, account: Json) -> str:
    """Ask for a token as the kubelet does."""
    of = account["metadata"]
    path = f"/api/v1/namespaces/{of['namespace']}/serviceaccounts/{of['name']}/token"
    answer = await admin.call("POST", path, {"spec": {"expirationSeconds": 3600}})
    token: str = answer["status"]["token"]
    return token


async def ask_metric(pod: Pod, plane: ControlPlane, namespace: str) -> None:
    """Ask for a metric as the API server's front proxy does for the HPA's controller."""
    certificate, key = plane.front_proxy_ca.issue("asking", "front-proxy-client")
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    headers = {
        "X-Remote-User": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        "X-Remote-Group": "system:authenticated",
    }
    path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/matillion_fleet_demand_tasks"
    url = f"https://127.0.0.1:{pod.ports['external-metric']}{path}?labelSelector=fleet%3Detl"
    async with (
        ClientSession(connector=TCPConnector(ssl=context)) as session,
        session.get(url, headers=headers) as answer,
    ):
        assert (answer.status, (await answer.json())["items"][0]["value"]) == (200, "12")
