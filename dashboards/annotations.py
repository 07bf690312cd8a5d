"""What happened beside the graphs: scale events, rollouts, leader changes, alerts, as annotations of a dashboard."""

from dataclasses import dataclass

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from alerts.prometheus.labels import CLUSTER_LABEL
from alerts.prometheus.recording import AGENTS, VERSIONS
from dashboards.panels import PROMETHEUS
from dashboards.queries import BY_FLEET, OF_FLEET, REPLICA, recorded
from exporter.fleet.outlets import PREFIX
from exporter.publish.instruments import EXPORTER_PREFIX
from exporter.web.palette import CAPACITY, DEMAND, LOST, QUEUED, RUNNING

_STEP = "1m"
_EARLIER = f"offset {_STEP}"
_OF_FLEET = "{{namespace}}/{{fleet}}"


@dataclass(frozen=True, slots=True)
class Event(Builder[AnnotationQuery]):
    """A kind of event: wherever its query has a sample, there is a mark; neighboring ones are one region."""

    name: str
    color: str
    expr: str
    title: str
    text: str = _OF_FLEET
    shown: bool = True
    """Whether at first; each has a switch at the top of the dashboard."""

    def build(self) -> AnnotationQuery:
        """Return Grafana's annotation."""
        return _OfPrometheus(self)


class _OfPrometheus(AnnotationQuery):
    """An annotation with the fields that Grafana's schema leaves to the data source."""

    def __init__(self, event: Event) -> None:
        super().__init__(
            name=event.name, datasource=PROMETHEUS, enable=event.shown, icon_color=event.color, expr=event.expr
        )
        self._words = {"titleFormat": event.title, "textFormat": event.text, "step": _STEP}

    def to_json(self) -> dict[str, object]:
        """Return all fields."""
        return super().to_json() | self._words


def firing(when: str = "") -> str:
    """Return the firing alerts on the selected fleets, their agents and the exporter; `when` may be an offset."""
    given = f'alertname=~"Matillion.*", alertstate="firing", {CLUSTER_LABEL}=~"$cluster"'
    # Alerts on the exporter have no fleet, and their namespace is that of the exporter.
    return (
        "max by (alertname, severity, namespace, fleet, pod) "
        f'(ALERTS{{{given}, namespace=~"$namespace", fleet=~"$fleet"}}{when} or ALERTS{{{given}, fleet=""}}{when})'
    )


def of_fleets() -> tuple[Event, ...]:
    """Return what happened to the selected fleets and to the exporter."""
    wanted = f"{PREFIX}scaler_desired_agents{{{OF_FLEET}}}"
    now, before = f"max by ({BY_FLEET}) ({wanted})", f"max by ({BY_FLEET}) ({wanted} {_EARLIER})"
    starting, draining = (
        f"sum by ({BY_FLEET}) ({recorded(AGENTS, matcher)}) > 0" for matcher in ('state="starting"', 'state="draining"')
    )
    return (
        Event("Scale-out", RUNNING, f"{now} > {before}", "The HPA adds agents"),
        Event("Scale-in", DEMAND, f"{now} < {before}", "The HPA removes agents"),
        # A new version, or new pods beside old ones that drain, as with a change of settings.
        Event("Rollout", QUEUED, f"{recorded(VERSIONS)} > 1 or ({starting} and {draining})", "Rollout", shown=False),
        leader_change(f'{CLUSTER_LABEL}=~"$cluster"'),
        alerts(),
    )


def leader_change(of: str) -> Event:
    """Return when another replica of the exporter began to lead."""
    leads = f"{EXPORTER_PREFIX}leader{{{of}}}"
    begins = f"max by ({REPLICA}) ({leads}) == 1 unless on ({REPLICA}) (max by ({REPLICA}) ({leads} {_EARLIER}) == 1)"
    return Event("Leader change", CAPACITY, begins, "Another leader", "{{" + REPLICA + "}}")


def alerts() -> Event:
    """Return when alerts began to fire. Marked for as long as they fire, a few of them would turn every graph red."""
    begins = f"{firing()} unless {firing(f' {_EARLIER}')}"
    return Event("Alerts", LOST, begins, "{{alertname}}", f"{_OF_FLEET} {{{{pod}}}}")
