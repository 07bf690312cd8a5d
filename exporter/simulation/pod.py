"""One agent's pod, as Kubernetes and the control plane see it. It must not know of the others, nor of the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from exporter.simulation.nodes import Node
from exporter.simulation.task_queue import WaitingTask

TASKS_PER_AGENT = 20
"""The vendor's cap of concurrent tasks on an agent; interactive tasks come on top."""
GRACE_SECONDS = 12 * 3600.0
"""The `terminationGracePeriodSeconds` of the vendor's chart: how long a deleted agent may work on."""
SHUTDOWN_SECONDS = 4.0
"""From a draining agent's last task to its end."""
PULL_SECONDS = (5.0, 15.0)
"""From a pod's creation to its container running, on a node that has room. The vendor's pods have no probes: this is
when they are Ready."""
FARGATE_SECONDS = (60.0, 120.0)
"""The same on Fargate, where each pod gets a machine of its own first. Assumed: AWS names no figure."""
BOOT_SECONDS = (15.0, 30.0)
"""From the container running to the agent answering and connected: a JVM starts."""
CRASH_SECONDS = 6.0
"""From a start to the next crash, in a crash loop: before the JVM is up."""
BACK_OFF_SECONDS = (10.0, 300.0)
"""How long Kubernetes holds back a container that keeps dying: at first, doubled each time, at most."""


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended, in Kubernetes' words."""

    reason: str
    exit_code: int


CRASHED = End("Error", 1)
FINISHED = End("Error", 143)
"""By itself after SIGTERM: a JVM's exit code is then 128 + 15, however clean its end was."""
KILLED = End("Error", 137)
"""By SIGKILL, when its grace was over."""
OOM_KILLED = End("OOMKilled", 137)


@dataclass(slots=True, eq=False)
class Pod:
    """The fleet changes it; all others read."""

    number: int
    """Unique in the simulation and never used twice."""
    otel: bool = True
    """Whether the agent reports its queue: the OpenTelemetry endpoint does, the legacy one does not."""
    created_at: float = 0.0
    template: int = 0
    """Which version of the Deployment's pod template it was made from."""
    node: Node | None = None
    """None while it has none, and where nodes are not simulated."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    ran: bool = False
    """Whether its container has ever run; from then on it has an address."""
    ready_since: float | None = None
    """When its container began to run; None while it does not."""
    up: bool = False
    """Whether the agent in it has opened its port."""
    connected: bool = False
    stopped: bool = False
    visible: bool = True
    """Whether others reach its port."""
    hung: bool = False
    """Makes no progress: it does not respond, and its tasks wait for it."""
    crashing: bool = False
    """Whether its container ends soon after each start."""
    held_back: bool = False
    """Kubernetes waits before it starts the container again."""
    stuck: bool = False
    """No node will ever have room for it."""
    lost: bool = False
    """Its node is gone, and Kubernetes has not deleted it yet."""
    deleted_at: float | None = None
    grace_seconds: float = 0.0
    """How long after that it may work on, by its deletion."""
    replaced: bool = False
    """Whether a rollout deleted it: then the work that it had goes on arriving."""
    shutting_down: bool = False
    """Whether it drains and its last task is done."""
    gone: bool = False
    life: int = 0
    """Counts the container's lives: what was planned in an earlier one does not happen."""
    restarts: int = 0
    last_end: End | None = None
    """How its container ended last time, if Kubernetes saw it end."""
    ended_at: float | None = None
    limited: int = 0
    """Tasks that run under the cap."""
    interactive: int = 0
    """Tasks that run beside the cap."""
    empty_slots: int = 0
    """Slots that a task has just left and for which the agent has not asked for another yet."""
    stalled: list[WaitingTask] = field(default_factory=list)
    """Tasks that would have ended while it stood still."""
    finished: int = 0
    """Tasks that ended in this life of its container."""

    @property
    def tasks(self) -> int:
        """Tasks that run."""
        return self.limited + self.interactive

    @property
    def busy(self) -> int:
        """Tasks that run, and slots that one has just left."""
        return self.tasks + self.empty_slots

    @property
    def ready(self) -> bool:
        """Whether Kubernetes takes it to be Ready."""
        return self.ready_since is not None and not self.lost

    @property
    def draining(self) -> bool:
        """Whether it was asked to end."""
        return self.deleted_at is not None

    @property
    def answers(self) -> bool:
        """Whether a scrape succeeds."""
        return self.answers_within and self.visible

    @property
    def answers_within(self) -> bool:
        """Whether a program in the same pod gets an answer, whatever a network policy says to others."""
        return self.up and not self.hung

    @property
    def serving(self) -> bool:
        """Whether it pulls work."""
        return self.up and self.connected and not (self.stopped or self.hung or self.draining)
