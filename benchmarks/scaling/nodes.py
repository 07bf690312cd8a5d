"""A fleet on nodes: where the scheduler places its pods, and what happens to them when a node is drained.

Only agents run on the nodes, and all of them have the same requests. It must not know what adds and removes nodes.
"""

import random
from dataclasses import dataclass, field
from functools import partial

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.pod import Pod
from benchmarks.scaling.timeline import Timeline

NODE_SECONDS = 90.0
"""From the request for an EC2 node to the first pod scheduled on it. Assumed: AWS names no figure."""


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
    """Changed by the cluster alone."""

    number: int
    size: NodeSize
    ready_at: float
    pods: list[Pod] = field(default_factory=list)
    """Draining pods too: their requests count until they are gone."""
    leaving: bool = False
    """Whether it is being drained. It is tainted then: no pod is scheduled on it."""

    def free(self, now: float) -> int:
        """Return how many more agents the scheduler can place on it."""
        return 0 if self.leaving or now < self.ready_at else self.size.agents - len(self.pods)

    @property
    def utilization(self) -> float:
        """Requests of its pods, as a share of its allocatable resources."""
        return self.size.share * len(self.pods)


class NodedCluster(Cluster):
    """A fleet on nodes of one size. A pod that fits on no node is pending."""

    def __init__(self, timeline: Timeline, chance: random.Random, replicas: int, size: NodeSize) -> None:
        """Begin with as many nodes as the replicas need."""
        self.nodes: list[Node] = []
        self.pending: list[Pod] = []
        self.killed = 0
        """Tasks that ran on agents at the end of these agents' grace."""
        self._size = size
        self._nodes_made = 0
        self._node_seconds = 0.0
        self._nodes_seen_at = 0.0
        super().__init__(timeline, chance, replicas)
        self.add_nodes(-(-replicas // size.agents), seconds=0.0)
        for pod in self.pods:
            self._bind(pod)

    def node_hours(self) -> float:
        """Return the hours that nodes have existed, each from the request for it, added up over all of them."""
        now = self.timeline.now
        self._node_seconds += len(self.nodes) * (now - self._nodes_seen_at)
        self._nodes_seen_at = now
        return self._node_seconds / 3600.0

    def add_nodes(self, count: int, *, seconds: float = NODE_SECONDS) -> None:
        """Request nodes, which are ready after so many seconds."""
        self.node_hours()
        for _ in range(count):
            self._nodes_made += 1
            self.nodes.append(Node(self._nodes_made, self._size, self.timeline.now + seconds))
        self.timeline.after(seconds, self._schedule)

    def drain(self, node: Node, grace: float) -> None:
        """Evict a node's pods with a grace in seconds, draining ones too; the node is removed with the last of them.

        The grace of a draining pod begins again. The API server counts it from the pod's first deletion; the kubelet,
        which kills, is assumed to count from the eviction. That is the later of the two, so the fewer tasks killed.
        """
        node.leaving = True
        pods = list(node.pods)
        for pod in pods:
            self.timeline.after(grace, partial(self._remove, pod))
        self.evict(pod for pod in pods if not pod.draining)
        self._remove_if_empty(node)

    # -- the scheduler ------------------------------------------------------------------------------------------------

    def _begin(self, pod: Pod) -> None:
        self.pending.append(pod)
        self._schedule()

    def _schedule(self) -> None:
        waiting, self.pending = self.pending, []
        for pod in waiting:
            if self._bind(pod):
                super()._begin(pod)
            else:
                self.pending.append(pod)

    def _bind(self, pod: Pod) -> bool:
        """Place a pod on the least allocated node, as kube-scheduler does by default; on the oldest of equal ones."""
        now = self.timeline.now
        node = max(self.nodes, key=lambda node: (node.free(now), -node.number), default=None)
        if node is None or not node.free(now):
            return False
        node.pods.append(pod)
        pod.node = node.number
        return True

    def _remove(self, pod: Pod) -> None:
        if pod.gone:
            return
        self.killed += pod.tasks
        super()._remove(pod)
        self.pending = [other for other in self.pending if other is not pod]
        for node in self.nodes:
            if pod in node.pods:
                node.pods.remove(pod)
                self._remove_if_empty(node)
                break
        self._schedule()

    def _remove_if_empty(self, node: Node) -> None:
        if node.leaving and not node.pods and node in self.nodes:
            self.node_hours()
            self.nodes.remove(node)
