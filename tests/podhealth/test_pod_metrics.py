"""Memory in use: what samples say, whose they are, how long they count, and what is said where there are none."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.typedefs import Handler
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.config import KubernetesSettings
from exporter.kube.times import go_duration, unix_time
from exporter.podhealth.pod_metrics import ContainerUsage, PodMemory, PodUsage, SamplingPace, usages
from tests.factories import NOW
from tests.fakes.background import background
from tests.fakes.followed_agents import FollowedAgents
from tests.fakes.kube_api import ScriptedKubeApi, reply, status
from tests.waiting import eventually

FAST = SamplingPace(interval=0.02, max_pause=0.1)
TAKEN = "2024-03-01T10:00:00Z"
WALL = 1709287220.0
"""Twenty seconds after the sample was taken."""


def pod_metrics(name: str = "agent-1", *, namespace: str = "matillion", **fields: Any) -> dict[str, Any]:
    """Make what metrics-server says of a pod with a sidecar."""
    containers = [
        {"name": "istio-proxy", "usage": {"cpu": "3m", "memory": "61Mi"}},
        {"name": "agent", "usage": {"cpu": "1250m", "memory": "3072Mi"}},
    ]
    made = {"metadata": {"name": name, "namespace": namespace}, "timestamp": TAKEN, "window": "15.262s"}
    return {**made, "containers": containers, **fields}


def listed(*items: dict[str, Any]) -> Handler:
    return reply(200, {"kind": "PodMetricsList", "metadata": {}, "items": list(items)})


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ScriptedKubeApi]:
    async with ScriptedKubeApi(tmp_path).serving() as server:
        yield server


@pytest.fixture
async def sample(api: ScriptedKubeApi, agents: FollowedAgents) -> AsyncIterator[Callable[..., None]]:
    """Start to sample, with settings given."""
    async with await api.client() as client, background() as run:

        def start(pace: SamplingPace = FAST, **settings: Any) -> None:
            memory = PodMemory(
                KubernetesSettings(**settings), client, agents, pace=pace, monotonic=lambda: NOW, wall=lambda: WALL
            )
            run(memory.run())

        yield start


async def test_memory_is_that_of_the_agents_container(
    api: ScriptedKubeApi, agents: FollowedAgents, sample: Callable[..., None]
) -> None:
    """A sidecar's is not counted: the limit is the container's own. Other pods are left alone."""
    api.script(lists=[listed(pod_metrics(), pod_metrics("stranger"), pod_metrics(namespace="elsewhere"))])
    agents.add()
    agents.add("unmeasured")
    sample()
    await eventually(lambda: agents.memory)
    assert list(agents.memory) == ["uid-agent-1"]
    memory = agents.memory["uid-agent-1"]
    assert memory.working_set_bytes == 3 * 1024**3
    assert memory.cpu_cores == 1.25
    assert memory.taken_time == unix_time(TAKEN)
    assert memory.good_until == pytest.approx(NOW - 20 + 2 * 15.262 + 60)
    assert api.requests[0].path == "/apis/metrics.k8s.io/v1beta1/namespaces/matillion/pods"
    assert api.listed[0] == {"labelSelector": KubernetesSettings().label_selector}


async def test_each_namespace_is_asked_once_an_interval(
    api: ScriptedKubeApi, agents: FollowedAgents, sample: Callable[..., None]
) -> None:
    """However many agents there are."""
    api.script(lists=[listed(pod_metrics())])
    for number in range(50):
        agents.add(f"agent-{number}")
    sample(namespaces=("a", "b"))
    await eventually(lambda: len(api.requests) >= 8)
    paths = [request.path for request in api.requests]
    assert sorted(set(paths)) == [f"/apis/metrics.k8s.io/v1beta1/namespaces/{name}/pods" for name in "ab"]
    assert min(paths.count(path) for path in paths) >= 3


async def test_whole_cluster_is_one_list(
    api: ScriptedKubeApi, agents: FollowedAgents, sample: Callable[..., None]
) -> None:
    """Without namespaces there is one list of all."""
    api.script(lists=[listed(pod_metrics(), pod_metrics(namespace="b"))])
    agents.add("agent-1", namespace="b")
    sample(namespaces=())
    await eventually(lambda: agents.memory)
    assert api.requests[0].path == "/apis/metrics.k8s.io/v1beta1/pods"


async def test_an_outage_does_not_make_it_slow(api: ScriptedKubeApi, sample: Callable[..., None]) -> None:
    """A metrics API that is there, and out of order, is asked at the usual pace, so its end is seen at once."""
    api.script([reply(503, "service unavailable")])
    sample(SamplingPace(interval=0.02, max_pause=3600.0))
    # With doubled pauses this would take ten minutes.
    await eventually(lambda: len(api.requests) > 15)


async def test_missing_metrics_api_is_logged_once(
    api: ScriptedKubeApi, agents: FollowedAgents, sample: Callable[..., None]
) -> None:
    """No metrics-server is no fault; it is asked for less and less, and found when it comes."""
    missing = reply(404, "404 page not found")
    api.script(lists=[missing, missing, missing, missing, listed(pod_metrics())])
    agents.add()
    with capture_logs() as said:
        sample()
        await eventually(lambda: agents.memory)
    assert [(line["log_level"], line["event"]) for line in said] == [
        ("info", "memory usage is unknown: the cluster has no metrics API"),
        ("info", "memory usage can be read again"),
    ]


@pytest.mark.parametrize(
    ("answer", "fix"),
    [
        (reply(503, "service unavailable"), "check metrics-server"),
        (reply(403, status(403, "Forbidden")), 'apiGroups: ["metrics.k8s.io"], resources: ["pods"], verbs: ["list"]'),
        (reply(200, {"kind": "PodMetricsList", "metadata": {}}), "check metrics-server"),
        (reply(200, "<html>"), "check metrics-server"),
    ],
    ids=["down", "not allowed", "no list", "not Kubernetes"],
)
async def test_trouble_is_logged_once_for_each_kind(
    api: ScriptedKubeApi, agents: FollowedAgents, sample: Callable[..., None], answer: Handler, fix: str
) -> None:
    """With what to do; the samples that are known stay what they are."""
    api.script(lists=[listed(pod_metrics()), answer])
    agents.add()
    with capture_logs() as said:
        sample()
        await eventually(lambda: len(api.requests) > 5)
    (warning,) = said
    assert warning["event"] == "memory usage cannot be read"
    assert fix in warning["fix"]
    assert agents.memory


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15.262s", 15.262), ("1m0s", 60.0), ("1h2m3.5s", 3723.5), ("30s", 30.0), ("250ms", 0.25), ("0s", 0.0)],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float) -> None:
    """Windows come in this form."""
    assert go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "-30s", "1 m", "s", "1d", None, 30, "1m0"])
def test_what_is_no_duration_is_not_known(text: object) -> None:
    """And a sample without a window says nothing."""
    assert go_duration(text) is None
    assert list(usages([pod_metrics(window=text)])) == []


def test_a_window_is_believed_up_to_ten_minutes() -> None:
    """A sample that claims to stand for a day does not."""
    (usage,) = usages([pod_metrics(window="24h0m0s")])
    assert usage.good_seconds == 2 * 600 + 60


@pytest.mark.parametrize("memory", ["0", "-5", "much", None, 7, "NaN"])
def test_memory_that_makes_no_sense_is_not_known(memory: object) -> None:
    """Nothing runs in no memory."""
    (usage,) = usages([pod_metrics(containers=[{"name": "agent", "usage": {"memory": memory}}])])
    assert usage.containers == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("cpu", "cores"),
    [("0", 0.0), ("1250m", 1.25), ("312345678n", 0.312345678), ("2", 2.0), ("-1", None), ("much", None), (None, None)],
)
def test_cpu_may_be_0_and_is_not_known_where_it_makes_no_sense(cpu: object, cores: float | None) -> None:
    """An agent that waits for work uses next to none, and memory is known whatever CPU is."""
    (usage,) = usages([pod_metrics(containers=[{"name": "agent", "usage": {"cpu": cpu, "memory": "1Gi"}}])])
    assert usage.containers == {"agent": ContainerUsage(1024**3, cores)}


@given(field=st.sampled_from(["metadata", "timestamp", "window", "containers"]), value=JSON, item=JSON)
def test_odd_items_are_passed_over(field: str, value: object, item: object) -> None:
    """Whatever stands where, reading the list does not fail."""
    containers = [{"name": "agent", "usage": value}, value]
    read = list(usages([pod_metrics(**{field: value}), pod_metrics(containers=containers), item, pod_metrics()]))
    assert all(isinstance(usage, PodUsage) for usage in read)
    assert read[-1].containers["agent"] == ContainerUsage(3 * 1024**3, 1.25)
