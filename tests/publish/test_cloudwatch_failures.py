"""Publishing to CloudWatch when something is wrong: nothing is lost, nothing is held up, and the log says it once."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.publish.cloudwatch import Pace
from exporter.publish.datum import Datum, Series
from tests.factories import make_fleet, make_reading, make_snapshot
from tests.fakes.cloudwatch import FakeCloudWatch, Fault, Received
from tests.fakes.cloudwatch_publishing import MinutesOfWork, leave_in_spool, old_datums, publishing, selection

NOT_TAKEN = "CloudWatch does not take data; it is kept and sent later"
OLD = Series("Old", "Count", (("Fleet", "f"),))


FAULTS = [
    pytest.param(fault, marks=() if fault is Fault.THROTTLE else pytest.mark.slow)
    for fault in Fault
    if fault is not Fault.NONE
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_minute_is_lost_to_an_outage(tmp_path: Path, cloudwatch: FakeCloudWatch, fault: Fault) -> None:
    """Whatever CloudWatch does for a while, every minute arrives in the end with its own time and value."""
    work = MinutesOfWork(cloudwatch.wall)
    cloudwatch.fail(fault)
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, source=work, what=selection("ActiveTasks")) as running:
            await running.until(lambda: cloudwatch.wall() >= cloudwatch.wall.start + 4.5 * 60)
            waiting = running.publisher.spool_datums
            cloudwatch.fail(Fault.NONE)
            await running.drained()
    times = sorted(cloudwatch.times("ActiveTasks"))
    assert times == [cloudwatch.wall.start + 60 * n for n in range(len(times))]
    assert len(times) >= 5
    assert {datum.values == (work.of(datum.time),) for datum in cloudwatch.taken} == {True}
    assert cloudwatch.violations == []
    if fault is not Fault.CUT_AFTER:
        assert waiting >= 5
    if fault not in {Fault.CUT_AFTER, Fault.HANG}:
        # An answer that was lost or came too late is the one case in which a datum is sent twice.
        assert set(cloudwatch.times("ActiveTasks").values()) == {1}
    events = [line["event"] for line in log]
    # Once for each kind of trouble; and a request that was under way may fail after another one went well.
    assert 1 <= events.count(NOT_TAKEN) <= 4
    assert events[-1] == "CloudWatch takes data again"


async def test_it_stops_at_once(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """A lost leadership ends publishing immediately, also in the middle of requests that hang."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 1000))
    cloudwatch.fail(Fault.HANG)
    async with publishing(tmp_path, cloudwatch, pace=Pace(longest_sleep=0.01)) as running:
        await running.until(lambda: cloudwatch.requests >= 1)
        begin = time.perf_counter()
        running.task.cancel()
        await asyncio.wait([running.task], timeout=5)
        assert time.perf_counter() - begin < 0.5
        assert running.publisher.spool_datums >= 1001
        running.task = asyncio.create_task(running.publisher.run())


