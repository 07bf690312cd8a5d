"""How the cost of each output grows with the fleets: CPU at several sizes, and the exponent of a fitted power law.

An exponent of 1 is proportional, 2 quadratic. It does not depend on how fast the machine is.
"""

import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import log
from statistics import linear_regression

from exporter.fleet.cloudwatch_catalogue import select
from exporter.fleet.model import Fleet
from exporter.fleet.policy import Policy
from exporter.publish.external_metrics_values import Knowledge, Question, items
from exporter.publish.fleet_datums import Selection, count
from exporter.publish.prometheus import render
from exporter.store.snapshots import SnapshotStore
from exporter.web.documents import agent_document, fleet_document
from tests.factories import NOW, WALL_NOW, make_facts, make_reading, make_target

FLEETS = (25, 50, 100, 200)
AGENTS = 50
"""In each of them."""
ONE_FLEET = (500, 1000, 2000, 4000)
"""Agents of a single fleet."""
LARGEST_EXPONENT = 1.5
"""Proportional is 1, and some 1.3 was seen where the data of a step outgrew the caches; 2 is quadratic."""
_ROUNDS = 5
_LONG_ENOUGH = 0.05


@dataclass(frozen=True, slots=True)
class Growth:
    """What a step costs at the largest size, in ms of CPU, and how it grows."""

    what: str
    largest_ms: float
    exponent: float

    @classmethod
    def of(cls, what: str, costs: Mapping[int, float]) -> "Growth":
        """Fit a power law to what a step costs, in seconds, at each size."""
        slope = linear_regression([log(size) for size in costs], [log(cost) for cost in costs.values()]).slope
        return cls(what, costs[max(costs)] * 1e3, slope)


def cost(step: Callable[[], object]) -> float:
    """Return what a step costs, in seconds of CPU: the best of some rounds, since only disturbance adds to it."""
    step()
    begin = time.process_time()
    step()
    number = max(1, int(_LONG_ENOUGH / max(1e-6, time.process_time() - begin)))
    rounds = []
    for _ in range(_ROUNDS):
        begin = time.process_time()
        for _ in range(number):
            step()
        rounds.append((time.process_time() - begin) / number)
    return min(rounds)


class _World:
    """A store of fleets that were all read a second ago."""

    def __init__(self, fleets: int, agents: int) -> None:
        self.now = NOW
        self.store = SnapshotStore(Policy(), monotonic=lambda: self.now, wall=lambda: WALL_NOW + self.now - NOW)
        self.store.expect(["kubernetes"])
        numbers = range(fleets * agents)
        self._targets = [
            make_target(
                f"agent-{number}",
                fleet=f"fleet-{number % fleets}",
                address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
                facts=make_facts(),
            )
            for number in numbers
        ]
        self.store.replace("kubernetes", self._targets)
        self.scrape()
        self._put_to_sleep()
        self.fleets = self.store.fleets()

    def _put_to_sleep(self) -> None:
        """Add a fleet without agents: the store keeps such a fleet in mind."""
        target = make_target("asleep", fleet="asleep", address="10.255.0.1", facts=make_facts())
        self.store.upsert("kubernetes", target)
        self.store.scraped(target, make_reading(), url="http://127.0.0.1:9464/metrics", seconds=0.01)
        self.store.fleets()
        self.store.remove("kubernetes", target.uid, make_facts())

    def scrape(self) -> None:
        """Read every agent, a second later than before."""
        self.now += 1.0
        self.store.synced("kubernetes")
        for number, target in enumerate(self._targets):
            reading = make_reading(float(number % 21))
            self.store.scraped(target, reading, url="http://127.0.0.1:9464/metrics", seconds=0.01)

    def aggregate(self) -> Sequence[Fleet]:
        """Compute all fleets, as after a round of scrapes."""
        self.now += 1.0
        for target in self._targets[: len(self.fleets)]:
            self.store.task_failures_counted(target.uid, int(self.now))
        return self.store.fleets()

    def metrics_page(self) -> int:
        """Render /metrics."""
        return sum(map(len, render(self.fleets, openmetrics=False)))

    def fleets_listed(self) -> int:
        """Render all fleets as JSON."""
        return sum(len(json.dumps(fleet_document(fleet))) for fleet in self.fleets)

    def agents_listed(self) -> int:
        """Render all agents as JSON."""
        documents = (agent_document(agent, NOW, WALL_NOW) for fleet in self.fleets for agent in fleet.agents)
        return sum(len(json.dumps(document)) for document in documents)

    def datums(self) -> int:
        """Make all datums of a period."""
        selection = Selection(cluster="bench", metrics=select(["all"]))
        increases, _ = count(selection.metrics, self.fleets, None, WALL_NOW)
        return len(list(selection.datums(self.fleets, (), increases, int(WALL_NOW))))

    def autoscalers_ask(self) -> int:
        """Answer the autoscaler of each fleet once, by the external metrics API."""
        found = 0
        for fleet in self.fleets[1:]:
            reason = self.store.not_ready_reason()
            known = Knowledge(self.store.fleet_keys, self.store.fleet, reason, "bench")
            found += len(items(Question("matillion_fleet_demand_tasks", "matillion", f"fleet={fleet.name}"), known))
        return found

    def scalers_ask(self) -> int:
        """Find the demand of each fleet once, as the JSON route of KEDA does."""
        keys = [(fleet.namespace, fleet.name) for fleet in self.fleets]
        return sum(self.store.fleet(key) is not None for key in keys)


_STEPS: Mapping[str, Callable[[_World], object]] = {
    "a scrape of every agent is stored": _World.scrape,
    "aggregation": _World.aggregate,
    "/metrics": _World.metrics_page,
    "JSON of all fleets": _World.fleets_listed,
    "JSON of all agents": _World.agents_listed,
    "CloudWatch, a period of all metrics": _World.datums,
    "every HPA asks once": _World.autoscalers_ask,
    "every KEDA asks once": _World.scalers_ask,
}


def measure() -> list[Growth]:
    """Measure every step with more and more fleets, and the aggregation of one fleet with more and more agents."""
    costs: dict[str, dict[int, float]] = {what: {} for what in _STEPS}
    for fleets in FLEETS:
        world = _World(fleets, AGENTS)
        gc.collect()
        for what, step in _STEPS.items():
            world.scrape()
            costs[what][fleets] = cost(partial(step, world))
    found = [Growth.of(what, by_size) for what, by_size in costs.items()]
    alone = {}
    for agents in ONE_FLEET:
        world = _World(1, agents)
        gc.collect()
        alone[agents] = cost(world.aggregate)
    return [*found, Growth.of(f"aggregation of one fleet, to {max(ONE_FLEET):,} agents", alone)]
