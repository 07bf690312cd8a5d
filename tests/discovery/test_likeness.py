"""What makes a pod an agent, which of its containers that is, and what is passed over."""

from typing import Any

import pytest

from exporter.config import DEFAULT_ENDPOINTS
from exporter.discovery.likeness import LEGACY_PATH, agent_container, agent_marks, ignored_reason
from exporter.fleet.model import Dialect, Endpoint
from tests.fakes.kube_pods import raw_pod

SIDECAR = {"name": "istio-proxy", "ports": [{"containerPort": 15090}]}
OTEL = {"name": "a", "ports": [{"containerPort": 9464}]}
LEGACY = {"name": "b", "ports": [{"containerPort": 8080}]}
NAMED = {"name": "c", "ports": [{"containerPort": 9555, "name": "otel-metrics"}]}
WITH_ID = {"name": "d", "env": [{"name": "AGENT_ID", "valueFrom": {"secretKeyRef": {"name": "x", "key": "id"}}}]}
BARE = {"name": "e", "ports": [{"containerPort": 2222, "name": "ssh"}]}
ANNOTATED = {"prometheus.io/path": LEGACY_PATH, "prometheus.io/port": "8080"}


def pod(*containers: dict[str, Any], annotations: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    said = {"annotations": annotations or {}, **metadata}
    return raw_pod(metadata=said, spec={"containers": list(containers)})


@pytest.mark.parametrize(
    ("containers", "annotations", "chosen"),
    [
        ([SIDECAR, LEGACY], {}, "b"),
        ([LEGACY, OTEL], {}, "a"),
        ([OTEL, NAMED], {}, "c"),
        ([LEGACY, OTEL, NAMED, WITH_ID], {}, "d"),
        ([SIDECAR, {"name": "agent"}], {}, "istio-proxy"),
        ([WITH_ID, {"name": "agent"}], {"kubectl.kubernetes.io/default-container": "agent"}, "agent"),
        ([SIDECAR, LEGACY], {"kubectl.kubernetes.io/default-container": "gone"}, "b"),
        ([], {}, None),
    ],
    ids=["by port", "OTel first", "by name", "AGENT_ID", "first of all", "annotation", "annotation that lies", "none"],
)
def test_agent_is_distinguished_from_its_sidecars(
    containers: list[Any], annotations: dict[str, str], chosen: str | None
) -> None:
    """The pod's own word comes first, then AGENT_ID, then the agent's ports, then the order of the containers."""
    assert agent_container(pod(*containers, annotations=annotations)).get("name") == chosen


@pytest.mark.parametrize(
    ("containers", "annotations", "words"),
    [
        ([WITH_ID], {}, "AGENT_ID"),
        ([SIDECAR, LEGACY], {}, "port 8080"),
        ([OTEL, LEGACY], {}, "port 9464, port 8080"),
        ([NAMED], {}, "port 9555 otel-metrics"),
        ([{"ports": [{"containerPort": 8081, "name": "metrics"}]}], {}, "port 8081 metrics"),
        (
            [{"env": [{"name": "OTEL_EXPORTER_PROMETHEUS_PORT", "value": "9555"}]}],
            {},
            "port 9555 in OTEL_EXPORTER_PROMETHEUS_PORT",
        ),
        ([BARE], ANNOTATED, f"prometheus.io/path {LEGACY_PATH}"),
        ([WITH_ID, LEGACY], ANNOTATED, f"AGENT_ID, port 8080, prometheus.io/path {LEGACY_PATH}"),
    ],
)
def test_any_one_mark_is_enough(containers: list[Any], annotations: dict[str, str], words: str) -> None:
    """The selector found the pod already; what it declares tells it from what else has an agent's labels."""
    found = pod(*containers, annotations=annotations)
    marks = agent_marks(found)
    assert (str(marks), marks.enough, ignored_reason(found)) == (words, True, None)


@pytest.mark.parametrize(
    ("containers", "annotations"),
    [
        ([BARE], {}),
        ([SIDECAR], {"prometheus.io/path": "/metrics", "prometheus.io/port": "8000"}),
        ([{"ports": [{"containerPort": "8080"}, {"containerPort": True}, 8080, None], "env": "AGENT_ID"}], {}),
        ([{"env": [{"name": "AGENT_ID_FILE"}, {"name": "OTEL_EXPORTER_PROMETHEUS_PORT", "value": "0"}]}], {}),
        ([], {}),
    ],
    ids=["another port", "the sidecar's annotation", "what makes no sense", "other variables", "no container"],
)
def test_pod_without_any_mark_is_passed_over(containers: list[Any], annotations: dict[str, str]) -> None:
    """What neither shows an agent's page nor has an agent's identity answers nobody."""
    found = pod(*containers, annotations=annotations)
    marks = agent_marks(found)
    assert (marks.enough, marks.striking, str(marks)) == (False, False, "")
    assert ignored_reason(found) == (
        "it has no AGENT_ID and declares no port of an agent: 9464, 8080, or one named otel-metrics"
    )


def test_ports_of_the_setting_are_an_agents_too() -> None:
    """Where agents are looked for on another port, one that declares it is an agent."""
    elsewhere = pod({"name": "x", "ports": [{"containerPort": 7070}]})
    endpoints = (Endpoint(Dialect.OTEL, 7070, "/metrics"),)
    assert ignored_reason(elsewhere, DEFAULT_ENDPOINTS) is not None
    assert ignored_reason(elsewhere, endpoints) is None
    assert "agent: 7070, or" in str(ignored_reason(pod(BARE), endpoints))


def test_pod_of_a_job_is_no_agent_whatever_it_has() -> None:
    """It ends by itself, so nothing scales it: that it goes is no loss, and what it runs is no demand."""
    job = [{"apiVersion": "batch/v1", "kind": "Job", "name": "nightly-29", "controller": True}]
    assert ignored_reason(pod(WITH_ID, OTEL, ownerReferences=job)) == "it belongs to a Job"
    owner = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "Job", "controller": True}]
    assert ignored_reason(pod(WITH_ID, OTEL, ownerReferences=owner)) is None


def test_port_8080_alone_is_not_striking() -> None:
    """Any web server has it: for a pod that the selector does not find, it takes more to be taken for an agent."""
    assert not agent_marks(pod(LEGACY)).striking
    assert not agent_marks(pod(BARE, annotations=ANNOTATED)).striking
    assert agent_marks(pod(LEGACY, annotations=ANNOTATED)).striking
    assert agent_marks(pod(WITH_ID)).striking
