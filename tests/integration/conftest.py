"""One real control plane for all tests of a session, and what most of them need of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from exporter.config import KubernetesSettings
from exporter.discovery.pods import PodDiscovery
from exporter.kube.client import KubeClient
from exporter.kube.watch import WatchTiming
from tests.fakes.control_plane import Admin, ControlPlane, assets
from tests.fakes.kube_recorders import RecordingSink

FAST = WatchTiming(backoff_first=0.1, backoff_longest=0.5)
"""Tries again sooner than in life, where nobody waits for it."""

_numbers = count(1)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Give etcd and an API server. ConfigMaps bypass its watch cache, so that a compaction reaches their watchers."""
    binaries = assets()
    if binaries is None:
        pytest.skip("KUBEBUILDER_ASSETS does not name a folder with etcd and kube-apiserver")
    plane = ControlPlane(binaries, tmp_path_factory.mktemp("control-plane"), ("--watch-cache-sizes=configmaps#0",))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Admin]:
    async with control_plane.admin() as session:
        yield session


@pytest.fixture
async def namespace(admin: Admin) -> str:
    """Make a namespace of the test's own."""
    name = f"test-{next(_numbers)}"
    await admin.create_namespace(name)
    return name


@pytest.fixture
async def discover(control_plane: ControlPlane) -> AsyncIterator[Callable[..., Any]]:
    """Start a discovery with the settings given; returns the sink it fills."""
    tasks: list[asyncio.Task[None]] = []
    clients: list[KubeClient] = []

    async def start(kubeconfig: Path | None = None, timing: WatchTiming = FAST, **settings: Any) -> RecordingSink:
        client = await KubeClient.connect({"KUBECONFIG": str(kubeconfig or control_plane.kubeconfig)})
        clients.append(client)
        sink = RecordingSink()
        discovery = PodDiscovery(
            KubernetesSettings(**settings), client, sink, on_restart=sink.restarts.append, timing=timing
        )
        tasks.append(asyncio.create_task(discovery.run(), name="discovery"))
        return sink

    yield start
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    for client in clients:
        await client.close()
