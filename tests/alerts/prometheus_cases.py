"""One row per alert (some have more): when it must fire, with which words, and what is just not enough for it.

From each row the tests make: it fires; not before its time; it ends; what is just not enough never fires it; two
replicas of the exporter make one alert, not two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.fleet.model import AgentStatus
from tests.alerts.prometheus_timeline import Course, World
from tests.alerts.prometheus_worlds import (
    FLEET,
    HEAP_LIMIT,
    agent,
    draining,
    healthy,
    legacy,
    own,
    seeing,
    starting,
    task_failures,
    then,
    with_fleet,
    working_set,
)

ONSET = 10
"""The minute in which things go wrong, where a row does not say another."""
HOUR = 60
DAY = 24 * HOUR

_FLEET_LABELS = {"namespace": "matillion", "fleet": "etl"}
_POD = _FLEET_LABELS | {"pod": "etl-1"}
_EXPORTER_LABELS = {"namespace": "monitoring", "job": "matillion-fleet-exporter"}
_F = "fleet etl in namespace matillion"
_A = "etl-1 of fleet etl in namespace matillion"
_X = "exporter matillion-fleet-exporter in namespace monitoring"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way in which an alert fires."""

    alert: str
    variant: str = ""
    course: Course
    """What happens, from minute 0 on."""
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


def _growing_queue(minute: int) -> World:
    queue = 4.0 * (minute - ONSET + 1)
    return World(with_fleet(agent("etl-0", 20, tasks_queued=queue), agent("etl-1", 20)), own(minute))


def _work(tasks: float, agents: int = 3) -> World:
    share = tasks / agents
    return World([agent(f"etl-{number}", share) for number in range(agents)], own())


