"""What is read from one raw pod."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import DEFAULT_ENDPOINTS
from exporter.discovery.pod_facts import PodReader
from exporter.fleet.model import FinishedPod, IgnoredPod, PodFacts, Target
from exporter.fleet.protection import KARPENTER, PROTECTION
from exporter.kube.times import unix_time
from tests.fakes.kube_pods import LABEL, raw_pod

READER = PodReader(LABEL, DEFAULT_ENDPOINTS, lambda _uid, ready, transition: (transition or 0.0) if ready else None)


DISRUPTED = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]}


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def read(pod: dict[str, Any]) -> Target:
    target = READER.read(pod)
    assert isinstance(target, Target)
    return target


def facts(pod: dict[str, Any]) -> PodFacts:
    said = read(pod).facts
    assert said is not None
    return said


def test_whole_pod() -> None:
    """Everything a healthy pod says arrives, in seconds and bytes."""
    assert READER.read(raw_pod()) == Target(
        uid="uid-agent-1",
        namespace="matillion",
        fleet="prod",
        pod="agent-1",
        address="10.1.2.3",
        facts=PodFacts(
            ready=True,
            ready_since=at("2024-03-01T10:00:20"),
            created_time=at("2024-03-01T09:00:00"),
            node="node-1",
            container="agent",
            started_time=at("2024-03-01T10:00:00"),
            image="registry.example/agent:9.1",
            restarts=2,
            last_terminated_reason="OOMKilled",
            last_terminated_time=at("2024-03-01T09:59:50"),
            last_exit_code=137,
            memory_limit_bytes=4 * 2**30,
            cpu_limit_cores=1.5,
            grace_seconds=30,
            protected=False,
        ),
    )


def test_annotations_of_interest() -> None:
    """Only those that decisions are based on are kept, and whether they protect the pod is known."""
    pod = raw_pod()
    pod["metadata"]["annotations"] = {**PROTECTION, "big": "x" * 1000}
    assert (facts(pod).annotations, facts(pod).protected) == (PROTECTION, True)
    pod["metadata"]["annotations"][KARPENTER] = "false"
    assert facts(pod).protected is False
    pod["metadata"]["annotations"] = "none"
    assert (facts(pod).annotations, facts(pod).protected) == ({}, False)


def test_new_pod_knows_little() -> None:
    """A pod that was just made has no address, and what is not known is None, not 0."""
    pod = raw_pod(status={"phase": "Pending", "podIP": None, "conditions": [], "containerStatuses": None})
    target = read(pod)
    assert target.address is None
    assert target.facts is not None
    assert (target.facts.ready, target.facts.ready_since, target.facts.restarts) == (False, None, None)
    assert (target.facts.waiting_reason, target.facts.last_terminated_reason) == (None, None)
    assert target.facts.started_time is None


def test_pod_without_a_node_has_the_reason_for_waiting() -> None:
    """Where no node was found there is no container to say anything; the scheduler's word is what is known."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes available"}
    pod = raw_pod(status={"phase": "Pending", "podIP": None, "conditions": [condition], "containerStatuses": None})
    assert facts(pod).waiting_reason == "Unschedulable"
    scheduled = {"type": "PodScheduled", "status": "True"}
    assert facts(raw_pod(status={"conditions": [scheduled]})).waiting_reason is None


@pytest.mark.parametrize(("phase", "agent"), [("Succeeded", False), ("Failed", False), ("Unknown", True), ("", True)])
def test_finished_pods_are_no_agents(phase: str, agent: bool) -> None:
    """A pod that has ended for good holds no task; one whose node is lost may."""
    found = READER.read(raw_pod(status={"phase": phase, "reason": "Evicted"}))
    assert isinstance(found, Target) is agent
    if isinstance(found, FinishedPod):
        assert (found.facts.disruption, found.facts.last_exit_code) == ("Evicted", 137)


def test_ipv6_address_stays_bare() -> None:
    """Brackets belong to URLs, not to addresses."""
    target = read(raw_pod(status={"podIP": "2001:db8::7"}))
    assert target.address == "2001:db8::7"


def test_draining_begins_when_the_deletion_was_asked_for() -> None:
    """Kubernetes notes when the grace will be over; the 12 hours before that are the drain."""
    deletion = {"deletionTimestamp": "2024-03-01T22:00:00Z", "deletionGracePeriodSeconds": 43200}
    draining = facts(raw_pod(metadata=deletion))
    assert draining.draining_time == at("2024-03-01T10:00:00")
    assert (draining.drain_deadline_time, draining.drain_grace_seconds) == (at("2024-03-01T22:00:00"), 43_200)
    assert draining.ready
    assert facts(raw_pod(metadata={"deletionTimestamp": "2024-03-01T22:00:00Z"})).draining_time == at(
        "2024-03-01T22:00:00"
    )


