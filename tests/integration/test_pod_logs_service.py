"""Failed tasks counted by the exporter as it is run: real processes, a real API server, and logs behind it."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.exporter_process import Exporter, exporter
from tests.fakes.node_services import Kubelet
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

LABELS = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "etl"}
RIGHTS = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
]
QUICK = {
    "scrape": {"interval": "500ms", "timeout": "200ms"},
    # A leader that ends gives its Lease back: how soon that is seen is all that has to be quick.
    "leader_election": {"retry_period": "500ms"},
}
FAILED, FINE = "ERROR task 7f3a failed: no such table SALARIES", "INFO task 7f3a finished"
COUNT = "matillion_fleet_agent_task_failures_total"
SKIPPED = "matillion_fleet_exporter_log_lines_skipped_total"


class Replicas:
    """Exporters that run with the rights of the chart and share one Lease."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self._kubeconfig = kubeconfig
        self._folder = folder

    @asynccontextmanager
    async def run(self, name: str, **pod_logs: Any) -> AsyncIterator[Exporter]:
        """Run one, and wait until it is ready."""
        folder = self._folder / name
        folder.mkdir()
        settings = {
            "discovery": {"kubernetes": {"namespaces": [self.namespace]}},
            "pod_logs": {"enabled": True, "failure_pattern": "ERROR task .* failed", **pod_logs},
            **QUICK,
        }
        async with exporter(folder, settings, {"KUBECONFIG": str(self._kubeconfig)}) as process:
            await process.ready()
            yield process

    async def count(self, process: Exporter, expected: dict[str, float | None]) -> None:
        """Wait until a replica tells these failures of the pods in its JSON; its metrics have to tell the same."""
        counts: dict[str, float | None] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while counts != expected:
                    await asyncio.sleep(0.1)
                    _, answer = await process.get(f"/api/v1/agents?namespace={self.namespace}")
                    counts = {agent["pod"]: agent["task_failures"] for agent in answer["agents"]}
        except TimeoutError:
            pytest.fail(f"counted {counts}, not {expected}")
        known = {("etl", pod): failures for pod, failures in expected.items() if failures is not None}
        assert {(labels["fleet"], labels["pod"]): value for labels, value in await series(process, COUNT)} == known


async def series(process: Exporter, name: str) -> list[tuple[dict[str, str], float]]:
    """Return a metric's series."""
    _, page = await process.get("/metrics")
    families = text_string_to_metric_families(page)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return [(sample.labels, sample.value) for sample in samples]


async def ended(process: Exporter) -> str:
    """Ask a replica to end, and return its log."""
    process.process.send_signal(signal.SIGTERM)
    code, log = await process.end()
    assert code == 0
    return json.dumps(log)


def lines(*texts: str) -> list[tuple[int, str]]:
    """Make lines of this moment."""
    return [(time.time_ns(), text) for text in texts]


@pytest.fixture
async def replicas(control_plane: ControlPlane, admin: Admin, namespace: str, tmp_path: Path) -> Replicas:
    token = await admin.service_account_token(namespace, "exporter")
    await admin.grant(namespace, "exporter", "exporter", RIGHTS)
    kubeconfig = control_plane.kubeconfig_for_token(f"logs-{namespace}", token)
    # Outside a pod the Lease is in the namespace of the kubeconfig's context.
    config = json.loads(kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    kubeconfig.write_text(json.dumps(config))
    return Replicas(kubeconfig, namespace, tmp_path)


@pytest.fixture
async def kubelet(control_plane: ControlPlane, admin: Admin, namespace: str) -> AsyncIterator[Kubelet]:
    """Run two agents, whose logs are served. Nobody answers a scrape there: that is another matter."""
    async with Kubelet().running(control_plane, admin) as node:
        for pod, address in (("agent-1", "127.33.0.1"), ("agent-2", "127.33.0.2")):
            node.log(namespace, pod).write((time.time_ns() - 3600 * 10**9, FAILED))
            await admin.create_pod(namespace, pod, labels=LABELS)
            await admin.run_pod(namespace, pod, address)
        yield node


async def test_the_leader_counts_and_its_successor_goes_on(replicas: Replicas, kubelet: Kubelet) -> None:
    """One of two replicas follows; when it ends the other begins anew. No line of an agent is ever in their logs."""
    logs = [kubelet.log(replicas.namespace, pod) for pod in ("agent-1", "agent-2")]
    async with replicas.run("first") as first:
        await replicas.count(first, {"agent-1": 0, "agent-2": 0})
        async with replicas.run("second") as second:
            await eventually(lambda: all(log.followed for log in logs))
            logs[0].write(*lines(FINE, FAILED, FAILED))
            logs[1].write(*lines(FAILED))
            await replicas.count(first, {"agent-1": 2, "agent-2": 1})
            await replicas.count(second, {"agent-1": None, "agent-2": None})
            assert [len(log.followed) for log in logs] == [1, 1], "only the leader follows"
            assert [value for _, value in await series(first, "matillion_fleet_exporter_leader")] == [1]
            assert [value for _, value in await series(second, "matillion_fleet_exporter_leader")] == [0]
            assert FAILED not in await ended(first)
            await replicas.count(second, {"agent-1": 0, "agent-2": 0})
            await eventually(lambda: all(len(log.followed) == 2 for log in logs))
            logs[0].cut()
            logs[0].write(*lines(FAILED))
            await replicas.count(second, {"agent-1": 1, "agent-2": 0})
            assert FAILED not in await ended(second)
    await eventually(lambda: not any(log.open_streams for log in logs))


async def test_every_replica_counts_if_configured(replicas: Replicas, kubelet: Kubelet) -> None:
    """Without a leader among them; what is over the rate is skipped and counted."""
    log = kubelet.log(replicas.namespace, "agent-1")
    settings: dict[str, Any] = {"every_replica": True, "max_lines_per_second": 10}
    async with replicas.run("first", **settings) as first, replicas.run("second", **settings) as second:
        for process in (first, second):
            await replicas.count(process, {"agent-1": 0, "agent-2": 0})
        at = time.time_ns() + 10**9
        log.write(*((at + number, FAILED) for number in range(50)), (at + 2 * 10**9, FAILED))
        for process in (first, second):
            await replicas.count(process, {"agent-1": 11, "agent-2": 0})
            assert [value for _, value in await series(process, SKIPPED)] == [40]
            assert await series(process, "matillion_fleet_exporter_leader") == [], "nobody is elected"
