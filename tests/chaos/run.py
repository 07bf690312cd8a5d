"""One run: the world, the faults, the observer and the judge."""

import asyncio
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from tests.chaos.faults import Fault, Happened, Happenings, Kind, schedule
from tests.chaos.judge import Judge
from tests.chaos.replicas import Times, fake_time_library
from tests.chaos.report import Report
from tests.chaos.watch import Observer
from tests.chaos.world import NAMESPACE, World, world
from tests.fakes.background import Part
from tests.waiting import eventually

HOSTILE = 0.3
"""Share of the agents."""
CHURN = 100.0
"""Agents that come and go in a minute, of the usual 150."""
USUAL_AGENTS = 150
HURRY = 0.5
QUIET_INTERVALS = 4
"""How long nothing goes wrong any more at the end."""


async def run(
    binaries: Path,
    folder: Path,
    *,
    seed: int,
    minutes: float,
    agents: int,
    scale: float,
    without: Collection[str] = (),
) -> Report:
    """Run it all; the report tells what was violated. The parts of the world in `without` are spared."""
    times = Times().scaled(scale)
    # Faults come thicker than the settings alone would have it: a minute is to have some of each part.
    possible = schedule(seed, minutes * 60, scale * HURRY if scale < 1 else 1.0)
    report, happenings = Report(seed, minutes, agents, scale), Happenings()
    async with world(binaries, folder, seed=seed, agents=agents, hostile=HOSTILE, times=times) as there:
        replicas = list(there.replicas.values())
        judge = Judge(there, times, report, happenings)
        observer = Observer(
            replicas,
            pulse=there.pulse,
            admin=there.admin,
            namespace=NAMESPACE,
            take=judge.take,
            seldom=min(4.0, times.lease_duration / 4),
        )
        possible = [fault for fault in possible if _can(fault, there, report, without)]
        async with asyncio.TaskGroup() as group:

            async def during(*parts: Part, do: Part) -> None:
                """Do something while parts run, which are ended then."""
                tasks = [group.create_task(part, name=part.__qualname__) for part in parts]
                await do
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

            async def suffer() -> None:
                await eventually(lambda: all(one.boot.ready for one in replicas))
                judge.began = time.monotonic()
                await _suffer_all(there, possible, happenings, report)
                await asyncio.sleep(QUIET_INTERVALS * times.interval)

            async def observe() -> None:
                await eventually(lambda: all(one.boots for one in replicas))
                churn = there.pods.come_and_go(CHURN * agents / USUAL_AGENTS)
                await during(observer.run(), judge.run(), churn, do=suffer())

            await during(*(replica.run() for replica in replicas), do=observe())
        await judge.conclude()
    return report


def _can(fault: Fault, there: World, report: Report, without: Collection[str]) -> bool:
    """Return whether a fault is to be had, and can be on this machine; note it if not."""
    if fault.kind.part in without:
        report.left_out[fault.kind] = f"it was asked for (--without '{fault.kind.part}')"
    elif fault.kind is Kind.DISK_FULL and not there.mounted:
        report.left_out[fault.kind] = "this process may not mount a volume"
    elif fault.kind in {Kind.CLOCK_FORTH, Kind.CLOCK_BACK} and fake_time_library() is None:
        report.left_out[fault.kind] = "libfaketime is not installed (make tools)"
    return fault.kind not in report.left_out


async def _suffer_all(there: World, faults: Sequence[Fault], happenings: Happenings, report: Report) -> None:
    """Let each fault happen when its time comes."""
    began = time.monotonic()

    async def one(fault: Fault) -> None:
        await asyncio.sleep(began + fault.start - time.monotonic())
        happened = Happened(fault.kind, fault.replica, time.monotonic())
        happenings.all.append(happened)
        await there.suffer(fault)
        happened.ended = time.monotonic()
        report.faults[fault.kind] += 1

    async with asyncio.TaskGroup() as group:
        for fault in faults:
            group.create_task(one(fault), name=str(fault))
