"""The values all packages exchange: where an agent is, its last reading, and the fleet that results.

Frozen and slotted: values never change, so tasks share them without a lock.
Instants are seconds on one monotonic clock of this process (`…_at`, `…_since`), so that ages survive a wall clock that
jumps. Where a person or another system needs a date, the field is named `…_time` and holds Unix seconds.
`None` always means "not known"; it is never written as 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.fleet.departure import LossReason
from exporter.fleet.outlook import Outlook
from exporter.fleet.scaler import Scaler
from exporter.fleet.starts import Starts


class Dialect(StrEnum):
    """The two naming schemes of an agent's metrics, and so the two endpoints it may have."""

    OTEL = "otel"
    LEGACY = "legacy"


class AgentState(StrEnum):
    """State of an agent: exactly one, the first that applies (see `classification.classify`)."""

    DRAINING = "draining"
    STARTING = "starting"
    UNREACHABLE = "unreachable"
    STOPPED = "stopped"
    DISCONNECTED = "disconnected"
    SERVING = "serving"


class AgentStatus:
    """Values of the agent's own status gauge, as the vendor documents them."""

    STOPPED = 0
    RUNNING = 1
    PENDING_SHUTDOWN = 2
    SHUTTING_DOWN = 3
    ENDING = (PENDING_SHUTDOWN, SHUTTING_DOWN)
    NOT_RUNNING = (STOPPED, *ENDING)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where on an agent's address its metrics may be found."""

    kind: Dialect
    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What Kubernetes reports about an agent's pod. Counts and reasons are the agent container's."""

    ready: bool = False
    ready_since: float | None = None
    """When the pod last became Ready (monotonic); None while it is not."""
    created_time: float | None = None
    draining_time: float | None = None
    """When the pod's deletion was requested; None before that. Its tasks may run until `drain_deadline_time`."""
    drain_deadline_time: float | None = None
    """When Kubernetes kills the pod, whatever still runs; None before its deletion. A later one can only advance it."""
    drain_grace_seconds: float | None = None
    """The grace period in force for the deletion; None before it."""
    grace_seconds: float | None = None
    """The pod's own grace period (`terminationGracePeriodSeconds`); 43,200 in the vendor's charts."""
    disruption: str | None = None
    """Kubernetes' reason for ending the pod: its status' reason (`Evicted`), or that of its condition
    `DisruptionTarget` (`PreemptionByScheduler`)."""
    node: str | None = None
    container: str | None = None
    """Name of the agent's container."""
    image: str | None = None
    started_time: float | None = None
    """When the container started; None while it is not running."""
    restarts: int | None = None
    waiting_reason: str | None = None
    """Kubernetes' reason why the container is not running: `CrashLoopBackOff`, `ImagePullBackOff`, `Unschedulable`."""
    waiting_message: str | None = None
    """Kubernetes' message for `waiting_reason`, on one line of bounded length; None without one."""
    last_terminated_reason: str | None = None
    """Reason of the container's last termination: `OOMKilled`, `Error`, `Completed`, …"""
    last_terminated_time: float | None = None
    last_exit_code: int | None = None
    """Exit code of the container's last termination."""
    memory_limit_bytes: float | None = None
    cpu_limit_cores: float | None = None
    template: str | None = None
    """The version of the workload's pod template (label `pod-template-hash`)."""
    workload: str | None = None
    """Name of the workload that owns the pod: the Deployment for a ReplicaSet's pod. None without an owner."""
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The pod's annotations that `fleet.protection` decides by, and no others."""
    protected: bool | None = None
    """Whether the pod carries all annotations that protect it from disruption; None if none are configured."""

    @property
    def ended_container(self) -> tuple[int | None, float | None]:
        """What identifies the container's previous run: it changes whenever a run ends."""
        return self.restarts, self.last_terminated_time

    @property
    def crash_looping(self) -> bool:
        """Whether Kubernetes delays the container's restart because it keeps crashing."""
        return self.waiting_reason == "CrashLoopBackOff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One agent to scrape."""

    uid: str
    """The pod's UID, so that a pod re-created under the same name is another agent."""
    namespace: str
    fleet: str
    pod: str
    address: str | None
    """IP address or host name without brackets; None while the pod has none."""
    endpoint: Endpoint | None = None
    """The only endpoint to use; None to try `endpoints`, then those of the `scrape.endpoints` setting."""
    endpoints: tuple[Endpoint, ...] = ()
    """Endpoints that the pod declares, best first."""
    off_limits: str | None = None
    """Why nothing connects to `address`; None for an address that may be an agent's."""
    facts: PodFacts | None = None
    """None for a static target."""


