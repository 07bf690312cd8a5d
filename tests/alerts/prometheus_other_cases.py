"""How alerts about fleets and about the exporter fire."""

from exporter.fleet.departure import LossReason
from exporter.fleet.model import AgentSnapshot, AgentStatus, Since
from exporter.fleet.scaler import Condition
from tests.alerts.prometheus_case import (
    DAY,
    EXPORTER_LABELS,
    FLEET_LABELS,
    HOUR,
    ONSET,
    Case,
    F,
    X,
    since_onset,
    with_gap,
)
from tests.alerts.prometheus_timeline import Course, World
from tests.alerts.prometheus_worlds import (
    FLEET,
    agent,
    draining,
    healthy,
    legacy,
    own,
    scaled,
    seeing,
    starting,
    task_failures,
    then,
    with_fleet,
)
from tests.factories import NOW, make_scaler

_NO_METRICS = Condition(False, "FailedGetExternalMetric", "the metric cannot be had")
_TOO_SMALL = scaled(make_scaler(max_agents=3), tasks=17)
_FIRST_COMPARE = (
    "First compare its desired agents with its scaler's maximum. Agents with an old image do not report a queue, so "
    "the reported queue can be too short or missing."
)
_OUT_OF_REACH = (
    "No alert about fleets and agents can fire. The runbook may be out of reach; first: kubectl get pods -A -l "
    "app.kubernetes.io/name=matillion-fleet-exporter"
)
"""51 tasks take four agents."""


def _growing_queue(minute: int) -> World:
    queue = 4.0 * (minute - ONSET + 1)
    return World(with_fleet(agent("etl-0", 20, tasks_queued=queue), agent("etl-1", 20)), own(minute))


def _too_small_and_unknown(minute: int) -> World:
    """Return a world in which the demand of the fleet is withheld."""
    agents = [agent(f"etl-{number}", 17) for number in range(3)]
    return World(agents, own(minute), sync_age=600.0, scalers=(make_scaler(max_agents=3),))


def _losing(reason: LossReason, tasks: float) -> Course:
    """Return a course in which so many tasks are lost at the onset."""
    return lambda minute: World(FLEET, own(minute), lost=((reason, tasks if minute >= ONSET else 0.0),))


def _unseen(count: int) -> Course:
    """Return a course in which so many of three agents do not answer."""
    return seeing(*(agent(f"etl-{number}", age=60.0 if number < count else 1.0) for number in range(3)))


def _pressed(pod: str, tasks: float = 8) -> AgentSnapshot:
    """Return an agent whose heap has been full for a minute."""
    return agent(pod, tasks, heap_used_bytes=99.0, heap_limit_bytes=100.0, since=Since(pressed=NOW - 60))


def _work(tasks: float, agents: int = 3) -> World:
    share = tasks / agents
    return World([agent(f"etl-{number}", share) for number in range(agents)], own())


