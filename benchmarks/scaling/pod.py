"""One agent's pod, as Kubernetes and the control plane see it. Knows nothing of the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field

PULL_SECONDS = (5.0, 15.0)
"""From a pod's creation to its container running, on a node that has room. The vendor's pods have no probes: this is
when they are Ready."""
FARGATE_SECONDS = (60.0, 120.0)
"""The same on Fargate, where each pod gets a machine of its own first. Assumed: AWS names no figure."""
BOOT_SECONDS = (15.0, 30.0)
"""From the container running to the agent answering and connected: a JVM starts. With `PULL_SECONDS` it is the
simulator's `START_SECONDS`."""
CRASH_SECONDS = 6.0
"""From a start to the next crash, in a crash loop: before the JVM is up."""


@dataclass(slots=True, eq=False)
class Pod:
    """The cluster changes it; everyone else reads."""

    number: int
    otel: bool
    """Whether the agent reports its queue: the OpenTelemetry endpoint does, the legacy one does not."""
    created_at: float
    template: int = 0
    """Which version of the Deployment's pod template it was made from."""
    node: int | None = None
    """Number of the node that it is on; None while it has none, and where nodes are not simulated."""
    deletion_cost: int = 0
    """Its annotation `controller.kubernetes.io/pod-deletion-cost`."""
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
    held_back: bool = False
    """Kubernetes waits before it starts the container again."""
    crashing: bool = False
    stuck: bool = False
    """No node will ever have room for it."""
    deleted_at: float | None = None
    replaced: bool = False
    """Whether a rollout deleted it: then the work that it had goes on arriving."""
    gone: bool = False
    tasks: int = 0
    empty_slots: int = 0
    """Slots that a task has just left and for which the agent has not asked for another yet."""
    waiting_to_end: int = 0
    """Tasks that would have ended while it stood still."""
    life: int = 0
    """Counts the container's lives: what was planned in an earlier one does not happen."""
    restarts: int = 0
    annotations: Mapping[str, str] = field(default_factory=dict)

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
