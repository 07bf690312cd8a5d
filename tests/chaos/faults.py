"""What goes wrong when: a schedule that follows from a seed.

Faults of one part of the world come one after the other, with rests between them; the parts suffer at the same time.
"""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

REPLICAS = ("one", "two")
BOTH = "both"


class Kind(StrEnum):
    """What goes wrong."""

    API_CUT = "API server: requests are cut"
    API_HUNG = "API server: requests hang"
    API_GONE = "API server: 410"
    API_BUSY = "API server: 429"
    API_ERROR = "API server: 500"
    API_FORBIDDEN = "API server: 403"
    API_HTML = "API server: 502 with HTML"
    API_AWAY = "API server: nobody listens"
    CLOUDWATCH_THROTTLED = "CloudWatch: throttled"
    CLOUDWATCH_ERROR = "CloudWatch: 500"
    CLOUDWATCH_CUT = "CloudWatch: reset"
    CLOUDWATCH_CUT_AFTER = "CloudWatch: reset after it was taken"
    CLOUDWATCH_HUNG = "CloudWatch: hangs"
    CLOUDWATCH_HTML = "CloudWatch: 200 with HTML"
    CLOUDWATCH_EMPTY = "CloudWatch: 200 with nothing"
    METRICS_AWAY = "metrics-server: 503"
    METRICS_GARBAGE = "metrics-server: garbage"
    DISK_FULL = "disk: full"
    STOPPED = "process: SIGSTOP"
    TERMINATED = "process: SIGTERM"
    KILLED = "process: SIGKILL"
    CLOCK_FORTH = "wall clock: an hour ahead"
    CLOCK_BACK = "wall clock: an hour behind"

    @property
    def part(self) -> str:
        """The part of the world that it concerns."""
        return self.partition(":")[0]


@dataclass(frozen=True)
class Fault:
    """One of them; times in seconds since the run's faults began."""

    start: float
    length: float
    kind: Kind
    replica: str
    """The replica that suffers it, or `BOTH`."""

    @property
    def end(self) -> float:
        """When it is over."""
        return self.start + self.length


@dataclass
class Happened:
    """A fault that has begun; times by CLOCK_MONOTONIC."""

    kind: Kind
    replica: str
    began: float
    ended: float = math.inf


@dataclass
class Happenings:
    """All that has gone wrong so far."""

    all: list[Happened] = field(default_factory=list)

    def of(self, replica: str, part: str) -> list[Happened]:
        """Return what has gone wrong with a part of a replica's world."""
        return [one for one in self.all if one.kind.part == part and one.replica in {replica, BOTH}]

    def at(self, replica: str, part: str, since: float, until: float) -> bool:
        """Return whether a part of a replica's world suffered between two instants."""
        return any(one.began <= until and one.ended >= since for one in self.of(replica, part))

    def now(self, at: float) -> list[Happened]:
        """Return what is on at an instant."""
        return [one for one in self.all if one.began <= at <= one.ended]


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The faults of a part."""

    part: str
    rest: tuple[float, float]
    """Between two of them."""
    length: tuple[float, float]
    own: Mapping[Kind, float] = field(default_factory=dict)
    """The lengths of kinds that have one of their own."""

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of this part."""
        return [kind for kind in Kind if kind.part == self.part]


def lanes(scale: float, seconds: float) -> tuple[Lane, ...]:
    """Return the parts; `scale` shortens everything: 1 is the world of the exporter's usual settings."""

    def span(low: float, high: float) -> tuple[float, float]:
        return low * scale, high * scale

    away = min(300 * scale, seconds / 4)
    return (
        Lane(part="API server", rest=span(20, 45), length=span(5, 40), own={Kind.API_AWAY: away}),
        Lane(part="CloudWatch", rest=span(10, 30), length=span(10, 60)),
        Lane(part="metrics-server", rest=span(20, 40), length=span(20, 60)),
        Lane(part="disk", rest=span(60, 120), length=span(60, 120)),
        Lane(part="process", rest=span(40, 80), length=span(0, 5), own={Kind.STOPPED: 20 * scale}),
        Lane(part="wall clock", rest=span(60, 120), length=span(60, 120)),
    )


def schedule(seed: int, seconds: float, scale: float = 1.0) -> tuple[Fault, ...]:
    """Return the faults of a run of so many seconds, by their starts; all are over when it ends."""
    faults: list[Fault] = []
    for lane in lanes(scale, seconds):
        faults += _lane(lane, random.Random(f"{seed} {lane.part}"), seconds)  # noqa: S311 - it keeps no secret
    return tuple(sorted(faults, key=lambda fault: (fault.start, fault.kind)))


def _lane(lane: Lane, chance: random.Random, seconds: float) -> Iterator[Fault]:
    """Go through all kinds in a random order, again and again."""
    at = chance.uniform(*lane.rest) / 2
    turns: list[tuple[Kind, str]] = []
    while at + lane.length[1] <= seconds:
        turns = turns or _turns(lane, chance)
        kind, replica = turns.pop(0)
        length = lane.own.get(kind) or chance.uniform(*lane.length)
        if at + length <= seconds:
            yield Fault(at, length, kind, replica)
            at += length + chance.uniform(*lane.rest)


def _turns(lane: Lane, chance: random.Random) -> list[tuple[Kind, str]]:
    """Return what each replica is to suffer: each kind once, so that all are had, then the other replica's."""
    first = [(kind, chance.choice(_sufferers(kind))) for kind in lane.kinds]
    then = [(kind, name) for kind in lane.kinds for name in _sufferers(kind) if (kind, name) not in first]
    chance.shuffle(first)
    chance.shuffle(then)
    return first + then


def _sufferers(kind: Kind) -> tuple[str, ...]:
    return (BOTH,) if kind is Kind.API_AWAY else REPLICAS
