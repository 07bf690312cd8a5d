"""What scales the fleets, on a real API server: its versions of the API, its RBAC, an exporter without the right."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config import KubernetesSettings
from exporter.discovery.scalers import ScalerDiscovery
from exporter.kube.client import KubeClient
from tests.fakes.aggregation_layer import READ_HPAS, READ_PODS
from tests.fakes.background import background
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import exporter
from tests.fakes.kube_recorders import FAST, RecordingSink
from tests.fakes.kubelet import FakeKubelet
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}
HPAS = "/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers"
"""The version that every server has."""


Discover = Callable[[Path], Awaitable[RecordingSink]]


def hpa(name: str, most: int) -> dict[str, Any]:
    """Make an HPA that goes by CPU."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "agents"}
    spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": most, "targetCPUUtilizationPercentage": 80}
    return {"metadata": {"name": name}, "spec": spec}


@pytest.fixture
async def discover(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Discover]:
    """Start to follow the HPAs of the namespace; returns what is told."""
    async with AsyncExitStack() as clients, background() as run:

        async def start(kubeconfig: Path) -> RecordingSink:
            client = await clients.enter_async_context(await KubeClient.connect({"KUBECONFIG": str(kubeconfig)}))
            sink = RecordingSink()
            found = ScalerDiscovery(
                KubernetesSettings(namespaces=(namespace,)),
                client,
                sink,
                on_restart=sink.restarts.append,
                max_pause=0.5,
                timing=FAST,
            )
            run(found.run())
            return sink

        yield start


async def test_scalers_from_creation_to_deletion(
    control_plane: ControlPlane,
    admin: Admin,
    namespace: str,
    discover: Discover,
) -> None:
    """Each is known as it is now; that it has decided nothing yet is no 0."""
    sink = await discover(control_plane.kubeconfig)
    await eventually(lambda: sink.scalers == {namespace: ()})
    path = HPAS.format(namespace)
    await admin.call("POST", path, hpa("a", 8))
    await admin.call("POST", path, hpa("b", 9))
    await eventually(lambda: {*sink.scaler_names(namespace)} == {"a", "b"})
    known = sink.scaler(namespace, "a")
    assert known is not None
    assert (known.target, known.target_kind, known.metrics) == ("agents", "Deployment.apps", ("cpu",))
    assert (known.min_agents, known.max_agents, known.desired_agents, known.active) == (2, 8, None, None)
    await admin.call("PATCH", f"{path}/a", {"spec": {"maxReplicas": 20}}, "application/merge-patch+json")
    await eventually(lambda: (one := sink.scaler(namespace, "a")) and one.max_agents == 20)
    await admin.call("DELETE", f"{path}/b")
    await eventually(lambda: sink.scaler_names(namespace) == ["a"])


async def test_a_right_that_comes_later(
    control_plane: ControlPlane,
    admin: Admin,
    namespace: str,
    discover: Discover,
) -> None:
    """Without it nothing is known and that is said once, with a rule that, added as it stands, is enough."""
    await admin.call("POST", HPAS.format(namespace), hpa("a", 8))
    token = await admin.service_account_token(namespace, "exporter")
    with capture_logs() as log:
        sink = await discover(control_plane.kubeconfig_for_token(f"{namespace}-scalers", token))
        await eventually(lambda: log)
        await asyncio.sleep(1.5)
        assert (sink.scalers, len(log)) == ({}, 1)
        assert f"verbs: {json.dumps(READ_HPAS['verbs'])}" in log[0]["fix"]
        assert f"a Role in namespace {namespace!r}" in log[0]["fix"]
        await admin.grant(namespace, "exporter", "hpas", [READ_HPAS])
        await eventually(lambda: sink.scaler(namespace, "a"))
    assert [entry["log_level"] for entry in log] == ["warning", "info"]


async def test_an_exporter_with_the_right(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """It shows the HPA of the Deployment that owns the fleet's pods, in JSON and on /metrics, and no other."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "exporter", [READ_PODS, READ_HPAS])
    kubeconfig = control_plane.kubeconfig_for_token(f"{namespace}-exporter", token)
    path = HPAS.format(namespace)
    await admin.call("POST", path, hpa("ours", 8))
    other = hpa("other", 8)
    other["spec"]["scaleTargetRef"]["name"] = "other"
    await admin.call("POST", path, other)
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "agents-7f9c", "uid": "1", "controller": True}
    pod = {
        "metadata": {
            "name": "agents-7f9c-x",
            "labels": {**LABELS, "pod-template-hash": "7f9c"},
            "ownerReferences": [owner],
        },
        "spec": {"containers": [{"name": "agent", "image": "agent:1", "ports": [{"containerPort": 8080}]}]},
    }
    await admin.call("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    settings = {"discovery": {"kubernetes": {"namespaces": [namespace]}}}
    async with exporter(tmp_path, settings, {"KUBECONFIG": str(kubeconfig)}) as process:
        await process.ready()

        async def scalers() -> list[dict[str, Any]]:
            _, found = await process.get("/api/v1/fleets")
            return [one for fleet in found["fleets"] for one in fleet["scalers"] or ()]

        async with asyncio.timeout(PATIENCE):
            while not await scalers():  # noqa: ASYNC110 — what is waited for does not know that it is
                await asyncio.sleep(0.1)
        assert [(one["name"], one["max_agents"], one["desired_agents"]) for one in await scalers()] == [
            ("ours", 8, None)
        ]
        _, page = await process.get("/metrics")
    labels = f'{{namespace="{namespace}",fleet="prod",scaler="ours"}}'
    shown = [line for line in page.splitlines() if line.startswith("matillion_fleet_scaler_")]
    assert f"matillion_fleet_scaler_max_agents{labels} 8.0" in shown
    assert not any("desired" in line or "other" in line for line in shown)


async def test_an_exporter_without_the_right(
    control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path
) -> None:
    """It is ready, shows its fleets, does not know what scales them, and says so in one line."""
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "exporter", [READ_PODS])
    kubeconfig = control_plane.kubeconfig_for_token(f"{namespace}-exporter", token)
    settings = {
        "discovery": {"kubernetes": {"namespaces": [namespace]}},
        "scrape": {"interval": "200ms", "timeout": "150ms"},
    }
    async with FakeKubelet(admin, namespace, tasks=12):
        await admin.create_pod(namespace, "prod-1", labels=LABELS)
        async with exporter(tmp_path, settings, {"KUBECONFIG": str(kubeconfig)}) as process:
            await process.ready()

            async def read() -> bool:
                _, found = await process.get("/api/v1/fleets")
                return [fleet["tasks_active"] for fleet in found["fleets"]] == [12.0]

            await eventually(read)
            _, found = await process.get("/api/v1/fleets")
            _, page = await process.get("/metrics")
            process.process.terminate()
            code, log = await process.end()
    [fleet] = found["fleets"]
    assert (fleet["scalers"], fleet["tasks_active"], code) == (None, 12.0, 0)
    assert "matillion_fleet_scaler_" not in page
    lines = [line for line in log if "HorizontalPodAutoscalers" in line["event"]]
    assert [(line["level"], line["namespace"]) for line in lines] == [("warning", namespace)]
    assert "horizontalpodautoscalers" in lines[0]["fix"]
