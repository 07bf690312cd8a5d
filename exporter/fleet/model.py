"""The values every room exchanges: where an agent is, what it last said, and what that makes of its fleet.

Frozen and slotted: a value that was handed out never changes, so it may be shared between tasks without a lock.
Instants are seconds on one monotonic clock of this process (`…_at`, `…_since`), so that ages survive a wall clock that
jumps. Where a person or another system needs a date, the field says `…_time` and holds Unix seconds.
`None` always means "not known"; it is never written as 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Dialect(StrEnum):
    """The two ways an agent names its metrics (and so the two endpoints it may have)."""

    OTEL = "otel"
    LEGACY = "legacy"


class AgentState(StrEnum):
    """What an agent is to its fleet; exactly one, the first that applies (see `capacity.judge`)."""

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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where on an agent's address its metrics may be found."""

    kind: Dialect
    port: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What Kubernetes says of the pod an agent runs in. Counts and reasons are the agent container's."""

    ready: bool = False
    ready_since: float | None = None
    """When the pod last became Ready (monotonic); None while it is not."""
    created_time: float | None = None
    draining_time: float | None = None
    """When the pod was asked to end; None while it was not. It may run its tasks for another 12 hours."""
    node: str | None = None
    container: str | None = None
    """Name of the container that is the agent."""
    image: str | None = None
    started_time: float | None = None
    """When the container began to run; None while it does not."""
    restarts: int | None = None
    waiting_reason: str | None = None
    """Why the container does not run, in Kubernetes' words: `CrashLoopBackOff`, `ImagePullBackOff`, `Unschedulable`."""
    waiting_message: str | None = None
    """What Kubernetes adds to `waiting_reason`, in one line of bounded length; None where it adds nothing."""
    last_terminated_reason: str | None = None
    """How the container ended last time: `OOMKilled`, `Error`, `Completed`, …"""
    last_terminated_time: float | None = None
    memory_limit_bytes: float | None = None
    cpu_limit_cores: float | None = None
    template: str | None = None
    """Which version of the workload's pod template the pod was made from (label `pod-template-hash`)."""
    workload: str | None = None
    """Name of the workload that owns the pod: for a ReplicaSet's pod that of its Deployment. None where none does."""

    @property
    def crash_looping(self) -> bool:
        """Whether Kubernetes holds the container back because it keeps dying."""
        return self.waiting_reason == "CrashLoopBackOff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One agent to scrape."""

    uid: str
    """Identity for life: the pod's UID, so that a pod replaced under the same name is another agent."""
    namespace: str
    fleet: str
    pod: str
    address: str | None
    """IP address or host name without brackets; None while the pod has none."""
    endpoint: Endpoint | None = None
    """The one endpoint to use; None to try `endpoints`, then those of the `scrape.endpoints` setting in turn."""
    endpoints: tuple[Endpoint, ...] = ()
    """Endpoints the pod itself declares, the best first."""
    facts: PodFacts | None = None
    """None where no Kubernetes stands behind the target (static targets)."""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A pod that the selector finds but that is no agent, and so counts nowhere."""

    namespace: str
    pod: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one good page of an agent said. A page without a task count is not a good page."""

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
    """What Kubernetes measured of the agent container's use of memory and CPU at one instant."""

    working_set_bytes: float
    """Memory that cannot be reclaimed, which is what a limit is held against."""
    cpu_cores: float | None = None
    """CPU in use, averaged over the window of the measurement."""
    taken_time: float
    """When the node measured it, on the node's clock, as `PodFacts.started_time` is."""
    good_until: float
    """Until when (monotonic) it counts as current."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """Since which instant (monotonic) something has been so of an agent without a break; None while it is not so."""

    known: float | None = None
    """Since when there has been a target; None where nobody kept count."""
    serving: float | None = None
    """It runs and is connected, by its own readings."""
    full: float | None = None
    """It has had no free slot, but for readings in between that showed one."""
    last_full: float | None = None
    """When a reading last showed it without a free slot; None while `full` is."""
    free: float | None = None
    """It has had a free slot."""
    pressed: float | None = None
    """Something kept it from taking work (`fleet.pressure`)."""
    stopping: float | None = None
    """It has said that it is about to shut down, or does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSnapshot:
    """The latest known of one agent: its target, its last good reading, how the last attempt went, its pod's health."""

    target: Target
    reading: Reading | None = None
    read_at: float | None = None
    """When `reading` was complete; None as long as there is none."""
    read_time: float | None = None
    url: str | None = None
    """Where `reading` came from."""
    scrape_seconds: float | None = None
    """How long the last attempt took, good or not; None before the first."""
    error: str | None = None
    """Why the last attempt failed, in words; None after a good one."""
    usage: UsageSample | None = None
    task_failures: int | None = None
    """Failed tasks in the agent's log since it was first followed; None while nobody follows it."""
    since: Since = Since()
    displaced_by: str | None = None
    """`namespace/pod` of a younger agent with the same address and port, which is who answers there; else None."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A snapshot as judged at one instant."""

    snapshot: AgentSnapshot
    state: AgentState
    fresh: bool
    """Whether the reading is recent enough to count."""
    memory_working_set_bytes: float | None = None
    """Memory in use, from a sample that still counts and that is of the container as it runs now."""
    refusing: str | None = None
    """Why a serving agent with free slots takes no more work, such as "CPU at 85%"; None where it does."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a scaler says of itself: whether something is so, and why, in its own words."""

    holds: bool | None
    """None where it says that it cannot tell."""
    reason: str = ""
    message: str = ""

    @property
    def why(self) -> str:
        """Reason and message in one line; empty where there is neither."""
        return ": ".join(filter(None, (self.reason, self.message)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaler:
    """A HorizontalPodAutoscaler (also one that KEDA made), as far as it concerns the fleet it scales."""

    namespace: str
    name: str
    target: str
    """Name of the workload whose replicas it sets."""
    target_kind: str
    """Kind and group of that workload, such as `Deployment.apps`."""
    min_agents: int | None
    max_agents: int | None
    current_agents: int | None
    """Replicas it last saw."""
    desired_agents: int | None
    """Replicas it last decided on; None until it has decided anything."""
    active: Condition | None
    """`ScalingActive`: whether it gets its metrics. None while it has not said."""
    able: Condition | None
    """`AbleToScale`: whether it can change the replicas."""
    limited: Condition | None
    """`ScalingLimited`: whether its minimum, maximum or pace keeps it from what its metrics ask for."""
    keda: bool = False
    metrics: tuple[str, ...] = ()
    """Names of what it goes by."""
    tolerance_up: float | None = None
    """Deviation from the target, as a share, below which it adds none; None for the cluster's own, usually 0.1."""
    tolerance_down: float | None = None
    """The same for taking away."""

    @property
    def switched_off(self) -> bool:
        """Whether it rests by design: somebody scaled its workload to 0."""
        return self.active is not None and self.active.reason == "ScalingDisabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The agents that share a namespace and a fleet name, and what they add up to at one instant."""

    namespace: str
    name: str
    agents: tuple[Agent, ...]
    """Sorted by pod name, then UID."""
    states: Mapping[AgentState, int]
    """How many agents are in each state; every state is a key."""
    tasks_per_agent: int
    target_tasks_per_agent: int
    capacity_tasks: int
    tasks_active: float | None
    """None when there are agents that should answer and not one does: their sum is not 0, it is unknown."""
    tasks_serving: float | None
    """The part of `tasks_active` on serving agents, which is what fills `capacity_tasks`; None when that is unknown."""
    tasks_draining: float
    tasks_queued: float | None
    """None when no agent reports a queue."""
    free_slots: float
    agents_saturated: int
    held_tasks: float
    replacement_tasks: float
    unseen_queue_tasks: float
    """Work asked for because it surely waits where nobody can see it; 0 while nothing says so."""
    agents_refusing: int
    """Serving agents that take no more work although they have slots."""
    free_slots_certain: bool
    """Whether it is known of every free slot that its agent would take work; else `free_slots` is an upper bound."""
    never_heard: int
    """Agents that have not answered once for so long that they count in no figure but their state."""
    coverage: float
    """Share of the agents that should answer and do, 0 to 1."""
    sync_age: float
    """Seconds since discovery last knew the fleet's membership to be current."""
    membership_known: bool
    """Whether `sync_age` is short enough for what discovery says of the fleet to count."""
    read_age: float | None
    """Seconds since the oldest reading that counts was taken; None when none counts."""
    untrusted_reason: str | None
    """Why the figures are not to be acted on, in words; None when they are."""
    demand: float
    """Demand as far as it can be computed. For a person to look at: a scaler takes `demand_tasks`."""
    queue_alike: bool
    """Whether the agents' queues, which are added up, have looked like one and the same for a while."""
    restarts: int | None
    """Restarts of agents' containers seen since this process began, also in pods that are gone since.

    None where no Kubernetes stands behind the fleet.
    """
    scalers: tuple[Scaler, ...] | None
    """What scales the Deployment of the fleet's pods, by name; empty where nothing does, None where nobody knows."""

    @property
    def trusted(self) -> bool:
        """Whether a scaler may act on this fleet's figures."""
        return self.untrusted_reason is None

    @property
    def utilization(self) -> float | None:
        """Share of the serving agents' slots that tasks fill: one set of agents above and below the line.

        Above 1 where interactive tasks, which have no limit, come on top. None when no agent serves.
        """
        if self.tasks_serving is None or not self.capacity_tasks:
            return None
        return self.tasks_serving / self.capacity_tasks

    @property
    def demand_tasks(self) -> float | None:
        """Tasks the fleet should have room for; None while the fleet is not trusted."""
        return self.demand if self.trusted else None

    @property
    def desired_agents(self) -> int | None:
        """Agents it takes to hold `demand_tasks` at the target load; None while the fleet is not trusted."""
        return -int(-self.demand // self.target_tasks_per_agent) if self.trusted else None
