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

from tests.chaos.agents import SECRET, start_agents
from tests.chaos.faults import BOTH, REPLICAS, Fault, Kind
from tests.chaos.metrics_server import MetricsServer, State
from tests.chaos.pods import Pods
from tests.chaos.replicas import LEASE, Replica, Times
from tests.fakes.control_plane import Admin, ControlPlane, Json
from tests.fakes.fault_proxy import AnyFault, ClientFault, Exchange, FaultProxy, ProxyFault
from tests.fakes.kube_api import kubeconfig
from tests.fakes.moto import moto_server
from tests.fakes.ports import free_port

NAMESPACE = "matillion"
AHEAD = 3600.0
"""Seconds of a step of the wall clock."""


@dataclass
class World:
    """What runs."""

    admin: Admin
    pods: Pods
    replicas: dict[str, Replica]
    taken: list[tuple[str, Exchange]]
    """What each replica has sent to CloudWatch, and CloudWatch has taken or refused."""
    truths: list[Path]
    """The files in which the agents note their pages."""
    pulse: asyncio.subprocess.Process
    mounted: bool
    """Whether the spools have volumes of their own, which can be full."""
    secrets: tuple[str, ...]
    """What no log may show."""

    async def suffer(self, fault: Fault) -> None:
        """Let a fault happen, for as long as it takes."""
        suffering = [one for name, one in self.replicas.items() if fault.replica in {name, BOTH}]
        begin, end = ACTS[fault.kind]
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


def _metrics(state: State) -> tuple[Act, Act]:
    return lambda replica: replica.metrics_server.be(state), lambda replica: replica.metrics_server.be(State.WELL)


def _cloudwatch(fault: AnyFault) -> tuple[Act, Act]:
    return lambda replica: replica.cloudwatch.begin(fault), lambda replica: replica.cloudwatch.end()


ACTS: Mapping[Kind, tuple[Act, Act]] = {
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
    Kind.METRICS_AWAY: _metrics(State.AWAY),
    Kind.METRICS_GARBAGE: _metrics(State.GARBAGE),
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
        port = free_port()
        await _beside(folder, "control", str(port), resources=resources)
        pulse = await _beside(folder, "pulse", f"http://127.0.0.1:{port}/", resources=resources)
        moto = await resources.enter_async_context(moto_server())
        # Of their own each: what a hostile agent does takes no good one's time.
        truths = [folder / "good.truth", folder / "hostile.truth"]
        good, bad = [await start_agents(truth, seed, first) for first, truth in enumerate(truths, 1)]
        for process in (good, bad):
            resources.push_async_callback(_end_by_input, process)
        pods = Pods(admin, NAMESPACE, good=good, hostile=bad, chance=chance, host=_own_host())
        await pods.begin(agents, hostile)
        replicas: dict[str, Replica] = {}
        taken: list[tuple[str, Exchange]] = []
        mounted = True
        for name in REPLICAS:
            own = folder / name
            own.mkdir()
            metrics = MetricsServer(lambda: [pod.name for pod in pods.present])
            api = FaultProxy(plane.url, plane.ca.certificate_file, own=metrics.answer)
            cloudwatch = FaultProxy(moto, noted=lambda exchange, name=name: taken.append((name, exchange)))
            for proxy in (api, cloudwatch):
                await resources.enter_async_context(proxy.serving())
            replica = Replica(name, own, times, api=api, cloudwatch=cloudwatch, metrics_server=metrics)
            replicas[name] = replica
            mounted &= resources.enter_context(replica.own_volume())
            config = kubeconfig(api.url, {"token": token})
            config["contexts"][0]["context"]["namespace"] = NAMESPACE
            replica.configure(NAMESPACE, config)
        yield World(admin, pods, replicas, taken, truths, pulse, mounted, secrets=(token, SECRET))


async def _control_plane(binaries: Path, folder: Path, resources: AsyncExitStack) -> ControlPlane:
    own = folder / "control-plane"
    own.mkdir()
    plane = ControlPlane(binaries, own)
    resources.callback(plane.stop)
    await asyncio.to_thread(plane.start)
    return plane


async def _beside(folder: Path, module: str, argument: str, *, resources: AsyncExitStack) -> asyncio.subprocess.Process:
    """Start a module of this package in a process of its own, which ends with its input."""
    with (folder / f"{module}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"tests.chaos.{module}", argument,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    resources.push_async_callback(_end_by_input, process)
    return process


async def _end_by_input(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


def _own_host() -> int:
    """Return a part of loopback that is this process' own."""
    return 60 + os.getpid() % 180
