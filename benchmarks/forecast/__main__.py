"""`python -m benchmarks.forecast`: prints what a forecast brings in generated months; exit 1 when a target is missed.

Each line of one table runs the same tasks. The constants of `exporter/forecast` were chosen with seed 1.
"""

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta

from benchmarks.forecast.holt_winters import holt_winters, installed
from benchmarks.forecast.ways import ahead, cron, fixed, following, planned
from exporter.forecast.forecaster import Forecaster
from exporter.forecast.history import SLOT_SECONDS, SLOTS, History
from exporter.simulation.months import MONTHS, MOVED, PATTERNLESS, ZONE, Month, clock, ideal
from exporter.simulation.pod import TASKS_PER_AGENT
from exporter.simulation.replay import TARGET, Outcome, Signal, Task, replay

SEED = "2"
STARTS = (45.0, 180.0)
MOST_WAITING, MOST_HOURS, NEAR = 0.10, 1.12, 0.01
ADAPTED_DAYS = 3
FLEETS, MOST_SECONDS, MOST_BYTES = 100, 1.0, 20e6


class Check:
    """Prints each target with its result, and remembers whether one was missed."""

    missed = False

    def __call__(self, what: str, good: bool) -> None:
        """Print one line."""
        self.missed |= not good
        print(f"{'met   ' if good else 'MISSED'} {what}", flush=True)


def main() -> int:
    """Run all of it."""
    check = Check()
    for month in (*MONTHS, PATTERNLESS, MOVED):
        tasks = month.tasks(SEED)
        begin, end = clock(month.first, 0), clock(month.first + timedelta(days=month.days), 0)
        past = ideal([task for task in tasks if task[0] < begin])
        scored = [task for task in tasks if begin <= task[0] < end]
        print(f"\n{month.name}: {len(scored)} tasks in {month.days} days\n")
        print("| pods start in | | waited, task-hours | × following | agent-hours | × following | late | p95 |")
        print("| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        reference = holt_winters(month, ideal(tasks)) if month in MONTHS and installed() else None
        results = []
        for start in STARTS:
            found = dict(_outcomes(month, scored, past, start, reference))
            results.append((start, found))
        print()
        for start, found in results:
            _judge(check, month, start, found["following"], found["ahead"])
    _cost(check)
    return int(check.missed)


def _outcomes(
    month: Month, tasks: list[Task], past: History, start: float, reference: Callable[[int], float] | None
) -> Iterator[tuple[str, Outcome]]:
    begin, end = clock(month.first, 0), clock(month.first + timedelta(days=month.days), 0)
    peak = ideal(tasks).highest() or 0
    ways: dict[str, Signal] = {"following": following, "ahead": ahead(past, start)}
    if month in MONTHS:
        ways["cron by hand"] = cron(month, start)
        ways["fixed size"] = fixed(peak * TARGET / TASKS_PER_AGENT)
    if reference is not None:
        ways["Holt-Winters"] = planned(reference, start)
    base = None
    for name, wish in ways.items():
        one = replay(tasks, begin, end, start, wish)
        base = base or one
        print(
            f"| {start:.0f} s | {name} | {one.waited():.1f} | {one.waited() / base.waited():.3f} "
            f"| {one.agent_hours:.0f} | {one.agent_hours / base.agent_hours:.3f} | {one.late:.2%} | {one.p95:.0f} s |",
            flush=True,
        )
        yield name, one


def _judge(check: Check, month: Month, start: float, base: Outcome, ours: Outcome) -> None:
    waiting, hours = ours.waited() / base.waited(), ours.agent_hours / base.agent_hours
    if month is PATTERNLESS:
        check(f"{start:.0f} s: within 1% of following", abs(waiting - 1) <= NEAR and abs(hours - 1) <= NEAR)
    elif month is MOVED:
        adapted = clock(month.first + timedelta(days=ADAPTED_DAYS), 0)
        later = ours.waited(adapted) / base.waited(adapted)
        check(f"{start:.0f} s: waiting never above following ({waiting:.3f})", waiting <= 1)
        check(f"{start:.0f} s: waiting from the fourth day at most {MOST_WAITING} ({later:.3f})", later <= MOST_WAITING)
    else:
        check(f"{start:.0f} s: waiting at most {MOST_WAITING} of following", waiting <= MOST_WAITING)
        check(f"{start:.0f} s: agent-hours at most {MOST_HOURS} of following", hours <= MOST_HOURS)


def _cost(check: Check) -> None:
    """Measure the update that costs most, the first after midnight, for each of FLEETS fleets."""
    begin = clock(MOVED.first, 0)
    past = ideal([task for task in MOVED.tasks(SEED) if task[0] < begin - 86400])
    first = int(begin // SLOT_SECONDS) - 29 * SLOTS
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    fleets = []
    for fleet in range(FLEETS):
        history = History()
        for slot, value in enumerate(past.slots(first, 28 * SLOTS)):
            history.record((first + slot) * SLOT_SECONDS, value + fleet)
        forecaster = Forecaster(ZONE, quantile=0.75, min_days=3, days=28)
        fleets.append((history, forecaster))
    for history, forecaster in fleets:
        forecaster.expected(history, begin - 86400, 60.0)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for slot in range(28 * SLOTS, 29 * SLOTS):
        for fleet, (history, _) in enumerate(fleets):
            history.record((first + slot) * SLOT_SECONDS, past.slots(first + slot - SLOTS, 1)[0] + fleet)
    costs = []
    for hour in range(24):
        begun = time.process_time()
        for history, forecaster in fleets:
            forecaster.expected(history, begin + 3600 * hour, 60.0)
        costs.append(time.process_time() - begun)
    print()
    check(
        f"{FLEETS} fleets: {costs[0]:.2f} s of CPU in the first hour of a day, {max(costs[1:]):.3f} s in any other, "
        f"at most {MOST_SECONDS} s",
        max(costs) <= MOST_SECONDS,
    )
    check(f"{FLEETS} fleets: {size / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f} MB", size <= MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
