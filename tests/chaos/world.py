"""The whole: an API server, agents, CloudWatch, and two replicas of the exporter, each with proxies of its own."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.agents import start_agents
from tests.chaos.faults import BOTH, REPLICAS, Fault, Kind
from tests.chaos.pods import Pods
from tests.chaos.replicas import LEASE, Replica, Times
from tests.fakes.control_plane import Admin, ControlPlane, Json
from tests.fakes.fault_proxy import AnyFault, ClientFault, FaultProxy, ProxyFault
from tests.fakes.kube_api import kubeconfig
from tests.fakes.moto import moto_server
from tests.fakes.ports import free_port

NAMESPACE = "matillion"
AHEAD = 3600.0
"""Seconds of a step of the wall clock."""


@dataclass
class World:
    """What runs."""

    plane: ControlPlane
    admin: Admin
    pods: Pods
    replicas: dict[str, Replica]
    truth_file: Path
    control_url: str
    mounted: bool
    """Whether the spools have volumes of their own, which can be full."""

    async def suffer(self, fault: Fault) -> None:
        """Let a fault happen, for as long as it takes."""
        suffering = [one for name, one in self.replicas.items() if fault.replica in {name, BOTH}]
        begin, end = _ACTS[fault.kind]
        for replica in suffering:
            await _done(begin(replica))
        try:
            await asyncio.sleep(fault.length)
        finally:
            for replica in suffering:
                await _done(end(replica))


Act = Callable[[Replica], object]


async def _done(result: object) -> None:
    if asyncio.iscoroutine(result):
        await result


def _nothing(replica: Replica) -> None:
    """Do nothing: it is over by itself."""


def _api(fault: AnyFault) -> tuple[Act, Act]:
    return lambda replica: replica.api.begin(fault), lambda replica: replica.api.end()


def _cloudwatch(fault: AnyFault) -> tuple[Act, Act]:
    return lambda replica: replica.cloudwatch.begin(fault), lambda replica: replica.cloudwatch.end()


_ACTS: Mapping[Kind, tuple[Act, Act]] = {
    Kind.API_CUT: _api(ProxyFault.CUT),
    Kind.API_HUNG: _api(ProxyFault.HANG),
    Kind.API_GONE: _api(ClientFault.GONE),
    Kind.API_BUSY: _api(ClientFault.BUSY),
    Kind.API_ERROR: _api(ProxyFault.ERROR),
    Kind.API_FORBIDDEN: _api(ClientFault.FORBIDDEN),
    Kind.API_HTML: _api(ProxyFault.HTML),
    Kind.API_AWAY: (lambda replica: replica.api.go_away(), lambda replica: replica.api.come_back()),
    Kind.CLOUDWATCH_THROTTLED: _cloudwatch(ClientFault.THROTTLED),
    Kind.CLOUDWATCH_ERROR: _cloudwatch(ProxyFault.ERROR),
    Kind.CLOUDWATCH_CUT: _cloudwatch(ProxyFault.CUT),
    Kind.CLOUDWATCH_CUT_AFTER: _cloudwatch(ProxyFault.CUT_AFTER),
    Kind.CLOUDWATCH_HUNG: _cloudwatch(ProxyFault.HANG),
    Kind.CLOUDWATCH_HTML: _cloudwatch(ClientFault.HTML_AS_SUCCESS),
    Kind.CLOUDWATCH_EMPTY: _cloudwatch(ClientFault.EMPTY_AS_SUCCESS),
    Kind.METRICS_AWAY: (_nothing, _nothing),
    Kind.METRICS_GARBAGE: (_nothing, _nothing),
    Kind.DISK_FULL: (lambda replica: replica.fill_disk(), lambda replica: replica.empty_disk()),
    Kind.STOPPED: (lambda replica: replica.signal(signal.SIGSTOP), lambda replica: replica.signal(signal.SIGCONT)),
    Kind.TERMINATED: (lambda replica: replica.signal(signal.SIGTERM), _nothing),
    Kind.KILLED: (lambda replica: replica.signal(signal.SIGKILL), _nothing),
    Kind.CLOCK_FORTH: (lambda replica: replica.set_ahead(AHEAD), lambda replica: replica.set_ahead(0)),
    Kind.CLOCK_BACK: (lambda replica: replica.set_ahead(-AHEAD), lambda replica: replica.set_ahead(0)),
}
"""How each fault begins and ends."""


def rules() -> list[Json]:
    """Return the permissions that the chart grants with these settings (chart/templates/rbac.yaml)."""
    leases, configmaps = {"apiGroups": ["coordination.k8s.io"]}, {"apiGroups": [""]}
    return [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "patch"]},
        {"apiGroups": ["metrics.k8s.io"], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": ["list", "watch"]},
        leases | {"resources": ["leases"], "resourceNames": [LEASE], "verbs": ["get", "update"]},
        leases | {"resources": ["leases"], "verbs": ["create"]},
        configmaps | {"resources": ["configmaps"], "resourceNames": [f"{LEASE}-readings"], "verbs": ["get", "update"]},
        configmaps | {"resources": ["configmaps"], "verbs": ["create"]},
    ]


@asynccontextmanager
async def world(
    binaries: Path, folder: Path, *, seed: int, agents: int, hostile: float, times: Times
) -> AsyncIterator[World]:
    """Start all of it but the exporters; what was started is ended, however this ends."""
    chance = random.Random(f"{seed} pods")  # noqa: S311 - it keeps no secret
    async with AsyncExitStack() as resources:
        plane = await _control_plane(binaries, folder, resources)
        admin = await resources.enter_async_context(plane.admin())
        await admin.create_namespace(NAMESPACE)
        token = await admin.service_account_token(NAMESPACE, "exporter")
        await admin.grant(NAMESPACE, "exporter", "exporter", rules())
        control = await _control(folder, resources)
        moto = await resources.enter_async_context(moto_server())
        process, truth = await start_agents(folder, seed)
        resources.push_async_callback(_end_by_input, process)
        pods = Pods(admin, NAMESPACE, process, chance, host=_own_host())
        await pods.begin(agents, hostile)
        replicas, mounted = {}, True
        for name in REPLICAS:
            own = folder / name
            own.mkdir()
            api = await resources.enter_async_context(FaultProxy(plane.url, plane.ca.certificate_file).serving())
            cloudwatch = await resources.enter_async_context(FaultProxy(moto).serving())
            replica = replicas[name] = Replica(name, own, times, api, cloudwatch)
            mounted &= resources.enter_context(replica.own_volume())
            config = kubeconfig(api.url, {"token": token})
            config["contexts"][0]["context"]["namespace"] = NAMESPACE
            replica.configure(NAMESPACE, config)
        yield World(plane, admin, pods, replicas, truth, control, mounted)


async def _control_plane(binaries: Path, folder: Path, resources: AsyncExitStack) -> ControlPlane:
    own = folder / "control-plane"
    own.mkdir()
    plane = ControlPlane(binaries, own)
    resources.callback(plane.stop)
    await asyncio.to_thread(plane.start)
    return plane


async def _control(folder: Path, resources: AsyncExitStack) -> str:
    port = free_port()
    with (folder / "control.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.control", str(port),
            stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    resources.push_async_callback(_end_by_input, process)
    return f"http://127.0.0.1:{port}/"


async def _end_by_input(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


def _own_host() -> int:
    """Return a part of loopback that is this process' own."""
    return 60 + os.getpid() % 180
