"""The tasks of a simulated fleet: how many arrive in a time, and how long each runs.

Draws from a `random.Random` of its owner, so that one seed gives one history. Knows nothing of agents or queues.
"""

import math
import random
from dataclasses import dataclass

from exporter.simulator.scenario import Scenario

TASK_SPREAD = 0.7
"""Sigma of the log-normal distribution of task durations: some take a minute, some ten."""
POISSON_BY_NORMAL = 30.0
"""From this mean up a Poisson draw is taken from the normal distribution, which is then indistinguishable."""


@dataclass(slots=True)
class Task:
    """A unit of work."""

    seconds: float
    interactive: bool
    """Whether a person started it in the designer; the agent's cap of tasks does not bind it."""


class Workload:
    """Draws the tasks of a scenario for a fleet that begins with so many `slots`."""

    def __init__(self, scenario: Scenario, slots: int, draw: random.Random) -> None:
        self._scenario = scenario
        self._slots = slots
        self._draw = draw

    def at_the_start(self) -> list[Task]:
        """Return what the load of the first instant keeps running: a fleet is found at work, with part of it done."""
        return [self._task_under_way() for _ in range(self._poisson(self._scenario.load(0.0) * self._slots))]

    def arrivals(self, now: float, seconds: float) -> list[Task]:
        """Return the tasks that arrive within so many seconds from `now` on."""
        rate = max(0.0, self._scenario.load(now)) * self._slots * sum(self._rates_per_slot())
        return [self._task() for _ in range(self._poisson(rate * seconds))]

    def _rates_per_slot(self) -> tuple[float, float]:
        """Return how many ordinary and how many long tasks a second keep one slot busy between them."""
        share = self._scenario.long_share
        return (1 - share) / self._scenario.task_seconds, share / (sum(self._scenario.long_seconds) / 2)

    def _task(self) -> Task:
        ordinary, long = self._rates_per_slot()
        if self._draw.random() < long / (ordinary + long):
            return Task(self._draw.uniform(*self._scenario.long_seconds), False)
        return self._ordinary_task()

    def _ordinary_task(self) -> Task:
        middle = math.log(self._scenario.task_seconds) - TASK_SPREAD**2 / 2
        interactive = self._draw.random() < self._scenario.interactive_share
        return Task(self._draw.lognormvariate(middle, TASK_SPREAD), interactive)

    def _task_under_way(self) -> Task:
        """Return a task as one meets it in a slot: long ones are met more often, and part of it is done."""
        if self._draw.random() < self._scenario.long_share:
            return Task(self._draw.uniform(*self._scenario.long_seconds) * self._draw.random(), False)
        task = self._ordinary_task()
        # Weighting a log-normal distribution by its length moves it by sigma squared.
        return Task(task.seconds * math.exp(TASK_SPREAD**2) * self._draw.random(), task.interactive)

    def _poisson(self, mean: float) -> int:
        if mean >= POISSON_BY_NORMAL:
            return max(0, round(self._draw.gauss(mean, math.sqrt(mean))))
        count, product, floor = 0, self._draw.random(), math.exp(-mean)
        while product > floor:
            count += 1
            product *= self._draw.random()
        return count