@pytest.mark.parametrize(
    ("metadata", "own", "end"),
    [
        ({}, None, (None, None, None, 30)),
        ({}, 43_200, (None, None, None, 43_200)),
        ({}, 0, (None, None, None, 0)),
        ({}, "soon", (None, None, None, 30)),
        ({"deletionGracePeriodSeconds": 600}, 43_200, ("10:00:00", "10:10:00", 600, 43_200)),
        ({"deletionGracePeriodSeconds": 0}, 43_200, ("10:10:00", "10:10:00", 0, 43_200)),
        ({"deletionGracePeriodSeconds": None}, 43_200, ("10:10:00", "10:10:00", None, 43_200)),
        ({"deletionGracePeriodSeconds": -1}, 43_200, ("10:10:00", "10:10:00", None, 43_200)),
    ],
)
def test_the_end_of_a_drain(metadata: dict[str, Any], own: object, end: tuple[Any, ...]) -> None:
    """When it began and will end, the grace period in force, and the pod's own; an absent one is not known."""
    deletion = {"deletionTimestamp": "2024-03-01T10:10:00Z"} if metadata else {}
    read_facts = facts(raw_pod(metadata=deletion | metadata, spec={"terminationGracePeriodSeconds": own}))
    begun, deadline = (None if time is None else at(f"2024-03-01T{time}") for time in end[:2])
    assert (read_facts.draining_time, read_facts.drain_deadline_time) == (begun, deadline)
    assert (read_facts.drain_grace_seconds, read_facts.grace_seconds) == end[2:]


def test_not_ready_pod_is_ready_since_never() -> None:
    """The moment it stopped being ready is not the moment it became so."""
    condition = {"type": "Ready", "status": "False", "lastTransitionTime": "2024-03-01T10:00:20Z"}
    said = facts(raw_pod(status={"conditions": [condition]}))
    assert (said.ready, said.ready_since) == (False, None)


def test_crash_loop() -> None:
    """A container that is held back says why it waits and how it ended last."""
    ended = {"reason": "Error", "exitCode": 1, "finishedAt": "2024-03-01T11:00:00Z"}
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}
    status = {"name": "agent", "restartCount": 7, "state": state, "lastState": {"terminated": ended}}
    said = facts(raw_pod(status={"containerStatuses": [status]}))
    assert said.crash_looping
    assert (said.restarts, said.last_terminated_reason) == (7, "Error")
    assert said.last_terminated_time == at("2024-03-01T11:00:00")


def test_container_that_has_just_ended() -> None:
    """Between its end and its restart a container's latest end is in its state, not in its last state."""
    now = {"reason": "OOMKilled", "finishedAt": "2024-03-01T12:00:00Z"}
    before = {"reason": "Error", "finishedAt": "2024-03-01T11:00:00Z"}
    status = {
        "name": "agent",
        "restartCount": 1,
        "state": {"terminated": now},
        "lastState": {"terminated": before},
    }
    said = facts(raw_pod(status={"containerStatuses": [status]}))
    assert (said.last_terminated_reason, said.last_terminated_time) == ("OOMKilled", at("2024-03-01T12:00:00"))


@pytest.mark.parametrize(
    ("status", "disruption"),
    [
        ({}, None),
        ({"reason": "NodeLost"}, "NodeLost"),
        (DISRUPTED, "EvictionByEvictionAPI"),
        ({**DISRUPTED, "reason": "Evicted"}, "Evicted"),
        ({"conditions": [{"type": "DisruptionTarget", "status": "False", "reason": "PreemptionByScheduler"}]}, None),
        ({"reason": "x" * 10_000}, "x" * 99 + "…"),
    ],
)
def test_reason_of_a_disruption(status: dict[str, Any], disruption: str | None) -> None:
    """The status' own reason is used before the condition's, and is bounded."""
    assert facts(raw_pod(status=status)).disruption == disruption


def test_counts_are_those_of_the_agent() -> None:
    """A sidecar's restarts are not the agent's, wherever Kubernetes lists it."""
    sidecar = {"name": "istio-proxy", "ports": [{"containerPort": 15090}]}
    agent = {"name": "b", "ports": [{"containerPort": 8080}], "resources": {"limits": {"memory": "1Gi"}}}
    statuses = [{"name": "b", "restartCount": 1}, {"name": "istio-proxy", "restartCount": 9}]
    said = facts(raw_pod(spec={"containers": [sidecar, agent]}, status={"containerStatuses": statuses}))
    assert (said.restarts, said.memory_limit_bytes) == (1, 2**30)


