"""From a demand to tasks that bring it about: what came, when, and how long it ran.

A demand tells how many tasks there were, not which: tasks run as long as is assumed, unless the demand falls earlier,
and one that ends while the demand stays is followed by another. What a step adds comes evenly over the step. Pure.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from exporter.plan.series import Series
from exporter.simulation.replay import Task

MOST_UNITS = 120_000
"""Tasks of one replay, above which several count as one: with it a replay takes about a second."""
GOLDEN = 0.6180339887
"""The fractional parts of its multiples are spread evenly, whatever their number."""


@dataclass(frozen=True, slots=True)
class Work:
    """Tasks in units: each stands for `grain` tasks that come and go together."""

    units: Sequence[Task]
    """In the order they come."""
    grain: int
    """A divisor of the tasks that an agent runs at once, so that an agent has slots for whole units."""
    task_seconds: float
    """How long a task runs: as asked for, or more where that would be too many."""


def work(series: Series, task_seconds: float, tasks_per_agent: int) -> Work:
    """Return tasks whose number at any time is the demand of the series, if none of them waits."""
    levels = series.bridged()
    running = sum(levels) * series.step
    rises = sum(max(0, after - before) for before, after in itertools.pairwise(levels))
    grains = [grain for grain in range(1, tasks_per_agent + 1) if tasks_per_agent % grain == 0]
    tasks = running / task_seconds + rises
    grain = next((grain for grain in grains if tasks / grain <= MOST_UNITS), grains[-1])
    if tasks / grain > MOST_UNITS:
        task_seconds = max(task_seconds, running / max(1.0, MOST_UNITS * grain - rises))
    return Work(
        _units(series, [max(int(level > 0), round(level / grain)) for level in levels], task_seconds),
        grain,
        task_seconds,
    )


def _units(series: Series, levels: Sequence[int], task_seconds: float) -> Sequence[Task]:
    found: list[Task] = []
    # Those that are there at the begin have run for a part of their time.
    running = [(series.begin + task_seconds * (number + 0.5) / levels[0], series.begin) for number in range(levels[0])]
    heapify(running)
    for index, level in enumerate(levels):
        at = series.begin + index * series.step
        after = at + series.step
        while len(running) > level:
            _, came = heappop(running)
            found.append((came, max(1.0, at - came)))
        rise = level - len(running)
        for number in range(rise):
            came = at + series.step * (number + 0.5) / rise
            heappush(running, (came + _length(task_seconds, len(found) + number), came))
        while running and running[0][0] < after:
            end, came = heappop(running)
            found.append((came, end - came))
            heappush(running, (end + _length(task_seconds, len(found)), end))
    found += [(came, end - came) for end, came in running]
    return sorted(found)


def _length(task_seconds: float, number: int) -> float:
    """Return how long a task runs: half to one and a half times the mean."""
    return task_seconds * (0.5 + number * GOLDEN % 1)
