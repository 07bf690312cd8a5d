"""One agent of the simulation: where in its life it is, what it runs, and what its endpoints would report.

Pure, and passive: `simulation` changes it, all others read. Knows nothing of the work that waits or of the others.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.fleet.model import AgentStatus
from exporter.simulator.nodes import Node
from exporter.simulator.vitals import Behaviour, Image, Vitals

TASKS_PER_AGENT = 20
"""The vendor's cap of concurrent tasks on an agent; interactive tasks come on top."""

MIB = 1024 * 1024
MEMORY_LIMIT = 4096 * MIB
"""Of the container: the vendor's smallest size."""
HEAP_LIMIT = 3072 * MIB
"""Three quarters of that."""
NATIVE_MEMORY = 560 * MIB
"""What a JVM uses besides its heap: code, threads, buffers."""
HEAP_BASE = 380 * MIB
HEAP_PER_TASK = 42 * MIB
HEAP_GARBAGE = 320 * MIB
"""Height of the garbage collector's saw tooth."""


class Phase(StrEnum):
    """Where in its life an agent is."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    LOST = "lost"
    """Its node is gone; Kubernetes has not deleted its pod yet."""
    GONE = "gone"


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
class SimulatedAgent:
    """One agent. The fleet changes it; everyone else reads."""

    number: int
    """Unique in the simulation and never used twice; addresses follow from it."""
    fleet: str
    pod: str
    image: Image
    started_at: float
    phase: Phase = Phase.STARTING
    node: Node = field(default_factory=lambda: Node(0))
    listed: bool = False
    """Whether its container has ever started; from then on a list of addresses has it."""
    connected: bool = True
    stopped: bool = False
    shutting_down: bool = False
    behaviour: Behaviour = Behaviour.CLOSED
    life: int = 0
    """Counts the container's lives, so that what was planned for an earlier one is dropped."""
    created_at: float = 0.0
    deleted_at: float | None = None
    """When its pod was deleted; it drains from then on."""
    grace_seconds: float = 0.0
    """How long after that it is killed."""
    restarts: int = 0
    last_end: End | None = None
    """How its container ended last time."""
    ended_at: float | None = None
    held_back: bool = False
    """Whether Kubernetes lets some time pass before it starts the container again."""
    crashes_until: float = 0.0
    limited: int = 0
    """Tasks running under the cap."""
    interactive: int = 0
    queued: int = 0
    """Its share of the fleet's queue."""
    finished: int = 0
    leaking_since: float | None = None
    leak_seconds: float = 0.0

    @property
    def tasks(self) -> int:
        """Tasks running."""
        return self.limited + self.interactive

    @property
    def troubled(self) -> bool:
        """Whether something is wrong with it already, so that an incident should strike another."""
        return (
            not self.connected
            or self.stopped
            or self.leaking_since is not None
            or self.behaviour is not Behaviour.ANSWERING
        )

    @property
    def takes_work(self) -> bool:
        """Whether it pulls new tasks when it has slots."""
        return (
            self.phase is Phase.RUNNING
            and self.connected
            and not self.stopped
            and self.behaviour not in {Behaviour.HUNG, Behaviour.CLOSED}
        )

    def heap_used(self, now: float) -> int:
        """Return the heap in use: what its tasks hold, what the collector has not got to yet, what has leaked."""
        sweep = 47.0 + self.number % 11
        garbage = (now + 7.0 * self.number) % sweep / sweep
        used = HEAP_BASE + HEAP_PER_TASK * self.tasks + HEAP_GARBAGE * garbage
        if self.leaking_since is not None:
            leaked = min(1.0, (now - self.leaking_since) / self.leak_seconds)
            used += leaked * (HEAP_LIMIT - used)
        return min(int(used), HEAP_LIMIT)

    def memory_used(self, now: float) -> int:
        """Return the container's memory in use: the heap and the rest, both of which leak."""
        used = float(self.heap_used(now) + NATIVE_MEMORY)
        if self.leaking_since is not None:
            used += min(1.0, (now - self.leaking_since) / self.leak_seconds) * (MEMORY_LIMIT - used)
        return min(int(used), MEMORY_LIMIT)

    def vitals(self, now: float) -> Vitals:
        """Return what its endpoints would report now."""
        busy = self.tasks / TASKS_PER_AGENT
        flutter = math.sin(now / 9.0 + self.number)
        status = AgentStatus.RUNNING
        if self.phase is Phase.DRAINING:
            status = AgentStatus.SHUTTING_DOWN if self.shutting_down else AgentStatus.PENDING_SHUTDOWN
        elif self.stopped:
            status = AgentStatus.STOPPED
        return Vitals(
            pod=self.pod,
            status=status,
            connected=self.connected,
            tasks_active=self.tasks,
            tasks_queued=self.queued,
            requests_active=max(0, round(busy * 3 + flutter)),
            sessions_open=(self.tasks + 1) // 2,
            busyness_score=round(min(1.0, busy) * 100, 1),
            heap_used_bytes=self.heap_used(now),
            heap_limit_bytes=HEAP_LIMIT,
            cpu_utilization=round(min(1.0, max(0.01, 0.04 + 0.7 * busy + 0.05 * flutter)), 6),
            uptime_seconds=round(now - self.started_at, 3),
            tasks_finished=self.finished,
        )
