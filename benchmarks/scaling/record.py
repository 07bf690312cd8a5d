"""Every trial of the tables, and the record of what they showed.

The record is a file under version control, so that a page can be generated without simulating for minutes.
A sample checks that it is current: some trials are rerun, and must reproduce the recorded values.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, is_dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.scaling.disruption import HOUR_SECONDS, PROTECTED, SETUPS, UNPROTECTED, day
from benchmarks.scaling.growth import cost
from benchmarks.scaling.rollouts import rollout
from benchmarks.scaling.trials import Kind, burst, hanging, missing_data, outage
from benchmarks.scaling.waves import SCALE_INS, waves
from benchmarks.scaling.ways import OURS, WAYS, Way, ours
from exporter.fleet.policy import Policy
from exporter.simulation.nodes import SIZES

Values = list[float | None]
Trial = Callable[[int], object]
"""From a seed to what it showed: a number, or a dataclass of numbers."""
Record = Mapping[str, list[Values]]
"""For each trial the values of each seed."""

FILE = Path(__file__).with_name("record.json")
SEEDS = range(5)
KINDS = {
    "no queue": Kind(otel=False),
    "queue": Kind(otel=True),
    "no queue, Fargate": Kind(otel=False, fargate=True),
    "queue, Fargate": Kind(otel=True, fargate=True),
}
SLOW_NODES = (90.0, 180.0)
"""Seconds until there is a node for a new pod."""
REPORTS = ("no queue", "queue")
"""Kinds that every trial is made with."""
SLOW = {
    f"{kind}, nodes in {seconds:.0f} s": replace(KINDS[kind], node_seconds=seconds)
    for kind in REPORTS
    for seconds in SLOW_NODES
}
GROWTHS = (1.0, 2.0)
FLEETS = (4, 12)
LOADS = {"at the target": 0.0, "full": 4.0}
"""Tasks that come for each agent besides those that fill it to the target, in the trials of `saturation_growth`."""
ROLLOUTS = tuple((minutes, nodes) for minutes in (10.0, 60.0) for nodes in (0.0, 180.0))
"""Minutes of a task, and seconds until there is a node for a new pod."""
NIGHT_SECONDS = 6 * HOUR_SECONDS
"""The part of a day on nodes that is simulated again by the sample: two of its waves."""

WRONG = {"missing data": missing_data, "hanging": hanging, "outage": outage}
"""Trials that count agents removed wrongly."""


def growing(growth: float) -> Way:
    """Return our way with a `saturation_growth`."""
    return ours(f"saturation_growth {growth:.0f}", policy=Policy(saturation_growth=growth))


def name_of(trial: str, *of: object) -> str:
    """Return a trial's name in the record."""
    return " / ".join([trial, *map(str, of)])


def _trials() -> dict[str, Trial]:
    found: dict[str, Trial] = {}
    for way in WAYS:
        for kind_name, kind in (KINDS | SLOW).items():
            found[name_of("burst", kind_name, way.name)] = partial(burst, way, kind=kind)
        for kind_name in REPORTS:
            kind = KINDS[kind_name]
            found[name_of("burst of arrivals", kind_name, way.name)] = partial(burst, way, kind=kind, arrivals=True)
            found[name_of("unseen burst", kind_name, way.name)] = partial(burst, way, kind=kind, unseen=True)
            for name, trial in WRONG.items():
                found[name_of(name, kind_name, way.name)] = partial(trial, way, kind=kind)
    for growth in GROWTHS:
        found[name_of("growth burst", growth)] = partial(burst, growing(growth), kind=KINDS["no queue"])
        for agents in FLEETS:
            for load, more in LOADS.items():
                name = name_of("growth", load, agents, growth)
                found[name] = partial(cost, agents=agents, more=more, growth=growth)
    for minutes, nodes in ROLLOUTS:
        for hold in (False, True):
            name = name_of("rollout", minutes, nodes, hold)
            found[name] = partial(rollout, hold=hold, task_minutes=minutes, node_seconds=nodes)
    return found | _disruptions()


def _disruptions() -> dict[str, Trial]:
    found: dict[str, Trial] = {}
    for setup_name, setup in SETUPS.items():
        for size in SIZES:
            found[name_of("disruption", size.name, setup_name)] = partial(day, size=size, setup=setup)
    for setup_name in (UNPROTECTED, PROTECTED):
        night = partial(day, size=SIZES[0], setup=SETUPS[setup_name], seconds=NIGHT_SECONDS)
        found[name_of("night", setup_name)] = night
    return found


TRIALS: Mapping[str, Trial] = _trials() | {name_of("waves", name): partial(waves, scale_in=name) for name in SCALE_INS}
SAMPLE = [
    *(name for name in TRIALS if name.startswith("burst /")),
    *(name_of(trial, kind, OURS.name) for trial in ("unseen burst", *WRONG) for kind in REPORTS),
    name_of("growth burst", 2.0),
    name_of("growth", "full", 4, 2.0),
    name_of("rollout", 10.0, 0.0, True),
    name_of("waves", list(SCALE_INS)[-1]),
    *(name for name in TRIALS if name.startswith("night /")),
]
"""What is rerun, with the first seed, to check that the record is current: all trials that involve the exporter,
and the fast ones of the others."""


def simulate(names: Iterable[str] = TRIALS, seeds: Iterable[int] = SEEDS) -> Record:
    """Run trials, on every processor there is."""
    names, seeds = list(names), list(seeds)
    runs = [(name, seed) for name in names for seed in seeds]
    with ProcessPoolExecutor() as pool:
        values = list(pool.map(_run, *zip(*runs, strict=True)))
    return {name: values[place * len(seeds) : (place + 1) * len(seeds)] for place, name in enumerate(names)}


def _run(name: str, seed: int) -> Values:
    shown = TRIALS[name](seed)
    values = astuple(shown) if is_dataclass(shown) and not isinstance(shown, type) else (shown,)
    # Two decimals, so that another machine's last bit of a logarithm does not matter.
    return [None if value is None else round(float(value), 2) for value in values]


def deviations(record: Record) -> list[str]:
    """Return which trials of the sample are not in a record as they come out now."""
    stale = [name for name in TRIALS if len(record.get(name, ())) != len(SEEDS)]
    if stale or record.keys() - TRIALS.keys():
        return stale or sorted(record.keys() - TRIALS.keys())
    first = SEEDS[0]
    return [name for name, values in simulate(SAMPLE, [first]).items() if record[name][first] != values[0]]


def load() -> Record:
    """Read the record; empty where there is none."""
    found: Record = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return found


def text(record: Record) -> str:
    """Return the record as its file holds it: a line for each trial."""
    lines = [f"  {json.dumps(name, ensure_ascii=False)}: {json.dumps(record[name])}" for name in sorted(record)]
    return "{\n" + ",\n".join(lines) + "\n}\n"
