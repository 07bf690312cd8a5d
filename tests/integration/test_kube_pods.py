"""Discovery of pods on a real API server."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from exporter.fleet.model import PodFacts, Target
from exporter.kube.api import AccessDeniedError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.watch import RestartReason, WatchTiming
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.kube_recorders import RecordingSink
from tests.fakes.vendor import SETS, is_agent, vendor_objects
from tests.waiting import PATIENCE, eventually

pytestmark = pytest.mark.slow

Discover = Callable[..., Awaitable[RecordingSink]]
AGENT = {"app.kubernetes.io/name": "matillion-runner", "app.kubernetes.io/instance": "prod"}


def facts(target: Target) -> PodFacts:
    assert target.facts is not None
    return target.facts


async def test_pod_from_creation_to_deletion(admin: Admin, namespace: str, discover: Discover) -> None:
    """A pod is a target from its creation on, gets its address, is ready, drains for 12 hours, and is gone."""
    source = f"kubernetes/{namespace}"
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    await admin.create_pod(namespace, "other", labels={"app": "something-else"})
    sink = await discover(namespaces=(namespace,))
    await eventually(lambda: sink.pods(source))
    first = sink.pods(source)["agent-1"]
    assert (first.fleet, first.namespace, first.address) == ("prod", namespace, None)
    assert not facts(first).ready
    assert facts(first).memory_limit_bytes == 4 * 2**30
    assert facts(first).node == "node-1"

    await admin.run_pod(namespace, "agent-1", "127.10.0.1")
    await eventually(lambda: sink.pods(source)["agent-1"].address == "127.10.0.1")
    ready = facts(sink.pods(source)["agent-1"])
    assert ready.ready
    assert ready.ready_since is not None
    assert ready.ready_since == pytest.approx(time.monotonic(), abs=30), "it became so under our watch"
    late = await discover(namespaces=(namespace,))
    await eventually(lambda: late.pods(source))
    long_ago = facts(late.pods(source)["agent-1"]).ready_since
    assert long_ago is not None
    assert long_ago < time.monotonic() - 86400, "it was ready long before the other one came"

    await admin.delete_pod(namespace, "agent-1")
    await eventually(lambda: facts(sink.pods(source)["agent-1"]).draining_time)
    draining = facts(sink.pods(source)["agent-1"])
    assert draining.ready
    assert draining.draining_time == pytest.approx(time.time(), abs=30), "the deletion was asked for just now"

    await admin.delete_pod(namespace, "agent-1", grace_seconds=0)
    await eventually(lambda: not sink.pods(source))
    assert sink.restarts == []


async def test_agents_are_found_among_all_that_the_vendors_charts_make(
    admin: Admin, namespace: str, discover: Discover
) -> None:
    """Of every chart in the field by default; the script runner is passed over where a selector finds it too."""
    agents = set()
    for deployment in (one for name in SETS for one in vendor_objects(name, "Deployment")):
        name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
        metadata = {"name": name, **template["metadata"]}
        spec = template["spec"] | {"serviceAccountName": "default"}
        await admin.call("POST", f"/api/v1/namespaces/{namespace}/pods", {"metadata": metadata, "spec": spec})
        agents |= {name} if is_agent(deployment) else set()
    source = f"kubernetes/{namespace}"
    chosen = await discover(namespaces=(namespace,))
    wide = await discover(namespaces=(namespace,), label_selector="app.kubernetes.io/instance")
    await eventually(lambda: chosen.pods(source) and wide.pods(source))
    assert set(chosen.pods(source)) == set(wide.pods(source)) == agents
    assert source not in chosen.others
    assert [other.pod for other in wide.others[source]] == ["etl-prod-matillion-runner-script-runner"]


async def test_restarts_and_reasons_follow_the_status(admin: Admin, namespace: str, discover: Discover) -> None:
    """A container that keeps dying says so in the facts of its target."""
    source = f"kubernetes/{namespace}"
    await admin.create_pod(namespace, "agent-1", labels=AGENT, memory_limit="1500M")
    await admin.run_pod(namespace, "agent-1", "fd00::1")
    sink = await discover(namespaces=(namespace,))
    await eventually(lambda: sink.pods(source))
    assert sink.pods(source)["agent-1"].address == "fd00::1"
    ended = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2024-05-01T00:00:00Z"}
    crashed = {
        "name": "agent",
        "image": "agent:1",
        "imageID": "",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    await admin.set_status(namespace, "agent-1", {"containerStatuses": [crashed]})
    await eventually(lambda: facts(sink.pods(source)["agent-1"]).crash_looping)
    said = facts(sink.pods(source)["agent-1"])
    assert (said.restarts, said.last_terminated_reason, said.memory_limit_bytes) == (3, "OOMKilled", 1.5e9)


async def test_same_name_is_another_agent(admin: Admin, namespace: str, discover: Discover) -> None:
    """A pod made anew under the same name has another UID, and is another target."""
    source = f"kubernetes/{namespace}"
    old = await admin.create_pod(namespace, "agent-0", labels=AGENT)
    sink = await discover(namespaces=(namespace,))
    await eventually(lambda: list(sink.sources.get(source, {})) == [old])
    await admin.delete_pod(namespace, "agent-0", grace_seconds=0)
    new = await admin.create_pod(namespace, "agent-0", labels=AGENT)
    await eventually(lambda: list(sink.sources[source]) == [new])


async def test_pod_that_loses_the_selected_label_comes_back(admin: Admin, namespace: str, discover: Discover) -> None:
    """A pod no longer selected is gone, and found again with the same UID when it is selected again."""
    source = f"kubernetes/{namespace}"
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    sink = await discover(namespaces=(namespace,))
    await eventually(lambda: sink.pods(source))
    await admin.label_pod(namespace, "agent-1", {"app.kubernetes.io/name": "in-repair"})
    await eventually(lambda: not sink.pods(source))
    await admin.label_pod(namespace, "agent-1", {"app.kubernetes.io/name": "matillion-runner"})
    await eventually(lambda: sink.pods(source))
    assert sink.restarts == []


async def test_several_namespaces_and_the_whole_cluster(admin: Admin, namespace: str, discover: Discover) -> None:
    """Chosen namespaces are sources of their own; the whole cluster is one source that holds them all."""
    second = f"{namespace}-b"
    await admin.create_namespace(second)
    names = (namespace, second)
    chosen = await discover(namespaces=names)
    cluster = await discover(namespaces=())
    for name in names:
        await admin.create_pod(name, f"in-{name}", labels=AGENT)
    await eventually(lambda: all(set(chosen.pods(f"kubernetes/{name}")) == {f"in-{name}"} for name in names))
    await eventually(lambda: {f"in-{name}" for name in names} <= set(cluster.pods("kubernetes")))


async def test_many_pods_come_in_pages(admin: Admin, namespace: str, discover: Discover) -> None:
    """A list that the server hands out in pages is one membership."""
    source = f"kubernetes/{namespace}"
    names = {f"agent-{number}" for number in range(7)}
    await asyncio.gather(*(admin.create_pod(namespace, name, labels=AGENT) for name in names))
    sink = await discover(timing=WatchTiming(page_size=2), namespaces=(namespace,))
    await eventually(lambda: set(sink.pods(source)) == names)
    assert sink.calls == [f"replace {source}"]


async def test_missing_permission_is_named_until_it_is_granted(
    control_plane: ControlPlane, admin: Admin, namespace: str, discover: Discover
) -> None:
    """A service account without rights gets the rule to add; once it is added, discovery goes on by itself."""
    source = f"kubernetes/{namespace}"
    await admin.create_pod(namespace, "agent-1", labels=AGENT)
    token = await admin.service_account_token(namespace, "exporter")
    kubeconfig = control_plane.kubeconfig_for_token(f"exporter-{namespace}", token)
    pods = Resource("", "v1", "pods", namespace)
    rule = {"apiGroups": [""], "resources": ["pods"]}

    sink = await discover(kubeconfig, namespaces=(namespace,))
    async with await KubeClient.connect({"KUBECONFIG": str(kubeconfig)}) as client:
        with pytest.raises(AccessDeniedError) as denied:
            await client.get(pods)
        assert f"system:serviceaccount:{namespace}:exporter" in str(denied.value)
        assert pods.grant("list") in str(denied.value)
        await eventually(lambda: RestartReason.FORBIDDEN in sink.restarts)
        assert source not in sink.sources

        await admin.grant(namespace, "exporter", "list", [{**rule, "verbs": ["list"]}])
        await eventually(lambda: set(sink.pods(source)) == {"agent-1"})
        with pytest.raises(AccessDeniedError) as denied:
            async with client.stream(pods, [("watch", "true")], idle_timeout=5):
                pass
        assert pods.grant("watch") in str(denied.value)

    assert f"upsert {source}" not in sink.calls
    await admin.grant(namespace, "exporter", "watch", [{**rule, "verbs": ["watch"]}])
    async with asyncio.timeout(PATIENCE):
        touch = 0
        while f"upsert {source}" not in sink.calls:  # changes come by the watch now, not by the next list
            touch += 1
            await admin.label_pod(namespace, "agent-1", {"touched": str(touch)})
            await asyncio.sleep(0.2)


async def test_unknown_token_is_a_matter_of_credentials(control_plane: ControlPlane, namespace: str) -> None:
    """A bad token is told apart from a missing permission."""
    kubeconfig = control_plane.kubeconfig_for_token("stranger", "nobody-issued-this")
    async with await KubeClient.connect({"KUBECONFIG": str(kubeconfig)}) as client:
        with pytest.raises(AccessDeniedError, match="does not accept the credentials"):
            await client.get(Resource("", "v1", "pods", namespace))


async def test_api_server_that_goes_away_and_comes_back(
    control_plane: ControlPlane, admin: Admin, namespace: str, discover: Discover
) -> None:
    """While the API server is away the targets stay; then what changed meanwhile is made good by difference."""
    source = f"kubernetes/{namespace}"
    for name in ("stays", "goes"):
        await admin.create_pod(namespace, name, labels=AGENT)
    sink = await discover(namespaces=(namespace,))
    await eventually(lambda: set(sink.pods(source)) == {"stays", "goes"})

    await asyncio.to_thread(control_plane.stop_api_server)
    await asyncio.to_thread(control_plane.erase, f"/registry/pods/{namespace}/goes")
    await eventually(lambda: len(sink.restarts) > 3)
    assert set(sink.pods(source)) == {"stays", "goes"}

    await asyncio.to_thread(control_plane.start_api_server)
    await eventually(lambda: set(sink.pods(source)) == {"stays"})
    await admin.create_pod(namespace, "new", labels=AGENT)
    await eventually(lambda: set(sink.pods(source)) == {"stays", "new"})
    assert f"remove {source}" not in sink.calls, "no event told of the deletion: the list did"
    assert RestartReason.ERROR in sink.restarts
