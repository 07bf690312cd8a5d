"""What happens to a fleet over time: how much work arrives, and what goes wrong.

A scenario is a value. It knows no clock (time is an argument, in simulated seconds since the start), no sockets and no
randomness: `simulation` draws from it with a seed.

Load is a share of what the fleet has slots for at the start: 1.0 is as much work as keeps every slot of the initial
agents busy, so 1.2 without more agents builds up a queue.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

MINUTE = 60.0
HOUR = 3600.0
DAY = 24 * HOUR

Load = Callable[[float], float]


class Fault(StrEnum):
    """What an incident does to an agent."""

    DISCONNECT = "disconnect"
    """It loses the control plane: what runs goes on, nothing new is taken."""
    HANG = "hang"
    """It stands still: takes connections and never answers; its tasks wait for it."""
    SLOW = "slow"
    """It answers late; its work goes on."""
    ERROR = "error"
    """It answers 500; its work goes on."""
    STOP = "stop"
    """It reports status 0 and takes nothing new."""
    DIE = "die"
    """Its process ends and what it ran is lost; the container starts again, as Kubernetes would have it."""
    CRASH_LOOP = "crash loop"
    """Its process ends soon after each start, for `lasts` seconds; Kubernetes holds it back for longer each time."""
    LEAK = "leak"
    """Its memory grows to its limit in `lasts` seconds; then it is killed for it."""
    DRAIN = "drain"
    """Its pod is deleted and replaced: it finishes what it has and is gone."""
    NODE_REMOVED = "node removed"
    """A node autoscaler evicts all that runs on a node: what is not done in ten minutes is killed."""
    NODE_LOST = "node lost"
    """A node is gone at once with all that ran on it; Kubernetes deletes its pods a while later."""

    @property
    def of_node(self) -> bool:
        """Whether it strikes nodes rather than single agents."""
        return self in {Fault.NODE_REMOVED, Fault.NODE_LOST}


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Trouble that comes to some agents of a fleet."""

    at: float
    """Seconds into the scenario's cycle."""
    trouble: Fault
    lasts: float = 0.0
    """Seconds until it passes by itself. A drain ends with the agent's last task, whatever this value is; a node
    is gone for good."""
    share: float = 0.0
    """How much of the fleet it strikes, 0 to 1; at least one agent or node, so 0 means one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A named course of events, repeated every `cycle` seconds."""

    name: str
    summary: str
    load: Load
    cycle: float
    incidents: tuple[Incident, ...] = ()
    task_seconds: float = 180.0
    """How long an ordinary task runs on average."""
    long_share: float = 0.0
    """Share of the load that is long tasks, 0 to 1: of ten busy slots, how many are busy with such a task."""
    long_seconds: tuple[float, float] = (2 * HOUR, 11 * HOUR)
    """The shortest and the longest of the long tasks."""
    interactive_share: float = 0.03
    """Share of tasks a person started in the designer, 0 to 1. The agent's cap of tasks does not bind them."""


def steady(level: float) -> Load:
    """Return a load that stays at `level`."""
    return lambda _now: level


def wave(low: float, high: float, period: float, peak: float, sharpness: int = 1) -> Load:
    """Return a load that swings between `low` and `high` once a `period`, highest `peak` seconds into it.

    With more `sharpness` it stays low for longer and the wave is steeper.
    """
    return lambda now: low + (high - low) * (0.5 + 0.5 * math.cos((now - peak) / period * math.tau)) ** sharpness


def steps(cycle: float, *levels: tuple[float, float]) -> Load:
    """Return a load that takes each `(from_second, level)` in turn, over and over; the first begins at 0."""

    def load(now: float) -> float:
        within = now % cycle
        return next(level for since, level in reversed(levels) if within >= since)

    return load


