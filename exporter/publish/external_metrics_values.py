"""What the external metrics API serves: from fleets and a question to the items of a response, or why there is none.

Pure. The HPA adds up whatever items it gets. So an answer is whole or it is an error: a fleet that cannot be trusted is
never left out of a sum, an empty list is never sent, and nothing is 0 for want of knowledge.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from exporter.fleet.figures import FLEET_FIGURES
from exporter.fleet.model import Fleet
from exporter.fleet.outlets import FleetFigure, Unit
from exporter.kube.quantity import format_quantity
from exporter.kube.selector import SelectorError, parse_selector
from exporter.store.restarts import FleetKey


class RefusalError(Exception):
    """There is no answer but this: an HTTP status, and a sentence that states the cause."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


EXTERNAL_METRICS: Mapping[str, FleetFigure] = {
    figure.external_name: figure for figure in FLEET_FIGURES if figure.external is True
}
"""The metrics that an autoscaler can request, by name."""

_FLEET_LABEL = "fleet"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for."""

    metric: str
    namespace: str
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known at the moment of asking."""

    fleet_keys: Callable[[], Iterable[FleetKey]]
    """Returns the namespace and name of every fleet."""
    fleet: Callable[[FleetKey], Fleet | None]
    """Returns one of them."""
    not_ready_reason: str | None
    cluster: str | None

    def of(self, namespace: str) -> Sequence[Fleet]:
        """Return the fleets of a namespace whose figures an HPA may get."""
        return self.named(namespace, (name for where, name in self.fleet_keys() if where == namespace))

    def named(self, namespace: str, names: Iterable[str]) -> Sequence[Fleet]:
        """Return those of the named fleets of a namespace whose figures an HPA may get, by name."""
        found = map(self.fleet, sorted((namespace, name) for name in names))
        # Of a fleet whose agents are gone the figures are 0, which an HPA would act on.
        return [fleet for fleet in found if fleet is not None and (fleet.agents or fleet.at_rest)]


def items(question: Question, known: Knowledge) -> list[dict[str, object]]:
    """Return the items of an ExternalMetricValueList, one for each fleet that is asked for. Raises RefusalError."""
    metric = EXTERNAL_METRICS.get(question.metric)
    if metric is None:
        offered = ", ".join(EXTERNAL_METRICS)
        raise RefusalError(
            HTTPStatus.NOT_FOUND, f"there is no external metric {question.metric!r}; there are {offered}"
        )
    try:
        selector = parse_selector(question.selector)
    except SelectorError as error:
        message = f"the label selector {question.selector[:200]!r} cannot be parsed: {error}"
        raise RefusalError(HTTPStatus.BAD_REQUEST, message) from None
    if known.not_ready_reason is not None:
        # Before the first round is over, a known fleet cannot be distinguished from a part of one.
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready yet: {known.not_ready_reason}")
    # Each of many autoscalers asks for its own fleet: looking at all others each time would be quadratic.
    names = selector.allowed(_FLEET_LABEL)
    named = known.of(question.namespace) if names is None else known.named(question.namespace, names)
    chosen = [fleet for fleet in named if selector.matches(_labels(fleet, known.cluster))]
    if not chosen:
        raise RefusalError(HTTPStatus.NOT_FOUND, _nothing_matches(question, known))
    # The HPA adds the values of several fleets up, which means nothing of shares.
    if len(chosen) > 1 and metric.unit is Unit.RATIO:
        several = ", ".join(fleet.name for fleet in chosen)
        raise RefusalError(
            HTTPStatus.BAD_REQUEST,
            f"{question.metric} of several fleets ({several}) cannot be summed up meaningfully; "
            f"select one by its label, such as fleet={chosen[0].name}",
        )
    return [_item(metric, fleet, known) for fleet in chosen]


def _nothing_matches(question: Question, known: Knowledge) -> str:
    here, cluster = known.of(question.namespace), known.cluster
    if not here:
        return f"no fleet is known in namespace {question.namespace!r}"
    names = ", ".join(fleet.name for fleet in here)
    within = "" if cluster is None else f", with cluster={cluster}"
    return (
        f"no fleet in namespace {question.namespace!r} matches the label selector {question.selector!r}; "
        f"values of the label fleet there are: {names}{within}"
    )


def _labels(fleet: Fleet, cluster: str | None) -> dict[str, str]:
    return {_FLEET_LABEL: fleet.name} | ({} if cluster is None else {"cluster": cluster})


def _item(metric: FleetFigure, fleet: Fleet, known: Knowledge) -> dict[str, object]:
    named = f"fleet {fleet.name!r} in namespace {fleet.namespace!r}"
    if fleet.untrusted_reason is not None:
        message = f"the figures of {named} are not trusted: {fleet.untrusted_reason}"
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, message)
    value = metric.in_percent(fleet)
    withheld = f"{metric.external_name} of {named} is withheld"
    if value is None:
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, f"{withheld}: {metric.unknown}")
    try:
        quantity = format_quantity(value)
    except ValueError as error:
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, f"{withheld}: {error}") from None
    return {
        "metricName": metric.external_name,
        "metricLabels": _labels(fleet, known.cluster),
        "timestamp": _timestamp(fleet.time - _age(fleet)),
        "value": quantity,
    }


def _age(fleet: Fleet) -> float:
    """Seconds since the oldest of what the figures rest on: a reading; without one, the list of agents itself."""
    return fleet.sync_age if fleet.read_age is None else fleet.read_age


def _timestamp(unix_seconds: float) -> str:
    """Return a date as Kubernetes writes it: RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(unix_seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
