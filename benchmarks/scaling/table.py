"""The record as tables, for pages of docs/ and the README."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from statistics import median

from benchmarks.scaling import trials
from benchmarks.scaling.disruption import PROTECTED, SETUPS, UNPROTECTED
from benchmarks.scaling.record import FLEETS, GROWTHS, REPORTS, ROLLOUTS, SEEDS, SLOW_NODES, WRONG, Record, name_of
from benchmarks.scaling.waves import SCALE_INS
from benchmarks.scaling.ways import QUICKNESS, SUMMARY, TROUBLE, WAYS, Way
from exporter.simulation.nodes import SIZES

END = "<!-- simulated: end -->"
_FED = "input of the HPA"
_SLOT = "time until every task has a slot"
_WAITED = "total waiting time of tasks"
_TAKEN = ("agents removed wrongly: unreachable", "hanging", "control plane outage")
_UNSEEN = "burst while agents are unreachable for 10 min"

Row = Sequence[str]


def begin(table: str) -> str:
    """Return the mark before a table."""
    return f"<!-- simulated, {table}: begin; `python -m benchmarks.scaling` writes what stands here -->"


def short(record: Record) -> Mapping[str, str]:
    """Return the summary of the README."""
    head = (_FED, f"a burst: {_SLOT}", "on Fargate", *_TAKEN)
    kinds = ("no queue", "no queue, Fargate")
    rows = [(way.name, *(_seconds(record, kind, way) for kind in kinds), *_wrong(record, way)) for way in SUMMARY]
    return {"summary": _table(head, rows), "protection": _protection(record)}


def comparison(record: Record) -> Mapping[str, str]:
    """Return the tables of docs/comparison.md."""
    kinds = ("no queue", "no queue, Fargate", "queue")
    head = (_FED, f"queue not reported: {_SLOT}", "on Fargate", f"queue reported: {_SLOT}")
    quick = [(way.name, *(_seconds(record, kind, way) for kind in kinds)) for way in QUICKNESS]
    unseen = f"{_UNSEEN}: {_SLOT}"
    trouble = [(way.name, *_wrong(record, way), _seconds(record, "no queue", way, "unseen burst")) for way in TROUBLE]
    return {
        "compared": _table(head, quick),
        "trouble": _table((_FED, *_TAKEN, unseen), trouble),
    }


def full(record: Record) -> Mapping[str, str]:
    """Return the tables of docs/scaling.md."""
    return {
        "queue not reported": _ways(record, "no queue"),
        "queue reported": _ways(record, "queue"),
        "trouble": _trouble(record),
        "leanings": _table((_FED, "bias for it, or against it"), [(way.name, way.leans) for way in WAYS]),
        "growth": _growth(record),
        "rollouts": _rollouts(record),
        "waves": _waves(record),
    }


def _ways(record: Record, kind: str) -> str:
    slow = [f"nodes in {seconds:.0f} s" for seconds in SLOW_NODES]
    rows = [
        (
            way.name,
            _seconds(record, kind, way),
            _spread([seconds / 60 for seconds in _column(record, 1, "burst", kind, way.name)], " min"),
            *(_seconds(record, f"{kind}, {nodes}", way) for nodes in ("Fargate", *slow)),
            _seconds(record, kind, way, "burst of arrivals"),
        )
        for way in WAYS
    ]
    return _table((_FED, _SLOT, _WAITED, f"on Fargate: {_SLOT}", *slow, "arrivals instead of a level"), rows)


def _trouble(record: Record) -> str:
    heads = (f"{_UNSEEN}, queue not reported: {_SLOT}", "queue reported")
    rows = [
        (way.name, *_wrong(record, way), *(_seconds(record, kind, way, "unseen burst") for kind in REPORTS))
        for way in WAYS
    ]
    return _table((_FED, *_TAKEN, *heads), rows)


def _seconds(record: Record, kind: str, way: Way, trial: str = "burst") -> str:
    known = _column(record, 0, trial, kind, way.name)
    if len(known) == len(SEEDS):
        return _spread(known, " s")
    never = f"not within {trials.BURST_SECONDS / 60:.0f} min"
    return f"{never} ({len(SEEDS) - len(known)} of {len(SEEDS)})" if known else never


def _wrong(record: Record, way: Way) -> Iterator[str]:
    for trial in WRONG:
        yield _count([*chain.from_iterable(_column(record, 0, trial, kind, way.name) for kind in REPORTS)])


def _growth(record: Record) -> str:
    head = ["`saturation_growth`", _SLOT, *(f"{agents} agents at the target: agent-hours" for agents in FLEETS)]
    for agents in FLEETS:
        head += [f"{agents} full agents: agent-hours", "including draining", "maximum agents"]
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
        "task duration, nodes",
        "`hold_rollouts`",
        "agents removed wrongly",
        "re-created",
        _WAITED,
        "agent-hours, including draining",
    )
    rows = []
    for minutes, nodes in ROLLOUTS:
        where = f"{minutes:.0f} min, {f'in {nodes:.0f} s' if nodes else 'existing'}"
        for hold in (True, False):
            columns = [_column(record, place, "rollout", minutes, nodes, hold) for place in range(4)]
            taken, again, waited, hours = columns
            waits = _spread([60 * value for value in waited], " min")
            rows.append((where, "on" if hold else "off", _count(taken), _count(again), waits, _spread(hours, "")))
    return _table(head, rows)


def _waves(record: Record) -> str:
    head = ("scale-in", "agents removed", "tasks on them", "agent-hours", "including draining")
    rows = []
    for scale_in in SCALE_INS:
        columns = [_column(record, place, "waves", scale_in) for place in range(len(head) - 1)]
        rows.append((scale_in, *(_spread(column, "") for column in columns)))
    return _table(head, rows)


def disruption(record: Record) -> Mapping[str, str]:
    """Return the table of docs/disruption.md."""
    head = (
        "nodes of",
        "set against disruption",
        "tasks killed a day",
        "nodes drained with agents on them",
        "node-hours",
        "agent-hours",
    )
    rows = []
    for size in SIZES:
        for setup in SETUPS:
            columns = [_column(record, place, "disruption", size.name, setup) for place in range(1, 5)]
            killed, drained, nodes, agents = columns
            where = f"{size.name}, {size.agents} agents each"
            rows.append((where, setup, _count(killed), _count(drained), _spread(nodes, ""), _spread(agents, "")))
    return {"disruption": _table(head, rows)}


def _protection(record: Record) -> str:
    """Return the README's sentence about the days on nodes of all sizes."""
    tasks, killed, hours = (_days(record, place, UNPROTECTED) for place in (0, 1, 3))
    killed_still, hours_now = (_days(record, place, PROTECTED) for place in (1, 3))
    more = [100 * (now / before - 1) for before, now in zip(hours, hours_now, strict=True)]
    return (
        f"**{_count(killed)} of {_spread(tasks, '')} tasks killed a day, with {PROTECTED} {_count(killed_still)}**, "
        f"for {_spread(more, '%')} more node-hours."
    )


def _days(record: Record, place: int, setup: str) -> list[float]:
    return [*chain.from_iterable(_column(record, place, "disruption", size.name, setup) for size in SIZES)]


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