_TROUBLED_DAY = (
    Incident(at=4 * MINUTE, trouble=Fault.DISCONNECT, lasts=5 * MINUTE),
    Incident(at=7 * MINUTE, trouble=Fault.SLOW, lasts=4 * MINUTE),
    Incident(at=9 * MINUTE, trouble=Fault.NODE_LOST),
    Incident(at=11 * MINUTE, trouble=Fault.HANG, lasts=6 * MINUTE),
    Incident(at=15 * MINUTE, trouble=Fault.DRAIN),
    Incident(at=18 * MINUTE, trouble=Fault.LEAK, lasts=14 * MINUTE),
    Incident(at=21 * MINUTE, trouble=Fault.STOP, lasts=4 * MINUTE),
    Incident(at=26 * MINUTE, trouble=Fault.DIE),
    Incident(at=28 * MINUTE, trouble=Fault.NODE_REMOVED),
    Incident(at=31 * MINUTE, trouble=Fault.ERROR, lasts=4 * MINUTE),
    Incident(at=36 * MINUTE, trouble=Fault.DISCONNECT, lasts=3 * MINUTE, share=0.5),
)

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="steady",
            summary="Work arrives evenly and the fleet holds it: nothing happens.",
            load=steady(0.7),
            cycle=HOUR,
        ),
        Scenario(
            name="daily-wave",
            summary="A day: quiet at night, more work than the fleet has slots for in the afternoon. Use a high speed.",
            load=wave(0.10, 1.10, DAY, 14 * HOUR),
            cycle=DAY,
        ),
        Scenario(
            name="burst",
            summary="Half an hour of calm, then four minutes of twice what the fleet can take.",
            load=steps(30 * MINUTE, (0.0, 0.4), (6 * MINUTE, 2.0), (10 * MINUTE, 0.4)),
            cycle=30 * MINUTE,
        ),
        Scenario(
            name="disconnect",
            summary="Agents lose the control plane: one at first, then every one of them.",
            load=steady(0.6),
            cycle=20 * MINUTE,
            incidents=(
                Incident(at=2 * MINUTE, trouble=Fault.DISCONNECT, lasts=4 * MINUTE),
                Incident(at=10 * MINUTE, trouble=Fault.DISCONNECT, lasts=4 * MINUTE, share=1.0),
            ),
        ),
        Scenario(
            name="hang",
            summary="An agent stops answering with its tasks in hand; later a third of the fleet does.",
            load=steady(0.6),
            cycle=30 * MINUTE,
            incidents=(
                Incident(at=2 * MINUTE, trouble=Fault.HANG, lasts=8 * MINUTE),
                Incident(at=16 * MINUTE, trouble=Fault.HANG, lasts=5 * MINUTE, share=1 / 3),
            ),
        ),
        Scenario(
            name="drain",
            summary="Pods are deleted while tasks of hours run on them: they drain for up to twelve hours.",
            load=steady(0.7),
            cycle=4 * HOUR,
            incidents=(
                Incident(at=30 * MINUTE, trouble=Fault.DRAIN),
                Incident(at=2 * HOUR, trouble=Fault.DRAIN, share=0.5),
            ),
            long_share=0.2,
        ),
        Scenario(
            name="nodes",
            summary="A node autoscaler removes a node, with ten minutes for its agents; later a node is lost at once.",
            load=steady(0.7),
            cycle=HOUR,
            incidents=(
                Incident(at=5 * MINUTE, trouble=Fault.NODE_REMOVED),
                Incident(at=25 * MINUTE, trouble=Fault.NODE_LOST),
            ),
            long_share=0.2,
        ),
        Scenario(
            name="memory-leak",
            summary="An agent's heap grows until it dies with its tasks and starts again.",
            load=steady(0.6),
            cycle=HOUR,
            incidents=(Incident(at=2 * MINUTE, trouble=Fault.LEAK, lasts=30 * MINUTE),),
        ),
        Scenario(
            name="queue",
            summary="For a quarter of an hour more work arrives than there are slots; then the queue runs off.",
            load=steps(40 * MINUTE, (0.0, 0.8), (3 * MINUTE, 1.35), (18 * MINUTE, 0.45)),
            cycle=40 * MINUTE,
        ),
        Scenario(
            name="mixed",
            summary="Everything: waves of work, and one kind of trouble after another.",
            load=wave(0.35, 1.15, 40 * MINUTE, 14 * MINUTE),
            cycle=40 * MINUTE,
            incidents=_TROUBLED_DAY,
            long_share=0.03,
        ),
        Scenario(
            name="demo",
            summary="Every twenty minutes a wave of work far above what the fleet starts with; four agents in trouble, "
            "two nodes that go away.",
            load=wave(0.55, 3.40, 20 * MINUTE, 5 * MINUTE, sharpness=4),
            cycle=20 * MINUTE,
            incidents=(
                Incident(at=2 * MINUTE, trouble=Fault.LEAK, lasts=8 * MINUTE),
                Incident(at=3 * MINUTE, trouble=Fault.CRASH_LOOP, lasts=6 * MINUTE),
                Incident(at=6.5 * MINUTE, trouble=Fault.NODE_REMOVED),
                Incident(at=7 * MINUTE, trouble=Fault.HANG, lasts=4 * MINUTE),
                Incident(at=12 * MINUTE, trouble=Fault.NODE_LOST),
                Incident(at=14 * MINUTE, trouble=Fault.DISCONNECT, lasts=3 * MINUTE),
            ),
            task_seconds=100.0,
            long_share=0.35,
            long_seconds=(12 * MINUTE, 25 * MINUTE),
        ),
    )
}
