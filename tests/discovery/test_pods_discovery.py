"""From pods on a socket to targets in a sink."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog

from exporter.config import KubernetesSettings
from exporter.discovery.pods import PodDiscovery
from exporter.kube.watch import RestartReason, WatchTiming
from tests.fakes.background import background
from tests.fakes.kube_api import ScriptedKubeApi, bookmark, event, lines, page, reply, status
from tests.fakes.kube_pods import raw_pod
from tests.fakes.kube_recorders import RecordingSink
from tests.waiting import eventually

SOURCE = "kubernetes/matillion"
Discover = Callable[..., RecordingSink]


@pytest.fixture
def clock() -> list[float]:
    """Give the monotonic clock's time, to be set by the test."""
    return [1000.0]


@pytest.fixture
async def discover(api: ScriptedKubeApi, clock: list[float]) -> AsyncIterator[Discover]:
    """Start a discovery on the scripted server; returns the sink it fills."""
    async with await api.client() as client, background() as run:

        def start(**settings: Any) -> RecordingSink:
            sink = RecordingSink()
            discovery = PodDiscovery(
                KubernetesSettings(**settings),
                client,
                sink,
                on_restart=sink.restarts.append,
                timing=WatchTiming(backoff_first=0.02, backoff_max=0.1),
                monotonic=lambda: clock[0],
                wall=lambda: 1709287200.0,  # 2024-03-01T10:00:00Z
            )
            run(discovery.run())
            return sink

        yield start


def newer(pod: dict[str, Any], version: str) -> dict[str, Any]:
    pod["metadata"]["resourceVersion"] = version
    return pod


async def test_pods_become_targets_and_follow_events(api: ScriptedKubeApi, discover: Discover) -> None:
    """Listed, added, changed, finished and deleted pods are targets exactly as long as they are agents."""
    moved = newer(raw_pod("moved", status={"podIP": "10.9.9.9"}), "3")
    api.script(
        lists=[
            page(
                raw_pod("done", status={"phase": "Succeeded"}),
                *(raw_pod(name) for name in ("moved", "ends", "goes", "stays")),
            )
        ],
        watches=[
            lines(
                event("ADDED", newer(raw_pod("new"), "2")),
                event("MODIFIED", moved),
                event("MODIFIED", newer(raw_pod("ends", status={"phase": "Failed"}), "4")),
                event("DELETED", newer(raw_pod("goes"), "5")),
                event("DELETED", newer(raw_pod("done", status={"phase": "Succeeded"}), "6")),
                bookmark("7"),
            )
        ],
    )
    sink = discover()
    await eventually(lambda: f"synced {SOURCE}" in sink.calls)
    assert set(sink.pods(SOURCE)) == {"stays", "moved", "new"}
    assert sink.pods(SOURCE)["moved"].address == "10.9.9.9"
    assert api.listed == [{"limit": "100", "labelSelector": KubernetesSettings().label_selector}]


async def test_how_a_pod_ended_is_delivered(api: ScriptedKubeApi, discover: Discover) -> None:
    """From its last event or from a list; a pod whose labels were changed is DELETED for us, and has not ended."""
    failed = {"phase": "Failed", "reason": "Evicted"}
    deletion = {"deletionTimestamp": "2024-03-01T10:00:00Z", "deletionGracePeriodSeconds": 0}
    pods = [raw_pod(name) for name in ("evicted", "deleted", "relabelled", "missed", "finished")]
    api.script(
        lists=[page(*pods), page(newer(raw_pod("finished", status=failed), "9"))],
        watches=[
            lines(
                event("MODIFIED", newer(raw_pod("evicted", status=failed), "2")),
                event("DELETED", newer(raw_pod("deleted", metadata=deletion), "3")),
                event("DELETED", newer(raw_pod("relabelled"), "4")),
                then="cut",
            ),
            lines(),
        ],
    )
    sink = discover()
    await eventually(lambda: sink.calls.count(f"replace {SOURCE}") == 2)
    assert {uid: facts.disruption for uid, facts in sink.ended.items()} == {
        "uid-evicted": "Evicted",
        "uid-deleted": None,
        "uid-finished": "Evicted",
    }
    assert not sink.pods(SOURCE)


