"""Scalers by list and watch: what is delivered, in which version of the API, and what is said where there are none."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config import KubernetesSettings
from exporter.discovery.scalers import ScalerDiscovery
from exporter.kube.watch import RestartReason, WatchTiming
from tests.fakes.background import background
from tests.fakes.kube_api import ScriptedKubeApi, bookmark, event, lines, page, reply, status
from tests.fakes.kube_hpas import raw_hpa
from tests.fakes.kube_recorders import RecordingSink
from tests.waiting import eventually

PATH = "/apis/autoscaling/{}/namespaces/matillion/horizontalpodautoscalers"
MISSING = reply(404, status(404, "NotFound"))
FORBIDDEN = reply(403, status(403, "Forbidden"))

Discover = Callable[..., RecordingSink]


@pytest.fixture
async def discover(api: ScriptedKubeApi) -> AsyncIterator[Discover]:
    """Start to follow the HPAs, with settings given."""
    async with await api.client() as client, background() as run:

        def start(**settings: Any) -> RecordingSink:
            sink = RecordingSink()
            found = ScalerDiscovery(
                KubernetesSettings(**settings),
                client,
                sink,
                on_restart=sink.restarts.append,
                max_pause=0.1,
                timing=WatchTiming(backoff_first=0.01, backoff_max=0.02),
            )
            run(found.run())
            return sink

        yield start


def versions(api: ScriptedKubeApi) -> list[str]:
    """Return the versions of the API that were asked, in order."""
    return [request.path.split("/")[3] for request in api.requests]


async def test_scalers_come_change_and_go(api: ScriptedKubeApi, discover: Discover) -> None:
    """Each change is delivered as the whole of the namespace, and so is the word that nothing changed."""
    changed = raw_hpa("a", version="2", spec={"maxReplicas": 20})
    api.script(
        lists=[page(raw_hpa("a"), raw_hpa("b"), {"metadata": {"uid": "x", "resourceVersion": "1"}})],
        watches=[
            lines(
                event("MODIFIED", changed),
                event("ADDED", raw_hpa("c", version="3")),
                event("DELETED", raw_hpa("b", version="4")),
                event("MODIFIED", raw_hpa("c", version="5", status={"currentMetrics": [1]})),
                bookmark("6"),
                pause=0.02,
            )
        ],
    )
    sink = discover()
    await eventually(lambda: len(sink.calls) == 6)
    assert [(one.name, one.max_agents) for one in sink.scalers["matillion"]] == [("a", 20), ("c", 12)]
    assert [request.path for request in api.requests] == [PATH.format("v2")] * 2
    assert sink.restarts == []


async def test_each_namespace_is_followed(api: ScriptedKubeApi, discover: Discover) -> None:
    """By itself; without namespaces there is one list of the whole cluster."""
    sink = discover(namespaces=("a", "b"))
    await eventually(lambda: sink.scalers.keys() == {"a", "b"})
    whole = discover(namespaces=())
    await eventually(lambda: None in whole.scalers)
    assert "/apis/autoscaling/v2/horizontalpodautoscalers" in {request.path for request in api.requests}


@pytest.mark.parametrize(("missing", "version"), [(1, "v2beta2"), (2, "v1")])
async def test_an_old_server_is_asked_in_its_own_version(
    api: ScriptedKubeApi, discover: Discover, missing: int, version: str
) -> None:
    """List and watch in the newest version it has; the next list asks for that one first."""
    ended = reply(410, status(410, "Expired"))
    api.script(lists=[*[MISSING] * missing, page(raw_hpa())], watches=[ended, lines()])
    sink = discover()
    await eventually(lambda: len(api.watched) == 2)
    assert sink.scaler_names() == ["prod-hpa"]
    assert versions(api)[missing:] == [version] * 4


async def test_a_server_that_was_upgraded_is_asked_in_another_version(api: ScriptedKubeApi, discover: Discover) -> None:
    """v2beta2 is gone from Kubernetes 1.26."""
    api.script(lists=[MISSING, page(raw_hpa("old")), MISSING, page(raw_hpa("new"))], watches=[MISSING, lines()])
    sink = discover()
    await eventually(lambda: sink.scaler_names() == ["new"])
    await eventually(lambda: len(api.watched) == 2)
    assert versions(api) == ["v2", "v2beta2", "v2beta2", "v2beta2", "v2", "v2"]


async def test_a_missing_permission_is_logged_once_with_the_grant(api: ScriptedKubeApi, discover: Discover) -> None:
    """However often it is tried; nothing is delivered until it is there, and then that is said."""
    api.script(lists=[*[FORBIDDEN] * 5, page(raw_hpa())])
    with capture_logs() as log:
        sink = discover()
        await eventually(lambda: sink.scalers)
    assert sink.scaler_names() == ["prod-hpa"]
    refused, granted = log
    assert (refused["log_level"], refused["namespace"]) == ("warning", "matillion")
    assert refused["event"] == "autoscalers of the fleets are unknown: HorizontalPodAutoscalers cannot be read"
    assert (
        'add the rule {apiGroups: ["autoscaling"], resources: ["horizontalpodautoscalers"], verbs: ["list", "watch"]} '
        "to a Role in namespace 'matillion'"
    ) in refused["fix"]
    assert "scalers.enabled to false" in refused["fix"]
    assert (granted["log_level"], granted["event"]) == ("info", "HorizontalPodAutoscalers can be read again")


async def test_a_right_that_is_taken_away_is_waited_for(api: ScriptedKubeApi, discover: Discover) -> None:
    """The watch ends, and the list is not asked for again and again."""
    api.script(lists=[page(raw_hpa("a")), FORBIDDEN, FORBIDDEN, page(raw_hpa("b"))], watches=[FORBIDDEN, lines()])
    with capture_logs() as log:
        sink = discover()
        await eventually(lambda: sink.scaler_names() == ["b"])
    assert sink.restarts == [RestartReason.FORBIDDEN]
    assert [entry["log_level"] for entry in log] == ["warning", "warning", "info"]
    assert "watch failed" in log[0]["event"]


async def test_a_server_without_the_api_is_no_trouble(api: ScriptedKubeApi, discover: Discover) -> None:
    """It is said once, as a fact."""
    api.script(lists=[MISSING])
    with capture_logs() as log:
        sink = discover()
        await eventually(lambda: len(api.requests) >= 9)
    assert (sink.scalers, sink.restarts) == ({}, [])
    assert [entry["log_level"] for entry in log] == ["info"]


async def test_a_failing_server_is_asked_again(api: ScriptedKubeApi, discover: Discover) -> None:
    """As for pods: with growing pauses, and what was known stays with whoever was told."""
    api.script(lists=[reply(500, status(500)), page(raw_hpa())])
    sink = discover()
    await eventually(lambda: sink.scalers)
    assert sink.restarts == [RestartReason.ERROR]
