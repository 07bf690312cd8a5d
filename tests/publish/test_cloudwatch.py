"""Publishing to CloudWatch when all is well: each minute once, whole, by the leader, and what it costs."""

import asyncio
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.aws.client import load_descriptions
from exporter.config import CloudWatchSettings, SpoolSettings
from exporter.fleet.model import Fleet
from exporter.publish.cloudwatch import CloudWatchPublisher, Pace
from tests.factories import make_facts, make_fleet, make_snapshot
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import (
    QUICK,
    Counts,
    Fleets,
    Running,
    leave_in_spool,
    old_datums,
    publishing,
    selection,
)
from tests.fakes.leadership import Leader
from tests.waiting import PATIENCE


def restarted(number: int) -> Fleet:
    return make_fleet([make_snapshot(facts=make_facts(restarts=number))])


def minutes(cloudwatch: FakeCloudWatch) -> list[float]:
    """Return the times of CapacityTasks in order, each as often as it came."""
    return sorted(cloudwatch.times("CapacityTasks").elements())


async def test_each_minute_is_published_once(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """At its beginning each minute gets one datum of that time; nothing stays in the spool."""
    async with publishing(tmp_path, cloudwatch) as running:
        await running.minutes(4)
        await cloudwatch.until(lambda: len(cloudwatch.taken) == 5)
        await running.drained()
        assert running.publisher.spool_oldest_age == 0
    times = minutes(cloudwatch)
    assert times == [cloudwatch.wall.start + 60 * n for n in range(5)]
    assert cloudwatch.namespaces == {"Matillion/AgentFleet"}
    assert {datum.values for datum in cloudwatch.taken} == {(20.0,)}
    assert running.counts.datums == {"accepted": 5}
    assert 1 <= running.counts.requests["accepted"] <= running.counts.requests.total() <= 5
    assert cloudwatch.violations == []


async def test_to_become_the_leader_reads_no_descriptions(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """The library's megabyte of JSON is read before anything else runs: to parse it stalls the event loop."""
    read: list[str] = []
    watched = False

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if watched and event == "open" and str(arguments[0]).endswith((".json", ".json.gz")):
            read.append(str(arguments[0]))

    sys.addaudithook(audit)  # there is no way to remove it
    load_descriptions.cache_clear()
    try:
        async with publishing(tmp_path, cloudwatch):
            watched = True
            await cloudwatch.until(lambda: bool(cloudwatch.taken))
    finally:
        watched = False
    assert read == []


async def test_the_next_leadership_has_the_same_client(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """To make a client, and its first connection, holds the event loop: once in the life of a process."""
    load_descriptions.cache_clear()
    async with publishing(tmp_path, cloudwatch) as running:
        await cloudwatch.until(lambda: len(cloudwatch.taken) == 1)
        await running.drained()
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
        running.task = asyncio.create_task(running.publisher.run())
        cloudwatch.wall.now += 60
        await cloudwatch.until(lambda: len(cloudwatch.taken) == 2)
    asked = load_descriptions.cache_info()
    assert asked.hits + asked.misses == 2, "at the start, and for one client"


async def test_all_of_a_minute_is_one_request(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """All fleets and metrics go out together, within seconds of the minute's beginning, and their cost is told."""
    fleets = [make_fleet([make_snapshot(fleet=f"f{n}", facts=make_facts())], name=f"f{n}") for n in range(20)]
    series = 20 * len(list(selection().datums(fleets[:1], (), {}, 0)))
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, *fleets, what=selection()) as running:
            await cloudwatch.until(lambda: bool(cloudwatch.taken))
    assert cloudwatch.sizes == [series]
    assert {datum.time for datum in cloudwatch.taken} == {cloudwatch.wall.start}
    assert running.counts.dollars == pytest.approx(series * 0.30 + 0.432)
    [line] = [line for line in log if line["event"] == "publishing to CloudWatch"]
    assert (line["fleets"], line["metric_months"]) == (20, series)
    assert line["estimated_dollars_per_month"] == round(series * 0.30 + 0.432, 2)


@pytest.mark.slow
async def test_a_large_fleet_keeps_to_the_limits(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """A thousand agents with series of their own and long names: several requests, each within the limits."""
    agents = [make_snapshot(f"{'long-' * 45}{n}", tasks_active=n, facts=make_facts()) for n in range(1000)]
    made = {"per_agent": True, "max_per_agent": 1000}
    fleet = make_fleet(agents)
    # The restarts of the first minute are not known.
    own = len(list(selection().datums([fleet], (), {}, 0)))
    async with publishing(tmp_path, cloudwatch, fleet, what=selection(), pace=Pace(), **made) as running:
        await cloudwatch.until(lambda: len(cloudwatch.taken) >= 1000 + own)
        await running.drained()
    assert len(cloudwatch.taken) == 1000 + own
    distributed = [one for one in cloudwatch.taken if one.metric == "AgentActiveTasks" and len(one.dimensions) == 3]
    assert len(distributed) == 7, "1,000 different counts of tasks"
    assert len(cloudwatch.sizes) >= 2
    assert cloudwatch.violations == []
    assert max(cloudwatch.body_bytes) > 500_000


async def test_what_is_incomplete_is_waited_for(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Before the first round of scrapes nothing is published; once it is done the same minute is."""
    async with publishing(tmp_path, cloudwatch, leads=False, interval=1) as running:
        running.fleets.missing, running.leader.leads = "first scrape round", True
        await asyncio.sleep(0.2)
        assert cloudwatch.requests == 0
        running.fleets.missing = None
        await cloudwatch.until(lambda: minutes(cloudwatch) == [cloudwatch.wall.start])


async def test_only_the_leader_publishes(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Leadership is asked for before each request: without it neither the present nor the backlog goes out."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 10))
    async with publishing(tmp_path, cloudwatch, leads=False, interval=1) as running:
        await asyncio.sleep(0.2)
        assert cloudwatch.requests == 0
        running.leader.leads = True
        await cloudwatch.until(lambda: len(cloudwatch.of("Old")) == 10 and bool(cloudwatch.of("CapacityTasks")))


@pytest.mark.slow
async def test_leadership_may_come_back(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """`run` that was cancelled is run again and publishes on, no minute twice."""
    made = CloudWatchSettings(
        region="eu-west-1", endpoint_url=cloudwatch.url, spool=SpoolSettings(path=tmp_path / "spool.db")
    )
    source, counts, wall = Fleets(), Counts(), cloudwatch.wall
    publisher = CloudWatchPublisher(made, selection("CapacityTasks"), source, Leader(), counts, wall=wall, pace=QUICK)
    async with publisher:
        for times in (3, 5, 7):
            task = asyncio.create_task(publisher.run())
            running = Running(publisher, source, Leader(), counts, wall, task)
            await running.minutes(2)
            await running.until(lambda enough=times: counts.datums["accepted"] == enough)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert minutes(cloudwatch) == [wall.start + 60 * n for n in range(7)]


@pytest.mark.slow
async def test_a_restart_publishes_no_minute_twice(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """A process that starts in a minute it published before it ended waits for the next, and counts restarts on."""
    what = selection("AgentRestarts", "CapacityTasks")
    async with publishing(tmp_path, cloudwatch, restarted(3), what=what) as running:
        await cloudwatch.until(lambda: bool(cloudwatch.taken))
        await running.drained()
    async with publishing(tmp_path, cloudwatch, restarted(4), what=what):
        await asyncio.sleep(0.1)
        assert [datum.metric for datum in cloudwatch.taken] == ["CapacityTasks"]
        cloudwatch.wall.now += 60
        await cloudwatch.until(lambda: bool(cloudwatch.of("AgentRestarts")))
    assert cloudwatch.of("AgentRestarts")[0].values == (1.0,)
    assert minutes(cloudwatch) == [cloudwatch.wall.start, cloudwatch.wall.start + 60]


async def test_a_new_leader_counts_on_where_the_old_one_stopped(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """While standing by, restarts that the leader publishes are taken note of; the one after that is told once."""
    source, leader = Fleets(restarted(3)), Leader(leads=False)
    made = CloudWatchSettings(
        region="eu-west-1", endpoint_url=cloudwatch.url, spool=SpoolSettings(path=tmp_path / "spool.db")
    )
    what = selection("AgentRestarts")
    publisher = CloudWatchPublisher(made, what, source, leader, Counts(), wall=cloudwatch.wall, pace=QUICK)
    async with publisher:
        standing_by = asyncio.create_task(publisher.stand_by())
        # Until it has begun with the present minute.
        await asyncio.sleep(0)
        source.current = (restarted(8),)
        cloudwatch.wall.now += 60
        async with asyncio.timeout(PATIENCE):
            while not source.asked:  # noqa: ASYNC110 - what is waited for has no event of its own
                await asyncio.sleep(0.01)
        source.current, leader.leads = (restarted(9),), True
        task = asyncio.create_task(publisher.run())
        await cloudwatch.until(lambda: len(cloudwatch.taken) == 1)
        cloudwatch.wall.now += 60
        await cloudwatch.until(lambda: len(cloudwatch.taken) == 2)
        for one in (task, standing_by):
            one.cancel()
        await asyncio.gather(task, standing_by, return_exceptions=True)
    assert [datum.values for datum in cloudwatch.taken] == [(1.0,), (0.0,)]


async def test_a_clock_that_is_put_right(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Set back a little, it is waited for; set back by an hour, the present is published at once."""
    start = cloudwatch.wall.start
    async with publishing(tmp_path, cloudwatch):
        await cloudwatch.until(lambda: minutes(cloudwatch) == [start])
        cloudwatch.wall.now = start - 200
        await asyncio.sleep(0.1)
        assert minutes(cloudwatch) == [start]
        cloudwatch.wall.now = start + 180
        await cloudwatch.until(lambda: minutes(cloudwatch) == [start, start + 180])
        cloudwatch.wall.now = start - 3600
        await cloudwatch.until(lambda: minutes(cloudwatch) == [start - 3600, start, start + 180])


async def test_agents_with_series_of_their_own(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """`per_agent` adds a dimension, up to the cap; what is left out is said once, and the cost includes it."""
    fleet = make_fleet([make_snapshot(f"p{n}", tasks_active=n) for n in range(5)])
    made = {"per_agent": True, "max_per_agent": 3}
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, fleet, what=selection("AgentActiveTasks"), **made) as running:
            await cloudwatch.until(lambda: bool(cloudwatch.taken))
    own = [datum.dimensions[3:] for datum in cloudwatch.taken]
    assert own == [(), (("AgentName", "p0"),), (("AgentName", "p1"),), (("AgentName", "p2"),)]
    assert [line["agents"] for line in log if "no metrics of their own" in line["event"]] == [2]
    assert running.counts.dollars == pytest.approx(4 * 0.30 + 0.432)
