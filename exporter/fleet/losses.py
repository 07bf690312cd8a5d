"""Tasks lost with an agent: how many, and why.

Pure. An estimate from the agent's last reading: tasks that started or finished after it are not in it. Clean ends count
nothing: an agent that has finished its work, and one that ends by itself after its deletion was requested, which the
vendor's agent does only then.
"""

from collections.abc import Mapping
from math import inf

from exporter.fleet.departure import LossReason
from exporter.fleet.model import AgentSnapshot, AgentStatus, PodFacts

LATELY_SECONDS = 15 * 60
"""How long lost tasks are news: as in MatillionTasksLost."""
_OWN_END = (0, 143)
"""Exit codes of a process that ends by itself after SIGTERM; a JVM's is 128 + 15 however clean its shutdown was."""
_KILLED = 137
"""Exit code after SIGKILL (128 + 9)."""
_DEADLINE_MARGIN = 5.0
"""Seconds by which the clocks of this process and of the API server may differ when a deadline is judged."""

# Reasons in a pod's status and in its condition DisruptionTarget (kubernetes.io, "Disruptions", "Node Shutdowns").
_BY_DISRUPTION: Mapping[str | None, LossReason] = {
    "Evicted": LossReason.EVICTED,
    "EvictionByEvictionAPI": LossReason.EVICTED,
    "Preempting": LossReason.PREEMPTED,
    "PreemptionByScheduler": LossReason.PREEMPTED,
    "PreemptionByKubeScheduler": LossReason.PREEMPTED,
    "NodeLost": LossReason.NODE_LOST,
    "NodeShutdown": LossReason.NODE_LOST,
    "Shutdown": LossReason.NODE_LOST,
    "Terminated": LossReason.NODE_LOST,
    "TerminationByKubelet": LossReason.NODE_LOST,
    "DeletionByPodGC": LossReason.NODE_LOST,
    "DeletionByTaintManager": LossReason.NODE_LOST,
}


def run_ended(before: PodFacts | None, after: PodFacts | None) -> bool:
    """Return whether the agent's container ended between the two. Both are from Kubernetes: no clocks are compared."""
    if before is after or before is None or after is None or before.ended_container == after.ended_container:
        return False
    restarted = before.restarts is not None and after.restarts is not None and after.restarts > before.restarts
    return restarted or (after.last_terminated_time or 0.0) > (before.last_terminated_time or 0.0)


def loss_reason(snapshot: AgentSnapshot, last: PodFacts | None, wall_now: float) -> LossReason | None:
    """Return why the tasks of an agent's last reading are lost now that its container ended; None if it ended cleanly.

    `snapshot` is the agent before that; `last` is how Kubernetes last described the pod, None if the pod went away
    unobserved. `wall_now` is Unix time.
    """
    before = snapshot.target.facts
    if before is None:
        return None
    after, reading = last or before, snapshot.reading
    ended = run_ended(before, after)
    exit_code = after.last_exit_code if ended else None
    requested = before.draining_time is not None or after.draining_time is not None
    if ended and after.last_terminated_reason == LossReason.OOM_KILLED:
        return LossReason.OOM_KILLED
    ending = requested or (reading is not None and reading.status in AgentStatus.ENDING)
    if exit_code in _OWN_END and ending:
        return None
    if after.disruption in _BY_DISRUPTION:
        return _BY_DISRUPTION[after.disruption]
    if ended and not requested:
        return LossReason.ERROR
    # With a grace period of 0, the deletion was forced.
    deadline = before.drain_deadline_time if before.drain_grace_seconds != 0 else None
    killed = exit_code == _KILLED or (deadline is not None and wall_now >= deadline - _DEADLINE_MARGIN)
    return LossReason.GRACE_EXCEEDED if deadline is not None and killed else LossReason.DELETED


def tasks_at_end(
    snapshot: AgentSnapshot, reason: LossReason | None, stale_after: float, known_at: float
) -> float | None:
    """Return how many tasks were lost with an agent; 0 after a clean end, None if its last reading is too old.

    `known_at` is the monotonic instant at which the agent was last known to exist: now if its end was observed. A
    reading counts if it was at most `stale_after` seconds old then. After the loss of a node any reading counts: the
    node has been unreachable since, and Kubernetes deletes its pods only minutes later.
    """
    if reason is None:
        return 0.0
    return last_tasks(snapshot, inf if reason is LossReason.NODE_LOST else stale_after, known_at)


def last_tasks(snapshot: AgentSnapshot, stale_after: float, at: float) -> float | None:
    """Return the tasks of an agent's last reading; None if that was older than `stale_after` seconds at `at`."""
    if snapshot.reading is None or snapshot.read_at is None or at - snapshot.read_at > stale_after:
        return None
    return snapshot.reading.tasks_active
