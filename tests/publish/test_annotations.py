"""The writer of pod annotations: what is written, when, by which replica, and what goes wrong; in virtual time.

The store is the real one. A patch reaches it as the watch would bring it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.fleet.model import Target
from exporter.fleet.policy import Policy
from exporter.fleet.protection import COST, KARPENTER, MARK, PROTECTION, AnnotationRules, Mark
from exporter.kube.api import Json, KubeError, Query, Resource, UnreachableError, api_error
from exporter.publish.annotations import PodAnnotations
from exporter.store.snapshots import SnapshotStore
from tests.factories import NOW, WALL_NOW, make_facts, make_reading, make_target
from tests.fakes.background import background

pytestmark = pytest.mark.looptime

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


# -- deletion cost -----------------------------------------------------------------------------------------------------


async def test_a_cost_is_written_once_and_then_when_its_bucket_changes() -> None:
    """Tasks come and go within a bucket without a write; over its edge, with one. Idle pods need none."""
    world = World({"idle": 0, "busy": 12})
    async with running(world, COSTS):
        await asyncio.sleep(120)
        assert world.costs() == {"busy": "15"}
        for tasks in (11, 13, 15, 14):
            world.tasks["busy"] = tasks
            await asyncio.sleep(30)
        assert len(world.writes) == 1
        world.tasks["busy"] = 16
        await asyncio.sleep(10)
        assert world.costs() == {"busy": "20"}
        await asyncio.sleep(3600)
        assert len(world.writes) == 2
    method, resource, body, content_type = world.requests[0]
    assert (method, str(resource), content_type) == (
        "PATCH",
        "pods 'busy' in namespace 'matillion'",
        "application/merge-patch+json",
    )
    assert body == {"metadata": {"uid": "uid-busy", "annotations": {COST: "15"}}}


async def test_a_fluctuating_count_causes_one_write_a_minute() -> None:
    """An agent at the edge of a bucket is not written to with every change."""
    world = World({"busy": 5})
    async with running(world, COSTS):
        for second in range(600):
            world.tasks["busy"] = 5 + second // 7 % 2
            await asyncio.sleep(1)
    times = [write.at for write in world.writes]
    assert 2 <= len(times) <= 11
    assert min(later - earlier for earlier, later in pairwise(times)) >= 60


async def test_costs_are_written_at_a_bounded_rate_the_largest_difference_first() -> None:
    """However many change at once, there are five writes a second, and those that matter most go first."""
    world = World({f"agent-{number:03}": float(1 + number % 20) for number in range(300)})
    async with running(world, COSTS):
        await asyncio.sleep(40)
        assert 180 <= len(world.writes) <= 200
        costs = [int(str(write.annotations[COST])) for write in world.writes]
        assert costs == sorted(costs, reverse=True)
        await asyncio.sleep(30)
        assert len(world.costs()) == len(world.writes) == 300


# -- protection --------------------------------------------------------------------------------------------------------


async def test_a_pod_is_protected_while_it_has_work_and_for_idle_for_after_it() -> None:
    """Within 10 s of its first task; each change is one write, and what is right is not written again."""
    world = World({"a": 0})
    async with running(world):
        await asyncio.sleep(100)
        assert not world.requests
        world.tasks["a"] = 1
        await asyncio.sleep(10)
        assert world.annotations["a"] == MINE
        await asyncio.sleep(3600)
        world.tasks["a"] = 0
        await asyncio.sleep(115)
        assert world.annotations["a"] == MINE
        world.tasks["a"] = 1
        await asyncio.sleep(60)
        assert len(world.writes) == 1
        world.tasks["a"] = 0
        await asyncio.sleep(135)
        assert world.annotations["a"] == {}
        assert len(world.writes) == 2


@pytest.mark.slow
async def test_three_hundred_pods_within_the_pace_the_most_urgent_first() -> None:
    """Never more than five writes a second: 200 pods that become busy within a minute, each new one within 10 s."""
    world = World({f"agent-{number:03}": 0.0 for number in range(300)})
    world.annotations = {pod: dict(MINE) for pod in list(world.tasks)[:50]}
    async with running(world, BOTH):
        await asyncio.sleep(115)
        assert not world.writes
        world.draining = set(list(world.tasks)[250:])
        for pod in list(world.tasks)[50:]:
            world.tasks[pod] = 7.0
        began = world.now()
        await asyncio.sleep(46)
        late = "agent-000"
        world.annotations[late] = {}
        world.tasks[late] = 1.0
        await asyncio.sleep(120)
        order = [write.pod for write in world.writes]
        done = {write.pod: write.at - began for write in world.writes}
        assert sorted(done.values())[199] <= 60
        assert done[late] - 46 <= 10
        assert max(map(order.index, list(world.tasks)[50:250])) < min(map(order.index, world.draining))
        removed = [pod for pod, there in world.annotations.items() if MARK not in there]
        assert sorted(removed) == list(world.tasks)[1:50]
        assert max(map(order.index, world.draining)) < min(map(order.index, removed))
        assert len(order) == len(set(order)) == 300
    times = [write.at for write in world.writes]
    assert all(later - earlier >= 1.0 - 1e-6 for earlier, later in zip(times, times[5:], strict=False))


async def test_protection_does_not_wait_for_the_minute_of_the_cost() -> None:
    """A cost written a moment ago delays no protection, and one patch carries both."""
    world = World({"a": 0})
    world.annotations["a"] = {COST: "5"}
    async with running(world, BOTH):
        await asyncio.sleep(10)
        assert world.annotations["a"] == {COST: "0"}
        world.tasks["a"] = 12
        await asyncio.sleep(10)
        assert world.annotations["a"] == {**MINE, COST: "15"}
        assert len(world.writes) == 2


async def test_an_agent_that_falls_silent_keeps_what_it_has() -> None:
    """What cannot be seen any more is not taken for idle."""
    world = World({"a": 18})
    async with running(world, BOTH):
        await asyncio.sleep(100)
        world.silent.add("a")
        await asyncio.sleep(1000)
    assert world.annotations["a"] == {**MINE, COST: "20"}
    assert len(world.writes) == 1


async def test_a_draining_pod_is_protected_and_has_no_cost() -> None:
    """It is out of its ReplicaSet, but its node must stay until its tasks have ended."""
    world = World({"a": 3}, draining={"a"})
    async with running(world, BOTH):
        await asyncio.sleep(20)
        assert world.annotations["a"] == MINE
        world.tasks["a"] = 0
        await asyncio.sleep(150)
        assert world.annotations["a"] == {}


async def test_what_another_writer_removes_is_restored_at_growing_intervals() -> None:
    """A lost annotation is back within 10 s; a writer that always removes it is answered ever more rarely."""
    world = World({"a": 3})
    async with running(world):
        await asyncio.sleep(60)
        world.annotate("a", {})
        await asyncio.sleep(10)
        assert world.annotations["a"] == MINE
        with capture_logs() as logs:
            for _ in range(3600):
                await asyncio.sleep(1)
                world.annotate("a", {})
        assert 8 <= len(world.writes) <= 16
    (said,) = logs
    assert said["event"] == "a pod's annotations do not remain as written; another writer seems to change them"
    assert said["pod"] == "a"


async def test_another_value_is_kept() -> None:
    """It is no longer ours: not set again, and not removed."""
    world = World({"a": 3})
    async with running(world):
        await asyncio.sleep(60)
        world.annotate("a", MINE | {KARPENTER: "false"})
        await asyncio.sleep(600)
        assert len(world.writes) == 2
        world.tasks["a"] = 0
        await asyncio.sleep(200)
    assert world.annotations["a"] == {KARPENTER: "false"}


async def test_without_a_watch_nothing_is_written_over_and_over() -> None:
    """Writes that the watch does not show are repeated at growing intervals only."""
    world = World({"a": 3})

    async def tasks_change() -> None:
        while True:
            await asyncio.sleep(5)
            world.tasks["a"] = 3 + world.tasks["a"] % 11

    async with running(world, BOTH):
        await asyncio.sleep(3)
        world.annotations.clear()
        world.show("a")
        world.watch_delay = None
        world.__dict__["target"] = lambda pod: make_target(pod, facts=make_facts(), address=pod)
        before = len(world.requests)
        async with background(tasks_change()):
            await asyncio.sleep(3600)
    assert len(world.requests) - before <= 16


async def test_disabled_protection_removes_what_it_left() -> None:
    """From every pod, at the pace, and only its own; then nothing is written."""
    world = World({f"a{number}": float(number % 2) for number in range(20)})
    theirs = {**PROTECTION, MARK: Mark("elsewhere/other", PROTECTION).text}
    world.annotations = {pod: dict(MINE) for pod in world.tasks} | {"a1": dict(PROTECTION), "a2": theirs}
    async with running(world, OFF):
        await asyncio.sleep(600)
    assert {pod: there for pod, there in world.annotations.items() if there} == {"a1": PROTECTION, "a2": theirs}
    assert len(world.writes) == 18


async def test_without_permission_to_remove_it_the_log_says_what_to_run() -> None:
    """One line, with the command that removes the annotations by hand."""
    world = World({"a": 3}, fault=lambda _pod: DENIED)
    world.annotations["a"] = dict(MINE)
    with capture_logs() as logs:
        async with running(world, OFF):
            await asyncio.sleep(3600)
    (said,) = logs
    assert said["event"] == "protection is disabled, but its annotations cannot be removed from pods; will retry"
    assert said["fix"] == (
        'add the rule {apiGroups: [""], resources: ["pods"], verbs: ["patch"]} to a Role in namespace \'matillion\' '
        "that is bound to the exporter's service account, or run: kubectl --namespace matillion annotate pods --all "
        f"cluster-autoscaler.kubernetes.io/safe-to-evict- {KARPENTER}- {MARK}-"
    )
    assert len(world.requests) < 70


# -- the leader --------------------------------------------------------------------------------------------------------


async def test_only_the_leader_writes() -> None:
    """On standby nothing is written, and a process that leads again goes by what the pods carry then."""
    world = World({"a": 3}, leads=False)
    async with running(world, BOTH):
        await asyncio.sleep(100)
        assert not world.requests
        world.leads = True
        await asyncio.sleep(10)
        assert world.annotations["a"] == {**MINE, COST: "3"}
        world.leads = False
        world.annotate("a", {})
        await asyncio.sleep(100)
        assert world.annotations["a"] == {}
        world.leads = True
        await asyncio.sleep(10)
        assert world.annotations["a"] == {**MINE, COST: "3"}
        assert len(world.writes) == 2


async def test_a_new_leader_writes_nothing_that_is_right() -> None:
    """All is on the pods: there is no write after a restart or a change of leader."""
    world = World({f"a{number}": float(number) for number in range(30)})
    async with running(world, BOTH):
        await asyncio.sleep(60)
    written = len(world.writes)
    async with running(world, BOTH):
        await asyncio.sleep(600)
    assert len(world.writes) == written == 29


async def test_leadership_is_checked_before_every_write() -> None:
    """A leader that loses the lease among many writes stops at once."""
    world = World({f"a{number}": 3.0 for number in range(30)})
    async with running(world):
        while len(world.writes) < 7:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)
        world.leads = False
        await asyncio.sleep(60)
    assert len(world.writes) == 7


async def test_nothing_is_written_before_the_first_round() -> None:
    """Until every agent was tried once, and for agents that were not read or are no pods."""
    world = World({"slow": 7, "a": 7}, silent={"slow"})
    async with running(world, BOTH):
        static = make_target("static")
        world.store.upsert("static", static)
        world.store.scraped(static, make_reading(7), url="http://static", seconds=0.01)
        await asyncio.sleep(100)
        assert not world.requests
        world.silent.clear()
        await asyncio.sleep(20)
    assert set(world.annotations) == {"slow", "a"}


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 409, 422])
async def test_a_pod_that_is_gone_does_not_delay_the_others(status: int) -> None:
    """A pod that was deleted or replaced meanwhile is tried ever more rarely; the next write follows at once."""
    gone = api_error("patch", Resource("", "v1", "pods"), status, {})
    world = World({"gone": 20, "here": 10}, fault=lambda pod: gone if pod.name == "gone" else None)
    with capture_logs() as logs:
        async with running(world, BOTH):
            await asyncio.sleep(10)
            assert set(world.annotations) == {"here"}
            await asyncio.sleep(3600)
            assert len(world.requests) <= 15
    assert not logs


async def test_a_missing_permission_is_logged_once_and_tried_ever_more_rarely() -> None:
    """The log names the rule to grant; then all is written within two minutes."""
    world = World({f"a{number}": 10 for number in range(10)}, fault=lambda _pod: DENIED)
    with capture_logs() as logs:
        async with running(world, BOTH):
            await asyncio.sleep(1800)
            assert len(world.requests) < 45
            world.fault = lambda _pod: None
            await asyncio.sleep(180)
    assert len(world.annotations) == 10
    assert [entry["event"] for entry in logs] == [
        "pod annotations cannot be written; will retry",
        "pod annotations can be written again",
    ]
    assert logs[0]["fix"] == (
        'add the rule {apiGroups: [""], resources: ["pods"], verbs: ["patch"]} to a Role in namespace \'matillion\' '
        "that is bound to the exporter's service account"
    )


async def test_a_namespace_without_permission_delays_no_other() -> None:
    """Pods of another namespace are protected within 10 s all the same."""
    world = World(
        {f"a{number}": 10.0 for number in range(50)} | {"b": 0.0},
        namespaces={"b": "other"},
        fault=lambda pod: DENIED if pod.namespace == "matillion" else None,
    )
    with capture_logs() as logs:
        async with running(world):
            await asyncio.sleep(600)
            world.tasks["b"] = 1
            await asyncio.sleep(10)
            assert world.annotations["b"] == MINE
    assert [entry["namespace"] for entry in logs] == ["matillion"]


async def test_an_api_server_that_hangs_delays_nothing_but_this() -> None:
    """A write has a deadline; whatever the API server does, the part neither ends nor floods it."""
    world = World({"a": 10, "b": 20}, hangs=True)
    async with running(world, BOTH):
        await asyncio.sleep(600)
        assert 5 <= len(world.requests) <= 30
        world.hangs = False
        await asyncio.sleep(180)
        assert world.costs() == {"a": "10", "b": "20"}


async def test_gone_pods_are_forgotten() -> None:
    """A pod made again under the same name is written to again, and nothing is kept of the old ones."""
    world = World({"a": 10})
    part = PodAnnotations(BOTH, world.store, world, world)
    async with background(world.scrape(), part.run()):
        await asyncio.sleep(30)
        world.tasks = {"b": 10}
        await asyncio.sleep(30)
        assert set(part._tried) == {"uid-b"}
