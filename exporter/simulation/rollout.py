"""A Deployment's rolling update: how many pods it makes and deletes at a moment. Pure.

After kubernetes.io, "Deployments" (rolling update, proportional scaling), and the Deployment controller's rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor


@dataclass(frozen=True, slots=True)
class Strategy:
    """`strategy.rollingUpdate`, as shares of the replicas."""

    surge: float
    """Pods there may be beyond the replicas; rounded up."""
    unavailable: float
    """Pods of the replicas that may be missing; rounded down."""

    def bounds(self, replicas: int) -> tuple[int, int]:
        """Return the most pods there may be, and the fewest that must be Ready."""
        surge, unavailable = ceil(self.surge * replicas), floor(self.unavailable * replicas)
        return replicas + surge, replicas - (unavailable or int(not surge))


STRATEGY = Strategy(surge=0.25, unavailable=0.25)
"""Kubernetes' defaults, which the vendor's charts leave as they are."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the controller does now."""

    make: int
    """Pods of the new template."""
    delete_new: int
    delete_old: int


def step(replicas: int, new: Sequence[bool], old: Sequence[bool], strategy: Strategy) -> Step:
    """Return the next step; `new` and `old` say of each pod that is not being deleted whether it is Ready.

    Where a scale-in meets a rollout, what is too much is taken from both in proportion. A scale-out makes new pods
    alone, where Kubernetes would also make some of the old template.
    """
    if not old:
        return Step(max(0, replicas - len(new)), max(0, len(new) - replicas), 0)
    most, least = strategy.bounds(replicas)
    too_many = max(0, len(new) + len(old) - most)
    delete_new = round(too_many * len(new) / (len(new) + len(old)))
    kept = len(new) - delete_new
    # Those that are not Ready are deleted first.
    spare = min(kept, sum(new)) + len(old) - least
    delete_old = min(len(old), max(too_many - delete_new, spare))
    make = max(0, min(most - kept - len(old), replicas - kept))
    return Step(make, delete_new, delete_old)
