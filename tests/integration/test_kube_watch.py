"""List and watch on a real API server: real versions, real bookmarks, a real 410."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from exporter.kube.api import ApiError, ExpiredError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.watch import RestartReason, WatchTiming
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.kube_recorders import RecordingHandler, reflectors
from tests.waiting import eventually

pytestmark = pytest.mark.slow

CONFIG_MAPS = Resource("", "v1", "configmaps")
PODS = Resource("", "v1", "pods")


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    async with await KubeClient.connect({"KUBECONFIG": str(control_plane.kubeconfig)}) as connection:
        yield connection


@pytest.fixture
async def follow(client: KubeClient) -> AsyncIterator[Callable[..., RecordingHandler]]:
    async with reflectors(client) as start:
        yield start


def config_map(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": {"a": "1"}}


async def test_objects_are_written_changed_and_deleted(client: KubeClient, namespace: str) -> None:
    """All verbs work on a real server, and a second writer in the same version gets a conflict."""
    maps = CONFIG_MAPS.within(namespace)
    made = await client.send("POST", maps, config_map("x"))
    made["data"] = {"a": "2"}
    changed = await client.send("PUT", maps.named("x"), made)
    assert changed["data"] == {"a": "2"}
    with pytest.raises(ApiError, match="read it again") as conflict:
        await client.send("PUT", maps.named("x"), made)
    assert (conflict.value.status, conflict.value.reason) == (409, "Conflict")
    patch = {"data": {"b": "3"}}
    patched = await client.send("PATCH", maps.named("x"), patch, content_type="application/merge-patch+json")
    assert patched["data"] == {"a": "2", "b": "3"}
    assert (await client.send("DELETE", maps.named("x"), None))["status"] == "Success"
    with pytest.raises(ApiError, match="Check that it exists") as gone:
        await client.get(maps.named("x"))
    assert gone.value.status == 404


async def test_continue_token_expires_by_compaction(
    control_plane: ControlPlane, client: KubeClient, namespace: str
) -> None:
    """Pages of a snapshot that etcd has forgotten are refused with 410, which is ExpiredError."""
    maps = CONFIG_MAPS.within(namespace)
    for name in ("a", "b", "c"):
        await client.send("POST", maps, config_map(name))
    page = await client.get(maps, [("limit", "1")])
    await client.send("POST", maps, config_map("d"))
    await asyncio.to_thread(control_plane.compact)
    with pytest.raises(ExpiredError) as expired:
        await client.get(maps, [("limit", "1"), ("continue", page["metadata"]["continue"])])
    assert expired.value.status == 410


async def test_version_that_was_compacted_away_is_listed_over_at_once(
    control_plane: ControlPlane,
    client: KubeClient,
    admin: Admin,
    namespace: str,
    follow: Callable[..., RecordingHandler],
) -> None:
    """A watch that goes on from a version etcd has forgotten gets a real 410, and a list makes up for it."""
    maps = CONFIG_MAPS.within(namespace)
    await client.send("POST", maps, config_map("first"))
    timing = WatchTiming(watch_min=3, watch_max=3, short_watch=1, backoff_first=600, backoff_max=600)
    handler = follow(maps, timing)
    await eventually(lambda: handler.items)
    # Other objects move etcd's revision on; this quiet collection hears of none of them.
    for number in range(3):
        await admin.create_namespace(f"{namespace}-noise-{number}")
    await asyncio.to_thread(control_plane.compact)
    await eventually(lambda: RestartReason.EXPIRED in handler.restarts)
    await eventually(lambda: handler.calls.count("replaced") == 2)
    await client.send("POST", maps, config_map("second"))
    await eventually(lambda: len(handler.items) == 2)
    assert handler.restarts[:2] == [RestartReason.ENDED, RestartReason.EXPIRED]


async def test_bookmarks_move_a_quiet_watch_on(
    admin: Admin, namespace: str, follow: Callable[..., RecordingHandler]
) -> None:
    """A watch on which nothing happens learns by bookmarks what happens elsewhere, and goes on from there."""
    other = f"{namespace}-busy"
    await admin.create_namespace(other)
    await admin.create_pod(namespace, "quiet", labels={})
    handler = follow(PODS.within(namespace), WatchTiming(watch_min=4, watch_max=4, short_watch=1))
    await eventually(lambda: handler.items)

    async def hear_of_elsewhere() -> None:
        # The server sends a bookmark two seconds before the watch is to end, if something happened since it began.
        heard = len(handler.calls)
        for number in range(20):
            await admin.create_pod(other, f"busy-{heard}-{number}", labels={})
            with suppress(AssertionError):
                return await eventually(lambda: len(handler.calls) > heard, 1)
        raise AssertionError("no bookmark came")

    await hear_of_elsewhere()
    await eventually(lambda: RestartReason.ENDED in handler.restarts)
    await hear_of_elsewhere()
    assert handler.calls[0] == "replaced"
    assert set(handler.calls[1:]) == {"alive"}
    assert set(handler.restarts) == {RestartReason.ENDED}