async def test_ready_since_is_on_our_clock_and_does_not_wobble(api: ScriptedKubeApi, discover: Discover) -> None:
    """A pod that was ready long before this process began is known to have been; one from the future is ready now."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2024-03-01T08:00:00Z"}
    api.script(lists=[page(raw_pod("old", status={"conditions": [ready]}), raw_pod("future"))])
    sink = discover()
    await eventually(lambda: sink.pods(SOURCE))
    since = {name: target.facts and target.facts.ready_since for name, target in sink.pods(SOURCE).items()}
    assert since == {"old": 1000.0 - 7200.0, "future": 1000.0}


async def test_pod_that_is_gone_is_forgotten(api: ScriptedKubeApi, discover: Discover, clock: list[float]) -> None:
    """Nothing is kept of a pod that a list or an event says is gone: seen again, it is read anew."""
    one, two = newer(raw_pod("one"), "1"), newer(raw_pod("two"), "1")

    async def later(request: Any) -> Any:
        clock[0] = 5000.0
        return await page(one, two)(request)

    gone = lines(event("DELETED", two), then="cut")
    api.script(lists=[page(one, two), page(), later], watches=[gone, lines(then="cut"), lines()])
    sink = discover()
    await eventually(lambda: sink.calls.count(f"replace {SOURCE}") == 3)
    assert {target.facts and target.facts.ready_since for target in sink.pods(SOURCE).values()} == {5000.0}


def becoming(name: str, version: str, *, ready: bool, since: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    return newer(raw_pod(name, status={"conditions": [condition]}), version)


async def test_clock_of_a_node_does_not_make_an_agent_old(
    api: ScriptedKubeApi, discover: Discover, clock: list[float]
) -> None:
    """What becomes Ready under our watch is dated by our clock though its node is 40 s behind, also after a break."""
    behind = "2024-03-01T09:59:20Z"
    begun = [becoming(name, "1", ready=False, since=behind) for name in ("seen", "missed")]
    changed = [becoming(name, "2", ready=True, since=behind) for name in ("seen", "missed")]

    def then(answer: Any, now: float) -> Any:
        async def late(request: Any) -> Any:
            clock[0] = now
            return await answer(request)

        return late

    watch = then(lines(event("MODIFIED", changed[0]), then="cut"), 1060.0)
    api.script(lists=[page(*begun), then(page(*changed), 1070.0)], watches=[watch, lines()])
    sink = discover()
    await eventually(lambda: sink.calls.count(f"replace {SOURCE}") == 2)
    since = {name: target.facts and target.facts.ready_since for name, target in sink.pods(SOURCE).items()}
    assert since == {"seen": 1060.0, "missed": 1060.0}, "both no earlier than the last event of the watch"


def no_agent(name: str, *, job: bool = False, version: str = "1") -> dict[str, Any]:
    owner = {"ownerReferences": [{"kind": "Job", "name": name, "controller": True}]} if job else {}
    spec = {} if job else {"containers": [{"name": "ssh", "ports": [{"containerPort": 2222}]}]}
    return newer(raw_pod(name, metadata=owner, spec=spec), version)


async def test_other_pods_are_ignored_and_logged_once(api: ScriptedKubeApi, discover: Discover) -> None:
    """It is no target, and who shows it hears of it with its reason; the log says it once for each reason."""
    api.script(
        lists=[page(raw_pod("agent"), no_agent("runner-1"), no_agent("runner-2"), no_agent("job-1", job=True))],
        watches=[
            lines(
                event("ADDED", no_agent("job-2", job=True, version="2")),
                event("DELETED", no_agent("job-1", job=True, version="3")),
                event("MODIFIED", newer(raw_pod("runner-2"), "4")),
                bookmark("5"),
            )
        ],
    )
    with structlog.testing.capture_logs() as logs:
        sink = discover()
        await eventually(lambda: f"synced {SOURCE}" in sink.calls)
    assert set(sink.pods(SOURCE)) == {"agent", "runner-2"}
    reasons = {pod.pod: pod.reason for pod in sink.others[SOURCE]}
    assert set(reasons) == {"runner-1", "job-2"}
    assert reasons["job-2"] == "it belongs to a Job"
    said = [(log["event"], log["pod"]) for log in logs]
    assert said == [("pod is ignored", "runner-1"), ("pod is ignored", "job-1")]


async def test_nothing_but_others_is_a_warning_with_the_fix(api: ScriptedKubeApi, discover: Discover) -> None:
    """A selector that finds no agent at all is wrong; it is said when that becomes so, and not again."""
    api.script(
        lists=[page(no_agent("runner-1"), no_agent("runner-2"))],
        watches=[
            lines(
                event("ADDED", newer(raw_pod("agent"), "2")),
                event("DELETED", newer(raw_pod("agent"), "3")),
                event("MODIFIED", no_agent("runner-1", version="4")),
                bookmark("5"),
            )
        ],
    )
    with structlog.testing.capture_logs() as logs:
        sink = discover()
        await eventually(lambda: f"synced {SOURCE}" in sink.calls)
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert [log["event"] for log in warnings] == ["every pod that the selector matches is ignored"] * 2
    assert (warnings[0]["pods"], warnings[0]["source"]) == (2, SOURCE)
    assert "discovery.kubernetes.label_selector" in warnings[0]["fix"]


async def test_each_namespace_is_a_source_that_fails_alone(api: ScriptedKubeApi, discover: Discover) -> None:
    """Where one namespace is not allowed, the others are found and kept up all the same."""
    good = page(raw_pod("agent", namespace="good"))

    async def answer(request: Any) -> Any:
        return await (good if "/good/" in request.path else reply(403, status(403, "Forbidden")))(request)

    api.script(lists=[answer])
    sink = discover(namespaces=("good", "bad", "good"))
    await eventually(lambda: sink.restarts.count(RestartReason.FORBIDDEN) > 2)
    assert set(sink.sources) == {"kubernetes/good"}
    assert set(sink.pods("kubernetes/good")) == {"agent"}
    assert sink.calls == ["replace kubernetes/good"]


async def test_no_namespace_means_the_whole_cluster(api: ScriptedKubeApi, discover: Discover) -> None:
    """One list of all namespaces; each target says where it is."""
    api.script(lists=[page(raw_pod("a", namespace="x"), raw_pod("b", namespace="y"))])
    sink = discover(namespaces=())
    await eventually(lambda: sink.pods("kubernetes"))
    assert {target.namespace for target in sink.pods("kubernetes").values()} == {"x", "y"}
    assert api.requests[0].path == "/api/v1/pods"


async def test_missing_fleet_label_is_logged_once_for_each_fleet(api: ScriptedKubeApi, discover: Discover) -> None:
    """A fleet whose name had to be guessed is named once, with the label that was looked for."""
    owner = {"ownerReferences": [{"kind": "StatefulSet", "name": "agents", "controller": True}]}
    pods = [raw_pod(f"agents-{number}", labels={}, metadata=owner) for number in range(3)]
    api.script(lists=[page(*pods)])
    with structlog.testing.capture_logs() as logs:
        sink = discover()
        await eventually(lambda: sink.pods(SOURCE))
    assert [(log["fleet"], log["fleet_label"]) for log in logs] == [("agents", "app.kubernetes.io/instance")]
    assert {target.fleet for target in sink.pods(SOURCE).values()} == {"agents"}


def test_sources_are_known_before_it_runs(discover_sources: Callable[..., tuple[str, ...]]) -> None:
    """Who judges readiness can ask which sources are to be waited for."""
    assert discover_sources(namespaces=("a", "b")) == ("kubernetes/a", "kubernetes/b")
    assert discover_sources(namespaces=()) == ("kubernetes",)


@pytest.fixture
def discover_sources() -> Callable[..., tuple[str, ...]]:
    class Nobody:
        get = stream = None

    def sources(**settings: Any) -> tuple[str, ...]:
        client: Any = Nobody()
        sink = RecordingSink()
        return PodDiscovery(KubernetesSettings(**settings), client, sink, on_restart=sink.restarts.append).sources

    return sources
