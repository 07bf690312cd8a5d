"""Pods whose annotations are written: their agents, a leader, and an API server that records; in virtual time.

The store is the real one. A patch reaches it as the watch would bring it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.fleet.model import Target
from exporter.fleet.policy import Policy
from exporter.fleet.protection import COST, MARK, PROTECTION, AnnotationRules, Mark
from exporter.kube.api import Json, KubeError, Query, Resource, UnreachableError, api_error
from exporter.publish.annotations import PodAnnotations
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, WALL_NOW, make_facts, make_reading, make_target
from tests.fakes.background import background

ME = "monitoring/fleet-exporter"
PROTECT = AnnotationRules(instance=ME, protection=PROTECTION, idle_for=120.0, bucket=None)
COSTS = AnnotationRules(instance=ME, protection=None, idle_for=120.0, bucket=5)
BOTH = replace(PROTECT, bucket=5)
OFF = replace(COSTS, bucket=None)
MINE = {**PROTECTION, MARK: Mark(ME, PROTECTION).text}
DENIED = api_error("patch", Resource("", "v1", "pods"), 403, {})


@dataclass(frozen=True)
class Write:
    """One patch that was accepted."""

    at: float
    pod: str
    annotations: dict[str, str | None]


@dataclass
class World:
    """Agents with tasks, their pods, a leader, and an API server that records what is written."""

    tasks: dict[str, float] = field(default_factory=dict)
    leads: bool = True
    fault: Callable[[Resource], KubeError | None] = lambda _pod: None
    hangs: bool = False
    watch_delay: float | None = 0.05
    """Time until the watch shows a write; None while the watch is down."""
    annotations: dict[str, dict[str, str]] = field(default_factory=dict)
    draining: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    namespaces: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, Resource, Any, str]] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = SnapshotStore(Policy(), monotonic=lambda: NOW + self.now(), wall=lambda: WALL_NOW + self.now())
        self.store.expect(["kubernetes"])

    def now(self) -> float:
        """Return the seconds of virtual time."""
        return asyncio.get_running_loop().time()

    def target(self, pod: str) -> Target:
        """Return a pod as the API server has it."""
        draining = WALL_NOW if pod in self.draining else None
        facts = make_facts(annotations=dict(self.annotations.get(pod, {})), draining_time=draining)
        return make_target(pod, facts=facts, namespace=self.namespaces.get(pod, "matillion"), address=pod)

    async def scrape(self) -> None:
        """List the pods, then read every agent that answers each 5 seconds."""
        while True:
            self.store.replace("kubernetes", map(self.target, self.tasks))
            for pod in self.tasks.keys() - self.silent:
                self.store.scraped(self.target(pod), make_reading(self.tasks[pod]), url="http://a", seconds=0.01)
            await asyncio.sleep(5)

    def is_leader(self) -> bool:
        """Return whether this process leads."""
        return self.leads

    async def send(
        self,
        method: str,
        resource: Resource,
        body: Json | list[Json] | None,
        *,
        content_type: str = "application/json",
        query: Query = (),
        timeout: float = 30.0,
    ) -> Json:
        """Apply a patch, or fail."""
        assert isinstance(body, dict)
        assert resource.name is not None
        assert not query
        self.requests.append((method, resource, body, content_type))
        if self.hangs:
            await asyncio.sleep(timeout)
            raise UnreachableError("no answer")
        if (error := self.fault(resource)) is not None:
            raise error
        changes = body["metadata"]["annotations"]
        self.writes.append(Write(self.now(), resource.name, changes))
        merged = self.annotations.get(resource.name, {}) | changes
        self.annotate(resource.name, {key: value for key, value in merged.items() if value is not None})
        return {}

    def annotate(self, pod: str, annotations: dict[str, str]) -> None:
        """Set a pod's annotations as another writer would."""
        self.annotations[pod] = annotations
        if self.watch_delay is not None:
            asyncio.get_running_loop().call_later(self.watch_delay, self.show, pod)

    def show(self, pod: str) -> None:
        """Bring a pod by the watch."""
        if pod in self.tasks:
            self.store.upsert("kubernetes", self.target(pod))

    def costs(self) -> dict[str, str | None]:
        """Return the deletion costs of the pods that have one."""
        return {pod: there[COST] for pod, there in self.annotations.items() if COST in there}


@asynccontextmanager
async def running(world: World, rules: AnnotationRules = PROTECT) -> AsyncIterator[None]:
    part = PodAnnotations(rules, world.store, world, world)
    async with background(world.scrape(), part.run()):
        yield
