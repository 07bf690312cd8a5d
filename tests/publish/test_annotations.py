"""The writer of pod annotations: deletion costs, which replica writes, and what goes wrong; in virtual time."""

import asyncio
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from exporter.fleet.protection import COST
from exporter.kube.api import Resource, api_error
from exporter.publish.annotations import PodAnnotations
from tests.factories import make_reading, make_target
from tests.fakes.background import background
from tests.publish.annotated_pods import BOTH, COSTS, DENIED, MINE, World, running

pytestmark = pytest.mark.looptime

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