def _kept_pace(minute: int) -> World:
    """Return a world in which work grows by two tasks a minute, and every six minutes an agent more is there."""
    return _work(60 + 2 * minute, 4 + minute // 6)


def _versions(*versions: str) -> Course:
    pods = [agent(f"etl-{number}", version=version) for number, version in enumerate(versions)]
    return seeing(*pods)


def _stuck_spool(minute: int) -> World:
    return World(FLEET, own(minute, accepted=float(ONSET), oldest_age=60.0 * (minute - ONSET)))


_THREE_VERSIONS = _versions("11.1.0", "11.2.0", "11.3.0")

OTHER_CASES = (
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
            # One of three answers, and it is disconnected: the state of the others is unknown.
            seeing(*with_fleet(agent("etl-0", connected=False), agent("etl-1", age=60), legacy("etl-2", age=60))),
            seeing(draining("etl-0"), starting("etl-1")),
        ),
        severity="critical",
        labels=FLEET_LABELS,
        summary=f"No agent of {F} is connected",
        description=f"All 3 agents of {F} that answer are disconnected from the Matillion control plane or stopped: "
        "the fleet takes no new tasks. Running tasks continue.",
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
        labels=FLEET_LABELS,
        summary=f"Too few agents of {F} answer",
        description=f"Only 33.33% of the agents of {F} that should answer do. The fleet's demand is withheld and "
        "autoscaling stops until they answer again.",
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
        labels=FLEET_LABELS,
        summary=f"The queue of {F} keeps growing",
        description=f"24 tasks are queued in {F}, and more arrive than its agents take.",
    ),
    Case(
        alert="MatillionFleetSaturated",
        course=since_onset(seeing(agent("etl-0", 20), agent("etl-1", 23), legacy("etl-2", 20))),
        after=5,
        not_enough=(
            seeing(agent("etl-0", 20), agent("etl-1", 20), legacy("etl-2", 18)),
            # Agents without a connection have no slots, and are no reason to ask for more of them.
            seeing(agent("etl-0", 20, connected=False)),
        ),
        labels=FLEET_LABELS,
        summary=f"No free slot in {F}",
        description=f"105% of the slots of {F} are taken: new tasks wait. {_FIRST_COMPARE}",
    ),
    Case(
        alert="MatillionFleetRefusing",
        course=since_onset(seeing(_pressed("etl-0"), _pressed("etl-1"), legacy("etl-2"))),
        after=10,
        not_enough=(
            seeing(_pressed("etl-0"), agent("etl-1"), legacy("etl-2")),
            # Full, and at the top of its busyness for that reason.
            seeing(_pressed("etl-0", 20), _pressed("etl-1", 20)),
        ),
        labels=FLEET_LABELS,
        summary=f"Agents of {F} refuse tasks",
        description=f"66.67% of the serving agents of {F} have free slots and refuse tasks: their CPU, heap or memory "
        "is at its limit. Tasks wait although their number suggests that slots are free.",
    ),
    Case(
        alert="MatillionFleetSaturated",
        variant="old images only",
        course=since_onset(seeing(legacy("etl-0", 20), legacy("etl-1", 19))),
        after=5,
        not_enough=(seeing(legacy("etl-0", 19), legacy("etl-1", 19), draining("etl-2", 20)),),
        labels=FLEET_LABELS,
        summary=f"No free slot in {F}",
        description=f"97.5% of the slots of {F} are taken: new tasks wait. {_FIRST_COMPARE}",
    ),
    Case(
        alert="MatillionFleetCapacityExhaustionPredicted",
        # 60 slots; half a task more a minute is 15 in half an hour, so from 45.5 on.
        course=lambda minute: _work(30 + 0.5 * minute),
        onset=31,
        after=10,
        lingers=5,
        not_enough=(_kept_pace, lambda minute: _work(30 + 0.2 * (minute % 60)), seeing(*FLEET)),
        labels=FLEET_LABELS,
        summary=f"Fleet{F[5:]} will be full within 30m",
        description=f"If its load keeps growing at this rate, {F} will have 65.5 tasks in 30m, more than its agents "
        "have slots for. Its free slots are decreasing.",
    ),
    Case(
        alert="MatillionFleetAtMaximum",
        # Two scalers: the higher maximum counts.
        course=since_onset(scaled(make_scaler(max_agents=3), make_scaler("b", max_agents=2), tasks=17)),
        after=15,
        not_enough=(
            scaled(make_scaler(max_agents=3), tasks=16),
            scaled(make_scaler(max_agents=2), make_scaler("b", max_agents=4), tasks=17),
            # The maximum is unknown, or there is none.
            seeing(*FLEET, agent("etl-3", 60)),
            scaled(tasks=17),
            # What is withheld from the scaler is not held against it.
            _too_small_and_unknown,
            # A burst of fourteen minutes.
            then(since_onset(_TOO_SMALL), 24, healthy),
        ),
        labels=FLEET_LABELS,
        summary=f"The scaler of {F} is at its maximum",
        description=f"The demand of {F} needs 4 agents, and the maximum of its scaler (HPA) is lower: tasks wait "
        "although agents could be added.",
    ),
    Case(
        alert="MatillionScalerInactive",
        course=since_onset(scaled(make_scaler("etl-hpa", active=_NO_METRICS), make_scaler("b"))),
        after=10,
        not_enough=(
            scaled(make_scaler()),
            scaled(make_scaler(active=None)),
            scaled(make_scaler(active=Condition(None, "Who"))),
            # Switched off: its Deployment was scaled to 0, and the last agents drain.
            scaled(make_scaler(active=Condition(False, "ScalingDisabled"), current_agents=0, desired_agents=0)),
            then(since_onset(scaled(make_scaler(active=_NO_METRICS))), 19, healthy),
        ),
        labels=FLEET_LABELS | {"scaler": "etl-hpa"},
        summary=f"The scaler of {F} is inactive",
        description=f"The HPA etl-hpa of {F} does not get its metrics (ScalingActive is 0): the fleet keeps its "
        "size, whatever its load.",
    ),
    Case(
        alert="MatillionAgentVersionSkew",
        course=with_gap(since_onset(_THREE_VERSIONS), 12 * HOUR),
        after=DAY,
        lingers=15,
        # Two versions; and an agent that has not reported its version yet.
        not_enough=(seeing(agent("etl-0", version="11.1.0"), agent("etl-1", version="11.2.0"), starting("etl-2")),),
        labels=FLEET_LABELS,
        summary=f"3 agent versions are running in {F}",
        description=f"Agents of 3 different versions have been running in {F} for 1d; a rollout has two at a time.",
    ),
    Case(
        alert="MatillionTasksLost",
        course=_losing(LossReason.OOM_KILLED, 7),
        after=0,
        recovery=ONSET + 15,
        not_enough=(_losing(LossReason.OOM_KILLED, 0),),
        severity="critical",
        labels=FLEET_LABELS | {"reason": "OOMKilled"},
        summary=f"Running tasks were lost in {F} (OOMKilled)",
        description=f"About 7 tasks of {F} were running on agents that ended within 15m: OOMKilled. An estimate from "
        "each agent's last reading.",
    ),
    Case(
        alert="MatillionTasksLost",
        variant="deleted",
        course=_losing(LossReason.DELETED, 1),
        after=0,
        recovery=ONSET + 15,
        not_enough=(),
        labels=FLEET_LABELS | {"reason": "Deleted"},
        summary=f"Running tasks were lost in {F} (Deleted)",
        description=f"About 1 tasks of {F} were running on agents that ended within 15m: their pods were deleted "
        "before the tasks finished. An estimate from each agent's last reading.",
    ),
    Case(
        alert="MatillionTaskFailures",
        course=lambda minute: World(FLEET, own(minute) | task_failures("etl-1", 0 if minute < ONSET else 6)),
        after=0,
        lingers=0,
        recovery=ONSET + 15,
        not_enough=(lambda minute: World(FLEET, own(minute) | task_failures("etl-1", 0 if minute < ONSET else 5)),),
        labels=FLEET_LABELS,
        summary=f"Tasks are failing in {F}",
        description=f"About 6 tasks failed in {F} within 15m, according to the agents' logs.",
    ),
    Case(
        alert="MatillionExporterDown",
        course=since_onset(lambda _: None),
        after=5,
        not_enough=(with_gap(healthy, ONSET, 4),),
        severity="critical",
        labels=EXPORTER_LABELS,
        summary="The exporter of the Matillion fleets is down",
        description=f"Prometheus has had no metrics from {X} for 6m 0s. {_OUT_OF_REACH}",
    ),
    Case(
        alert="MatillionExporterDown",
        variant="never there",
        course=lambda _: None,
        onset=0,
        after=5,
        not_enough=(),
        severity="critical",
        summary="The exporter of the Matillion fleets is down",
        description=f"Prometheus has metrics from 0 exporters: none is installed, or none is scraped. {_OUT_OF_REACH}",
    ),
    Case(
        alert="MatillionExporterStale",
        course=since_onset(lambda minute: World(FLEET, own(minute, sync_age=121.0 + 60 * (minute - ONSET)), 121.0)),
        after=2,
        not_enough=(lambda minute: World(FLEET, own(minute, sync_age=120.0), 120.0),),
        severity="critical",
        labels=EXPORTER_LABELS,
        summary=f"The {X} has no current list of agents",
        description=f"The list of agents of {X} is 4m 1s old, or has not been read once in that time. The "
        "demand of every fleet is withheld and autoscaling stops.",
    ),
    Case(
        alert="MatillionExporterStale",
        variant="never knew",
        course=lambda minute: World((), own(minute, sync_age=None)),
        onset=3,
        after=2,
        not_enough=(then(lambda minute: World((), own(minute, sync_age=None)), 4, healthy),),
        severity="critical",
        labels=EXPORTER_LABELS,
        summary=f"The {X} has no current list of agents",
        description=f"The list of agents of {X} is 5m 0s old, or has not been read once in that time. The "
        "demand of every fleet is withheld and autoscaling stops.",
    ),
    Case(
        alert="MatillionReplicasDisagree",
        course=since_onset(_unseen(3)),
        beside=healthy,
        after=5,
        # One of three agents; and a replica that is replaced and reaches none for three minutes.
        not_enough=(_unseen(1), then(then(healthy, ONSET, _unseen(3)), ONSET + 3, healthy)),
        labels=FLEET_LABELS | {"job": EXPORTER_LABELS["job"], "instance": "10.0.0.1:9850"},
        summary=f"A replica of the exporter does not reach the agents of {F}",
        description="Replica 10.0.0.1:9850 of exporter matillion-fleet-exporter gets answers from 100% fewer of the "
        f"agents of {F} than another replica. Scalers depend on the other replica alone.",
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
        labels=EXPORTER_LABELS | {"problem": "not accepted"},
        summary=f"The {X} cannot publish to CloudWatch",
        description=f"CloudWatch accepts nothing from {X}; data has been waiting for 16m 0s. Alarms and scalers that "
        "read CloudWatch lack data.",
    ),
    Case(
        alert="MatillionExporterCloudWatchFailing",
        variant="data lost",
        course=lambda minute: World(FLEET, own(minute, rejected_datums=0.0 if minute < ONSET else 3.0)),
        after=5,
        recovery=ONSET + 15,
        not_enough=(),
        labels=EXPORTER_LABELS | {"problem": "lost"},
        summary=f"The {X} cannot publish to CloudWatch",
        description=f"About 3 data points of {X} were rejected by CloudWatch or dropped within 15m. Alarms and "
        "scalers that read CloudWatch lack data.",
    ),
    Case(
        alert="MatillionExporterNoLeader",
        course=since_onset(lambda minute: World(FLEET, own(minute, leader=0.0))),
        after=2,
        not_enough=(lambda minute: World(FLEET, own(minute, leader=None)),),
        labels=EXPORTER_LABELS,
        summary=f"No replica of {X} is the leader",
        description=f"The lease of {X} is held by 0 replicas: nothing is published to CloudWatch.",
    ),
)
