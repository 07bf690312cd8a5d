"""How alerts about single agents fire."""

from typing import Any

from exporter.fleet.model import AgentStatus
from tests.alerts.prometheus_case import HOUR, ONSET, POD_LABELS, A, Case, since_onset
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
    then,
    with_fleet,
    working_set,
)
from tests.factories import make_facts, make_snapshot


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


def _crash_looping_from_the_start(minute: int) -> World:
    """Return a world whose container runs for a minute in every three, and never long enough to answer."""
    waiting = {} if minute % 3 == 0 else {"waiting_reason": "CrashLoopBackOff"}
    return seeing(*with_fleet(starting("etl-1", **waiting)))(minute) or World()


def _pulling(minute: int) -> World:
    """Return a world with an image that is tried again now and then."""
    reason = "ImagePullBackOff" if minute % 2 == 0 else "ErrImagePull"
    return seeing(*with_fleet(starting("etl-1", waiting_reason=reason)))(minute) or World()


_NOT_STARTING = seeing(*with_fleet(starting("etl-1")))


def _draining(minutes: int, tasks: float = 3, **fields: Any) -> Course:
    """Return a world whose drain began so many minutes before the onset; `grace` and `own` in minutes."""
    return seeing(*with_fleet(draining("etl-1", tasks, since=ONSET - minutes, **fields)))


