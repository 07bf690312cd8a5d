"""What can be seen of the exporters from outside, one value for each look."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.fleet.protection import COST, MARK


@dataclass(frozen=True, slots=True)
class AgentSeen:
    """What a replica says of an agent."""

    pod: str
    state: str
    fresh: bool
    age: float | None
    serial: int | None
    active: float | None
    queued: float | None
    connected: bool | None

    @classmethod
    def of(cls, agent: Mapping[str, Any]) -> "AgentSeen":
        """Read an element of /api/v1/agents."""
        serial = agent["sessions_open"]
        return cls(
            pod=agent["pod"],
            state=agent["state"],
            fresh=agent["fresh"],
            age=agent["reading_age_seconds"],
            serial=None if serial is None else int(serial),
            active=agent["tasks_active"],
            queued=agent["tasks_queued"],
            connected=agent["connected"],
        )


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """What a replica says of a fleet."""

    fleet: str
    trusted: bool
    demand: float | None
    tasks_lost: float | None

    @classmethod
    def of(cls, fleet: Mapping[str, Any]) -> "FleetSeen":
        """Read an element of /api/v1/fleets."""
        return cls(fleet["fleet"], fleet["trusted"], fleet["demand_tasks"], fleet["tasks_lost"])


@dataclass(frozen=True, slots=True)
class DepartureSeen:
    """What a replica says of an agent that ended."""

    pod: str
    fleet: str
    ended: bool
    tasks_lost: float | None
    reason: str | None

    @classmethod
    def of(cls, departure: Mapping[str, Any]) -> "DepartureSeen":
        """Read an element of /api/v1/departures."""
        ended = departure["ended_time_seconds"] is not None
        return cls(departure["pod"], departure["fleet"], ended, departure["tasks_lost"], departure["reason"])


@dataclass(frozen=True, kw_only=True)
class Asked:
    """When something was asked for and answered, and of which life of which replica; all by CLOCK_MONOTONIC."""

    replica: str
    booted: float
    """When that process was started."""
    asked: float
    answered: float
    computed_from: float
    """The earliest instant at which it may have been computed: a stopped process answers when it goes on."""


@dataclass(frozen=True, kw_only=True)
class AgentsSeen(Asked):
    """All agents of a replica."""

    agents: tuple[AgentSeen, ...]


@dataclass(frozen=True, kw_only=True)
class FleetsSeen(Asked):
    """All fleets of a replica."""

    fleets: tuple[FleetSeen, ...]


@dataclass(frozen=True, kw_only=True)
class DeparturesSeen(Asked):
    """All departures that a process has on record, and what its fleets had lost before it was asked, and after."""

    departures: tuple[DepartureSeen, ...]
    lost_before: Mapping[str, float]
    lost_after: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class ReadinessSeen(Asked):
    """Whether a replica is ready."""

    ready: bool


@dataclass(frozen=True, kw_only=True)
class MetricsSeen(Asked):
    """What a process says of itself."""

    leads: bool
    spool_datums: int
    loop_lag: float
    """Seconds, the most within a minute."""


@dataclass(frozen=True)
class Use:
    """What a process takes."""

    replica: str
    booted: float
    at: float
    rss: int
    """Bytes."""
    descriptors: int


@dataclass(frozen=True)
class Annotated:
    """The annotations of the pods, at some instant between the two."""

    asked: float
    answered: float
    protected: Mapping[str, bool]
    costs: Mapping[str, int | None]

    @classmethod
    def of(cls, asked: float, answered: float, pods: list[dict[str, Any]]) -> "Annotated":
        """Read a list of pods."""
        carried = {pod["metadata"]["name"]: pod["metadata"].get("annotations", {}) for pod in pods}
        costs = {name: annotations.get(COST) for name, annotations in carried.items()}
        return cls(
            asked,
            answered,
            {name: MARK in annotations for name, annotations in carried.items()},
            {name: None if cost is None else int(cost) for name, cost in costs.items()},
        )


Seen = AgentsSeen | FleetsSeen | DeparturesSeen | ReadinessSeen | MetricsSeen | Use | Annotated
