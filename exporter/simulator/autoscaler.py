"""The Horizontal Pod Autoscaler's arithmetic, for one External metric with an `AverageValue` target.

Pure: `now` is an argument, in seconds on any clock that only goes forward. Follows the controller's own order: ratio
against the tolerance, then stabilization, then how fast it may go, then the bounds. Knows neither where
demand comes from nor what acts on the decision.
"""

from collections import deque
from dataclasses import dataclass
from math import ceil


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """How fast and how far to scale; times in seconds. The behaviour is the vendor's advice for agents."""

    min_replicas: int = 2
    max_replicas: int = 12
    sync_interval: float = 15.0
    """How often the controller looks: its default."""
    tolerance: float = 0.1
    """How far from the target the average may be without anything being done: the controller's default."""
    up_pods: int = 1
    up_period: float = 30.0
    """At most `up_pods` more within this time. Work that waits is seen at once, so there is no window upwards."""
    down_pods: int = 1
    down_period: float = 60.0
    """At most `down_pods` fewer within this time."""
    down_window: float = 180.0
    """Fewer only once every evaluation within this time proposed fewer."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many agents there should be, and why, in words."""

    replicas: int
    reason: str


class Autoscaler:
    """Decides, look by look, how many agents a fleet should have, and remembers what that takes."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self._policy = policy
        self._proposals: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()

    def decide(self, now: float, replicas: int, demand: float, target: float) -> Decision:
        """Return how many agents a fleet of `replicas` should have for `demand` tasks at `target` tasks each."""
        proposal, reason = self._proposal(replicas, demand, target)
        stable = self._stabilised(now, replicas, proposal)
        if stable > proposal:
            reason += f"; {stable} were desired within the last {self._policy.down_window:g} s"
        allowed = self._at_its_pace(now, replicas, stable)
        if allowed != stable:
            reason += f"; {self._pace(upwards=stable > replicas)}"
        bounded = min(max(allowed, self._policy.min_replicas), self._policy.max_replicas)
        if bounded != allowed:
            reason += f"; stays between {self._policy.min_replicas} and {self._policy.max_replicas}"
        if bounded != replicas:
            self._changes.append((now, bounded - replicas))
        return Decision(bounded, reason)

    def _proposal(self, replicas: int, demand: float, target: float) -> tuple[int, str]:
        if replicas > 0 and abs(demand / (target * replicas) - 1) <= self._policy.tolerance:
            return replicas, f"{demand:g} tasks on {replicas} agents is near enough to {target:g} each"
        proposal = ceil(demand / target)
        return proposal, f"{demand:g} tasks at {target:g} each take {proposal} agents"

    def _stabilised(self, now: float, replicas: int, proposal: int) -> int:
        """Return the wish, unless a recent one was for more agents than it."""
        while self._proposals and self._proposals[0][0] < now - self._policy.down_window:
            self._proposals.popleft()
        self._proposals.append((now, proposal))
        highest = max(recent for _, recent in self._proposals)
        return min(max(replicas, proposal), highest)

    def _at_its_pace(self, now: float, replicas: int, proposal: int) -> int:
        policy = self._policy
        while self._changes and self._changes[0][0] < now - max(policy.up_period, policy.down_period):
            self._changes.popleft()
        added = sum(by for at, by in self._changes if by > 0 and at > now - policy.up_period)
        removed = sum(-by for at, by in self._changes if by < 0 and at > now - policy.down_period)
        maximum = max(replicas, replicas - added + policy.up_pods)
        minimum = min(replicas, replicas + removed - policy.down_pods)
        return min(max(proposal, minimum), maximum)

    def _pace(self, *, upwards: bool) -> str:
        pods, period = (
            (self._policy.up_pods, self._policy.up_period)
            if upwards
            else (self._policy.down_pods, self._policy.down_period)
        )
        return f"{pods} {'more' if upwards else 'fewer'} per {period:g} s"
