"""The endpoints that a pod declares."""

from typing import Any

import pytest

from exporter.config import DEFAULT_ENDPOINTS
from exporter.discovery.likeness import agent_container
from exporter.discovery.pod_endpoints import MAX_ENDPOINTS, declared_endpoints
from exporter.fleet.model import Dialect, Endpoint
from tests.fakes.kube_pods import raw_pod

PAGE = {"prometheus.io/path": "/actuator/prometheus"}
OTEL_9464, OTEL_9555 = (Endpoint(Dialect.OTEL, port, "/metrics") for port in (9464, 9555))
LEGACY = Endpoint(Dialect.LEGACY, 8080, "/actuator/prometheus")


def port(number: Any, name: str | None = None) -> dict[str, Any]:
    return {"containerPort": number} | ({} if name is None else {"name": name})


def declared(
    *ports: dict[str, Any],
    annotations: dict[str, Any] | None = None,
    environment: object = None,
    sidecars: tuple[dict[str, Any], ...] = (),
    endpoints: tuple[Endpoint, ...] = DEFAULT_ENDPOINTS,
) -> tuple[Endpoint, ...]:
    """Return what is read of a pod with an agent that declares these ports, after its sidecars."""
    env = [{"name": "AGENT_ID", "value": "a"}, {"name": "OTEL_EXPORTER_PROMETHEUS_PORT", "value": environment}]
    agent = {"name": "agent", "ports": list(ports), "env": env[: 1 if environment is None else 2]}
    pod = raw_pod(metadata={"annotations": annotations or {}}, spec={"containers": [*sidecars, agent]})
    return declared_endpoints(pod, agent_container(pod, endpoints), endpoints)


def test_nothing_declared_is_no_endpoint() -> None:
    """Then the list of the settings is all there is to try."""
    assert declared() == ()
    assert declared(port(2222, "ssh"), annotations={"prometheus.io/port": "8080"}) == ()


def test_port_of_todays_charts() -> None:
    """Port 8080 and the annotation are the legacy page, and no other is declared."""
    assert declared(port(8080, "metrics"), annotations={**PAGE, "prometheus.io/port": "8080"}) == (LEGACY,)
    assert declared(port(8080), annotations=PAGE) == (LEGACY,)
    assert declared(port(8080, "metrics")) == (), "without the annotation, 8080 may be anything"


def test_port_named_for_otel_comes_first() -> None:
    """As chart 0.6 declares it: on any port, and beside the legacy page."""
    both = (port(8080, "metrics"), port(9555, "otel-metrics"))
    assert declared(*both, annotations=PAGE, environment="9555") == (OTEL_9555, LEGACY)
    assert declared(port(9464, "otel-metrics")) == (OTEL_9464,)


def test_environment_has_the_port_that_is_not_declared() -> None:
    """A port need not be declared to be open; the agent listens where its environment says."""
    assert declared(environment="9555") == (OTEL_9555,)
    assert declared(port(9464), environment="9555") == (OTEL_9555, OTEL_9464)


def test_usual_port_is_known_without_a_name() -> None:
    """9464 is the OpenTelemetry exporter's own default."""
    assert declared(port(9464)) == (OTEL_9464,)
    assert declared(port(9464), port(8080), annotations=PAGE) == (OTEL_9464, LEGACY)


@pytest.mark.parametrize("value", ["", "0", "65536", "-1", "9464.0", " 9464", "9" * 100, "٩٤٦٤", 9464, None, []])
def test_port_that_is_none_is_not_known(value: object) -> None:
    """What makes no sense is passed over; neither is a port out of range one."""
    assert declared(environment=value) == ()
    assert declared(port(value, "otel-metrics")) == ((OTEL_9464,) if value == 9464 else ())
    assert declared(port(8080), annotations={**PAGE, "prometheus.io/port": value}) == (LEGACY,)


def test_sidecar_that_reports_0_is_never_an_agent() -> None:
    """The charts of January 2026: a container on 8000 /metrics that answers for an agent that it cannot see."""
    sidecar = {"name": "metrics-exporter", "ports": [port(8000, "metrics")]}
    annotations = {"prometheus.io/path": "/metrics", "prometheus.io/port": "8000"}
    assert declared(port(8080), annotations=annotations, sidecars=(sidecar,)) == ()
    for path in ("/metrics", "/actuator/prometheus"):
        said = {"prometheus.io/path": path, "prometheus.io/port": "8000"}
        found = declared(port(8080), annotations=said, sidecars=(sidecar,))
        assert 8000 not in {endpoint.port for endpoint in found}


def test_annotation_counts_where_the_agent_declares_its_port() -> None:
    """A management port of its own moves the legacy page; the name says it where the annotation is silent."""
    moved = Endpoint(Dialect.LEGACY, 8081, "/actuator/prometheus")
    assert declared(port(8080), port(8081), annotations={**PAGE, "prometheus.io/port": "8081"}) == (moved,)
    assert declared(port(8080), port(8081, "metrics"), annotations=PAGE) == (moved,)
    assert declared(port(8081), annotations=PAGE) == ()


def test_paths_are_those_of_the_settings() -> None:
    """A pod declares ports; what is behind them the settings know."""
    endpoints = (Endpoint(Dialect.LEGACY, 1, "/old"), Endpoint(Dialect.OTEL, 7070, "/new"))
    found = declared(port(7070), port(9464), port(8080), annotations=PAGE, endpoints=endpoints)
    assert found == (
        Endpoint(Dialect.OTEL, 7070, "/new"),
        Endpoint(Dialect.OTEL, 9464, "/new"),
        Endpoint(Dialect.LEGACY, 8080, "/old"),
    )


def test_what_is_declared_is_bounded() -> None:
    """Each endpoint may cost a timeout."""
    assert len(declared(*(port(number, "otel-metrics") for number in range(1, 100)))) == MAX_ENDPOINTS
