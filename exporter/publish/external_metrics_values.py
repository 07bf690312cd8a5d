"""What the external metrics API says: from fleets and a question to the items of an answer, or why there is none.

Pure. The HPA adds up whatever items it gets. So an answer is whole or it is an error: a fleet that cannot be trusted is
never left out of a sum, an empty list is never sent, and nothing is 0 for want of knowledge.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from exporter.fleet.model import Fleet
from exporter.kube.quantity import format_quantity
from exporter.kube.selector import SelectorError, parse_selector


class RefusalError(Exception):
    """There is no answer but this: an HTTP status, and a sentence for whoever looks for the cause."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class ExternalMetric:
    """One metric a scaler can ask for."""

    name: str
    help: str
    read: Callable[[Fleet], float | None]
    """The value of a fleet that is trusted; None where it is not known."""
    unknown: str = "it is not known"
    """Why it may not be known, in words."""
    additive: bool = True
    """Whether the values of several fleets make sense as a sum, which is what the HPA makes of them."""


def _utilization(fleet: Fleet) -> float | None:
    return None if fleet.utilization is None else 100.0 * fleet.utilization


EXTERNAL_METRICS: Mapping[str, ExternalMetric] = {
    metric.name: metric
    for metric in (
        ExternalMetric(
            "matillion_fleet_demand_tasks",
            "Tasks the fleet should have room for: active, queued, held, replacement and unseen. The one to scale by.",
            lambda fleet: fleet.demand_tasks,
        ),
        ExternalMetric(
            "matillion_fleet_tasks_active",
            "Tasks running on agents that are not draining.",
            lambda fleet: fleet.tasks_active,
            "no agent answers",
        ),
        ExternalMetric(
            "matillion_fleet_tasks_queued",
            "Tasks waiting for a slot.",
            lambda fleet: fleet.tasks_queued,
            "no agent reports a queue",
        ),
        ExternalMetric(
            "matillion_fleet_free_slots",
            "Tasks the serving agents could take on right now.",
            lambda fleet: fleet.free_slots,
        ),
        ExternalMetric(
            "matillion_fleet_utilization_percent",
            "Tasks on the serving agents in percent of their slots; of one fleet at a time.",
            _utilization,
            "no agent is serving",
            additive=False,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for."""

    metric: str
    namespace: str
    selector: str = ""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known at the moment of asking."""

    fleets: Sequence[Fleet]
    not_ready_reason: str | None
    cluster: str | None
    wall_now: float
    """The instant of the fleets in Unix time."""


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
        message = f"the label selector {question.selector[:200]!r} cannot be understood: {error}"
        raise RefusalError(HTTPStatus.BAD_REQUEST, message) from None
    if known.not_ready_reason is not None:
        # Not even a fleet that is known can be told from a part of one before the first round is over.
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready yet: {known.not_ready_reason}")
    here = [fleet for fleet in known.fleets if fleet.namespace == question.namespace]
    chosen = [fleet for fleet in here if selector.matches(_labels(fleet, known.cluster))]
    if not chosen:
        raise RefusalError(HTTPStatus.NOT_FOUND, _nothing_matches(question, here, known.cluster))
    if len(chosen) > 1 and not metric.additive:
        names = ", ".join(fleet.name for fleet in chosen)
        raise RefusalError(
            HTTPStatus.BAD_REQUEST,
            f"{metric.name} of several fleets ({names}) would be added up, which says nothing; "
            f"choose one by its label, such as fleet={chosen[0].name}",
        )
    return [_item(metric, fleet, known) for fleet in chosen]


def _nothing_matches(question: Question, here: Sequence[Fleet], cluster: str | None) -> str:
    if not here:
        return f"no fleet is known in namespace {question.namespace!r}"
    names = ", ".join(fleet.name for fleet in here)
    said = "" if cluster is None else f", with cluster={cluster}"
    return (
        f"no fleet in namespace {question.namespace!r} matches the label selector {question.selector!r}; "
        f"values of the label fleet there are: {names}{said}"
    )


def _labels(fleet: Fleet, cluster: str | None) -> dict[str, str]:
    return {"fleet": fleet.name} | ({} if cluster is None else {"cluster": cluster})


def _item(metric: ExternalMetric, fleet: Fleet, known: Knowledge) -> dict[str, object]:
    named = f"fleet {fleet.name!r} in namespace {fleet.namespace!r}"
    if fleet.untrusted_reason is not None:
        message = f"the figures of {named} are not to be trusted: {fleet.untrusted_reason}"
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, message)
    value = metric.read(fleet)
    if value is None:
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, f"{metric.name} of {named} is withheld: {metric.unknown}")
    try:
        quantity = format_quantity(value)
    except ValueError as error:
        raise RefusalError(HTTPStatus.SERVICE_UNAVAILABLE, f"{metric.name} of {named} is withheld: {error}") from None
    return {
        "metricName": metric.name,
        "metricLabels": _labels(fleet, known.cluster),
        "timestamp": _timestamp(known.wall_now - _age(fleet)),
        "value": quantity,
    }


def _age(fleet: Fleet) -> float:
    """Seconds since the oldest of what the figures rest on: a reading; without one, the list of agents itself."""
    return fleet.sync_age if fleet.read_age is None else fleet.read_age


def _timestamp(unix_seconds: float) -> str:
    """Return a date as Kubernetes writes it: RFC 3339 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(unix_seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
