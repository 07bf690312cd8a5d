"""The nodes of a fleet: where the scheduler places its pods. It must not know what adds and removes nodes.

Only agents run on the nodes, and all of them have the same requests.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Generic, TypeVar

from exporter.simulation.timeline import Timeline

if TYPE_CHECKING:
    from exporter.simulation.pod import Pod

NODE_SECONDS = 90.0
"""From the request for an EC2 node to the first pod scheduled on it. Assumed: AWS names no figure."""
UNREACHABLE_SECONDS = 40.0
"""From a node's last sign of life to its pods' Ready=False: `--node-monitor-grace-period` of Kubernetes."""
POD_GC_SECONDS = (85.0, 120.0)
"""From the loss of a node to the deletion of its pods: it counts as unreachable after 40 s, its Node object is deleted
within 5 s, and pod garbage collection, every 20 s, waits for another 40 s."""


@dataclass(frozen=True, slots=True)
class NodeSize:
    """A kind of node, in agents of the vendor's smallest size (1 vCPU, 4 GiB)."""

    name: str
    agents: int
    """Agents that fit on it."""
    share: float
    """Requests of one agent, as a share of the node's allocatable CPU or memory, whichever is more."""


SMALL = NodeSize("4 vCPU, 16 GiB", agents=3, share=0.27)
LARGE = NodeSize("8 vCPU, 32 GiB", agents=7, share=0.13)
SIZES = (SMALL, LARGE)
"""m5.xlarge and m5.2xlarge. Allocatable are 14.6 of 16 GiB, and 7.9 of 8 vCPU with 30.1 of 32 GiB: EKS reserves
255 MiB, 11 MiB for each of 58 pods, and 100 MiB as the eviction threshold; the kernel uses the rest. Calculated,
not read from a node."""


@dataclass(slots=True, eq=False)
class Node:
    """Changed by its group and the fleet alone."""

    number: int
    size: NodeSize = SMALL
    ready_at: float = 0.0
    pods: "list[Pod]" = field(default_factory=list)
    """Draining pods too: their requests count until they are gone."""
    leaving: bool = False
    """Whether it is being drained, or is lost. It is tainted then: no pod is scheduled on it."""

    def free(self, now: float) -> int:
        """Return how many more agents the scheduler can place on it."""
        return 0 if self.leaving or now < self.ready_at else self.size.agents - len(self.pods)

    @property
    def utilization(self) -> float:
        """Requests of its pods, as a share of its allocatable resources."""
        return self.size.share * len(self.pods)


N = TypeVar("N", bound=Node)


class NodeGroup(Generic[N]):
    """The nodes of one fleet, all of one size, and the hours that they cost."""

    def __init__(
        self,
        timeline: Timeline,
        size: NodeSize,
        make: Callable[[int, NodeSize, float], N],
        numbers: Iterator[int] | None = None,
    ) -> None:
        """Begin with none. `make` takes a number, the size, and when the node is ready."""
        self.nodes: list[N] = []
        """In the order in which they were requested; a node that is gone is not among them."""
        self.size = size
        self._timeline = timeline
        self._make = make
        self._numbers = numbers if numbers is not None else count(1)
        self._seconds = 0.0
        self._seen_at = timeline.now

    def add(self, count: int, seconds: float) -> None:
        """Request nodes, which are ready after so many seconds."""
        self.hours()
        for _ in range(count):
            self.nodes.append(self._make(next(self._numbers), self.size, self._timeline.now + seconds))

    def has_room(self) -> bool:
        """Return whether one more pod finds a node."""
        return any(node.free(self._timeline.now) for node in self.nodes)

    def bind(self, pod: "Pod") -> bool:
        """Place a pod on the least allocated node, as kube-scheduler does by default; on the oldest of equal ones."""
        now = self._timeline.now
        node = max(self.nodes, key=lambda node: (node.free(now), -node.number), default=None)
        if node is None or not node.free(now):
            return False
        node.pods.append(pod)
        pod.node = node
        return True

    def release(self, pod: "Pod") -> None:
        """Free the place of a pod that is gone. A node that is leaving goes with its last pod."""
        if pod.node is not None and pod in pod.node.pods:
            pod.node.pods.remove(pod)
        self.remove_empty()

    def remove_empty(self) -> None:
        """Remove the nodes that are leaving and have no pods."""
        self.hours()
        self.nodes = [node for node in self.nodes if node.pods or not node.leaving]

    def hours(self) -> float:
        """Return the hours that nodes have existed, each from the request for it, added up over all of them."""
        now = self._timeline.now
        self._seconds += len(self.nodes) * (now - self._seen_at)
        self._seen_at = now
        return self._seconds / 3600.0
