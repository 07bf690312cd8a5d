"""The tasks of a simulated fleet: how many arrive in a time, and how long each runs.

Draws from a `random.Random` of its owner, so that one seed gives one history. Knows nothing of agents or queues.
"""

import random

from exporter.simulation.draws import poisson, rest_of_task, task_length
from exporter.simulation.task_queue import WaitingTask
from exporter.simulator.scenario import Scenario


class Workload:
    """Draws the tasks of a scenario for a fleet that begins with so many `slots`."""

    def __init__(self, scenario: Scenario, slots: int, draw: random.Random) -> None:
        self._scenario = scenario
        self._slots = slots
        self._draw = draw

    def at_the_start(self) -> list[WaitingTask]:
        """Return what the load of the first instant keeps running: a fleet is found at work, with part of it done."""
        return [self._task_under_way() for _ in range(poisson(self._draw, self._scenario.load(0.0) * self._slots))]

    def arrivals(self, now: float, seconds: float) -> list[WaitingTask]:
        """Return the tasks that arrive within so many seconds from `now` on."""
        rate = max(0.0, self._scenario.load(now)) * self._slots * sum(self._rates_per_slot())
        return [self._task() for _ in range(poisson(self._draw, rate * seconds))]

    def _rates_per_slot(self) -> tuple[float, float]:
        """Return how many ordinary and how many long tasks a second keep one slot busy between them."""
        share = self._scenario.long_share
        return (1 - share) / self._scenario.task_seconds, share / (sum(self._scenario.long_seconds) / 2)

    def _task(self) -> WaitingTask:
        ordinary, long = self._rates_per_slot()
        if self._draw.random() < long / (ordinary + long):
            return WaitingTask(self._draw.uniform(*self._scenario.long_seconds))
        return WaitingTask(task_length(self._draw, self._scenario.task_seconds), self._is_interactive())

    def _task_under_way(self) -> WaitingTask:
        """Return a task as one meets it in a slot: long ones are met more often, and part of it is done."""
        if self._draw.random() < self._scenario.long_share:
            return WaitingTask(self._draw.uniform(*self._scenario.long_seconds) * self._draw.random())
        return WaitingTask(rest_of_task(self._draw, self._scenario.task_seconds), self._is_interactive())

    def _is_interactive(self) -> bool:
        return self._draw.random() < self._scenario.interactive_share
