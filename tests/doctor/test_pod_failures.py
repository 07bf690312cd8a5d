"""Pods that do not run, or ended lately: by Kubernetes' reason, once for all fleets, from the list of pods alone."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from exporter.doctor import exporter_pods
from exporter.doctor.check import Outcome
from exporter.doctor.pod_failures import LATELY_SECONDS, NAME
from exporter.doctor.pod_reasons import canonical, exit_code, pod_reason
from exporter.fleet.classification import MAX_START_SECONDS
from tests.doctor.cluster import ALL_PODS, PODS, Cluster, Json, Seen, examined, settings
from tests.fakes.kube_pods import LABEL, raw_pod

SUBJECT = "agents"


def at(ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))


def pod(name: str, *, fleet: str = "prod", age: float = 3600, ended: Json | None = None, **container: Any) -> Json:
    """Make a pod without an address; `container` is its status."""
    last = {} if ended is None else {"lastState": {"terminated": {"finishedAt": at(600), "exitCode": 1, **ended}}}
    status = {"name": "agent", "restartCount": 0, "state": {}, **last, **container}
    made = raw_pod(name, labels={LABEL: fleet}, metadata={"creationTimestamp": at(age)})
    made["status"] |= {"podIP": None, "containerStatuses": [status]}
    return made


def waiting(reason: str, message: str | None = None) -> Json:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


async def seen(kube: Cluster, *pods: Json) -> Seen:
    kube.said[PODS] = (200, {"items": list(pods)})
    return await examined(settings(), kube)


async def test_a_reason_of_two_fleets_is_told_once(kube: Cluster) -> None:
    """With the number of agents in each, the first pods, and a failure where one of the fleets has no other agent."""
    pull = waiting("ErrImagePull", "manifest unknown.")
    running = {"state": {"running": {"startedAt": at(60)}}}
    report = await seen(
        kube,
        *(
            pod(f"etl-{number}", fleet="etl", **(pull if number else waiting("ImagePullBackOff")))
            for number in range(3)
        ),
        pod("prod-0", **pull),
        pod("prod-1", **running),
    )
    found = report[SUBJECT, "ImagePullBackOff"]
    assert found.outcome is Outcome.FAILED, "nobody serves in etl"
    assert found.found == (
        "4 agents in matillion/etl (3), matillion/prod (1): etl-0, etl-1, etl-2 and 1 more "
        "(image registry.example/agent:9.1); the node cannot get the image. Kubernetes: manifest unknown"
    )
    assert "kubectl -n matillion describe pod etl-0" in found.fix
    assert (SUBJECT, NAME) not in report
    alone = await seen(kube, pod("prod-0", **pull), pod("prod-1", **running))
    assert alone[SUBJECT, "ImagePullBackOff"].outcome is Outcome.WARNING


async def test_a_crash_loop_by_memory_is_told_as_that(kube: Cluster) -> None:
    """What kills it is to be mended; how often, when, and at which limit stands beside it."""
    loops = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container")
    killed = {"reason": "OOMKilled", "exitCode": 137}
    report = await seen(
        kube, pod("prod-0", ended=killed, restartCount=7, **loops), pod("prod-1", ended={"reason": "Error"}, **loops)
    )
    assert report[SUBJECT, "OOMKilled"].found == (
        "1 agent in matillion/prod: prod-0 (1 in CrashLoopBackOff, exit code 137 (killed), 7 restarts, the last "
        "10 min ago, memory limit 4 GiB); the container exceeded its memory limit and was killed; every task on it was "
        "lost"
    )
    assert "prod-1 (last exit Error, exit code 1, the last 10 min ago); the container ends soon" in (
        report[SUBJECT, "CrashLoopBackOff"].found
    )
    assert "/runbooks/MatillionAgentCrashLooping" in report[SUBJECT, "CrashLoopBackOff"].fix
    assert not report.report.good


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda: pod("a", age=1, **waiting("ContainerCreating")), None),
        (lambda: pod("a", age=MAX_START_SECONDS + 60, **waiting("ContainerCreating")), "ContainerCreating"),
        (lambda: pod("a", age=MAX_START_SECONDS + 60, **waiting("PodInitializing")), "PodInitializing"),
        (lambda: pod("a", age=1, **waiting("InvalidImageName")), "InvalidImageName"),
        (lambda: pod("a", **waiting("NewInKubernetes")), "NewInKubernetes"),
        (
            lambda: pod("a", state={"terminated": {"reason": "Completed", "finishedAt": at(9 * LATELY_SECONDS)}}),
            "Completed",
        ),
        (lambda: pod("a", state={"running": {"startedAt": at(9)}}, ended={"reason": "Error"}), "Error"),
        (
            lambda: pod(
                "a",
                state={"running": {"startedAt": at(9)}},
                ended={"reason": "Error", "finishedAt": at(LATELY_SECONDS + 60)},
            ),
            None,
        ),
    ],
)
async def test_which_pods_have_a_reason(kube: Cluster, given: Callable[[], Json], reason: str | None) -> None:
    """One that is new may wait for its image; one that runs again is told of for a day.

    Each is made when its test begins: a whole suite may run between its collection and that.
    """
    report = await seen(kube, given())
    assert ((SUBJECT, NAME) in report) is (reason is None)
    assert reason is None or report[SUBJECT, reason].fix


async def test_pods_without_a_node(kube: Cluster) -> None:
    """The scheduler's word is told, and its silence after a while; a pod that is deleted is left alone."""
    message = "0/3 nodes are available: 3 Insufficient cpu."
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pods = [pod(name) for name in ("told", "silent", "young", "ending")]
    for one in pods:
        one["spec"].pop("nodeName")
        one["status"] |= {"conditions": [], "containerStatuses": []}
    told, silent, young, ending = pods
    told["status"]["conditions"] = [refused]
    young["metadata"]["creationTimestamp"] = at(10)
    ending["metadata"]["deletionTimestamp"] = at(-60)
    report = await seen(kube, *pods)
    assert "told; no node has room for it" in report[SUBJECT, "Unschedulable"].found
    assert message.rstrip(".") in report[SUBJECT, "Unschedulable"].found
    assert report[SUBJECT, "Pending"].found == ("1 agent in matillion/prod: silent; no scheduler has considered it")
    assert ("Kubernetes", "nodes for agents in matillion") not in report, "it is told once"
    assert silent["metadata"]["name"] == "silent"


