"""Disasters, and what must fire in each: no more and no less."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from exporter.fleet.health import Word
from exporter.fleet.model import AgentSnapshot, Lasting
from exporter.fleet.scaler import Condition
from tests.alerts.prometheus_case import HOUR, ONSET, since_onset
from tests.alerts.prometheus_timeline import Course, World
from tests.alerts.prometheus_worlds import FLEET, OWN, agent, healthy, own, starting, then
from tests.factories import NOW, WALL_NOW, make_scaler

FIRST, SECOND, OTHER = "10.0.0.1:9850", "10.0.0.2:9850", "other-exporter/10.0.0.9:9850"

LEGACY = frozenset({"MatillionAgentLegacyMetrics info"})
"""The healthy fleet has an agent of an old image, which is said after an hour."""

Fires = frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Disaster:
    """What goes wrong at the onset and stays so."""

    course: Course
    beside: Course | None = None
    """What the other replica sees; None for the same."""
    further: Mapping[str, Course] = field(default_factory=dict)
    """Exporters of other installations."""
    fires: Mapping[str, int]
    """What is firing at the end, as `alert severity`, and how many minutes after the onset it begins."""
    health: Word
    minutes: int = 45
    """How long it is watched: promtool takes some seconds for an hour of a large fleet."""

    later: frozenset[str] = frozenset()
    """What else is firing after eight hours."""

    @property
    def replicas(self) -> dict[str, Course]:
        """The exporters with what they show."""
        return {FIRST: self.course, SECOND: self.beside or self.course, **self.further}


def fleet(*agents: AgentSnapshot, lasting: Lasting | None = None, **fields: object) -> Course:
    """Return a course that is healthy until the onset, and then has these agents."""
    return since_onset(lambda minute: World(agents, own(minute), lasting=lasting, **fields))  # type: ignore[arg-type]


def several(number: int, name: str = "etl", tasks: float = 12, **fields: object) -> tuple[AgentSnapshot, ...]:
    """Return agents that are alike."""
    return tuple(agent(f"{name}-{n}", tasks, **fields) for n in range(number))  # type: ignore[arg-type]


def new(number: int, reason: str) -> tuple[AgentSnapshot, ...]:
    """Return agents whose pods have waited for an hour for a reason."""
    return tuple(starting(f"new-{n}", waiting_reason=reason, created_time=WALL_NOW - 3600) for n in range(number))


def _crashing(minute: int) -> World:
    """Return a world in which each container runs for a minute in every three, too short to answer."""
    pods = [
        starting(
            f"new-{n}",
            last_terminated_reason="Error",
            restarts=9,
            waiting_reason=None if (minute + n) % 3 == 0 else "CrashLoopBackOff",
        )
        for n in range(4)
    ]
    return World(pods, own(minute))


def _flickering(minute: int) -> World:
    """Return a world that wants twelve agents and has four: a queue of 100, and a slot that is free now and then."""
    agents = [*several(3, tasks=20, tasks_queued=25.0), agent("etl-3", 20 - minute % 2, tasks_queued=25.0)]
    return World(agents, own(minute), lasting=Lasting(NOW - 3600, NOW - 3600, 4))


def _forbidden(minute: int) -> World:
    answers = {"200": float(min(minute, ONSET)), "403": 4.0 * max(0, minute - ONSET), "503": 0.0}
    series = {f'{OWN}external_metrics_requests_total{{code="{code}"}}': count for code, count in answers.items()}
    return World(FLEET, own(minute) | series)


def _in_memory(minute: int) -> World:
    return World(FLEET, own(minute) | {f"{OWN}cloudwatch_spool_durable": 0.0})


_DISABLED = Condition(False, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
_OFF = make_scaler(active=_DISABLED, current_agents=0, desired_agents=0)
_GONE = {"empty": (("matillion", "etl"),)}
_WAITING = Lasting(queued=NOW - 3600)

DISASTERS: Mapping[str, Disaster] = {
    "no image can be pulled": Disaster(
        course=fleet(*new(4, "ImagePullBackOff")),
        fires={"MatillionFleetNoCapacity critical": 5, "MatillionAgentNotStarting warning": 10},
        health=Word.DOWN,
    ),
    "most pods have no node": Disaster(
        course=fleet(
            *several(4, tasks=20, tasks_queued=50.0),
            *new(16, "Unschedulable"),
            lasting=_WAITING,
            scalers=(make_scaler(max_agents=20, current_agents=20, desired_agents=20),),
        ),
        fires={
            "MatillionAgentNotStarting warning": 10,
            "MatillionFleetSaturated warning": 5,
            "MatillionFleetQueueStuck warning": 15,
            "MatillionFleetQueueStuck critical": 30,
        },
        health=Word.DEGRADED,
    ),
    "nothing scales the fleet": Disaster(
        course=since_onset(_flickering),
        fires={
            "MatillionFleetNotScaling warning": 15,
            "MatillionFleetSaturated warning": 5,
            "MatillionFleetQueueStuck warning": 15,
            "MatillionFleetQueueStuck critical": 30,
        },
        health=Word.DEGRADED,
    ),
    "tasks wait beside free slots": Disaster(
        course=fleet(*several(4, tasks=10, tasks_queued=75.0), lasting=_WAITING, scalers=(make_scaler(max_agents=4),)),
        fires={
            "MatillionFleetQueueStuck warning": 15,
            "MatillionFleetQueueStuck critical": 30,
            "MatillionFleetAtMaximum warning": 15,
        },
        health=Word.DEGRADED,
    ),
    "five agents for the work of one": Disaster(
        course=fleet(*several(5, tasks=1), scalers=(make_scaler(max_agents=20, current_agents=5),)),
        fires={"MatillionFleetOversized info": 2 * HOUR},
        health=Word.OK,
        minutes=2 * HOUR + 12,
    ),
    "half of the agents are disconnected": Disaster(
        course=fleet(*several(5), *several(5, "out", connected=False)),
        fires={"MatillionFleetPartlyDisconnected critical": 2, "MatillionAgentDisconnected warning": 2},
        health=Word.DEGRADED,
    ),
    "all agents are disconnected": Disaster(
        course=fleet(*several(4, connected=False)),
        fires={
            "MatillionFleetDisconnected critical": 1,
            "MatillionFleetNoCapacity critical": 5,
            "MatillionAgentDisconnected warning": 2,
        },
        health=Word.DOWN,
    ),
    "all agents crash": Disaster(
        course=since_onset(_crashing),
        fires={"MatillionFleetNoCapacity critical": 5, "MatillionAgentCrashLooping warning": 5},
        health=Word.DOWN,
    ),
    "the external metrics API answers nothing but 403": Disaster(
        course=_forbidden, fires={"MatillionExternalMetricsFailing warning": 20}, health=Word.OK, later=LEGACY
    ),
    "the spool is in memory": Disaster(
        course=since_onset(_in_memory),
        fires={"MatillionExporterSpoolNotDurable warning": 15},
        health=Word.OK,
        later=LEGACY,
    ),
    "one of two installations is gone": Disaster(
        course=lambda minute: World(several(1), own(minute)),
        further={OTHER: then(lambda minute: World((), own(minute)), ONSET, lambda _: None)},
        fires={"MatillionExporterDown critical": 5},
        health=Word.OK,
        minutes=6 * HOUR + 20,
    ),
    "the Deployment was scaled to 0 by hand": Disaster(
        course=fleet(scalers=(_OFF,), **_GONE), fires={"MatillionFleetGone critical": 5}, health=Word.DOWN
    ),
    "the Deployment was scaled to 0, and nothing says why": Disaster(
        course=fleet(**_GONE), fires={"MatillionFleetGone warning": 5}, health=Word.DEGRADED
    ),
    "KEDA scaled the fleet to 0": Disaster(
        course=fleet(scalers=(replace(_OFF, keda=True),), **_GONE), fires={}, health=Word.OK
    ),
    "one of two replicas does not see the agents": Disaster(
        course=healthy,
        beside=fleet(*(agent(f"etl-{n}", age=60.0) for n in range(3))),
        fires={"MatillionReplicasDisagree warning": 5},
        health=Word.OK,
        later=LEGACY,
    ),
}
