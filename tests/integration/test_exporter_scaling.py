"""A real exporter process serves the HPA and marks pods: what the settings turn on is there, and nothing else."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter.fleet.protection import COST, MARK, PROTECTION, Mark
from exporter.kube.lease import UNFIT_ANNOTATION
from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.vitals import Behaviour
from exporter.store.reachability import UNREACHABLE_AFTER
from tests.fakes.aggregation_layer import READ_PODS, bind_cluster_role
from tests.fakes.certificates import Authority
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.kubelet import FakeKubelet
from tests.fakes.ports import free_port
from tests.fakes.relay import Relay
from tests.fakes.simulated_agent import agent_at_work
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
PATCH_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}
LEASE = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
QUICK = {"scrape": {"interval": "300ms", "timeout": "300ms"}, "capacity": {"stale_after": "2s", "forget_after": "60s"}}


async def installed(control_plane: ControlPlane, admin: Admin, namespace: str) -> dict[str, str]:
    """Make a service account with the rights of docs/scaling.md; return the environment of who acts as it."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "exporter", [READ_PODS, PATCH_PODS])
    account = {"kind": "ServiceAccount", "namespace": namespace, "name": "exporter"}
    await bind_cluster_role(admin, f"{namespace}-reviews", "system:auth-delegator", account)
    reader = "extension-apiserver-authentication-reader"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": reader}
    await admin.call(
        "POST",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/rolebindings",
        {"metadata": {"name": f"{namespace}-front-proxy"}, "roleRef": role, "subjects": [account]},
    )
    # Outside a pod the Lease is in the namespace of the kubeconfig's context, here the default one.
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    lease = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": f"{namespace}-lease"}
    await admin.call("POST", f"{rbac}/roles", {"metadata": {"name": lease["name"]}, "rules": [LEASE]})
    await admin.call(
        "POST",
        f"{rbac}/rolebindings",
        {"metadata": {"name": lease["name"]}, "roleRef": lease, "subjects": [account]},
    )
    return {"KUBECONFIG": str(control_plane.kubeconfig_for_token(f"{namespace}-exporter", token))}


@asynccontextmanager
async def running(
    control_plane: ControlPlane, admin: Admin, namespace: str, folder: Path, settings: dict[str, Any]
) -> AsyncIterator[Exporter]:
    """Run the exporter alone."""
    environment = await installed(control_plane, admin, namespace)
    given = {"discovery": {"kubernetes": {"namespaces": [namespace]}}, **QUICK, **settings}
    async with exporter(folder, given, environment) as process:
        await process.ready()
        yield process


async def test_serves_the_hpa(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> None:
    """The front proxy's own certificate opens the API; what it is asked is counted on /metrics; SIGTERM ends it."""
    authority, port = Authority("serving-ca"), free_port()
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    authority.issue("exporter", cert, key)
    settings = {
        "cluster": "eu-1",
        "external_metrics": {
            "enabled": True,
            "listen": f"127.0.0.1:{port}",
            "cert_file": str(cert),
            "key_file": str(key),
        },
    }
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.load_cert_chain(
        control_plane.folder / "front-proxy-client.crt", control_plane.folder / "front-proxy-client.key"
    )
    user = {"X-Remote-User": "hpa", "X-Remote-Group": "system:masters"}
    path = f"https://127.0.0.1:{port}/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}"
    async with (
        running(control_plane, admin, namespace, tmp_path, settings) as process,
        FakeKubelet(admin, namespace, tasks=12) as kubelet,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), headers=user) as session,
    ):
        await admin.create_pod(namespace, "prod-1", labels=LABELS)

        async def demand() -> tuple[int, str]:
            try:
                async with session.get(f"{path}/matillion_fleet_demand_tasks") as answer:
                    return answer.status, await answer.text()
            except aiohttp.ClientError:
                return 0, ""

        async def says(status: int, text: str) -> None:
            async with asyncio.timeout(PATIENCE):
                while (found := await demand())[0] != status or text not in found[1]:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

        await says(200, '"value":"12"')
        kubelet.set_tasks(17)
        await says(200, '"value":"17"')
        await kubelet.behave(kubelet.serving[0], Behaviour.CLOSED)
        await says(503, "only 0 of 1 agents respond")
        _, page = await process.get("/metrics")
        counted = [line for line in page.splitlines() if "external_metrics_requests_total{" in line]
        assert {line.split('"')[1]: float(line.split()[-1]) > 0 for line in counted}.items() >= {
            ("200", True),
            ("503", True),
            ("401", False),
        }
        process.process.terminate()
        code, log = await process.end()
        assert code == 0, json.dumps(log)


