"""The annotations that protect pods with work from disruption: when they are written, and when they are removed."""

import asyncio

import pytest
from structlog.testing import capture_logs

from exporter.fleet.protection import COST, KARPENTER, MARK, PROTECTION, Mark
from tests.factories import make_facts, make_target
from tests.fakes.background import background
from tests.publish.annotated_pods import BOTH, DENIED, MINE, OFF, World, running

pytestmark = pytest.mark.looptime


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
