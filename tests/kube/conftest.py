"""A scripted API server, and what follows a collection on it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.kube.api import Resource
from exporter.kube.client import KubeClient
from exporter.kube.watch import Reflector, WatchTiming
from tests.fakes.kube_api import ScriptedKubeApi
from tests.fakes.kube_recorders import RecordingHandler

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
    tasks: list[asyncio.Task[None]] = []

    def start(label_selector: str = "", **times: float) -> RecordingHandler:
        handler = RecordingHandler()
        timing = {"backoff_first": 0.02, "backoff_longest": 0.1, "short_watch": 0.0, "settled": 5.0, **times}
        reflector = Reflector(
            client,
            PODS,
            handler,
            read=lambda obj: obj,
            label_selector=label_selector,
            on_restart=handler.restarts.append,
            timing=WatchTiming(**timing),  # type: ignore[arg-type]  # the one integer among them is not set here
        )
        tasks.append(asyncio.create_task(reflector.run(), name="reflector"))
        return handler

    yield start
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
