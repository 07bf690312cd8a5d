"""Publishing to CloudWatch when something is wrong: nothing is lost, nothing is held up, and the log says it once."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.publish.cloudwatch import Pace
from exporter.publish.datum import Datum, DatumSeries
from tests.factories import make_fleet, make_reading, make_snapshot
from tests.fakes.cloudwatch import FakeCloudWatch, Fault, Received
from tests.fakes.cloudwatch_publishing import (
    IMPATIENT,
    QUICK,
    MinutesOfWork,
    leave_in_spool,
    old_datums,
    publishing,
    selection,
)

NOT_TAKEN = "CloudWatch does not accept data; it is spooled and sent later"
OLD = DatumSeries("Old", "Count", (("Fleet", "f"),))


# The AWS library hands these on at once. After the others it waits and tries again.
AT_ONCE = frozenset({Fault.EXPIRED, Fault.DENIED, Fault.UNKNOWN})
FAULTS = [
    pytest.param(fault, marks=() if fault in AT_ONCE else pytest.mark.slow)
    for fault in Fault
    if fault is not Fault.NONE
]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.slow
async def test_no_minute_is_lost_to_an_outage(tmp_path: Path, cloudwatch: FakeCloudWatch, fault: Fault) -> None:
    """Whatever CloudWatch does for a while, every minute arrives in the end with its own time and value."""
    work = MinutesOfWork(cloudwatch.wall)
    cloudwatch.fail(fault)
    with capture_logs() as log:
        async with publishing(
            tmp_path, cloudwatch, source=work, what=selection("ActiveTasks"), pace=IMPATIENT
        ) as running:
            await running.minutes(4)
            await running.until(lambda: running.publisher.spool_datums == 5 and running.counts.requests.total() > 0)
            assert running.counts.requests["accepted"] == 0
            in_time = running.counts.requests["timeout"]
            cloudwatch.fail(Fault.NONE)
            await running.minutes(1)
            await running.drained()
    assert sorted(cloudwatch.times("ActiveTasks")) == [cloudwatch.wall.start + 60 * n for n in range(6)]
    assert {datum.values == (work.of(datum.time),) for datum in cloudwatch.taken} == {True}
    assert cloudwatch.violations == []
    if fault is not Fault.CUT_AFTER and running.counts.requests["timeout"] == in_time:
        # An answer that was lost or came too late is the one case in which a datum is sent twice.
        assert set(cloudwatch.times("ActiveTasks").values()) == {1}
    events = [line["event"] for line in log]
    # Once for each kind of trouble; and a request that was under way may fail after another one went well.
    assert 1 <= events.count(NOT_TAKEN) <= 4
    assert events[-1] == "CloudWatch accepts data again"


async def test_it_stops_at_once(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """A lost leadership ends publishing without waiting for requests that hang, and what they had stays."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 1000))
    cloudwatch.fail(Fault.HANG)
    async with publishing(tmp_path, cloudwatch, pace=Pace(deadline=600)) as running:
        await running.until(lambda: cloudwatch.requests >= 1 and running.publisher.spool_datums == 1001)
        running.task.cancel()
        # The AWS library would wait six seconds, three times.
        await asyncio.wait([running.task], timeout=5)
        assert running.task.cancelled()
        assert running.publisher.spool_datums == 1001
        running.task = asyncio.create_task(running.publisher.run())