@dataclass(frozen=True, slots=True)
class FinishedPod:
    """A pod that ended for good (`Succeeded` or `Failed`): no agent any more, but Kubernetes reports how it ended."""

    facts: PodFacts


@dataclass(frozen=True, slots=True)
class IgnoredPod:
    """A pod that matches the selector but is not an agent; it is not counted."""

    namespace: str
    pod: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The figures from one valid page of an agent. A page without a task count is not valid."""

    dialect: Dialect
    tasks_active: float
    """Tasks executing. Interactive tasks are not limited, so it may exceed the agent's task slots."""
    tasks_queued: float | None = None
    status: int | None = None
    connected: bool | None = None
    requests_active: float | None = None
    sessions_open: float | None = None
    busyness_score: float | None = None
    heap_used_bytes: float | None = None
    heap_limit_bytes: float | None = None
    version: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSample:
    """Memory and CPU usage of the agent's container, as Kubernetes measured it at one instant."""

    working_set_bytes: float
    """Memory that cannot be reclaimed, which is what a limit applies to."""
    cpu_cores: float | None = None
    """CPU usage, averaged over the measurement window."""
    taken_time: float
    """Time of the measurement on the node's clock, like `PodFacts.started_time`."""
    good_until: float
    """When the sample expires (monotonic)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Since when (monotonic) each condition has held for an agent without interruption; None while it does not hold."""

    known: float | None = None
    """Since when the target exists; None where that is not recorded."""
    serving: float | None = None
    """Running and connected, by its own readings."""
    full: float | None = None
    """No free slot, apart from single readings that showed one."""
    last_full: float | None = None
    """Time of the last reading without a free slot; None while `full` is None."""
    free: float | None = None
    """At least one free slot."""
    pressed: float | None = None
    """Under pressure that keeps it from taking work (`fleet.pressure`)."""
    stopping: float | None = None
    """It reports a pending shutdown or is shutting down."""
    idle: float | None = None
    """Neither running nor waiting tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSnapshot:
    """The latest state of one agent: target, last valid reading, result of the last scrape, pod health."""

    target: Target
    reading: Reading | None = None
    read_at: float | None = None
    """When `reading` was requested (monotonic): it is of this instant or a later one. None before the first."""
    read_time: float | None = None
    """The same instant in Unix seconds."""
    url: str | None = None
    """Where `reading` came from."""
    scrape_seconds: float | None = None
    """Duration of the last scrape, successful or not; None before the first."""
    error: str | None = None
    """Why the last scrape failed; None after a success."""
    usage: UsageSample | None = None
    task_failures: int | None = None
    """Failed tasks in the agent's log since following began; None while it is not followed."""
    since: Since = Since()
    displaced_by: str | None = None
    """`namespace/pod` of the newer agent that responds at the same address and port; else None."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A snapshot as classified at one instant."""

    snapshot: AgentSnapshot
    state: AgentState
    fresh: bool
    """Whether the reading is recent enough to count."""
    memory_working_set_bytes: float | None = None
    """Memory in use, from a current sample of the running container."""
    refusing: str | None = None
    """Why a serving agent with free slots accepts no more work, such as "CPU at 85%"; None otherwise."""