def owned(kind: str, name: str, **labels: str) -> dict[str, Any]:
    owner = {"kind": kind, "name": name, "controller": True}
    return raw_pod("agent-x-6fc8fc89b-1", labels=labels, metadata={"ownerReferences": [owner]})


@pytest.mark.parametrize(
    ("pod", "fleet"),
    [
        (owned("ReplicaSet", "agent-x-6fc8fc89b", **{"pod-template-hash": "6fc8fc89b"}), "agent-x"),
        (owned("StatefulSet", "agents"), "agents"),
        (owned("ReplicaSet", "agent-x-6fc8fc89b", **{LABEL: ""}), "agent-x-6fc8fc89b"),
        (raw_pod("lonely", labels={}), "lonely"),
        (raw_pod("held", labels={}, metadata={"ownerReferences": [{"kind": "X", "name": "not-in-control"}]}), "held"),
    ],
    ids=["Deployment", "StatefulSet", "empty label", "bare pod", "owner that does not control"],
)
def test_fleet_without_the_label_is_the_workload(pod: dict[str, Any], fleet: str) -> None:
    """One Deployment is one fleet, also where nobody has labelled it."""
    target = read(pod)
    assert target.fleet == fleet


@pytest.mark.parametrize(
    ("pod", "workload", "template"),
    [
        (owned("ReplicaSet", "agent-x-6fc8fc89b", **{"pod-template-hash": "6fc8fc89b"}), "agent-x", "6fc8fc89b"),
        (owned("StatefulSet", "agents"), "agents", None),
        (raw_pod("lonely"), None, None),
    ],
    ids=["Deployment", "StatefulSet", "bare pod"],
)
def test_workload_is_the_owner_of_the_pod(pod: dict[str, Any], workload: str | None, template: str | None) -> None:
    """It is what a scaler scales; the template tells the pods of a rollout from those that it replaces."""
    said = facts(pod)
    assert (said.workload, said.template) == (workload, template)


def test_limit_in_force_is_the_running_containers() -> None:
    """A limit may be changed in place; the spec is what was asked for, the status what it runs with."""
    container = {"name": "agent", "ports": [{"containerPort": 8080}]}
    container["resources"] = {"limits": {"cpu": "4", "memory": "8Gi"}}
    resized = {"name": "agent", "resources": {"limits": {"cpu": "2", "memory": "4Gi"}}}
    said = facts(raw_pod(spec={"containers": [container]}, status={"containerStatuses": [resized]}))
    assert (said.memory_limit_bytes, said.cpu_limit_cores) == (4 * 2**30, 2.0)
    for resources in ({}, {"limits": {}}, {"limits": {"memory": "lots"}}, None):
        untold = {"name": "agent", "resources": resources}
        said = facts(raw_pod(spec={"containers": [container]}, status={"containerStatuses": [untold]}))
        assert (said.memory_limit_bytes, said.cpu_limit_cores) == (8 * 2**30, 4.0)


@pytest.mark.parametrize("limit", ["0", "-1", "lots", "", None, 4096, [], "NaN", "1e400"])
def test_limit_that_is_none_is_unknown(limit: object) -> None:
    """A limit of 0 means no limit, and a bad one is no reason to lose the pod."""
    container = {"name": "agent", "ports": [{"containerPort": 8080}], "resources": {"limits": {"memory": limit}}}
    assert facts(raw_pod(spec={"containers": [container]})).memory_limit_bytes is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-01T00:00:00.500000Z", 0.5),
        ("1970-01-01T00:00:00", None),
        ("yesterday", None),
        (None, None),
        (60, None),
    ],
)
def test_unix_time(text: object, seconds: float | None) -> None:
    """Times of Kubernetes have a zone; what has none cannot be placed."""
    assert unix_time(text) == seconds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
PATHS = [
    ("metadata",),
    ("spec",),
    ("status",),
    *(("metadata", key) for key in ("labels", "annotations", "ownerReferences", "deletionTimestamp", "name", "uid")),
    *(("spec", key) for key in ("containers", "nodeName")),
    *(("status", key) for key in ("phase", "podIP", "conditions", "containerStatuses", "initContainerStatuses")),
    *(("spec", "containers", 0, key) for key in ("name", "ports", "resources", "image", "env")),
    *(("status", "containerStatuses", 0, key) for key in ("name", "state", "lastState", "restartCount", "resources")),
]


@given(path=st.sampled_from(PATHS), value=JSON)
@pytest.mark.slow
def test_odd_field_is_not_known_and_never_an_error(path: tuple[str | int, ...], value: object) -> None:
    """Whatever stands where, reading a pod does not fail."""
    pod = raw_pod()
    part: Any = pod
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    found = READER.read(pod)
    assert isinstance(found, IgnoredPod) or isinstance(found.facts, PodFacts)
