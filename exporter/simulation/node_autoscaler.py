"""The Cluster Autoscaler as its documentation describes it: when it adds nodes, and when it removes them.

Pure: `now` is an argument. After kubernetes/autoscaler, cluster-autoscaler/FAQ.md: "How does scale-up work?", "How does
scale-down work?", "What types of pods can prevent CA from removing a node?", "What are the parameters to CA?". Where
the FAQ leaves it open, after its code: the requests of terminating pods count, and such pods must fit elsewhere, until
the grace of their spec is over (simulator/utilization/info.go, simulator/cluster.go); they are evicted like all others
(core/scaledown/actuation/drain.go; kubernetes/kubernetes#94435). It must not know what runs in the pods.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from exporter.fleet.protection import CLUSTER_AUTOSCALER
from exporter.simulation.nodes import Node
from exporter.simulation.pod import GRACE_SECONDS

SCAN_SECONDS = 10.0
"""`--scan-interval`, the default."""
EVICTION_GRACE_SECONDS = 600.0
"""`--max-graceful-termination-sec`, the default: what is left of an agent's 12 hours."""
EMPTY_AT_ONCE = 10
"""`--max-empty-bulk-delete`, the default: empty nodes that one scan removes. Others are drained one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Its flags, with their defaults; times in seconds."""

    utilization_threshold: float = 0.5
    """`--scale-down-utilization-threshold`: only a node below it can be unneeded."""
    unneeded_time: float = 600.0
    """`--scale-down-unneeded-time`."""
    delay_after_add: float = 600.0
    """`--scale-down-delay-after-add`."""
    max_graceful_termination: float = EVICTION_GRACE_SECONDS
    """`--max-graceful-termination-sec`."""

    @property
    def grace(self) -> float:
        """Seconds that an evicted agent has to finish its tasks."""
        return min(GRACE_SECONDS, self.max_graceful_termination)


@dataclass(frozen=True, slots=True)
class Plan:
    """The result of one scan."""

    add: int = 0
    """Nodes to request."""
    remove: tuple[Node, ...] = ()
    """Nodes to drain; at most one of them has pods."""


class NodeAutoscaler:
    """One Cluster Autoscaler of one node group, whose minimum is one node, and its state between scans."""

    def __init__(self, flags: Flags) -> None:
        self._flags = flags
        self._added_at = float("-inf")
        self._unneeded_since: dict[Node, float] = {}

    def scan(self, now: float, nodes: Sequence[Node], pending: int) -> Plan:
        """Return what to do where `pending` pods fit on no node that is ready. A scan that adds nodes removes none."""
        upcoming = sum(node.size.agents for node in nodes if now < node.ready_at)
        if pending > upcoming:
            self._added_at = now
            return Plan(add=ceil((pending - upcoming) / nodes[0].size.agents))
        since = self._unneeded_since = {
            node: self._unneeded_since.get(node, now) for node in self._unneeded(now, nodes)
        }
        if now - self._added_at < self._flags.delay_after_add:
            return Plan()
        due = [node for node in since if now - since[node] > self._flags.unneeded_time]
        empty = [node for node in due if not node.pods]
        occupied = [node for node in due if node.pods and not any(other.leaving for other in nodes)]
        return Plan(remove=(*empty[:EMPTY_AT_ONCE], *occupied[:1]))

    def _unneeded(self, now: float, nodes: Iterable[Node]) -> list[Node]:
        """Return the nodes without which all pods fit, even if all of these go: empty ones first."""
        there = [node for node in nodes if not node.leaving and now >= node.ready_at]
        spare = sum(node.free(now) for node in there)
        found: list[Node] = []
        for node in sorted(there, key=lambda node: (bool(node.pods), self._unneeded_since.get(node, now))):
            # A removed node takes its free places with it, and its pods take as many elsewhere as it had occupied.
            if node.size.agents <= spare and self._removable(node) and len(found) < len(there) - 1:
                spare -= node.size.agents
                found.append(node)
        return found

    def _removable(self, node: Node) -> bool:
        return node.utilization < self._flags.utilization_threshold and not any(
            pod.annotations.get(CLUSTER_AUTOSCALER) == "false" for pod in node.pods
        )
