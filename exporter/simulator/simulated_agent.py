"""One agent of the simulation: where in its life it is, what it runs, and what its endpoints would report.

Pure, and passive: `simulation` changes it, all others read. Knows nothing of the work that waits or of the others.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.fleet.model import AgentStatus
from exporter.simulation.pod import TASKS_PER_AGENT, Pod
from exporter.simulator.nodes import NamedNode
from exporter.simulator.vitals import Behaviour, Image, Vitals

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


@dataclass(slots=True, eq=False, kw_only=True)
class SimulatedAgent(Pod):
    """One agent, and what others see of it. The fleet changes it; all others read."""

    fleet: str
    pod: str
    """Its name."""
    image: Image
    node: NamedNode = field(default_factory=lambda: NamedNode(0))
    connected: bool = True
    manner: Behaviour = Behaviour.ANSWERING
    """How its ports behave while it is up and does not hang."""
    queued: int = 0
    """Its share of the fleet's queue."""
    leaking_since: float | None = None
    leak_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.otel = self.image.otel

    @property
    def phase(self) -> Phase:
        """Where in its life it is."""
        if self.gone or self.lost:
            return Phase.GONE if self.gone else Phase.LOST
        if not self.up:
            return Phase.STARTING
        return Phase.DRAINING if self.draining else Phase.RUNNING

    @property
    def behaviour(self) -> Behaviour:
        """How its ports behave."""
        if self.lost and self.ran and not self.gone:
            # Packets to the address of a lost node go nowhere.
            return Behaviour.HUNG
        if not self.up:
            return Behaviour.CLOSED
        return Behaviour.HUNG if self.hung else self.manner

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self.up, self.hung = behaviour is not Behaviour.CLOSED, behaviour is Behaviour.HUNG
        self.manner = behaviour if self.up and not self.hung else Behaviour.ANSWERING

    @property
    def listed(self) -> bool:
        """Whether it has ever answered; from then on a list of addresses has it."""
        return self.up or (self.ran and self.life > 0)

    @property
    def troubled(self) -> bool:
        """Whether something is wrong with it already, so that an incident should strike another."""
        return (
            not self.connected
            or self.stopped
            or self.leaking_since is not None
            or self.behaviour is not Behaviour.ANSWERING
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
            uptime_seconds=round(now - (self.ready_since or 0.0), 3),
            tasks_finished=self.finished,
        )