@dataclass(frozen=True, slots=True)
class ScaleIn:
    """How a scale-in is kept from agents with work (see `scale_in.scale_in`)."""

    max_tasks: int | None = None
    """The most tasks with which an agent may be removed; None for any number."""
    floor: float = 0.0
    """What the demand does not fall below; 0 while it is not held."""
    held_tasks: float = 0.0
    """How far that is above the demand without it."""
    since: float | None = None
    """Since when the floor has been needed (monotonic); None while it is not."""
    seconds_left: float = 0.0
    """How much longer it holds at most."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """Since when (monotonic) a fleet has had work that it does not get done; None while it has none (`lasting`)."""

    queued: float | None = None
    """Tasks have been waiting."""
    short: float | None = None
    """The demand has been more than all agents have slots for, and none has been added."""
    short_agents: int = 0
    """How many agents were there when `short` began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The agents that share a namespace and a fleet name, and their totals at one instant."""

    namespace: str
    name: str
    now: float
    """The instant of the totals (monotonic)."""
    time: float
    """The same instant in Unix seconds."""
    agents: tuple[Agent, ...]
    """Sorted by pod name, then UID."""
    states: Mapping[AgentState, int]
    """How many agents are in each state; every state is a key."""
    tasks_per_agent: int
    target_tasks_per_agent: int
    capacity_tasks: int
    tasks_active: float | None
    """None when agents should respond and none does: the sum is not 0 but unknown."""
    tasks_serving: float | None
    """The part of `tasks_active` on serving agents, which uses `capacity_tasks`; None when unknown."""
    tasks_draining: float
    tasks_queued: float | None
    """None when no agent reports a queue."""
    free_slots: float
    agents_saturated: int
    held_tasks: float
    replacement_tasks: float
    unseen_queue_tasks: float
    """Tasks added for a queue that must exist but cannot be observed; 0 without evidence of one."""
    scale_in: ScaleIn
    lasting: Lasting
    agents_refusing: int
    """Serving agents that accept no more work although they have free slots."""
    free_slots_certain: bool
    """Whether every free slot is known to be usable; otherwise `free_slots` is an upper bound."""
    never_heard: int
    """Agents that never responded for so long that they are excluded from all figures but their state."""
    coverage: float
    """Share of the agents that should respond and do, 0 to 1."""
    sync_age: float
    """Seconds since discovery last confirmed the fleet's membership."""
    membership_known: bool
    """Whether `sync_age` is low enough to rely on the fleet's membership."""
    read_age: float | None
    """Age in seconds of the oldest current reading; None without one."""
    untrusted_reason: str | None
    """Why the figures must not be acted on; None when they may."""
    demand: float
    """Demand as far as it can be computed, for display only: autoscalers use `demand_tasks`."""
    queue_alike: bool
    """Whether the agents' queues, which are summed, appear to be one shared queue."""
    restarts: int | None
    """Restarts of agents' containers since this process started, including pods that are gone.

    None without Kubernetes.
    """
    tasks_lost: Mapping[LossReason, float] | None
    """Tasks lost since this process started, an estimate from the agents' last readings; every reason is a key.

    None without Kubernetes.
    """
    tasks_lost_lately: float
    """The part of `tasks_lost` of the last `losses.LATELY_SECONDS`."""
    starts: Starts | None
    """The starts of agents that this process has observed, including pods that are gone; None without Kubernetes."""
    scalers: tuple[Scaler, ...] | None
    """The autoscalers of the fleet's Deployment, by name; empty if there are none, None if unknown."""
    outlook: Outlook | None
    """What the fleet's past says about the demand that is coming; None without a forecast (setting `forecast`)."""

    @property
    def trusted(self) -> bool:
        """Whether an autoscaler may act on this fleet's figures."""
        return self.untrusted_reason is None

    @property
    def utilization(self) -> float | None:
        """Share of the serving agents' slots that are in use: numerator and denominator cover the same agents.

        Above 1 when interactive tasks, which have no limit, are added. None when no agent serves.
        """
        if self.tasks_serving is None or not self.capacity_tasks:
            return None
        return self.tasks_serving / self.capacity_tasks

    @property
    def at_rest(self) -> bool:
        """Whether it has no agents because its Deployment is scaled to 0, where no autoscaler follows its demand."""
        scalers = () if self.agents or not self.scalers else self.scalers
        return bool(scalers) and all(scaler.asleep or scaler.switched_off for scaler in scalers)

    @property
    def withheld_reason(self) -> str | None:
        """Why no autoscaler may act on the demand; None when it may.

        Of agents that are gone it is unknown what they would have to do: 0 would make an autoscaler shrink the fleet.
        """
        if self.untrusted_reason is not None or self.agents or self.at_rest:
            return self.untrusted_reason
        return "it has no agents, and it is unknown whether it needs any"

    @property
    def demand_tasks(self) -> float | None:
        """Tasks the fleet should have capacity for; None while that is withheld."""
        return self.demand if self.withheld_reason is None else None

    @property
    def desired_agents(self) -> int | None:
        """Agents needed for `demand_tasks` at the target load; None while that is withheld."""
        return -int(-self.demand // self.target_tasks_per_agent) if self.withheld_reason is None else None

    @property
    def forecast_tasks(self) -> float | None:
        """Demand to have agents for before it comes; None without a forecast, or while it is withheld."""
        return None if self.outlook is None else self.outlook.tasks

    @property
    def demand_ahead_tasks(self) -> float | None:
        """The greater of demand and forecast; None exactly when `demand_tasks` is: a forecast can only add."""
        return max(self.demand, self.forecast_tasks or 0.0) if self.withheld_reason is None else None
