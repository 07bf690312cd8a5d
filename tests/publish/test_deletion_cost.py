"""Deletion costs: what is written, when, by whom, and what goes wrong; in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from exporter.config.settings import DeletionCostSettings
from exporter.fleet.model import AgentSnapshot, Fleet
from exporter.kube.api import Json, KubeError, Query, Resource, UnreachableError, api_error
from exporter.publish.deletion_cost import ANNOTATION, DeletionCost, deletion_cost
from tests.factories import NOW, make_facts, make_fleet, make_snapshot
from tests.fakes.background import background

pytestmark = pytest.mark.looptime


@dataclass
class World:
    """Agents, a leader, and an API server that takes down what is written."""

    tasks: dict[str, float] = field(default_factory=dict)
    leads: bool = True
    reason: str | None = None
    changes: Callable[[str, AgentSnapshot], AgentSnapshot] = lambda _pod, snapshot: snapshot
    fault: Callable[[str], KubeError | None] = lambda _pod: None
    writes: list[tuple[float, str, str]] = field(default_factory=list)
    bodies: list[tuple[str, Resource, Any, str]] = field(default_factory=list)
    hangs: bool = False

    def fleets(self) -> list[Fleet]:
        """Return one fleet of the agents there are, each read just now."""
        facts = make_facts()
        snapshots = [
            self.changes(pod, make_snapshot(pod, tasks_active=tasks, age=0.0, facts=facts))
            for pod, tasks in self.tasks.items()
        ]
        return [make_fleet(snapshots)] if snapshots else []

    def now(self) -> float:
        """Return the instant."""
        return NOW + asyncio.get_running_loop().time()

    def not_ready_reason(self) -> str | None:
        """Return the reason."""
        return self.reason

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
        """Take down a write, or fail as told."""
        assert isinstance(body, dict)
        assert resource.name is not None
        assert not query
        self.bodies.append((method, resource, body, content_type))
        if self.hangs:
            await asyncio.sleep(timeout)
            raise UnreachableError("no answer")
        if (error := self.fault(resource.name)) is not None:
            raise error
        cost = body["metadata"]["annotations"][ANNOTATION]
        self.writes.append((asyncio.get_running_loop().time(), resource.name, cost))
        return {}

    def costs(self) -> dict[str, str]:
        """Return what was written last to each pod."""
        return {pod: cost for _, pod, cost in self.writes}


@asynccontextmanager
async def running(world: World, bucket: int = 5) -> AsyncIterator[None]:
    part = DeletionCost(DeletionCostSettings(enabled=True, bucket=bucket), world, world, world)
    async with background(part.run()):
        yield


@pytest.mark.parametrize(
    ("tasks", "bucket", "cost"),
    [
        (0, 5, 0),
        (1, 5, 5),
        (5, 5, 5),
        (6, 5, 10),
        (20, 5, 20),
        (35, 5, 35),
        (7, 1, 7),
        (0.5, 5, 5),
        (1e300, 5, 2**31 - 1),
    ],
)
async def test_the_cost_of_so_many_tasks(tasks: float, bucket: int, cost: int) -> None:
    """Whole buckets, rounded up, within 32 bits."""
    assert deletion_cost(tasks, bucket) == cost


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 50))
def test_only_idle_is_free_and_more_is_never_cheaper(one: float, other: float, bucket: int) -> None:
    """The order of the costs is the order of the work."""
    assert (deletion_cost(one, bucket) == 0) == (one == 0)
    if one <= other:
        assert deletion_cost(one, bucket) <= deletion_cost(other, bucket)


async def test_writes_each_pod_once_and_then_when_its_bucket_changes() -> None:
    """Tasks come and go within a bucket without a write; over its edge, with one."""
    world = World({"idle": 0, "busy": 12})
    async with running(world):
        await asyncio.sleep(120)
        assert sorted(world.costs().items()) == [("busy", "15"), ("idle", "0")]
        assert len(world.writes) == 2
        for tasks in (11, 13, 15, 14):
            world.tasks["busy"] = tasks
            await asyncio.sleep(30)
        assert len(world.writes) == 2
        world.tasks["busy"] = 16
        await asyncio.sleep(10)
        assert world.writes[-1][1:] == ("busy", "20")
        await asyncio.sleep(3600)
        assert len(world.writes) == 3
    method, resource, body, content_type = world.bodies[0]
    assert (method, str(resource), content_type) == (
        "PATCH",
        "pods 'busy' in namespace 'matillion'",
        "application/merge-patch+json",
    )
    assert body == {"metadata": {"uid": "uid-busy", "annotations": {ANNOTATION: "15"}}}


async def test_a_count_that_flutters_costs_one_write_a_minute() -> None:
    """An agent at the edge of a bucket is not written to with every change."""
    world = World({"busy": 5})
    async with running(world):
        for second in range(600):
            world.tasks["busy"] = 5 + second % 2
            await asyncio.sleep(1)
    times = [at for at, _, _ in world.writes]
    assert 2 <= len(times) <= 11
    assert min(later - earlier for earlier, later in pairwise(times)) >= 60


@pytest.mark.slow
async def test_a_thousand_pods_are_written_at_a_bounded_rate_the_most_wrong_first() -> None:
    """However many change at once, there are two writes a second, and the ones that matter most go first."""
    world = World({f"agent-{number:03}": float(number % 21) for number in range(200)})
    async with running(world):
        await asyncio.sleep(60)
        assert 110 <= len(world.writes) <= 121
        costs = [int(cost) for _, _, cost in world.writes]
        assert costs == sorted(costs, reverse=True)
        await asyncio.sleep(60)
        assert len(world.costs()) == len(world.writes) == 200


async def test_only_the_leader_writes() -> None:
    """Standing by nothing is written; from the start of its lead on a process does not rely on what it once wrote."""
    world = World({"a": 3}, leads=False)
    async with running(world):
        await asyncio.sleep(100)
        assert not world.bodies
        world.leads = True
        await asyncio.sleep(10)
        assert world.costs() == {"a": "5"}
        world.leads = False
        world.tasks["a"] = 20
        await asyncio.sleep(100)
        assert world.costs() == {"a": "5"}
        world.tasks["a"] = 3
        world.leads = True
        await asyncio.sleep(10)
        assert len(world.writes) == 2, "another leader may have written something else meanwhile"


async def test_a_new_lead_begins_anew() -> None:
    """Cancelled with its lead and run again with the next one, it does not rely on what it once wrote."""
    world = World({"a": 3})
    part = DeletionCost(DeletionCostSettings(enabled=True), world, world, world)
    for lead in (1, 2):
        task = asyncio.create_task(part.run())
        await asyncio.sleep(10)
        assert len(world.writes) == lead
        task.cancel()
        await asyncio.wait({task})


async def test_nothing_is_written_of_what_is_not_known() -> None:
    """Before the first round, for an agent out of sight or draining, and for one that is no pod, there is no write."""

    def changes(pod: str, snapshot: AgentSnapshot) -> AgentSnapshot:
        facts = {"draining": make_facts(draining_time=1.0), "static": None}.get(pod, snapshot.target.facts)
        snapshot = replace(snapshot, target=replace(snapshot.target, facts=facts))
        if pod == "unseen":
            return replace(snapshot, read_at=NOW - 3600)
        return make_snapshot(pod, target=snapshot.target, never_read=True) if pod == "new" else snapshot

    world = World({"draining": 7, "static": 7, "unseen": 7, "new": 7}, changes=changes, reason="first round")
    async with running(world):
        world.tasks["seen"] = 7
        await asyncio.sleep(100)
        assert not world.bodies
        world.reason = None
        await asyncio.sleep(100)
    assert world.costs() == {"seen": "10"}


async def test_an_agent_that_falls_silent_keeps_its_cost() -> None:
    """What cannot be seen any more is not taken for idle."""
    world = World({"a": 18})
    async with running(world):
        await asyncio.sleep(100)
        world.changes = lambda _pod, snapshot: replace(snapshot, read_at=NOW - 3600)
        world.tasks["a"] = 0
        await asyncio.sleep(1000)
    assert [cost for _, _, cost in world.writes] == ["20"]


@pytest.mark.parametrize("status", [404, 409, 422])
async def test_a_pod_that_is_gone_does_not_hold_up_the_others(status: int) -> None:
    """A pod that was deleted or replaced meanwhile is left alone for a minute; the next write follows at once."""
    gone = api_error("patch", Resource("", "v1", "pods"), status, {})
    world = World({"gone": 20, "here": 10}, fault=lambda pod: gone if pod == "gone" else None)
    with capture_logs() as logs:
        async with running(world):
            await asyncio.sleep(10)
            assert world.costs() == {"here": "10"}
            assert len(world.bodies) == 2
            await asyncio.sleep(3600)
            assert len(world.bodies) <= 62
    assert not logs


async def test_a_missing_permission_is_named_once_and_tried_ever_more_rarely() -> None:
    """The log says which rule to grant; a server that refuses is asked about once a minute; then all is written."""
    denied = api_error("patch", Resource("", "v1", "pods"), 403, {})
    world = World({f"a{number}": 10 for number in range(10)}, fault=lambda _pod: denied)
    with capture_logs() as logs:
        async with running(world):
            await asyncio.sleep(1800)
            assert len(world.bodies) < 45
            world.fault = lambda _pod: None
            await asyncio.sleep(180)
    assert len(world.costs()) == 10
    assert [entry["event"] for entry in logs] == [
        "deletion costs cannot be written; will retry",
        "deletion costs can be written again",
    ]
    assert logs[0]["fix"] == (
        'add the rule {apiGroups: [""], resources: ["pods"], verbs: ["patch"]} to a Role in namespace \'matillion\' '
        "that is bound to the exporter's service account"
    )


async def test_an_api_server_that_hangs_delays_nothing_but_this() -> None:
    """A write has a deadline; whatever the API server does, the part neither ends nor floods it."""
    world = World({"a": 10, "b": 20}, hangs=True)
    async with running(world):
        await asyncio.sleep(600)
        assert 5 <= len(world.bodies) <= 30
        world.hangs = False
        await asyncio.sleep(180)
        assert world.costs() == {"a": "10", "b": "20"}


async def test_gone_pods_are_forgotten() -> None:
    """A pod made anew under the same name is written to anew, and nothing is kept of the old ones."""
    world = World({"a": 10})
    part = DeletionCost(DeletionCostSettings(enabled=True), world, world, world)
    task = asyncio.create_task(part.run())
    await asyncio.sleep(30)
    world.tasks = {"b": 10}
    await asyncio.sleep(30)
    assert set(part._written) == {"uid-b"}
    task.cancel()
    await asyncio.wait({task})
