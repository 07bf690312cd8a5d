"""How alerts fire about fleets that do no work, let tasks wait, or do not follow their work.

`prometheus_disasters` has what fires in each disaster as a whole; here are the words, and what is just not enough.
"""

from tests.alerts.prometheus_case import EXPORTER_LABELS, FLEET_LABELS, HOUR, ONSET, Case, F, X, since_onset
from tests.alerts.prometheus_disasters import DISASTERS, fleet, several
from tests.alerts.prometheus_timeline import Course, World
from tests.alerts.prometheus_worlds import FLEET, OWN, agent, draining, healthy, own, seeing, starting, then
from tests.factories import make_scaler

_BEGINNING = f"F{F[1:]}"


def disaster(name: str) -> Course:
    """Return the course of a disaster."""
    return DISASTERS[name].course


def _answers(good: int, bad: int) -> Course:
    """Return a course in which so many requests a minute to the external metrics API succeed, and so many do not."""

    def course(minute: int) -> World:
        since = max(0, minute - ONSET)
        counts = {"200": 4.0 * min(minute, ONSET) + good * since, "403": float(bad * since)}
        series = {f'{OWN}external_metrics_requests_total{{code="{code}"}}': count for code, count in counts.items()}
        return World(FLEET, own(minute) | series)

    return course


def _growing(minute: int) -> World:
    """Return a world that needs more agents all the time, and gets one every ten minutes."""
    there = 4 + minute // 10
    return World(several(there, tasks=20, tasks_queued=20.0), own(minute))


def _waiting(queued: float) -> Course:
    return seeing(*several(4, tasks=10, tasks_queued=queued))


OUTAGE_CASES = (
    Case(
        alert="MatillionFleetNoCapacity",
        course=disaster("all agents crash"),
        after=5,
        lingers=3,
        not_enough=(
            # They start, and take four minutes; the last one drains; half of them are lost; none answers.
            fleet(*(starting(f"new-{n}") for n in range(3))),
            then(disaster("no image can be pulled"), ONSET + 2, healthy),
            seeing(draining("etl-0")),
            disaster("half of the agents are disconnected"),
            fleet(*(agent(f"etl-{n}", age=60.0) for n in range(3))),
        ),
        severity="critical",
        labels=FLEET_LABELS,
        summary=f"No agent of {F} serves",
        description=f"None of the 4 agents of {F} serves: it takes no tasks, and what runs may be lost. First: "
        "fleet-exporter status, or kubectl -n matillion get pods, tells why for each of them.",
    ),
    Case(
        alert="MatillionFleetGone",
        course=disaster("the Deployment was scaled to 0 by hand"),
        after=5,
        not_enough=(
            disaster("KEDA scaled the fleet to 0"),
            disaster("no image can be pulled"),
        ),
        severity="critical",
        labels=FLEET_LABELS,
        summary=f"No agent of {F} is left",
        description=f"{_BEGINNING} has lost all its agents, and has slots for 0 tasks: an HPA scales it that does not "
        "scale to 0. First: kubectl -n matillion get deploy,hpa,events.",
    ),
    Case(
        alert="MatillionFleetGone",
        variant="without an HPA",
        course=disaster("the Deployment was scaled to 0, and nothing says why"),
        after=5,
        not_enough=(),
        labels=FLEET_LABELS,
        summary=f"No agent of {F} is left",
        description=f"{_BEGINNING} has lost all its agents, and has slots for 0 tasks: nothing says whether that is "
        "intended. First: kubectl -n matillion get deploy,hpa,events.",
    ),
    Case(
        alert="MatillionFleetPartlyDisconnected",
        course=disaster("half of the agents are disconnected"),
        after=2,
        not_enough=(
            seeing(*several(7), *several(2, "out", connected=False)),
            seeing(*several(2), agent("out-0", connected=False)),
            disaster("all agents are disconnected"),
        ),
        severity="critical",
        labels=FLEET_LABELS,
        summary=f"Agents of {F} are disconnected",
        description=f"5 agents of {F} are disconnected from the Matillion control plane or stopped, of 10 in all: "
        "their slots are missing. First compare the nodes and zones of those that are with those of the others.",
    ),
    Case(
        alert="MatillionFleetQueueStuck",
        course=since_onset(_waiting(75.0)),
        after=15,
        recovery=ONSET + 20,
        not_enough=(then(since_onset(_waiting(75.0)), ONSET + 14, healthy), _waiting(0.0)),
        labels=FLEET_LABELS,
        summary=f"Tasks wait in {F}",
        description=f"300 tasks are queued in {F}, and some have been for 15m; 40 free slots beside them. With free "
        "slots, its agents refuse work: look at their CPU and heap first. Without, more agents are needed: look at its "
        "HPA first.",
    ),
    Case(
        alert="MatillionFleetNotScaling",
        course=disaster("nothing scales the fleet"),
        onset=ONSET + 5,  # it had grown by one agent at the onset
        after=10,
        not_enough=(
            _growing,
            disaster("tasks wait beside free slots"),
            then(disaster("nothing scales the fleet"), ONSET + 10, healthy),
        ),
        labels=FLEET_LABELS,
        summary=f"{_BEGINNING} does not grow",
        description=f"{_BEGINNING} needs 12 agents and has 4, and none has been added for 15m. First: kubectl -n "
        "matillion describe hpa tells what it follows and what keeps it.",
    ),
    Case(
        alert="MatillionFleetOversized",
        course=disaster("five agents for the work of one"),
        after=2 * HOUR,
        not_enough=(
            seeing(*several(2, tasks=0)),
            fleet(*several(3, tasks=0), scalers=(make_scaler(min_agents=3, current_agents=3),)),
            fleet(*several(4, tasks=8)),
        ),
        severity="info",
        labels=FLEET_LABELS,
        summary=f"{_BEGINNING} is larger than its work",
        description=f"{_BEGINNING} has had 5 agents for 2h, and needs 1: the others cost money. First look at what "
        "its HPA follows, and whether it has one.",
    ),
    Case(
        alert="MatillionExporterSpoolNotDurable",
        course=disaster("the spool is in memory"),
        beside=lambda minute: World(FLEET, own(minute) | {f"{OWN}cloudwatch_spool_durable": 1.0}),
        after=15,
        not_enough=(healthy, then(disaster("the spool is in memory"), ONSET + 14, healthy)),
        labels=EXPORTER_LABELS,
        summary=f"The spool of {X} is not on disk",
        description=f"1 replicas of {X} keep what CloudWatch has not accepted yet in memory: a restart during an "
        "outage of CloudWatch loses it. First: the log of the pod names the file and the error; look at its volume.",
    ),
    Case(
        alert="MatillionExternalMetricsFailing",
        course=_answers(0, 4),
        onset=ONSET + 10,
        after=10,
        recovery=ONSET + 30,
        lingers=10,
        not_enough=(_answers(1, 4), _answers(4, 0), _answers(0, 0)),
        labels=EXPORTER_LABELS,
        summary=f"The external metrics API of {X} answers with errors only",
        description=f"About 40 requests to the external metrics API of {X} failed within 10m, with the codes 403, and "
        "none succeeded: HPAs keep the size of their fleets, whatever the load. First: 401 and 403 are certificates "
        "and permissions (fleet-exporter doctor), 404 the selector of the HPA, 503 a fleet that is not trusted.",
    ),
)
