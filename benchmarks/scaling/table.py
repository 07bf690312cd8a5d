"""The record as tables, for docs/scaling.md and the README."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from benchmarks.scaling import trials
from benchmarks.scaling.record import FLEETS, GROWTHS, ROLLOUTS, SEEDS, Record, name_of
from benchmarks.scaling.ways import WAYS, Way

END = "<!-- simulated: end -->"
_FED = "the HPA is fed by"
_SLOT = "a slot for every task after"
_WAITED = "tasks waited, together"
_MISSING, _OUTAGE = "agents taken away wrongly: missing data", "outage"

Row = Sequence[str]


def begin(table: str) -> str:
    """Return the mark before a table."""
    return f"<!-- simulated, {table}: begin; `python -m benchmarks.scaling` writes what stands here -->"


def short(record: Record) -> Mapping[str, str]:
    """Return the table of the README."""
    head = (_FED, f"queue not reported: {_SLOT}", "on Fargate", f"queue reported: {_SLOT}", _MISSING, _OUTAGE)
    rows = [
        (
            way.name,
            *(_seconds(record, kind, way) for kind in ("no queue", "no queue, Fargate", "queue")),
            *_wrong(record, "no queue", way),
        )
        for way in WAYS
    ]
    return {"compared": _table(head, rows)}


def full(record: Record) -> Mapping[str, str]:
    """Return the tables of docs/scaling.md."""
    return {
        "queue not reported": _ways(record, "no queue"),
        "queue reported": _ways(record, "queue"),
        "growth": _growth(record),
        "rollouts": _rollouts(record),
    }


def _ways(record: Record, kind: str) -> str:
    head = (_FED, _SLOT, _WAITED, f"on Fargate: {_SLOT}", _WAITED, _MISSING, _OUTAGE)
    rows = [
        (way.name, *_burst(record, kind, way), *_burst(record, f"{kind}, Fargate", way), *_wrong(record, kind, way))
        for way in WAYS
    ]
    return _table(head, rows)


def _burst(record: Record, kind: str, way: Way) -> Iterator[str]:
    yield _seconds(record, kind, way)
    yield _spread([seconds / 60 for seconds in _column(record, 1, "burst", kind, way.name)], " min")


def _seconds(record: Record, kind: str, way: Way) -> str:
    known = _column(record, 0, "burst", kind, way.name)
    if len(known) == len(SEEDS):
        return _spread(known, " s")
    never = f"not within {trials.BURST_SECONDS / 60:.0f} min"
    return f"{never} ({len(SEEDS) - len(known)} of {len(SEEDS)})" if known else never


def _wrong(record: Record, kind: str, way: Way) -> Iterator[str]:
    for trial in ("missing data", "outage"):
        yield _count(_column(record, 0, trial, kind, way.name))


def _growth(record: Record) -> str:
    head = ["`saturation_growth`", _SLOT, *(f"{agents} agents at the target: agent-hours" for agents in FLEETS)]
    for agents in FLEETS:
        head += [f"{agents} full agents: agent-hours", "with those that drain", "agents at most"]
    rows = []
    for growth in GROWTHS:
        row = [f"{growth:.0f}", _spread(_column(record, 0, "growth burst", growth), " s")]
        row += [_spread(_column(record, 0, "growth", "at the target", agents, growth), "", 1) for agents in FLEETS]
        for agents in FLEETS:
            hours, pods, most = (_column(record, place, "growth", "full", agents, growth) for place in range(3))
            row += [_spread(hours, "", 1), _spread(pods, "", 1), _spread(most, "")]
        rows.append(row)
    return _table(head, rows)


def _rollouts(record: Record) -> str:
    head = (
        "tasks of, nodes",
        "`hold_rollouts`",
        "agents taken away wrongly",
        "made again",
        "tasks waited, together",
        "agent-hours, with those that drain",
    )
    rows = []
    for minutes, nodes in ROLLOUTS:
        where = f"{minutes:.0f} min, {f'in {nodes:.0f} s' if nodes else 'there'}"
        for hold in (True, False):
            columns = [_column(record, place, "rollout", minutes, nodes, hold) for place in range(4)]
            taken, again, waited, hours = columns
            waits = _spread([60 * value for value in waited], " min")
            rows.append((where, "on" if hold else "off", _count(taken), _count(again), waits, _spread(hours, "")))
    return _table(head, rows)


def _column(record: Record, place: int, *trial: object) -> list[float]:
    """Return one value of a trial for each seed that has it."""
    return [value for values in record[name_of(*map(str, trial))] if (value := values[place]) is not None]


def _spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """Return the median and the range."""
    return f"{median(values):.{digits}f}{unit} ({min(values):.{digits}f} – {max(values):.{digits}f})"


def _count(counts: Sequence[float]) -> str:
    return _spread(counts, "") if any(counts) else "0"


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