@pytest.mark.slow
async def test_a_request_is_not_repeated_by_who_leads_no_more(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """The process was stopped, say, and another leads by now: the library's own retries end, too."""
    cloudwatch.fail(Fault.ERROR)
    async with publishing(tmp_path, cloudwatch) as running:
        running.leader.leads_while = lambda: cloudwatch.requests == 0
        await running.until(lambda: running.counts.requests.total() > 0)
        assert (cloudwatch.requests, running.counts.requests["failed"]) == (1, 1)
        assert running.publisher.spool_datums > 0, "and what it could not send it keeps"


async def test_the_backlog_goes_oldest_first_in_full_requests(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """2,500 old datums are three requests in the order of their times, the current minute beside them."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 2500))
    async with publishing(tmp_path, cloudwatch):
        await cloudwatch.until(lambda: len(cloudwatch.taken) == 2501)
    times = [datum.time for datum in cloudwatch.of("Old")]
    assert times == sorted(times)
    assert sorted(cloudwatch.sizes) == [1, 500, 1000, 1000]
    assert cloudwatch.violations == []


@pytest.mark.slow
async def test_the_current_minute_does_not_wait_for_the_backlog(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """The new minutes arrive while most of the backlog waits for its turn."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 3000))
    async with publishing(tmp_path, cloudwatch, pace=replace(QUICK, backlog_pause=600)) as running:
        for number in range(1, 6):
            await cloudwatch.until(lambda arrived=number: len(cloudwatch.of("CapacityTasks")) == arrived)
            await running.minutes(1)
        await running.until(lambda: len(cloudwatch.taken) == 1006)
        assert running.publisher.spool_datums >= 2000
        assert running.publisher.spool_oldest_age > 60


@pytest.mark.slow
async def test_a_rejected_datum_is_found_and_dropped(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """One datum that CloudWatch will never take costs itself, and one line in the log however often it comes back."""
    fleets = [make_fleet([make_snapshot(fleet=f"f{n}")], name=f"f{n}") for n in range(30)]
    cloudwatch.poison = lambda datum: ("Fleet", "f17") in datum.dimensions
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, *fleets) as running:
            await running.minutes(2)
            await running.until(lambda: running.counts.datums["rejected"] == 3)
            await running.drained()
    assert set(cloudwatch.times("CapacityTasks").values()) == {29}
    assert [line["series"] for line in log if "rejects a datum" in line["event"]] == [
        "CapacityTasks{ClusterName=prod, Namespace=matillion, Fleet=f17}"
    ]
    assert running.counts.requests["rejected"] <= 3 * 6


async def test_a_rejected_datum_in_the_backlog_holds_nothing_up(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Among 120 old datums one bad one is found in some twenty requests; the other 119 arrive."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 120))

    def is_bad(datum: Received) -> bool:
        return datum.metric == "Old" and datum.values == (111.0,)

    cloudwatch.poison = is_bad
    async with publishing(tmp_path, cloudwatch) as running:
        await cloudwatch.until(lambda: len(cloudwatch.of("Old")) == 119)
        await running.drained()
    assert running.counts.datums["rejected"] == 1
    assert cloudwatch.requests < 25


@pytest.mark.slow
async def test_when_everything_is_rejected_it_ends(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """A CloudWatch that takes nothing is asked at most twice a datum, in bounded bursts, and the rest goes on."""
    fleets = [make_fleet([make_snapshot(fleet=f"f{n}")], name=f"f{n}") for n in range(50)]
    cloudwatch.poison = lambda datum: True
    async with publishing(tmp_path, cloudwatch, *fleets) as running:
        await running.until(lambda: running.counts.datums["rejected"] == 50)
        assert running.publisher.spool_datums == 0
    assert cloudwatch.requests < 110


async def test_a_value_cloudwatch_cannot_take_is_not_sent(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """An agent that claims 1e300 tasks costs its fleet those figures, not the request."""
    fleet = make_fleet([make_snapshot(reading=make_reading(1e300))])
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, fleet, what=selection("minimal")) as running:
            await cloudwatch.until(lambda: bool(cloudwatch.taken))
    assert {datum.metric for datum in cloudwatch.taken} == {"CapacityTasks", "QueuedTasks", "ScrapeCoveragePercent"}
    assert running.counts.datums["rejected"] == 2
    assert cloudwatch.violations == []
    assert any("not a finite number" in line.get("reason", "") for line in log)


async def test_what_is_too_old_is_dropped_and_counted(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Two weeks is what CloudWatch takes; the rest goes out."""
    now, day = int(cloudwatch.wall()), 86400
    await leave_in_spool(tmp_path, [Datum(OLD, now - age, (1.0,)) for age in (60, 13 * day, 14 * day - 60, 15 * day)])
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch) as running:
            await cloudwatch.until(lambda: len(cloudwatch.of("Old")) == 2)
            await running.drained()
    assert running.counts.datums["expired"] == 2
    assert cloudwatch.violations == []
    assert [line["too_old"] for line in log if "dropped" in line["event"]] == [2]


async def test_what_is_too_much_goes_oldest_first(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Beyond `max_datums` the oldest are dropped, counted, and said to be."""
    await leave_in_spool(tmp_path, old_datums(cloudwatch.wall(), 1500))
    cloudwatch.fail(Fault.UNKNOWN)
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, max_datums=1000) as running:
            await running.until(lambda: running.counts.datums["overflowed"] > 0)
            assert running.publisher.spool_datums == 1000
            cloudwatch.fail(Fault.NONE)
            await running.drained()
    assert running.counts.datums == {"overflowed": 501, "accepted": 1000}
    assert min(datum.time for datum in cloudwatch.taken) == cloudwatch.wall.start - 999 * 60
    assert [line["too_many"] for line in log if "dropped" in line["event"]] == [501]


async def test_what_lies_too_far_ahead_waits(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """Datums of a clock that was three hours ahead are not sent before CloudWatch takes them."""
    now = int(cloudwatch.wall())
    await leave_in_spool(tmp_path, [Datum(OLD, now + hours * 3600, (1.0,)) for hours in (1, 3)])
    async with publishing(tmp_path, cloudwatch) as running:
        await cloudwatch.until(lambda: len(cloudwatch.of("Old")) == 1 and len(cloudwatch.of("CapacityTasks")) == 1)
        await running.until(lambda: running.publisher.spool_datums == 1)
    assert cloudwatch.violations == []


async def test_publishing_goes_on_without_a_disk(tmp_path: Path, cloudwatch: FakeCloudWatch) -> None:
    """A spool that cannot be written is said once; what CloudWatch does not take then waits in memory."""
    (tmp_path / "spool.db").mkdir()
    cloudwatch.fail(Fault.UNKNOWN)
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch) as running:
            await running.minutes(2)
            await running.until(lambda: running.publisher.spool_datums == 3)
            assert not running.publisher.spool_durable
            cloudwatch.fail(Fault.NONE)
            await running.drained()
    assert set(cloudwatch.times("CapacityTasks").values()) == {1}
    assert [line["event"] for line in log if line["event"].startswith("the spool")] == [
        "the spool cannot be written to disk; unsent data is in memory only"
    ]


async def test_a_role_given_later_is_found(
    tmp_path: Path, cloudwatch: FakeCloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials the data waits and the log says what to grant; when there are some, it goes out."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch) as running:
            await running.minutes(2)
            await running.until(lambda: running.publisher.spool_datums == 3 and running.counts.requests["denied"] >= 1)
            assert cloudwatch.requests == 0
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            await running.drained()
    [line] = [line for line in log if line["event"] == NOT_TAKEN]
    assert "cloudwatch:PutMetricData" in line["fix"]
    assert "credentials" in line["reason"]


async def test_a_missing_region_is_reported(
    tmp_path: Path, cloudwatch: FakeCloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a region anywhere the data waits, and the log names the setting."""
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    with capture_logs() as log:
        async with publishing(tmp_path, cloudwatch, region=None) as running:
            await running.until(lambda: running.counts.requests["failed"] >= 1)
            assert running.publisher.spool_datums == 1
    [line] = [line for line in log if line["event"] == NOT_TAKEN]
    assert "region" in line["reason"]
    assert "cloudwatch.region" in line["fix"]