@pytest.mark.slow
async def test_the_backlog_goes_oldest_first_in_full_requests(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """2,500 old datums are three requests in the order of their times, the current minute beside them."""
    await leave_in_spool(tmp_path, old_datums(one_minute.wall(), 2500))
    async with publishing(tmp_path, one_minute, pace=Pace(backlog_pause=0.3)):
        await one_minute.until(lambda: len(one_minute.taken) == 2501)
    times = [datum.time for datum in one_minute.of("Old")]
    assert times == sorted(times)
    assert sorted(one_minute.sizes) == [1, 500, 1000, 1000]
    assert one_minute.sizes.index(1) <= 1
    assert one_minute.violations == []


@pytest.mark.slow
async def test_the_current_minute_does_not_wait_for_the_backlog(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """With a backlog of nine requests, the new minutes arrive while most of it still waits."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 9000))
    pace = Pace(backlog_pause=1.0, longest_sleep=0.01)
    async with publishing(tmp_path, cloudwatch, pace=pace) as running:
        for minute in range(1, 6):
            await cloudwatch.until(lambda wanted=minute: len(cloudwatch.of("CapacityTasks")) >= wanted, 2)
        assert running.publisher.spool_datums >= 5000
        assert running.publisher.spool_oldest_age > 60


async def test_a_rejected_datum_is_found_and_dropped(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """One datum that CloudWatch will never take costs itself, and one line in the log however often it comes back."""
    fleets = [make_fleet([make_snapshot(fleet=f"f{n}")], name=f"f{n}") for n in range(30)]
    cloudwatch.poison = lambda datum: ("Fleet", "f17") in datum.dimensions
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, *fleets) as running:
            await cloudwatch.until(lambda: len(set(cloudwatch.times("CapacityTasks"))) >= 3)
            await running.drained()
    assert set(cloudwatch.times("CapacityTasks").values()) == {29}
    assert [line["series"] for line in log if "does not take this datum" in line["event"]] == [
        "CapacityTasks{ClusterName=prod, Namespace=matillion, Fleet=f17}"
    ]
    assert running.counts.datums["rejected"] >= 3
    assert running.counts.requests["rejected"] <= 6 * running.counts.datums["rejected"]


async def test_a_rejected_datum_in_the_backlog_holds_nothing_up(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """Among a thousand old datums one bad one is found in some twenty requests; the other 999 arrive."""
    await leave_in_spool(tmp_path, old_datums(one_minute.wall(), 1000))

    def is_bad(datum: Received) -> bool:
        return datum.metric == "Old" and datum.values == (333.0,)

    one_minute.poison = is_bad
    async with publishing(tmp_path, one_minute) as running:
        await one_minute.until(lambda: len(one_minute.of("Old")) == 999)
        await running.drained()
    assert running.counts.datums["rejected"] == 1
    assert one_minute.requests < 30


@pytest.mark.slow
async def test_when_everything_is_rejected_it_ends(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """A CloudWatch that takes nothing is asked at most twice a datum, in bounded bursts, and the rest goes on."""
    fleets = [make_fleet([make_snapshot(fleet=f"f{n}")], name=f"f{n}") for n in range(50)]
    one_minute.poison = lambda datum: True
    async with publishing(tmp_path, one_minute, *fleets) as running:
        await running.until(lambda: running.counts.datums["rejected"] == 50, 20)
        assert running.publisher.spool_datums == 0
    assert one_minute.requests < 110


async def test_a_value_cloudwatch_cannot_take_is_not_sent(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """An agent that claims 1e300 tasks costs its fleet those figures, not the request."""
    fleet = make_fleet([make_snapshot(reading=make_reading(1e300))])
    with capture_logs() as log:
        async with publishing(tmp_path, one_minute, fleet, what=selection("minimal")) as running:
            await one_minute.until(lambda: bool(one_minute.taken))
    assert {datum.metric for datum in one_minute.taken} == {"CapacityTasks", "QueuedTasks", "ScrapeCoveragePercent"}
    assert running.counts.datums["rejected"] == 2
    assert one_minute.violations == []
    assert any("not a finite number" in line.get("reason", "") for line in log)


async def test_what_is_too_old_is_dropped_and_counted(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """Two weeks is what CloudWatch takes; the rest goes out."""
    now, day = int(one_minute.wall()), 86400
    await leave_in_spool(tmp_path, [Datum(OLD, now - age, (1.0,)) for age in (60, 13 * day, 14 * day - 60, 15 * day)])
    with capture_logs() as log:
        async with publishing(tmp_path, one_minute) as running:
            await one_minute.until(lambda: len(one_minute.of("Old")) == 2)
            await running.drained()
    assert running.counts.datums["expired"] == 2
    assert one_minute.violations == []
    assert [line["too_old"] for line in log if "dropped" in line["event"]] == [2]


async def test_what_is_too_much_goes_oldest_first(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """Beyond `max_datums` the oldest are dropped, counted, and said to be."""
    await leave_in_spool(tmp_path, old_datums(one_minute.wall(), 1500))
    one_minute.fail(Fault.ERROR)
    with capture_logs() as log:
        async with publishing(tmp_path, one_minute, max_datums=1000) as running:
            await running.until(lambda: running.counts.datums["overflowed"] > 0)
            assert running.publisher.spool_datums == 1000
            one_minute.fail(Fault.NONE)
            await running.drained()
    assert running.counts.datums == {"overflowed": 501, "accepted": 1000}
    assert min(datum.time for datum in one_minute.taken) == one_minute.wall.start - 999 * 60
    assert [line["too_many"] for line in log if "dropped" in line["event"]] == [501]


async def test_what_lies_too_far_ahead_waits(tmp_path: Path, one_minute: FakeCloudWatch) -> None:
    """Datums of a clock that was three hours ahead are not sent before CloudWatch takes them."""
    now = int(one_minute.wall())
    await leave_in_spool(tmp_path, [Datum(OLD, now + hours * 3600, (1.0,)) for hours in (1, 3)])
    async with publishing(tmp_path, one_minute) as running:
        await one_minute.until(lambda: len(one_minute.of("Old")) == 1 and len(one_minute.of("CapacityTasks")) == 1)
        await running.until(lambda: running.publisher.spool_datums == 1)
    assert one_minute.violations == []


async def test_publishing_goes_on_without_a_disk(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """A spool that cannot be written is said once; what CloudWatch does not take then waits in memory."""
    (tmp_path / "spool.db").mkdir()
    cloudwatch.fail(Fault.ERROR)
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch) as running:
            await running.until(lambda: running.publisher.spool_datums >= 3)
            assert not running.publisher.spool_durable
            cloudwatch.fail(Fault.NONE)
            await running.drained()
    assert set(cloudwatch.times("CapacityTasks").values()) == {1}
    assert [line["event"] for line in log if "spool" in line["event"]] == [
        "the spool cannot be kept on disk; what CloudWatch does not take at once is kept in memory only"
    ]


async def test_a_role_given_later_is_found(
    tmp_path: Path, cloudwatch: FakeCloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials the data waits and the log says what to grant; when there are some, it goes out."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch) as running:
            await running.until(lambda: running.publisher.spool_datums >= 3 and running.counts.requests["denied"] >= 1)
            assert cloudwatch.requests == 0
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            await running.drained()
    [line] = [line for line in log if line["event"] == NOT_TAKEN]
    assert "cloudwatch:PutMetricData" in line["fix"]
    assert "credentials" in line["reason"]


async def test_no_region_is_said_in_words(
    tmp_path: Path, one_minute: FakeCloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a region anywhere the data waits, and the log names the setting."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with capture_logs() as log:
        async with publishing(tmp_path, one_minute, region=None) as running:
            await running.until(lambda: running.counts.requests["failed"] >= 1)
            assert running.publisher.spool_datums == 1
    [line] = [line for line in log if line["event"] == NOT_TAKEN]
    assert "region" in line["reason"]
    assert "cloudwatch.region" in line["fix"]
