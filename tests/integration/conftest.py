"""One real control plane for all tests of a session, and what most of them need of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from exporter.config import KubernetesSettings
from exporter.discovery.pods import PodDiscovery
from exporter.kube.client import KubeClient
from exporter.kube.watch import WatchTiming
from tests.fakes.background import background
from tests.fakes.control_plane import ControlPlane
from tests.fakes.control_plane_fixtures import (
    admin,
    control_plane,
    control_plane_folder,
    control_plane_of_folder,
    namespace,
)
from tests.fakes.kube_recorders import FAST, RecordingSink

__all__ = ["admin", "control_plane", "control_plane_folder", "control_plane_of_folder", "namespace"]


@pytest.fixture(scope="session")
def control_plane_flags() -> tuple[str, ...]:
    """Let ConfigMaps bypass the API server's watch cache, so that a compaction reaches their watchers."""
    return ("--watch-cache-sizes=configmaps#0",)


@pytest.fixture
async def discover(control_plane: ControlPlane) -> AsyncIterator[Callable[..., Any]]:
    """Start a discovery with the settings given; returns the sink it fills."""
    async with AsyncExitStack() as clients, background() as run:

        async def start(kubeconfig: Path | None = None, timing: WatchTiming = FAST, **settings: Any) -> RecordingSink:
            environ = {"KUBECONFIG": str(kubeconfig or control_plane.kubeconfig)}
            client = await clients.enter_async_context(await KubeClient.connect(environ))
            sink = RecordingSink()
            discovery = PodDiscovery(
                KubernetesSettings(**settings), client, sink, on_restart=sink.restarts.append, timing=timing
            )
            run(discovery.run())
            return sink

        yield start
