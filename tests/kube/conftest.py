"""A scripted API server and what follows a collection on it; a Lease in memory and its candidates."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from exporter.kube.api import Resource
from exporter.kube.client import KubeClient
from exporter.kube.watch import WatchTiming
from tests.fakes.kube_api import ScriptedKubeApi
from tests.fakes.kube_recorders import RecordingHandler, reflectors
from tests.fakes.lease_api import LeaseServer
from tests.kube.lease_replicas import Replica

PODS = Resource("", "v1", "pods", "matillion")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ScriptedKubeApi]:
    async with ScriptedKubeApi(tmp_path).serving() as server:
        yield server


@pytest.fixture
async def client(api: ScriptedKubeApi) -> AsyncIterator[KubeClient]:
    async with await api.client() as connection:
        yield connection


@pytest.fixture
async def follow(client: KubeClient) -> AsyncIterator[Callable[..., RecordingHandler]]:
    """Start a reflector of pods with shortened times; returns what hears from it."""
    async with reflectors(client) as start:

        def start_with(label_selector: str = "", **times: float) -> RecordingHandler:
            timing = {"backoff_first": 0.02, "backoff_max": 0.1, "short_watch": 0.0, "settled": 5.0, **times}
            # The one integer among them is not set here.
            return start(PODS, WatchTiming(**timing), label_selector=label_selector)  # type: ignore[arg-type]

        yield start_with


@pytest.fixture
async def server() -> AsyncIterator[LeaseServer]:
    """Hold a Lease in memory."""
    held = LeaseServer()
    yield held
    held.stop()


@pytest.fixture
async def replicas(server: LeaseServer) -> AsyncIterator[Callable[..., Replica]]:
    """Start candidates; they end with the test."""
    started: list[Replica] = []

    def start(name: str, clock: Callable[[], float] | None = None) -> Replica:
        replica = Replica(server, name, clock=clock)
        started.append(replica)
        replica.start()
        return replica

    yield start
    for replica in started:
        replica.line.fault = lambda method: None  # virtual time ends with the test
        assert replica.task is not None
        if not replica.task.done():
            await replica.stop()
