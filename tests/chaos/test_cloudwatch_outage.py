"""Half an hour without CloudWatch, and an exporter that is killed again and again: every minute arrives."""

import asyncio
import random
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.shared_clock import SharedClock
from tests.fakes.background import background
from tests.fakes.cloudwatch import FakeCloudWatch, Fault
from tests.fakes.cloudwatch_publishing import CREDENTIALS, MinutesOfWork

pytestmark = pytest.mark.slow

OUTAGE = 30
"""Minutes."""
KILLS = 10


class Exporter:
    """A publishing process that is started again each time it was killed, as Kubernetes does."""

    def __init__(self, directory: Path, cloudwatch: FakeCloudWatch, clock: Path) -> None:
        self._arguments = [cloudwatch.url, str(directory / "spool.db"), str(clock)]
        self._log = directory / "log"

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.cloudwatch_publisher", *self._arguments,
                stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, env=CREDENTIALS, cwd=Path(__file__).parents[2],
            )  # fmt: skip

    async def kill(self) -> None:
        """End it with SIGKILL; it must have been alive until then."""
        assert self._process.returncode is None, self._log.read_text()
        self._process.kill()
        await self._process.wait()


async def kill_at_random(
    exporter: Exporter, clock: SharedClock, chance: random.Random, kills: int, *, begin: float, end: float
) -> None:
    """Kill and start the exporter so many times, at random moments between two minutes of the clock."""
    for at in sorted(chance.uniform(begin, end) for _ in range(kills)):
        await clock.until(at)
        await exporter.kill()
        await exporter.start()
    await clock.until(end)


async def go_wrong(cloudwatch: FakeCloudWatch, clock: SharedClock, chance: random.Random, *, begin: float) -> None:
    """Go through every kind of outage in random order, from this minute of the clock on."""
    faults: list[Fault | None] = [fault for fault in Fault if fault not in {Fault.NONE, Fault.CUT_AFTER}]
    # None is a CloudWatch that takes no connections.
    faults.append(None)
    chance.shuffle(faults)
    for number, fault in enumerate(faults, 1):
        if fault is None:
            await cloudwatch.go_down()
        else:
            cloudwatch.fail(fault)
        await clock.until(begin + OUTAGE * number / len(faults))
        if fault is None:
            await cloudwatch.come_up()


async def test_every_minute_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty minutes of every kind of outage, ten kills at random: each minute is there, with the value it had."""
    seed = time.time_ns()
    chance = random.Random(seed)  # noqa: S311 - it picks moments, it keeps no secret
    clock = SharedClock(tmp_path / "clock")
    async with FakeCloudWatch(clock) as cloudwatch, background(clock.run()):
        exporter = Exporter(tmp_path, cloudwatch, tmp_path / "clock")
        await exporter.start()
        await cloudwatch.until(lambda: bool(cloudwatch.taken))
        begin = (clock() - clock.start) / 60
        over = begin + OUTAGE
        async with asyncio.TaskGroup() as group:
            group.create_task(go_wrong(cloudwatch, clock, chance, begin=begin))
            group.create_task(kill_at_random(exporter, clock, chance, KILLS - 3, begin=begin, end=over))
        taken_in_outage = len(set(cloudwatch.times("ActiveTasks")))
        cloudwatch.fail(Fault.NONE)
        # The moments in which a kill can hurt most are those in which the backlog goes out.
        await kill_at_random(exporter, clock, chance, 3, begin=over, end=over + 3)
        end = clock.start + (clock() - clock.start) // 60 * 60
        await cloudwatch.until(lambda: len(expected(clock, end) - cloudwatch.times("ActiveTasks").keys()) == 0)
        await exporter.kill()
    times = cloudwatch.times("ActiveTasks")
    wanted = expected(clock, end)
    twice = sum(number > 1 for number in times.values())
    with capsys.disabled():
        print(  # noqa: T201 - the result is to be read
            f"\nminutes expected {len(wanted)}, found {len(wanted & times.keys())}, duplicated {twice}"
            f" ({taken_in_outage} before the end of the outage; {KILLS} kills, seed {seed})"
        )
    assert wanted <= times.keys()
    assert len(wanted) >= OUTAGE + 3
    assert taken_in_outage <= 2
    work = MinutesOfWork(clock)
    assert [datum for datum in cloudwatch.of("ActiveTasks") if datum.values != (work.of(datum.time),)] == []
    assert cloudwatch.violations == []
    # Only a kill between CloudWatch's acceptance and the spool's forgetting makes duplicates.
    assert max(times.values()) <= 1 + KILLS


def expected(clock: SharedClock, end: float) -> set[float]:
    """Return the minutes from the first one until before `end`."""
    return {clock.start + 60 * n for n in range(round((end - clock.start) / 60))}
