"""What makes a pod an agent, and what keeps one that the selector finds from being counted as one.

Pure, and total. A selector goes by labels, and other pods of a release may carry those of its agents. An agent is
recognized by what the vendor's charts give it: `AGENT_ID` in its environment, its ports, its page's annotation.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.config.settings import DEFAULT_ENDPOINTS
from exporter.fleet.model import Endpoint
from exporter.kube.fields import Json, mapping, mappings, named, port, port_in_text, text

AGENT_ID = "AGENT_ID"
"""The variable without which the vendor's image does not start (the vendor's charts)."""
OTEL_PORT = "OTEL_EXPORTER_PROMETHEUS_PORT"
"""The variable that moves the OpenTelemetry page to another port (opentelemetry.io, "SDK configuration")."""
OTEL_PORT_NAME, LEGACY_PORT_NAME = "otel-metrics", "metrics"
"""What the vendor's charts call the ports of the two pages."""
PATH_ANNOTATION, PORT_ANNOTATION = "prometheus.io/path", "prometheus.io/port"
LEGACY_PATH = "/actuator/prometheus"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
"""The annotation by which a pod names its main container (kubernetes.io, "Well-Known Labels")."""

_JOB = "it belongs to a Job"
_MARKS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class AgentMarks:
    """What about a pod is as in an agent."""

    agent_id: bool
    """One of its containers has the variable `AGENT_ID`."""
    ports: tuple[str, ...]
    """Ports of an agent that it declares, by number and name: `8080`, `9555 otel-metrics`."""
    annotated: bool
    """Whether its annotations point Prometheus to the agent's legacy page."""

    @property
    def enough(self) -> bool:
        """Whether a pod that the selector finds is an agent. Any one mark will do: the labels match already."""
        return self.agent_id or bool(self.ports) or self.annotated

    @property
    def striking(self) -> bool:
        """Whether a pod that the selector does not find may well be an agent: port 8080 alone is any web server's."""
        return self.agent_id or (self.annotated and bool(self.ports))

    def __str__(self) -> str:
        """Return the marks in words, such as `AGENT_ID, port 8080 metrics`."""
        ports = (f"port {declared}" for declared in self.ports[:_MARKS_SHOWN])
        path = (f"{PATH_ANNOTATION} {LEGACY_PATH}",) if self.annotated else ()
        return ", ".join((*((AGENT_ID,) if self.agent_id else ()), *ports, *path))


def agent_marks(pod: Json, endpoints: Sequence[Endpoint] = DEFAULT_ENDPOINTS) -> AgentMarks:
    """Return what makes a pod look like an agent; `endpoints` are those where agents are looked for."""
    containers = tuple(mappings(mapping(pod.get("spec")).get("containers")))
    ports_of_agents = {endpoint.port for endpoint in (*endpoints, *DEFAULT_ENDPOINTS)}
    ports = dict.fromkeys(one for container in containers for one in _agents_ports(container, ports_of_agents))
    return AgentMarks(
        agent_id=any(named(container.get("env"), AGENT_ID) for container in containers),
        ports=tuple(ports),
        annotated=annotations(pod).get(PATH_ANNOTATION) == LEGACY_PATH,
    )


def ignored_reason(pod: Json, endpoints: Sequence[Endpoint] = DEFAULT_ENDPOINTS) -> str | None:
    """Return why a pod that the selector finds is no agent; None where it is one.

    What a Job runs ends by itself: nothing scales it, and its end is no loss. CronJobs and KEDA's ScaledJobs make Jobs.
    """
    owners = mappings(mapping(pod.get("metadata")).get("ownerReferences"))
    if any(owner.get("kind") == "Job" for owner in owners):
        return _JOB
    if agent_marks(pod, endpoints).enough:
        return None
    ports = ", ".join(str(endpoint.port) for endpoint in endpoints)
    return f"it has no {AGENT_ID} and declares no port of an agent: {ports}, or one named {OTEL_PORT_NAME}"


def agent_container(pod: Json, endpoints: Sequence[Endpoint] = DEFAULT_ENDPOINTS) -> Json:
    """Choose the container that is the agent among its sidecars.

    First the one that the pod's annotation names; then the container with `AGENT_ID`; then the one that declares an
    agent's port; else the first, as kubectl does. A service mesh puts its proxy first, but sets the annotation and uses
    ports of its own.
    """
    containers = tuple(mappings(mapping(pod.get("spec")).get("containers")))
    by_annotation = annotations(pod).get(DEFAULT_CONTAINER)
    return next(_best_first(containers, by_annotation, endpoints), {})


def _best_first(containers: Sequence[Json], by_annotation: object, endpoints: Sequence[Endpoint]) -> Iterator[Json]:
    yield from (one for one in containers if by_annotation and one.get("name") == by_annotation)
    yield from (one for one in containers if named(one.get("env"), AGENT_ID))
    yield from (one for one in containers if OTEL_PORT_NAME in declared_ports(one).values())
    for endpoint in endpoints:
        yield from (one for one in containers if endpoint.port in declared_ports(one))
    yield from containers


def declared_ports(container: Json) -> Mapping[int, str]:
    """Return the numbers of the ports that a container declares, each with its name; "" where it has none."""
    found = ((port(entry.get("containerPort")), text(entry.get("name"))) for entry in mappings(container.get("ports")))
    return {number: name or "" for number, name in found if number is not None}


def otel_port(container: Json) -> int | None:
    """Return the port that the container's environment gives to the OpenTelemetry page; None where it gives none."""
    return port_in_text(named(container.get("env"), OTEL_PORT).get("value"))


def annotations(pod: Json) -> Json:
    """Return a pod's annotations."""
    return mapping(mapping(pod.get("metadata")).get("annotations"))


def _agents_ports(container: Json, ports_of_agents: set[int]) -> Iterator[str]:
    by_environment = otel_port(container)
    for number, name in declared_ports(container).items():
        if number in ports_of_agents or number == by_environment or name in (OTEL_PORT_NAME, LEGACY_PORT_NAME):
            yield f"{number} {name}".rstrip()
    if by_environment is not None and by_environment not in declared_ports(container):
        yield f"{by_environment} in {OTEL_PORT}"