AGENT_CASES = (
    Case(
        alert="MatillionAgentDisconnected",
        course=since_onset(seeing(*with_fleet(agent("etl-1", connected=False)))),
        after=2,
        # An old image does not report its connection; a draining or starting agent is not lost.
        not_enough=(
            seeing(*with_fleet(legacy("etl-1", connected=None))),
            seeing(*with_fleet(agent("etl-1", connected=False, facts={"draining_time": 1.0}), starting("etl-3"))),
        ),
        labels=POD_LABELS | {"state": "disconnected"},
        summary=f"Agent {A} is disconnected",
        description=f"Agent {A} reports that it is disconnected: it takes no new tasks, and its slots are missing. "
        "Such agents in its fleet: 1.",
    ),
    Case(
        alert="MatillionAgentDisconnected",
        variant="stopped",
        course=since_onset(seeing(*with_fleet(agent("etl-1", status=AgentStatus.STOPPED)))),
        after=2,
        not_enough=(
            seeing(*with_fleet(agent("etl-1", status=AgentStatus.PENDING_SHUTDOWN, facts={"draining_time": 1.0}))),
        ),
        labels=POD_LABELS | {"state": "stopped"},
        summary=f"Agent {A} is stopped",
        description=f"Agent {A} reports that it is stopped: it takes no new tasks, and its slots are missing. "
        "Such agents in its fleet: 1.",
    ),
    Case(
        alert="MatillionAgentLegacyMetrics",
        course=since_onset(seeing(agent("etl-0"), legacy("etl-1"))),
        after=60,
        # The last known endpoint of an agent that is no longer reachable.
        not_enough=(seeing(agent("etl-0"), agent("etl-1"), starting("etl-2")),),
        severity="info",
        labels=POD_LABELS,
        summary=f"Agent {A} is scraped on its legacy endpoint",
        description=f"Agent {A} is scraped on its legacy endpoint, which reports neither queue nor heap and which the "
        "vendor will switch off in a future chart. The OpenTelemetry endpoint needs chart 0.6 or later with "
        "`metrics.otel`, and a network path to its port. Such agents in its fleet: 1.",
    ),
    Case(
        alert="MatillionAgentUnreachable",
        course=since_onset(seeing(*with_fleet(agent("etl-1", age=60)))),
        after=2,
        not_enough=(
            seeing(*with_fleet(agent("etl-1", age=29), starting("etl-3"))),
            seeing(*with_fleet(agent("etl-1", age=60, facts={"draining_time": 1.0}))),
        ),
        labels=POD_LABELS | {"state": "unreachable"},
        summary=f"Agent {A} does not answer",
        description=f"The metrics of agent {A} cannot be scraped, so its tasks are unknown. "
        "Such agents in its fleet: 1.",
    ),
    Case(
        alert="MatillionAgentNotStarting",
        course=since_onset(seeing(*with_fleet(starting("etl-1", waiting_reason="Unschedulable")))),
        after=10,
        not_enough=(
            # A Fargate pod, or a node that has to come.
            then(since_onset(_NOT_STARTING), ONSET + 9, healthy),
            # One that is Ready and never answered is unreachable; one that crashes has its own alert.
            seeing(*with_fleet(make_snapshot("etl-1", never_read=True, facts=make_facts()))),
            since_onset(_crash_looping_from_the_start),
            seeing(*with_fleet(starting("etl-1", draining_time=1.0))),
        ),
        labels=POD_LABELS | {"state": "starting"},
        summary=f"Agent {A} does not start",
        description=f"Agent {A} has been starting for 10m and has never answered: Kubernetes reports Unschedulable. It "
        "fills a replica and provides no slots. Such agents in its fleet: 1.",
    ),
    Case(
        alert="MatillionAgentNotStarting",
        variant="no reason is known",
        course=since_onset(_NOT_STARTING),
        after=10,
        not_enough=(),
        labels=POD_LABELS | {"state": "starting"},
        summary=f"Agent {A} does not start",
        description=f"Agent {A} has been starting for 10m and has never answered: Kubernetes reports no reason. It "
        "fills a replica and provides no slots. Such agents in its fleet: 1.",
    ),
    Case(
        alert="MatillionAgentNotStarting",
        variant="a reason that changes",
        course=since_onset(_pulling),
        after=10,
        not_enough=(),
        labels=POD_LABELS | {"state": "starting"},
        summary=f"Agent {A} does not start",
        description=f"Agent {A} has been starting for 10m and has never answered: Kubernetes reports ImagePullBackOff. "
        "It fills a replica and provides no slots. Such agents in its fleet: 1.",
    ),
    Case(
        alert="MatillionAgentMemoryPressure",
        course=since_onset(_memory(0.86)),
        after=5,
        not_enough=(_memory(0.85),),
        labels=POD_LABELS | {"memory": "container"},
        summary=f"Agent {A} is low on memory",
        description=f"Agent {A} uses 86% of its container limit.",
    ),
    Case(
        alert="MatillionAgentMemoryPressure",
        variant="heap, without metrics-server",
        course=then(healthy, ONSET - 5, _heap(0.9)),
        onset=ONSET,
        after=5,
        not_enough=(_heap(0.85), _sawtooth),
        labels=POD_LABELS | {"memory": "heap"},
        summary=f"Agent {A} is low on memory",
        description=f"Agent {A} uses 90% of its Java heap limit.",
    ),
    Case(
        alert="MatillionAgentMemoryCritical",
        course=since_onset(_memory(0.96)),
        after=1,
        not_enough=(_memory(0.95), _sawtooth),
        labels=POD_LABELS | {"memory": "container"},
        summary=f"Agent {A} is about to run out of memory",
        description=f"Agent {A} uses 96% of its container limit; at the limit, all its tasks are lost.",
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
        labels=POD_LABELS | {"memory": "container"},
        summary=f"Agent {A} will run out of memory within 4h",
        description=f"Agent {A} uses 77.55% of its container limit and grows at a rate that reaches it within 4h.",
    ),
    Case(
        alert="MatillionAgentOOMKilled",
        course=since_onset(_restarted(1, "OOMKilled")),
        after=0,
        recovery=ONSET + 5,
        not_enough=(since_onset(_restarted(1)), _restarted(3, "OOMKilled")),
        severity="critical",
        labels=POD_LABELS,
        summary=f"Agent {A} was killed for lack of memory",
        description=f"The container of agent {A} exceeded its memory limit and was killed with its tasks. "
        "Restarts within 15m: 1.",
    ),
    Case(
        alert="MatillionAgentOOMKilled",
        variant="fades",
        course=since_onset(_restarted(2, "OOMKilled")),
        after=0,
        recovery=ONSET + 15,
        not_enough=(),
        severity="critical",
        labels=POD_LABELS,
        summary=f"Agent {A} was killed for lack of memory",
        description=f"The container of agent {A} exceeded its memory limit and was killed with its tasks. "
        "Restarts within 15m: 2.",
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
        labels=POD_LABELS,
        summary=f"Agent {A} is crash looping",
        description=f"The container of agent {A} does not stay up (CrashLoopBackOff), and its slots are missing. "
        "Restarts since its pod was created: 4.",
    ),
    Case(
        alert="MatillionAgentRestarting",
        course=then(since_onset(_restarted(1)), ONSET + 30, _restarted(2)),
        onset=ONSET + 30,
        after=0,
        not_enough=(since_onset(_restarted(1)), _restarted(7)),
        labels=POD_LABELS,
        summary=f"Agent {A} keeps restarting",
        description=f"The container of agent {A} restarted 2 times within 1h; each restart loses its tasks.",
    ),
    Case(
        alert="MatillionAgentDrainTooLong",
        course=since_onset(_draining(0)),
        onset=ONSET + 11 * HOUR + 1,
        after=0,
        not_enough=(
            # A grace period of a day, and a drain that ends soon because it was cut, not because it is long.
            since_onset(_draining(0, grace=24 * HOUR, own=24 * HOUR)),
            since_onset(then(_draining(0, grace=10), ONSET + 10, healthy)),
        ),
        labels=POD_LABELS,
        summary=f"Agent {A} drains for too long",
        description=f"Agent {A} has been terminating for 11h 1m 0s and still runs. Kubernetes kills it with its tasks "
        "when its grace period ends (12h in the vendor's chart).",
    ),
    Case(
        alert="MatillionAgentDrainTooLong",
        variant="of a short grace period",
        course=since_onset(_draining(0, 0, grace=20, own=20)),
        onset=ONSET + 19,
        after=0,
        not_enough=(since_onset(then(_draining(0, 0, grace=20, own=20), ONSET + 18, healthy)),),
        labels=POD_LABELS,
        summary=f"Agent {A} drains for too long",
        description=f"Agent {A} has been terminating for 19m 0s and still runs. Kubernetes kills it with its tasks "
        "when its grace period ends (12h in the vendor's chart).",
    ),
    Case(
        alert="MatillionAgentDrainCutShort",
        course=since_onset(_draining(0, 7, grace=10)),
        after=1,
        not_enough=(
            # The whole grace, or one that was cut once the tasks had ended, or tasks of an outdated reading.
            _draining(1, 7),
            _draining(1, 0, grace=10),
            _draining(1, 7, grace=10, age=60),
            then(since_onset(_draining(0, 7, grace=10)), ONSET + 1, _draining(0, 0, grace=10)),
        ),
        severity="critical",
        labels=POD_LABELS,
        summary=f"Agent {A} will be killed with its tasks",
        description=f"Agent {A} is draining and will be killed with 7 tasks in 9m 0s.",
    ),
    Case(
        alert="MatillionAgentDrainCutShort",
        variant="at the end of the whole grace period",
        course=_draining(0, 1),
        onset=ONSET + 11 * HOUR + 46,
        after=1,
        not_enough=(then(_draining(0, 1), ONSET + 11 * HOUR + 46, _draining(0, 0)),),
        severity="critical",
        labels=POD_LABELS,
        summary=f"Agent {A} will be killed with its tasks",
        description=f"Agent {A} is draining and will be killed with 1 task in 13m 0s.",
    ),
    Case(
        alert="MatillionAgentDrainCutShort",
        variant="an eviction after hours, which counts from the deletion",
        course=then(_draining(0, 7), ONSET + HOUR, _draining(0, 7, grace=10)),
        onset=ONSET + HOUR,
        after=1,
        not_enough=(),
        severity="critical",
        labels=POD_LABELS,
        summary=f"Agent {A} will be killed with its tasks",
        description=f"Agent {A} is draining and will be killed with 7 tasks in 0s.",
    ),
)
