"""Publishing to CloudWatch when all is well: each minute once, whole, by the leader, and what it costs."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.config import CloudWatchSettings, SpoolSettings
from exporter.fleet.model import Fleet
from exporter.publish.cloudwatch import CloudWatchPublisher, Pace
from tests.factories import make_facts, make_fleet, make_snapshot
from tests.fakes.cloudwatch import FakeCloudWatch
from tests.fakes.cloudwatch_publishing import (
    QUICK,
    Counts,
    FastClock,
    Fleets,
    Leader,
    leave_in_spool,
    old_datums,
    publishing,
    selection,
)


def restarted(number: int) -> Fleet:
    return make_fleet([make_snapshot(facts=make_facts(restarts=number))])


def minutes(cloudwatch: FakeCloudWatch) -> list[float]:
    """Return the times of CapacityTasks in order, each as often as it came."""
    return sorted(cloudwatch.times("CapacityTasks").elements())


async def test_each_minute_is_published_once(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """At its beginning each minute gets one datum of that time; nothing stays in the spool."""
    async with publishing(tmp_path, cloudwatch) as running:
        await cloudwatch.until(lambda: len(cloudwatch.taken) >= 5)
        await running.drained()
        assert running.publisher.spool_oldest_age == 0
    times = minutes(cloudwatch)
    assert times == [times[0] + 60 * n for n in range(len(times))]
    assert times[0] % 60 == 0
    assert cloudwatch.namespaces == {"Matillion/AgentFleet"}
    assert {datum.values for datum in cloudwatch.taken} == {(20.0,)}
    assert running.counts.datums == {"accepted": len(times)}
    assert running.counts.requests == {"accepted": len(times)}
    assert cloudwatch.violations == []


async def test_all_of_a_minute_is_one_request(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """All fleets and metrics go out together, within seconds of the minute's beginning, and their cost is told."""
    fleets = [make_fleet([make_snapshot(fleet=f"f{n}", facts=make_facts())], name=f"f{n}") for n in range(20)]
    with capture_logs() as log:
        async with publishing(tmp_path, one_minute, *fleets, what=selection()) as running:
            await one_minute.until(lambda: bool(one_minute.taken))
    assert one_minute.sizes == [20 * 13]
    assert {datum.time for datum in one_minute.taken} == {one_minute.wall.start}
    assert running.counts.dollars == pytest.approx(20 * 13 * 0.30 + 0.432)
    [line] = [line for line in log if line["event"] == "publishing to CloudWatch"]
    assert (line["fleets"], line["metric_months"], line["estimated_dollars_per_month"]) == (20, 260, 78.43)


