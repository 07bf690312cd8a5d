"""The comparison as a table, for docs/scaling.md and the README."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.scaling import trials
from benchmarks.scaling.trials import SEEDS, Burst
from benchmarks.scaling.ways import WAYS, Way

BEGIN = "<!-- simulated: begin; `python -m benchmarks.scaling` writes what stands here -->"
END = "<!-- simulated: end -->"
_SHORT = (
    "the HPA is fed by",
    "a slot for every task after",
    "tasks waited, together",
    "agents taken away wrongly: missing data",
    "outage",
)
_LONG = (
    "the HPA is fed by",
    "queue reported: a slot for every task after",
    "tasks waited, together",
    "queue not reported: a slot for every task after",
    "tasks waited, together",
    "agents taken away wrongly: missing data",
    "outage",
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a way showed, a value for each seed."""

    way: Way
    reported: list[Burst]
    """With agents that report their queue."""
    unreported: list[Burst]
    missing: list[int]
    outage: list[int]


def results() -> list[Result]:
    """Run every trial of every way."""
    return [
        Result(
            way,
            [trials.burst(way, seed, otel=True) for seed in SEEDS],
            [trials.burst(way, seed, otel=False) for seed in SEEDS],
            [trials.missing_data(way, seed) for seed in SEEDS],
            [trials.outage(way, seed) for seed in SEEDS],
        )
        for way in WAYS
    ]


def full(found: Iterable[Result]) -> str:
    """Return the table of docs/scaling.md."""
    return _table(
        _LONG,
        (
            [
                *_row(result.way, result.reported),
                *_cells(result.unreported),
                _agents(result.missing),
                _agents(result.outage),
            ]
            for result in found
        ),
    )


def short(found: Iterable[Result]) -> str:
    """Return the table of the README."""
    return _table(
        _SHORT,
        ([*_row(result.way, result.reported), _agents(result.missing), _agents(result.outage)] for result in found),
    )


def _row(way: Way, bursts: Sequence[Burst]) -> list[str]:
    return [way.name, *_cells(bursts)]


def _cells(bursts: Sequence[Burst]) -> Iterator[str]:
    known = [one.seconds for one in bursts if one.seconds is not None]
    if len(known) == len(bursts):
        yield _spread(known, " s")
    else:
        never = f"not within {trials.BURST_SECONDS / 60:.0f} min"
        yield f"{never} ({len(bursts) - len(known)} of {len(bursts)})" if known else never
    yield _spread([one.task_seconds / 60 for one in bursts], " min")


def _spread(values: Sequence[float], unit: str) -> str:
    """Return the median and the range."""
    return f"{median(values):.0f}{unit} ({min(values):.0f} – {max(values):.0f})"


def _agents(counts: Sequence[int]) -> str:
    return "0" if not any(counts) else _spread(counts, "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
