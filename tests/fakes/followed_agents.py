"""Agents whose health is watched, with what was found out about each."""

from collections.abc import Iterable
from typing import Any

from exporter.fleet.model import PodFacts, Target, UsageSample
from tests.factories import make_facts, make_target


class FollowedAgents:
    """Holds targets as a store does, and takes down what it is told of them."""

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        self.failures: dict[str, int | None] = {}
        self.told: list[int | None] = []
        """Every count, in the order in which it came."""
        self.memory: dict[str, UsageSample] = {}
        self.looks = 0
        """How often somebody looked at an agent."""

    def uids(self) -> Iterable[str]:
        return self.targets.keys()

    def target(self, uid: str) -> Target | None:
        self.looks += 1
        return self.targets.get(uid)

    def usage_sampled(self, uid: str, sample: UsageSample) -> None:
        self.memory[uid] = sample

    def task_failures_counted(self, uid: str, failures: int | None) -> None:
        if uid in self.targets:
            self.failures[uid] = failures
            self.told.append(failures)

    def add(self, pod: str = "agent-1", *, namespace: str = "matillion", **facts: Any) -> Target:
        """Add a pod, or take its newer facts; its UID is `uid-<pod>`."""
        target = make_target(pod, namespace=namespace, facts=make_facts(**facts))
        self.targets[target.uid] = target
        return target

    def facts(self, pod: str = "agent-1") -> PodFacts:
        """Return the facts of a pod."""
        facts = self.targets[f"uid-{pod}"].facts
        assert facts is not None
        return facts

    def failures_of(self, pod: str = "agent-1") -> int | None:
        """Return the last count of a pod."""
        return self.failures.get(f"uid-{pod}")