async def test_marks_pods_as_the_leader(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """With deletion costs and protection alone, the process stands for election, leads, and writes."""
    settings = {
        "deletion_cost": {"enabled": True},
        "protection": {"enabled": True},
        "leader_election": {"lease_name": f"{namespace}-exporter"},
    }
    async with (
        running(control_plane, admin, namespace, tmp_path, settings) as process,
        FakeKubelet(admin, namespace, tasks=12),
    ):
        await admin.create_pod(namespace, "prod-1", labels=LABELS)

        # Outside a pod its namespace is that of the kubeconfig's context.
        mark = Mark(f"default/{namespace}-exporter", PROTECTION).text
        await carries(admin, namespace, {**PROTECTION, MARK: mark, COST: "15"})
        _, page = await process.get("/metrics")
        assert "matillion_fleet_exporter_leader 1.0" in page
        (shown,) = [line for line in page.splitlines() if line.startswith("matillion_fleet_agent_protected{")]
        assert shown.endswith(" 1.0")
        assert "external_metrics_requests_total" not in page
        process.process.terminate()
        code, _ = await process.end()
        assert code == 0


async def carries(admin: Admin, namespace: str, annotations: dict[str, str]) -> None:
    """Wait until the pod has exactly these annotations."""
    async with asyncio.timeout(PATIENCE):
        while (  # noqa: ASYNC110
            (await admin.call("GET", f"/api/v1/namespaces/{namespace}/pods/prod-1"))["metadata"].get("annotations", {})
        ) != annotations:
            await asyncio.sleep(0.2)


async def test_removes_its_marks_when_all_is_disabled(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """Without an election, and only what its own instance has left."""
    await admin.create_pod(namespace, "prod-1", labels=LABELS)
    mark = Mark(f"default/{namespace}-exporter", PROTECTION).text
    left = {"metadata": {"annotations": {**PROTECTION, MARK: mark, COST: "15", "example.org/note": "keep"}}}
    await admin.call("PATCH", f"/api/v1/namespaces/{namespace}/pods/prod-1", left, "application/merge-patch+json")
    settings = {"leader_election": {"lease_name": f"{namespace}-exporter"}}
    async with running(control_plane, admin, namespace, tmp_path, settings) as process, FakeKubelet(admin, namespace):
        await carries(admin, namespace, {COST: "15", "example.org/note": "keep"})
        _, page = await process.get("/metrics")
        assert "matillion_fleet_exporter_leader" not in page


@asynccontextmanager
async def one_agent() -> AsyncIterator[Place]:
    """Run an agent with 12 tasks."""
    agent = agent_at_work(1, "prod", "agent-1", tasks=12)
    place = Place(f"127.43.{os.getpid() % 256}.1")
    server = AgentServer(agent, place, clock=lambda: 100.0)
    await server.follow()
    try:
        yield place
    finally:
        await server.close()


async def test_a_leader_that_sees_nothing_makes_room_and_is_sent_no_clients(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """Cut off from all agents, it gives the lease to the replica that sees them; alone, it is there again."""
    environment = await installed(control_plane, admin, namespace)
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(one_agent())

        async def started(name: str) -> tuple[Exporter, Relay]:
            network = await stack.enter_async_context(Relay(lambda _address: (place.host, 9464)).serving())
            target = {"address": f"127.0.0.1:{network.port}", "fleet": "prod", "namespace": namespace, "pod": "agent-1"}
            settings = {
                "discovery": {"kubernetes": {"namespaces": [namespace]}, "static": {"targets": [target]}},
                "deletion_cost": {"enabled": True},
                "leader_election": {"lease_name": f"{namespace}-exporter", "retry_period": "500ms"},
            }
            (tmp_path / name).mkdir()
            process = await stack.enter_async_context(exporter(tmp_path / name, QUICK | settings, environment))
            await process.ready()
            return process, network

        async def leads(process: Exporter) -> bool:
            return "matillion_fleet_exporter_leader 1.0" in (await process.get("/metrics"))[1]

        async def until(process: Exporter, seconds: float) -> None:
            async with asyncio.timeout(seconds):
                while not await leads(process):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)

        first, network = await started("first")
        await until(first, PATIENCE)
        second, _ = await started("second")
        assert not await leads(second)

        network.cut()
        await until(second, UNREACHABLE_AFTER + PATIENCE)
        assert not await leads(first)
        async with asyncio.timeout(PATIENCE):
            while (await first.get("/readyz"))[0] != 503:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        said = (await first.get("/readyz"))[1]
        assert said.startswith("no agent is reachable from here, but ")
        assert said.endswith(" reaches them\n")
        assert (await second.get("/readyz"))[0] == (await first.get("/healthz"))[0] == 200

        second.process.terminate()
        assert (await second.end())[0] == 0
        await until(first, PATIENCE)
        await first.ready()
        lease = await admin.call("GET", f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{namespace}-exporter")
        assert lease["metadata"]["annotations"] == {UNFIT_ANNOTATION: "true"}
        assert lease["spec"]["leaseTransitions"] == 2
