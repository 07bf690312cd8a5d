"""What a row of the table of alerts is made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.alerts.prometheus_timeline import Course
from tests.alerts.prometheus_worlds import healthy, then

ONSET = 10
"""The minute in which things go wrong, where a row does not say another."""
HOUR = 60
DAY = 24 * HOUR

FLEET_LABELS = {"namespace": "matillion", "fleet": "etl"}
POD_LABELS = FLEET_LABELS | {"pod": "etl-1"}
EXPORTER_LABELS = {"namespace": "monitoring", "job": "matillion-fleet-exporter"}
F = "fleet etl in namespace matillion"
A = "etl-1 of fleet etl in namespace matillion"
X = "exporter matillion-fleet-exporter in namespace monitoring"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way in which an alert fires."""

    alert: str
    variant: str = ""
    course: Course
    """What happens, from minute 0 on."""
    beside: Course | None = None
    """What other replicas report, where one has to report something else."""
    onset: int = ONSET
    """The first minute in which the alert's expression is true."""
    after: int
    """Minutes from there until it must fire: its `for`."""
    recovery: int | None = None
    """The first minute in which what was wrong is right again; `after` + 5 minutes after the onset by itself."""
    lingers: int = 0
    """Minutes from there in which it may still fire."""
    not_enough: tuple[Course, ...]
    severity: str = "warning"
    labels: Mapping[str, str] = field(default_factory=dict)
    summary: str
    description: str

    @property
    def ends(self) -> int:
        """The minute of the recovery."""
        return self.onset + self.after + 5 if self.recovery is None else self.recovery

    @property
    def world(self) -> Course:
        """What happens, with the recovery."""
        return then(self.course, self.ends, healthy)


def since_onset(bad: Course) -> Course:
    """Return a course that is healthy until the onset."""
    return then(healthy, ONSET, bad)


def with_gap(course: Course, minute: int, minutes: int = 5) -> Course:
    """Return the course with no data for some minutes, as while an exporter restarts."""
    return then(then(course, minute, lambda _: None), minute + minutes, course)
