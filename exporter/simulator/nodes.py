"""A node of the demo: its name as EKS gives it, and what it cost that it went away, in a sentence.

Pure, and passive: `simulation` takes nodes away and counts, all others read.
"""

from dataclasses import dataclass
from enum import StrEnum

from exporter.simulation.node_autoscaler import EVICTION_GRACE_SECONDS
from exporter.simulation.nodes import Node
from exporter.terminal import counted

_ZONES = 3


class Fate(StrEnum):
    """How a node goes away."""

    REMOVED = "removed"
    """A node autoscaler evicts its pods, with its own grace in place of theirs."""
    LOST = "lost"
    """All at once: a spot interruption, or the hardware."""


@dataclass(slots=True, eq=False)
class NamedNode(Node):
    """One node, and once it goes away what that cost."""

    fate: Fate | None = None
    """None while it is a node like any other."""
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

    def ends(self, fate: Fate, now: float) -> None:
        """Record that its end has come, and what is on it."""
        self.fate, self.ended_at, self.killed = fate, now, 0
        self.agents, self.tasks = len(self.pods), sum(pod.tasks for pod in self.pods)

    def story(self) -> str:
        """Return in a sentence how it went away, as far as that has come."""
        agents, tasks = counted(self.agents, "agent"), counted(self.tasks, "task")
        minutes = f"{EVICTION_GRACE_SECONDS / 60:g} min of grace"
        match self.fate:
            case Fate.REMOVED if self.pods:
                return f"node {self.short_name} is being removed: {agents} with {tasks} evicted with {minutes}"
            case Fate.REMOVED:
                killed = f"{counted(self.killed, 'task')} {'was' if self.killed == 1 else 'were'} killed"
                return f"node {self.short_name} was removed: {agents} evicted with {minutes}, {killed}"
            case Fate.LOST if self.pods:
                return f"node {self.short_name} does not respond: {agents} with {tasks}"
            case Fate.LOST:
                return f"node {self.short_name} was lost: {agents} replaced, {counted(self.killed, 'task')} lost"
        return f"node {self.short_name} runs {counted(len(self.pods), 'agent')}"
