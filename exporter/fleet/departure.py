"""How an agent left its fleet, and the tasks that were lost with it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class LossReason(StrEnum):
    """Why running tasks were lost: how their container or pod ended."""

    OOM_KILLED = "OOMKilled"
    """The container used more memory than its limit."""
    ERROR = "Error"
    """The container ended by itself, outside of a deletion."""
    EVICTED = "Evicted"
    """The kubelet needed the node's resources, or the pod was evicted through the API and killed."""
    PREEMPTED = "Preempted"
    """A pod of higher priority took its place."""
    NODE_LOST = "NodeLost"
    """Its node went away or was shut down."""
    GRACE_EXCEEDED = "GraceExceeded"
    """It was killed when the grace period of its deletion was over."""
    DELETED = "Deleted"
    """It was deleted with tasks, without or before the end of a grace period."""


class Cause(StrEnum):
    """What made an agent leave, as far as Kubernetes distinguishes it."""

    ENDED = "ended"
    """Its container or pod ended without a request."""
    DELETION = "deletion"
    """Its pod was deleted; its template is not known."""
    ROLLOUT = "rollout"
    SCALE_IN = "scale-in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """An agent whose container ended with tasks, or whose pod was deleted or went away."""

    uid: str
    namespace: str
    fleet: str
    pod: str
    node: str | None = None
    requested_time: float | None = None
    """When its pod's deletion was requested (Unix time); None without a request."""
    replaced: bool | None = None
    """Whether a rollout replaced the pod; None without a request, or if its template is not known."""
    tasks_at_request: float | None = None
    """Tasks running when the deletion was first observed; None without a current reading."""
    ended_time: float | None = None
    """When its end was observed (Unix time); None while it drains."""
    tasks_lost: float | None = None
    """Tasks running at its last reading before the end, 0 after a clean end; None while unknown."""
    reason: LossReason | None = None
    """How it ended; None while it drains, and after a clean end."""

    @property
    def cause(self) -> Cause:
        """What made it leave."""
        if self.requested_time is None:
            return Cause.ENDED
        if self.replaced is None:
            return Cause.DELETION
        return Cause.ROLLOUT if self.replaced else Cause.SCALE_IN


def lost_by_fleet(departures: Iterable[Departure], since: float) -> dict[tuple[str, str], float]:
    """Return the tasks lost since a Unix time, by namespace and fleet; a fleet that lost none is not in it."""
    lost: dict[tuple[str, str], float] = {}
    for one in departures:
        time = one.requested_time if one.ended_time is None else one.ended_time
        if one.tasks_lost and time is not None and time >= since:
            key = (one.namespace, one.fleet)
            lost[key] = lost.get(key, 0.0) + one.tasks_lost
    return lost
