"""An agent's last reading as it outlives the exporter: what another process needs to count its tasks as lost.

Pure. As JSON it is an array, since the notes of thousands of agents must fit into one object of Kubernetes.
"""

from dataclasses import dataclass, replace

from exporter.fleet.losses import last_tasks
from exporter.fleet.model import AgentSnapshot, Dialect, PodFacts, Reading, Target
from exporter.fleet.read_back import HIGHEST_COUNT, are_names, is_count, is_number, is_unix_time


@dataclass(frozen=True, slots=True)
class LastReading:
    """The tasks of one agent, and what tells whether its container has ended since. The fields' order is the format."""

    uid: str
    namespace: str
    fleet: str
    pod: str
    tasks: float
    """Tasks running, more than 0."""
    status: int | None
    """`Reading.status`."""
    restarts: int | None
    last_terminated_time: float | None
    draining_time: float | None
    """All three as in `PodFacts`."""

    @classmethod
    def of(cls, snapshot: AgentSnapshot, stale_after: float, now: float) -> "LastReading | None":
        """Return what is known of an agent's tasks now; None without tasks, a current reading, or a pod.

        `stale_after` is in seconds, `now` the monotonic instant.
        """
        target, reading, facts = snapshot.target, snapshot.reading, snapshot.target.facts
        tasks = last_tasks(snapshot, stale_after, now)
        if facts is None or reading is None or tasks is None or tasks <= 0:
            return None
        return cls(
            target.uid,
            target.namespace,
            target.fleet,
            target.pod,
            tasks,
            reading.status,
            facts.restarts,
            facts.last_terminated_time,
            facts.draining_time,
        )

    @classmethod
    def from_json(cls, given: object) -> "LastReading":
        """Read the list of its fields' values, once it was JSON. Raises ValueError for anything else."""
        match given:
            case [
                str(uid),
                str(namespace),
                str(fleet),
                str(pod),
                tasks,
                status,
                restarts,
                terminated,
                draining,
            ] if (
                are_names((uid, namespace, fleet, pod))
                and is_number(tasks, 0, HIGHEST_COUNT)
                and tasks > 0
                and (status is None or is_count(status, -HIGHEST_COUNT))
                and (restarts is None or is_count(restarts))
                and (terminated is None or is_unix_time(terminated))
                and (draining is None or is_unix_time(draining))
            ):
                return cls(uid, namespace, fleet, pod, tasks, status, restarts, terminated, draining)
        raise ValueError("not an agent's last reading")

    def snapshot(self, last: PodFacts | None, read_at: float) -> AgentSnapshot:
        """Return the agent as it was when this was read; `last` is what Kubernetes said of its pod later, if anything.

        The reading is as of the monotonic instant `read_at`.
        """
        facts = replace(
            last or PodFacts(),
            restarts=self.restarts,
            last_terminated_time=self.last_terminated_time,
            draining_time=self.draining_time,
        )
        return AgentSnapshot(
            target=Target(
                uid=self.uid,
                namespace=self.namespace,
                fleet=self.fleet,
                pod=self.pod,
                address=None,
                facts=facts,
            ),
            reading=Reading(dialect=Dialect.OTEL, tasks_active=self.tasks, status=self.status),
            read_at=read_at,
        )