def _kept_pace(minute: int) -> World:
    """Return a world in which work grows by two tasks a minute, and every six minutes an agent more is there."""
    return _work(60 + 2 * minute, 4 + minute // 6)


def _memory(share: float) -> Course:
    return seeing(*FLEET, extra=working_set("etl-1", share))


def _heap(share: float, **fields: float) -> Course:
    return seeing(*with_fleet(agent("etl-1", heap_used_bytes=share * HEAP_LIMIT, **fields)))


def _sawtooth(minute: int) -> World:
    return _heap(0.99 if minute % 3 else 0.5)(minute) or World()


def _leaking(minute: int) -> World:
    return World(FLEET, own(minute) | working_set("etl-1", 0.6005 + 0.001 * minute))


def _restarted(times: int, reason: str = "Error", **facts: str) -> Course:
    return seeing(*with_fleet(agent("etl-1", facts={"restarts": times, "last_terminated_reason": reason, **facts})))


def _crash_looping(minute: int) -> World:
    """Return a world whose container runs for a minute in every three."""
    waiting = {} if minute % 3 == 0 else {"waiting_reason": "CrashLoopBackOff"}
    return _restarted(4, **waiting)(minute) or World()


def _versions(*versions: str) -> Course:
    pods = [agent(f"etl-{number}", version=version) for number, version in enumerate(versions)]
    return seeing(*pods)


def _with_gap(course: Course, minute: int, minutes: int = 5) -> Course:
    """Return the course as a Prometheus sees it that gets nothing for some minutes, as while an exporter restarts."""
    return then(then(course, minute, lambda _: None), minute + minutes, course)


def _stuck_spool(minute: int) -> World:
    return World(FLEET, own(minute, accepted=float(ONSET), oldest_age=60.0 * (minute - ONSET)))


_THREE_VERSIONS = _versions("11.1.0", "11.2.0", "11.3.0")
_LONG_DRAIN = seeing(*with_fleet(draining("etl-1")))

CASES = (
    Case(
        alert="MatillionAgentDisconnected",
        course=since_onset(seeing(*with_fleet(agent("etl-1", connected=False)))),
        after=2,
        # An old image says nothing of its connection; an agent that drains or starts is not lost.
        not_enough=(
            seeing(*with_fleet(legacy("etl-1", connected=None))),
            seeing(*with_fleet(agent("etl-1", connected=False, facts={"draining_time": 1.0}), starting("etl-3"))),
        ),
        labels=_POD | {"state": "disconnected"},
        summary=f"Agent {_A} is disconnected",
        description=f"Agent {_A} says that it is disconnected: it takes no work, and its slots are missing. "
        "It is one of 1 such agents of its fleet.",
    ),
    Case(
        alert="MatillionAgentDisconnected",
        variant="stopped",
        course=since_onset(seeing(*with_fleet(agent("etl-1", status=AgentStatus.STOPPED)))),
        after=2,
        not_enough=(seeing(*with_fleet(agent("etl-1", status=AgentStatus.PENDING_SHUTDOWN))),),
        labels=_POD | {"state": "stopped"},
        summary=f"Agent {_A} is stopped",
        description=f"Agent {_A} says that it is stopped: it takes no work, and its slots are missing. "
        "It is one of 1 such agents of its fleet.",
    ),
    Case(
        alert="MatillionFleetDisconnected",
        course=since_onset(
            seeing(
                agent("etl-0", connected=False),
                agent("etl-1", status=AgentStatus.STOPPED),
                legacy("etl-2", connected=False),
                draining("etl-3"),
            )
        ),
        after=1,
        not_enough=(
            seeing(*with_fleet(agent("etl-0", connected=False), agent("etl-1", connected=False))),
            # One of three answers, and it is disconnected: what the others are nobody knows.
            seeing(*with_fleet(agent("etl-0", connected=False), agent("etl-1", age=60), legacy("etl-2", age=60))),
            seeing(draining("etl-0"), starting("etl-1")),
        ),
        severity="critical",
        labels=_FLEET_LABELS,
        summary=f"No agent of {_F} is connected",
        description=f"All 3 agents of {_F} that answer are disconnected from the Matillion control plane or stopped: "
        "the fleet takes no work. What runs goes on.",
    ),
    Case(
        alert="MatillionAgentUnreachable",
        course=since_onset(seeing(*with_fleet(agent("etl-1", age=60)))),
        after=2,
        not_enough=(
            seeing(*with_fleet(agent("etl-1", age=29), starting("etl-3"))),
            seeing(*with_fleet(agent("etl-1", age=60, facts={"draining_time": 1.0}))),
        ),
        labels=_POD | {"state": "unreachable"},
        summary=f"Agent {_A} does not answer",
        description=f"The metrics of agent {_A} cannot be read, so its tasks are not known. "
        "It is one of 1 such agents of its fleet.",
    ),
    Case(
        alert="MatillionFleetCoverageLow",
        course=since_onset(seeing(*with_fleet(agent("etl-1", age=60), agent("etl-0", age=60)))),
        after=5,
        not_enough=(
            seeing(*with_fleet(agent("etl-0", age=60), agent("etl-1", age=60), agent("etl-3"))),
            seeing(agent("etl-0"), starting("etl-1"), starting("etl-2"), draining("etl-3")),
        ),
        severity="critical",
        labels=_FLEET_LABELS,
        summary=f"Too few agents of {_F} can be seen",
        description=f"Only 33.33% of the agents of {_F} that should answer do. The fleet's demand is withheld and "
        "autoscaling stands still until they answer again.",
    ),
    Case(
        alert="MatillionFleetQueueGrowing",
        course=since_onset(_growing_queue),
        after=5,
        # Thirty tasks came at once, and wait; and a queue that grows from nothing for four minutes.
        not_enough=(
            since_onset(seeing(*with_fleet(agent("etl-0", 20, tasks_queued=30.0)))),
            then(since_onset(_growing_queue), ONSET + 5, healthy),
        ),
        labels=_FLEET_LABELS,
        summary=f"The queue of {_F} keeps growing",
        description=f"24 tasks wait for a slot of {_F}, and more come than agents take on.",
    ),
    Case(
        alert="MatillionFleetSaturated",
        course=since_onset(seeing(agent("etl-0", 20), agent("etl-1", 23), legacy("etl-2", 20))),
        after=5,
        not_enough=(
            seeing(agent("etl-0", 20), agent("etl-1", 20), legacy("etl-2", 19)),
            # Agents without a connection have no slots, and are no reason to ask for more of them.
            seeing(agent("etl-0", 20, connected=False)),
        ),
        labels=_FLEET_LABELS,
        summary=f"No free slot in {_F}",
        description=f"Every slot of {_F} is taken: 63 tasks run and new ones wait. Agents with an old image do not "
        "report a queue, so the queue shown can be too short or missing.",
    ),
    Case(
        alert="MatillionFleetSaturated",
        variant="old images only",
        course=since_onset(seeing(legacy("etl-0", 20), legacy("etl-1", 20))),
        after=5,
        not_enough=(seeing(legacy("etl-0", 20), legacy("etl-1", 19), draining("etl-2", 20)),),
        labels=_FLEET_LABELS,
        summary=f"No free slot in {_F}",
        description=f"Every slot of {_F} is taken: 40 tasks run and new ones wait. Agents with an old image do not "
        "report a queue, so the queue shown can be too short or missing.",
    ),
    Case(
        alert="MatillionFleetCapacityExhaustionPredicted",
        # 60 slots; half a task more a minute is 15 in half an hour, so from 45.5 on.
        course=lambda minute: _work(30 + 0.5 * minute),
        onset=31,
        after=10,
        lingers=5,
        not_enough=(_kept_pace, lambda minute: _work(30 + 0.2 * (minute % 60)), seeing(*FLEET)),
        labels=_FLEET_LABELS,
        summary=f"Fleet{_F[5:]} will be full within 30m",
        description=f"If work goes on growing as it does, {_F} has 65.5 tasks in 30m, more than its agents have slots "
        "for, and its free slots are getting fewer.",
    ),
    Case(
        alert="MatillionAgentMemoryPressure",
        course=since_onset(_memory(0.86)),
        after=5,
        not_enough=(_memory(0.85),),
        labels=_POD | {"memory": "container"},
        summary=f"Agent {_A} is short of memory",
        description=f"Agent {_A} uses 86% of its container limit.",
    ),
    Case(
        alert="MatillionAgentMemoryPressure",
        variant="heap, without metrics-server",
        course=then(healthy, ONSET - 5, _heap(0.9)),
        onset=ONSET,
        after=5,
        not_enough=(_heap(0.85), _sawtooth),
        labels=_POD | {"memory": "heap"},
        summary=f"Agent {_A} is short of memory",
        description=f"Agent {_A} uses 90% of its Java heap limit.",
    ),
    Case(
        alert="MatillionAgentMemoryCritical",
        course=since_onset(_memory(0.96)),
        after=1,
        not_enough=(_memory(0.95), _sawtooth),
        severity="critical",
        labels=_POD | {"memory": "container"},
        summary=f"Agent {_A} is about to run out of memory",
        description=f"Agent {_A} uses 96% of its container limit; if it goes on, all its tasks are lost.",
    ),
    Case(
        alert="MatillionAgentMemoryExhaustionPredicted",
        # A thousandth a minute is 24 % in four hours, so from 76 % on.
        course=_leaking,
        onset=160,
        after=15,
        not_enough=(
            _memory(0.84),
            lambda minute: World(FLEET, own(minute) | working_set("etl-1", 0.2 + 0.001 * minute)),
        ),
        labels=_POD | {"memory": "container"},
        summary=f"Agent {_A} will run out of memory within 4h",
        description=f"Agent {_A} uses 77.55% of its container limit and grows at a rate that reaches it within 4h.",
    ),
    Case(
        alert="MatillionAgentOOMKilled",
        course=since_onset(_restarted(1, "OOMKilled")),
        after=0,
        recovery=ONSET + 5,
        not_enough=(since_onset(_restarted(1)), _restarted(3, "OOMKilled")),
        labels=_POD,
        summary=f"Agent {_A} was killed for lack of memory",
        description=f"The container of agent {_A} used more memory than its limit and was killed with its tasks; "
        "it restarted 1 times within 15m.",
    ),
    Case(
        alert="MatillionAgentOOMKilled",
        variant="fades",
        course=since_onset(_restarted(2, "OOMKilled")),
        after=0,
        recovery=ONSET + 15,
        not_enough=(),
        labels=_POD,
        summary=f"Agent {_A} was killed for lack of memory",
        description=f"The container of agent {_A} used more memory than its limit and was killed with its tasks; "
        "it restarted 2 times within 15m.",
    ),
    Case(
        alert="MatillionAgentCrashLooping",
        course=since_onset(_crash_looping),
        after=5,
        lingers=3,
        not_enough=(
            then(since_onset(_crash_looping), ONSET + 2, healthy),
            _restarted(0, waiting_reason="ImagePullBackOff"),
            seeing(agent("etl-1", facts={"waiting_reason": "CrashLoopBackOff", "restarts": 9, "draining_time": 1.0})),
        ),
        labels=_POD,
        summary=f"Agent {_A} crashes again and again",
        description=f"The container of agent {_A} does not stay up (CrashLoopBackOff): it restarted 4 times in the "
        "life of its pod. Its slots are missing.",
    ),
    Case(
        alert="MatillionAgentRestarting",
        course=then(since_onset(_restarted(1)), ONSET + 30, _restarted(2)),
        onset=ONSET + 30,
        after=0,
        not_enough=(since_onset(_restarted(1)), _restarted(7)),
        labels=_POD,
        summary=f"Agent {_A} restarts repeatedly",
        description=f"The container of agent {_A} restarted 2 times within 1h; each time its tasks are lost.",
    ),
    Case(
        alert="MatillionAgentVersionSkew",
        course=_with_gap(since_onset(_THREE_VERSIONS), 12 * HOUR),
        after=DAY,
        lingers=15,
        # Two versions; and an agent that has not said yet which one it is.
        not_enough=(seeing(agent("etl-0", version="11.1.0"), agent("etl-1", version="11.2.0"), starting("etl-2")),),
        labels=_FLEET_LABELS,
        summary=f"3 versions of the agent run in {_F}",
        description=f"Agents of 3 different versions have been running in {_F} for 1d; a rollout has two for a while.",
    ),
    Case(
        alert="MatillionAgentDrainTooLong",
        course=_with_gap(since_onset(_LONG_DRAIN), 7 * HOUR),
        after=11 * HOUR,
        lingers=15,
        not_enough=(),
        labels=_POD | {"state": "draining"},
        summary=f"Agent {_A} has been draining for 11h",
        description=f"Agent {_A} was told to end 11h ago and still runs. It is killed with its tasks when its grace "
        "period ends (12h in the vendor's chart). It is one of 1 draining agents of its fleet.",
    ),
    Case(
        alert="MatillionTaskFailures",
        course=lambda minute: World(FLEET, own(minute) | task_failures("etl-1", 0 if minute < ONSET else 6)),
        after=0,
        lingers=0,
        recovery=ONSET + 15,
        not_enough=(lambda minute: World(FLEET, own(minute) | task_failures("etl-1", 0 if minute < ONSET else 5)),),
        labels=_FLEET_LABELS,
        summary=f"Tasks fail in {_F}",
        description=f"About 6 tasks failed in {_F} within 15m, by the agents' logs.",
    ),
    Case(
        alert="MatillionExporterDown",
        course=since_onset(lambda _: None),
        after=5,
        not_enough=(_with_gap(healthy, ONSET, 4),),
        severity="critical",
        labels=_EXPORTER_LABELS,
        summary="Nobody watches the Matillion fleets: the exporter is down",
        description=f"Prometheus has had no metrics from {_X} for 6m 0s. No alert about fleets and agents can fire.",
    ),
    Case(
        alert="MatillionExporterDown",
        variant="never there",
        course=lambda _: None,
        onset=0,
        after=5,
        not_enough=(),
        severity="critical",
        summary="Nobody watches the Matillion fleets: the exporter is down",
        description="Prometheus has metrics from 0 exporters: none is installed, or none is scraped. No alert about "
        "fleets and agents can fire.",
    ),
    Case(
        alert="MatillionExporterStale",
        course=since_onset(lambda minute: World(FLEET, own(minute, sync_age=121.0 + 60 * (minute - ONSET)), 121.0)),
        after=2,
        not_enough=(lambda minute: World(FLEET, own(minute, sync_age=120.0), 120.0),),
        severity="critical",
        labels=_EXPORTER_LABELS,
        summary=f"The {_X} does not know which agents there are",
        description=f"The list of agents that {_X} works with is 4m 1s old, or was never read in that time. Every "
        "fleet's demand is withheld and autoscaling stands still.",
    ),
    Case(
        alert="MatillionExporterStale",
        variant="never knew",
        course=lambda minute: World((), own(minute, sync_age=None)),
        onset=3,
        after=2,
        not_enough=(then(lambda minute: World((), own(minute, sync_age=None)), 4, healthy),),
        severity="critical",
        labels=_EXPORTER_LABELS,
        summary=f"The {_X} does not know which agents there are",
        description=f"The list of agents that {_X} works with is 5m 0s old, or was never read in that time. Every "
        "fleet's demand is withheld and autoscaling stands still.",
    ),
    Case(
        alert="MatillionExporterCloudWatchFailing",
        course=since_onset(_stuck_spool),
        onset=ONSET + 11,
        after=5,
        # A backlog of an hour that is being sent; and a replica that does not publish and has no spool.
        not_enough=(
            lambda minute: World(FLEET, own(minute, oldest_age=3600.0)),
            lambda minute: World(FLEET, own(minute, accepted=0.0, oldest_age=None)),
        ),
        labels=_EXPORTER_LABELS | {"problem": "not accepted"},
        summary=f"The {_X} cannot publish to CloudWatch",
        description=f"CloudWatch accepts nothing from {_X}; data have been waiting for 16m 0s. Alarms and scalers that "
        "read CloudWatch are blind.",
    ),
    Case(
        alert="MatillionExporterCloudWatchFailing",
        variant="data lost",
        course=lambda minute: World(FLEET, own(minute, rejected_datums=0.0 if minute < ONSET else 3.0)),
        after=5,
        recovery=ONSET + 15,
        not_enough=(),
        labels=_EXPORTER_LABELS | {"problem": "lost"},
        summary=f"The {_X} cannot publish to CloudWatch",
        description=f"About 3 data points of {_X} were rejected by CloudWatch or dropped within 15m. Alarms and "
        "scalers that read CloudWatch are blind.",
    ),
    Case(
        alert="MatillionExporterNoLeader",
        course=since_onset(lambda minute: World(FLEET, own(minute, leader=0.0))),
        after=2,
        not_enough=(lambda minute: World(FLEET, own(minute, leader=None)),),
        labels=_EXPORTER_LABELS,
        summary=f"No replica of {_X} is the leader",
        description=f"0 replicas of {_X} hold the lease: nothing is published to CloudWatch.",
    ),
)
