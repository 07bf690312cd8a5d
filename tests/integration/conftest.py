"""What most tests beside a real control plane need of it."""

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
from tests.fakes.kube_recorders import FAST, RecordingSink


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
