"""The nodes that simulated agents run on: where a pod is placed, and what was lost when a node went away.

Pure, and passive: `simulation` takes nodes away and counts, everyone else reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from exporter.terminal import counted

AGENTS_PER_NODE = 3
"""What fits a node of 16 GiB: an agent's limit is 4 GiB, and the node's own programs take the rest."""
EVICTION_GRACE_SECONDS = 600.0
"""`--max-graceful-termination-sec` of the Cluster Autoscaler, its default: what is left of an agent's 12 hours."""
UNREACHABLE_SECONDS = 40.0
"""From a node's last sign of life to its pods' Ready=False: `--node-monitor-grace-period` of Kubernetes."""
POD_GC_SECONDS = (85.0, 120.0)
"""From the loss of a node to the deletion of its pods: it counts as unreachable after 40 s, its Node object is deleted
within 5 s, and pod garbage collection, every 20 s, waits for another 40 s."""
_ZONES = 3


class Fate(StrEnum):
    """How a node goes away."""

    REMOVED = "removed"
    """A node autoscaler evicts its pods, with its own grace in place of theirs."""
    LOST = "lost"
    """All at once: a spot interruption, or the hardware."""


@dataclass(slots=True, eq=False)
class Node:
    """One node, and once it goes away what that cost."""

    number: int
    """Unique in the simulation and never used twice."""
    present: int = 0
    """Agents whose pods are there."""
    fate: Fate | None = None
    """None while it is a node like any other; from then on it takes no more pods."""
    ended_at: float = 0.0
    """When its fate came."""
    agents: int = 0
    """Agents that it had then."""
    tasks: int = 0
    """Tasks that ran on them then."""
    killed: int = 0
    """Tasks that ended with it so far."""

    @property
    def name(self) -> str:
        """As EKS names it, by its address; unique among the first 60,000."""
        block, host = divmod(self.number, 240)
        # 37 and 240 have no common factor, so that every host number comes once.
        return f"ip-10-{block}-{self.number % _ZONES + 1}-{host * 37 % 240 + 10}.ec2.internal"

    @property
    def short_name(self) -> str:
        """The name without its domain."""
        return self.name.partition(".")[0]

    def story(self) -> str:
        """Return in a sentence how it went away, as far as that has come."""
        agents, tasks = counted(self.agents, "agent"), counted(self.tasks, "task")
        minutes = f"{EVICTION_GRACE_SECONDS / 60:g} min of grace"
        match self.fate:
            case Fate.REMOVED if self.present:
                return f"node {self.short_name} is being removed: {agents} with {tasks} evicted with {minutes}"
            case Fate.REMOVED:
                killed = f"{counted(self.killed, 'task')} {'was' if self.killed == 1 else 'were'} killed"
                return f"node {self.short_name} was removed: {agents} evicted with {minutes}, {killed}"
            case Fate.LOST if self.present:
                return f"node {self.short_name} does not respond: {agents} with {tasks}"
            case Fate.LOST:
                return f"node {self.short_name} was lost: {agents} replaced, {counted(self.killed, 'task')} lost"
        return f"node {self.short_name} runs {counted(self.present, 'agent')}"


@dataclass(slots=True)
class NodeGroup:
    """The nodes of one fleet. `numbers` gives each number once over all fleets."""

    numbers: Iterator[int]
    _nodes: list[Node] = field(default_factory=list)

    def place(self) -> Node:
        """Return the node for one more pod, counted there: the emptiest with room, else a new one."""
        rooms = [node for node in self._nodes if node.fate is None and node.present < AGENTS_PER_NODE]
        if rooms:
            node = min(rooms, key=lambda room: (room.present, room.number))
        else:
            node = Node(next(self.numbers))
            self._nodes.append(node)
        node.present += 1
        return node

    def gone(self) -> list[Node]:
        """Return the nodes that went away, or are about to, in that order."""
        return sorted((node for node in self._nodes if node.fate is not None), key=lambda node: node.ended_at)
