"""What the simulations draw: how long tasks run, and how many arrive. Every draw comes from a seeded generator."""

import random
from math import exp, log

TASK_SPREAD = 0.7
"""Sigma of the log-normal distribution of task durations: some take a tenth of the mean, some four times it."""
_POISSON_PART = 50.0
"""A higher mean is drawn in parts, whose exponential a float can hold."""


def task_length(chance: random.Random, mean: float) -> float:
    """Return for how many seconds a task runs, where they run for `mean` on average."""
    return _log_normal(chance, mean, 0.0)


def rest_of_task(chance: random.Random, mean: float) -> float:
    """Return for how many seconds a task still runs that is met under way.

    It is more likely one of the long ones: the log-normal distribution, weighted by itself, is moved by sigma squared.
    """
    return chance.random() * _log_normal(chance, mean, TASK_SPREAD**2)


def _log_normal(chance: random.Random, mean: float, shift: float) -> float:
    return exp(chance.gauss(log(mean) - TASK_SPREAD**2 / 2 + shift, TASK_SPREAD))


def poisson(chance: random.Random, mean: float) -> int:
    """Return how many of many independent arrivals come, where `mean` come on average."""
    count = 0
    while mean > 0:
        part, mean = min(mean, _POISSON_PART), mean - _POISSON_PART
        limit, product = exp(-part), chance.random()
        while product > limit:
            count, product = count + 1, product * chance.random()
    return count
