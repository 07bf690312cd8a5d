"""Which of its pods a ReplicaSet deletes first. Pure.

After kubernetes.io, "ReplicaSet" (scaling), and Kubernetes' `ActivePodsWithRanks` (pkg/controller/controller_utils.go).
"""

import random
from collections import Counter
from collections.abc import Collection
from math import log2
from typing import TypeVar

from exporter.fleet.protection import COST
from exporter.simulation.pod import Pod

_NANOSECONDS = 1e9

P = TypeVar("P", bound=Pod)


def deletion_order(pods: Collection[P], now: float) -> list[P]:
    """Return the pods of a ReplicaSet, those to delete first at the beginning.

    Pods without a node come first, then those whose container never ran, then those that are not Ready. Of the others
    the lower deletion cost decides, then the more pods on the same node, then the shorter time since the pod is Ready;
    of those that are not Ready the more restarts, then the lower age. Times count by powers of two (the feature gate
    `LogarithmicScaleDown`, by default since 1.22); in one of them the UID decides, which is random.
    """
    on_node = Counter(pod.node for pod in pods if pod.node is not None)

    def rank(pod: Pod) -> tuple[float, ...]:
        ready = pod.ready
        if ready and pod.ready_since is not None:
            last = (_power(now - pod.ready_since), 0)
        else:
            last = (-pod.restarts, _power(now - pod.created_at))
        neighbors = on_node[pod.node] if pod.node is not None else 0
        assigned, cost = pod.node is not None, int(pod.annotations.get(COST, "0"))
        return (assigned, pod.ran, ready, cost, -neighbors, *last, _uid(pod))

    return sorted(pods, key=rank)


def _power(seconds: float) -> int:
    return int(log2(seconds * _NANOSECONDS)) if seconds > 0 else -1


def _uid(pod: Pod) -> float:
    return random.Random(f"uid/{pod.number}").random()
