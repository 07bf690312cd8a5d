"""Where a pod declares that its agent serves its metrics. Pure, and total.

The vendor's charts declare it from 0.6 on: port `otel-metrics`, whose number is also in the environment. Charts of
January 2026 had a sidecar on 8000 `/metrics` which answers 0 for an agent that it cannot see. It is what their
annotations point to, so an annotation counts only where it names the legacy page, and only a port of the agent's own
container is an agent's.
"""

from collections.abc import Iterator, Sequence

from exporter.config.settings import DEFAULT_ENDPOINTS
from exporter.discovery.likeness import (
    LEGACY_PATH,
    LEGACY_PORT_NAME,
    OTEL_PORT_NAME,
    PATH_ANNOTATION,
    PORT_ANNOTATION,
    annotations,
    declared_ports,
    otel_port,
)
from exporter.fleet.model import Dialect, Endpoint
from exporter.kube.fields import Json, port_in_text

MAX_ENDPOINTS = 4
"""Maximum endpoints of a pod: further ones are ignored, since each may cost a timeout."""


def declared_endpoints(pod: Json, container: Json, endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Return the endpoints that a pod declares, OpenTelemetry first; none where it declares none.

    `container` is the one that is the agent (`likeness.agent_container`). `endpoints` are those where agents are looked
    for without a word of theirs: a path is taken from there.
    """
    found = (
        *(Endpoint(Dialect.OTEL, port, _path(Dialect.OTEL, endpoints)) for port in _otel_ports(container, endpoints)),
        *(Endpoint(Dialect.LEGACY, port, _path(Dialect.LEGACY, endpoints)) for port in _legacy_port(pod, container)),
    )
    return tuple(dict.fromkeys(found))[:MAX_ENDPOINTS]


def _otel_ports(container: Json, endpoints: Sequence[Endpoint]) -> Iterator[int]:
    ports = declared_ports(container)
    yield from (number for number, name in ports.items() if name == OTEL_PORT_NAME)
    by_environment = otel_port(container)
    if by_environment is not None:
        yield by_environment
    usual = [endpoint.port for endpoint in (*endpoints, *DEFAULT_ENDPOINTS) if endpoint.kind is Dialect.OTEL]
    yield from (number for number in usual if number in ports)


def _legacy_port(pod: Json, container: Json) -> Iterator[int]:
    """Yield the port of the legacy page: the annotation's, the one named for it, or 8080; none that is not declared."""
    noted, ports = annotations(pod), declared_ports(container)
    if noted.get(PATH_ANNOTATION) != LEGACY_PATH:
        return
    by_name = [number for number, name in ports.items() if name == LEGACY_PORT_NAME]
    usual = [endpoint.port for endpoint in DEFAULT_ENDPOINTS if endpoint.kind is Dialect.LEGACY]
    for number in (port_in_text(noted.get(PORT_ANNOTATION)), *by_name, *usual):
        if number is not None and number in ports:
            yield number
            return


def _path(kind: Dialect, endpoints: Sequence[Endpoint]) -> str:
    return next(endpoint.path for endpoint in (*endpoints, *DEFAULT_ENDPOINTS) if endpoint.kind is kind)
