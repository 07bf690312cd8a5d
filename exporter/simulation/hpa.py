"""The Horizontal Pod Autoscaler as Kubernetes documents it: from metrics to a number of replicas.

Pure: `now` is an argument. After kubernetes.io, "Horizontal Pod Autoscaling" (algorithm details, configurable scaling
behavior), and the API reference of `autoscaling/v2`. It must not know where a metric comes from.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

SYNC_SECONDS = 15.0
"""How often the controller looks: the default of `--horizontal-pod-autoscaler-sync-period`."""
TOLERANCE = 0.1
"""How far from 1 the ratio of metric and target may be without consequence: `--horizontal-pod-autoscaler-tolerance`."""


class MetricError(Exception):
    """A metric could not be had: there was an error, or an empty answer."""


Metric = Callable[[int], int]
"""From the replicas there are to those that one metric proposes. Raises MetricError."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How much one direction may change the replicas within `seconds`: a number of pods, or percent of them."""

    kind: Literal["Pods", "Percent"]
    value: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`behavior.scaleUp` or `behavior.scaleDown`, with `selectPolicy: Max`: the policy that allows most counts."""

    window: float
    """`stabilizationWindowSeconds`."""
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What the HPA object says."""

    least: int
    most: int
    up: Rules
    down: Rules


FAST = Spec(
    least=2,
    most=50,
    up=Rules(window=0.0, policies=(Policy("Percent", 100, 15.0), Policy("Pods", 10, 15.0))),
    down=Rules(window=300.0, policies=(Policy("Percent", 20, 60.0), Policy("Pods", 1, 60.0))),
)
"""The HPA of docs/scaling.md."""
VENDOR = Spec(
    least=2,
    most=50,
    up=Rules(window=0.0, policies=(Policy("Pods", 1, 30.0),)),
    down=Rules(window=180.0, policies=(Policy("Pods", 1, 60.0),)),
)
"""The behavior of the vendor's chart (matillion-public/deployment-library, runner/helm/runner/values.yaml)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of one look, with the steps that led there."""

    replicas: int
    """Replicas from now on."""
    proposed: int | None
    """Of the metrics; None if they change nothing, or are not asked since the replicas are out of bounds."""
    stable: int
    """The same after the stabilization windows."""


class Autoscaler:
    """One HPA and what the controller remembers of it."""

    def __init__(self, spec: Spec, metrics: Sequence[Metric]) -> None:
        self._spec = spec
        self._metrics = metrics
        self._recommended: deque[tuple[float, int]] = deque()
        self._added: list[tuple[float, int]] = []
        self._removed: list[tuple[float, int]] = []

    def look(self, now: float, replicas: int) -> int:
        """Return how many replicas there should be from now on; `replicas` if nothing changes."""
        return self.decide(now, replicas).replicas

    def decide(self, now: float, replicas: int) -> Decision:
        """Return the same with the steps that led there."""
        spec = self._spec
        if not self._recommended:
            self._recommended.append((now, replicas))
        if replicas == 0:
            return Decision(0, None, 0)
        if not spec.least <= replicas <= spec.most:
            return Decision(self._decided(now, replicas, min(max(replicas, spec.least), spec.most)), None, replicas)
        proposal = self._proposal(replicas)
        if proposal is None:
            return Decision(replicas, None, replicas)
        stable = self._stabilized(now, replicas, proposal)
        return Decision(self._decided(now, replicas, self._paced(now, replicas, stable)), proposal, stable)

    def _proposal(self, replicas: int) -> int | None:
        """Return the highest proposal. With a metric that fails the others may only scale up; None changes nothing."""
        proposals, failed = [], False
        for metric in self._metrics:
            try:
                proposals.append(metric(replicas))
            except MetricError:
                failed = True
        if not proposals or (failed and max(proposals) < replicas):
            return None
        return max(proposals)

    def _stabilized(self, now: float, replicas: int, proposal: int) -> int:
        """Return `replicas`, moved no further than into the bounds that the windows' recommendations leave.

        As Kubernetes does it: a recommendation that is lower than what there is never makes a fleet grow, whatever
        the window of the scale-down still holds.
        """
        up, down = now - self._spec.up.window, now - self._spec.down.window
        recommended = self._recommended
        while recommended and recommended[0][0] <= min(up, down):
            recommended.popleft()
        lowest = highest = proposal
        for at, wish in recommended:
            if wish < lowest and at > up:
                lowest = wish
            elif wish > highest and at > down:
                highest = wish
        if recommended and recommended[-1][1] == proposal:
            recommended.pop()  # of equal ones in a row the last lasts longest
        recommended.append((now, proposal))
        return min(max(replicas, lowest), highest)

    def _paced(self, now: float, replicas: int, wish: int) -> int:
        """Return how far towards `wish` the policies allow, within the bounds."""
        spec = self._spec
        if wish > replicas:
            limit = max(self._limit(now, replicas, policy, 1) for policy in spec.up.policies)
            return min(wish, max(limit, replicas), spec.most)
        if wish < replicas:
            limit = min(self._limit(now, replicas, policy, -1) for policy in spec.down.policies)
            return max(wish, min(limit, replicas), spec.least)
        return wish

    def _limit(self, now: float, replicas: int, policy: Policy, direction: Literal[1, -1]) -> int:
        since = now - policy.seconds
        added = sum(count for at, count in self._added if at > since)
        removed = sum(count for at, count in self._removed if at > since)
        start = replicas - added + removed
        if policy.kind == "Pods":
            return start + direction * policy.value
        exact = start * (1 + direction * policy.value / 100)
        return ceil(exact) if direction > 0 else floor(exact)

    def _decided(self, now: float, before: int, after: int) -> int:
        if after == before:
            return after
        longest = max(policy.seconds for rules in (self._spec.up, self._spec.down) for policy in rules.policies)
        self._added = [(at, count) for at, count in self._added if at > now - longest]
        self._removed = [(at, count) for at, count in self._removed if at > now - longest]
        if after > before:
            self._added.append((now, after - before))
        else:
            self._removed.append((now, before - after))
        return after


def external(total: float, target: float, replicas: int) -> int:
    """Return the proposal of an External metric with an `AverageValue` target."""
    if abs(total / (target * replicas) - 1) <= TOLERANCE:
        return replicas
    return _round_up(total / target)


def per_pod(
    values: Mapping[int, float],
    pods: Sequence[int],
    target: float,
    replicas: int,
    *,
    unready: int = 0,
    missing: float | None = None,
) -> int:
    """Return the proposal of a metric that each pod has: `type: Pods`, or CPU utilization.

    `pods` are those that run and are not being deleted; `unready` more are on their way. Where the others ask for more,
    both the unready and those without a value count as using nothing. Where they ask for fewer, those without a value
    count as using `missing` (all that they requested), by default the target. Raises MetricError when no pod has a
    value.
    """
    known = [values[pod] for pod in pods if pod in values]
    if not known:
        raise MetricError("no pod has a value")
    used, count = sum(known), len(known)
    ratio = used / count / target
    if ratio > 1:
        adjusted_count = len(pods) + unready
    else:
        adjusted_count = len(pods)
        used += (len(pods) - count) * (target if missing is None else missing)
    adjusted = used / adjusted_count / target
    if abs(adjusted - 1) <= TOLERANCE or (ratio < 1) != (adjusted < 1):
        return replicas
    proposal = _round_up(adjusted * adjusted_count)
    return replicas if proposal != replicas and (proposal > replicas) != (adjusted > 1) else proposal


def _round_up(value: float) -> int:
    """Round up, but not for the last bit of a division."""
    return ceil(round(value, 9))