async def test_a_large_fleet_keeps_to_the_limits(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """A thousand agents with series of their own and long names: several requests, each within the limits."""
    agents = [make_snapshot(f"{'long-' * 45}{n}", tasks_active=n, facts=make_facts()) for n in range(1000)]
    made = {"per_agent": True, "max_per_agent": 1000}
    fleet = make_fleet(agents)
    async with publishing(tmp_path, one_minute, fleet, what=selection(), pace=Pace(), **made) as running:
        await one_minute.until(lambda: len(one_minute.taken) >= 1000 + 12)
        await running.drained()
    # 1,000 different counts of tasks take seven datums; the restarts of the first minute are not known.
    assert len(one_minute.taken) == 1000 + 12 + 7
    assert len(one_minute.sizes) >= 2
    assert one_minute.violations == []
    assert max(one_minute.body_bytes) > 500_000


async def test_what_is_incomplete_is_waited_for(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """Before the first round of scrapes nothing is published; once it is done the same minute is."""
    async with publishing(tmp_path, one_minute, leads=False) as running:
        running.fleets.missing, running.leader.leads = "first scrape round", True
        await asyncio.sleep(0.2)
        assert one_minute.requests == 0
        running.fleets.missing = None
        await one_minute.until(lambda: minutes(one_minute) == [one_minute.wall.start])


async def test_only_the_leader_publishes(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Leadership is asked for before each request: without it neither the present nor the backlog goes out."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 10))
    async with publishing(tmp_path, cloudwatch, leads=False) as running:
        await asyncio.sleep(0.5)
        assert cloudwatch.requests == 0
        running.leader.leads = True
        await cloudwatch.until(lambda: len(cloudwatch.of("Old")) == 10 and bool(cloudwatch.of("CapacityTasks")))


async def test_leadership_may_come_back(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """`run` that was cancelled is run again and publishes on, no minute twice."""
    made = CloudWatchSettings(
        region="eu-west-1", endpoint_url=cloudwatch.url, spool=SpoolSettings(path=tmp_path / "spool.db")
    )
    publisher = CloudWatchPublisher(
        made, selection("CapacityTasks"), Fleets(), Leader(), Counts(), wall=cloudwatch.wall, pace=QUICK
    )
    async with publisher:
        for times in (2, 4, 6):
            task = asyncio.create_task(publisher.run())
            await cloudwatch.until(lambda enough=times: len(set(minutes(cloudwatch))) >= enough)
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert set(cloudwatch.times("CapacityTasks").values()) == {1}


async def test_a_restart_publishes_no_minute_twice(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """A process that starts in a minute it published before it ended waits for the next, and counts restarts on."""
    what = selection("AgentRestarts", "CapacityTasks")
    async with publishing(tmp_path, one_minute, restarted(3), what=what) as running:
        await one_minute.until(lambda: bool(one_minute.taken))
        await running.drained()
    async with publishing(tmp_path, one_minute, restarted(4), what=what):
        await asyncio.sleep(0.3)
        assert [datum.metric for datum in one_minute.taken] == ["CapacityTasks"]
        one_minute.wall.correction = 60
        await one_minute.until(lambda: bool(one_minute.of("AgentRestarts")))
    assert one_minute.of("AgentRestarts")[0].values == (1.0,)
    assert minutes(one_minute) == [one_minute.wall.start, one_minute.wall.start + 60]


async def test_a_new_leader_counts_on_where_the_old_one_stopped(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """While standing by, restarts that the leader publishes are taken note of; the one after that is told once."""
    source, leader = Fleets(restarted(3)), Leader(leads=False)
    made = CloudWatchSettings(
        region="eu-west-1", endpoint_url=one_minute.url, spool=SpoolSettings(path=tmp_path / "spool.db")
    )
    what = selection("AgentRestarts")
    publisher = CloudWatchPublisher(made, what, source, leader, Counts(), wall=one_minute.wall, pace=QUICK)
    async with publisher:
        standing_by = asyncio.create_task(publisher.stand_by())
        await asyncio.sleep(0.1)
        source.current = (restarted(8),)
        one_minute.wall.correction = 60
        await asyncio.sleep(0.2)
        source.current, leader.leads = (restarted(9),), True
        task = asyncio.create_task(publisher.run())
        await one_minute.until(lambda: len(one_minute.taken) == 1)
        one_minute.wall.correction = 120
        await one_minute.until(lambda: len(one_minute.taken) == 2)
        for one in (task, standing_by):
            one.cancel()
        await asyncio.gather(task, standing_by, return_exceptions=True)
    assert [datum.values for datum in one_minute.taken] == [(1.0,), (0.0,)]


async def test_a_clock_that_is_put_right(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """Set back a little, it is waited for; set back by an hour, the present is published at once."""
    start = one_minute.wall.start
    async with publishing(tmp_path, one_minute):
        await one_minute.until(lambda: minutes(one_minute) == [start])
        one_minute.wall.correction = -200
        await asyncio.sleep(0.2)
        assert minutes(one_minute) == [start]
        one_minute.wall.correction = 180
        await one_minute.until(lambda: minutes(one_minute) == [start, start + 180])
        one_minute.wall.correction = -3600
        await one_minute.until(lambda: minutes(one_minute) == [start - 3600, start, start + 180])


async def test_agents_with_series_of_their_own(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """`per_agent` adds a dimension, up to the cap; what is left out is said once, and the cost includes it."""
    fleet = make_fleet([make_snapshot(f"p{n}", tasks_active=n) for n in range(5)])
    made = {"per_agent": True, "max_per_agent": 3}
    with capture_logs() as log:
        async with publishing(tmp_path, one_minute, fleet, what=selection("AgentActiveTasks"), **made) as running:
            await one_minute.until(lambda: bool(one_minute.taken))
    own = [datum.dimensions[3:] for datum in one_minute.taken]
    assert own == [(), (("AgentName", "p0"),), (("AgentName", "p1"),), (("AgentName", "p2"),)]
    assert [line["agents"] for line in log if "no series of their own" in line["event"]] == [2]
    assert running.counts.dollars == pytest.approx(4 * 0.30 + 0.432)


@pytest.mark.slow
async def test_the_event_loop_is_not_held_up(
    tmp_path: Path, aws_credentials: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the spool nor the making of the client keeps the loop waiting as they would if they ran in it."""
    clock, worst = FastClock(1), 0.0
    await leave_in_spool(tmp_path, old_datums(clock(), 20_000))

    async def watch() -> None:
        # The thread's own CPU time: what other processes take on a busy machine is not the loop's doing.
        nonlocal worst
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.005)
            worst = max(worst, time.thread_time() - before)

    async with FakeCloudWatch(clock) as cloudwatch:
        watching = asyncio.create_task(watch())
        # The fake shares the loop, and takes its time over a full request: only its first, small one is within.
        async with publishing(tmp_path, cloudwatch, pace=Pace(backlog_pause=0.01)):
            await cloudwatch.until(lambda: bool(cloudwatch.of("CapacityTasks")))
            watching.cancel()
            await cloudwatch.until(lambda: len(cloudwatch.of("Old")) == 20_000, 40)
    with capsys.disabled():
        print(f"\nlongest work of the event loop in one piece while publishing began: {worst * 1000:.0f} ms")  # noqa: T201 - a figure for the reader
    assert worst < 0.2