async def test_agents_that_run(kube: Cluster) -> None:
    """One line; and none of a namespace that cannot be listed, which another check reports."""
    assert (await seen(kube))[SUBJECT, NAME].found == "there are no agents"
    report = await seen(kube, pod("a", state={"running": {"startedAt": at(9)}}))
    assert report[SUBJECT, NAME].found == "none: each agent's container runs"
    kube.refuse(PODS, 403, "Forbidden")
    assert (await examined(settings(), kube))[SUBJECT, NAME].outcome is Outcome.NOT_CHECKED


def test_reasons_in_words() -> None:
    """An init container's is told as that, and an unknown one in general words."""
    assert canonical("Init:ErrImagePull") == "Init:ImagePullBackOff"
    assert pod_reason("Init:CrashLoopBackOff").meaning.startswith("an init container: the container ends soon")
    assert "-c NAME" in pod_reason("Init:CrashLoopBackOff").fix
    assert pod_reason("Whatever").meaning == "Kubernetes cannot run the container"
    assert [exit_code(code) for code in (1, 137)] == ["exit code 1", "exit code 137 (killed)"]


EXPORTER = {"app.kubernetes.io/name": "matillion-fleet-exporter"}


def own(name: str, **container: Any) -> Json:
    """Make a pod of the exporter's."""
    made = pod(name, **container)
    made["metadata"] |= {"labels": EXPORTER, "namespace": "monitoring"}
    made["spec"]["containers"] = [{"name": "agent", "image": "registry.example/exporter:0.1.0"}]
    return made


async def test_an_exporter_that_does_not_start(kube: Cluster) -> None:
    """Seen from a person's machine, since it cannot say so itself: a failure until one of its pods runs."""
    name = exporter_pods.NAME
    pull = own("exporter-0", **waiting("ImagePullBackOff", "denied."))
    kube.said[ALL_PODS] = (200, {"items": [pull]})
    found = (await examined(settings(), kube))["Kubernetes", f"{name}: ImagePullBackOff"]
    assert found.outcome is Outcome.FAILED
    assert found.found == (
        "monitoring/exporter-0 (image registry.example/exporter:0.1.0); the node cannot get the image. "
        "Kubernetes: denied"
    )
    assert "kubectl -n monitoring describe pod exporter-0" in found.fix
    assert "/runbooks/MatillionExporterDown" in found.fix
    killed = own("exporter-1", state={"running": {"startedAt": at(9)}}, ended={"reason": "OOMKilled", "exitCode": 137})
    ending = own("exporter-2", **waiting("CrashLoopBackOff"))
    ending["metadata"]["deletionTimestamp"] = at(-60)
    kube.said[ALL_PODS] = (200, {"items": [pull, killed, ending]})
    report = await examined(settings(), kube)
    assert report["Kubernetes", f"{name}: ImagePullBackOff"].outcome is Outcome.WARNING, "the other one runs again"
    assert "resources.limits.memory" in report["Kubernetes", f"{name}: OOMKilled"].fix
    assert "task" not in report["Kubernetes", f"{name}: OOMKilled"].found
    assert ("Kubernetes", f"{name}: CrashLoopBackOff") not in report


async def test_an_exporter_that_runs(kube: Cluster) -> None:
    """One line; none where there is no exporter yet, or none that may be seen."""
    running = own("exporter-0", state={"running": {"startedAt": at(9)}})
    kube.said[ALL_PODS] = (200, {"items": [running]})
    assert (await examined(settings(), kube))["Kubernetes", exporter_pods.NAME].found == "1 of 1 pod running"
    kube.said[ALL_PODS] = (200, {"items": []})
    assert ("Kubernetes", exporter_pods.NAME) not in await examined(settings(), kube)
    kube.refuse(ALL_PODS, 500, "InternalError")
    assert (await examined(settings(), kube))["Kubernetes", exporter_pods.NAME].outcome is Outcome.FAILED
