"""One real control plane for all tests of a session, and what most of them need of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from exporter.config import KubernetesSettings
from exporter.discovery.pods import PodDiscovery
from exporter.kube.client import KubeClient
from exporter.kube.watch import WatchTiming
from tests.fakes.control_plane import ControlPlane
from tests.fakes.control_plane_fixtures import admin, control_plane, control_plane_folder, namespace
from tests.fakes.kube_recorders import RecordingSink

__all__ = ["admin", "control_plane", "control_plane_folder", "namespace"]

FAST = WatchTiming(backoff_first=0.1, backoff_longest=0.5)
"""Tries again sooner than in life, where nobody waits for it."""


@pytest.fixture(scope="session")
def control_plane_flags() -> tuple[str, ...]:
    """Let ConfigMaps bypass the API server's watch cache, so that a compaction reaches their watchers."""
    return ("--watch-cache-sizes=configmaps#0",)


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
