"""One run: the world, the faults, the observer, and the judge that compares what was seen with what is true."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import aiohttp

from tests.chaos import invariants
from tests.chaos.faults import Fault, schedule
from tests.chaos.invariants import Facts
from tests.chaos.replicas import Replica, Times
from tests.chaos.report import Report
from tests.chaos.truth import Truth, TruthFile
from tests.chaos.watch import AgentsSeen, FleetsSeen, Observer, Seen
from tests.chaos.world import World, world
from tests.fakes.background import background
from tests.waiting import eventually

HOSTILE = 0.3
CHURN = 100.0
"""Agents that come and go in a minute, with the usual 150."""


class Judge:
    """Takes what was seen, and judges it when all that was true by then is known."""

    def __init__(self, world: World, times: Times, report: Report) -> None:
        self._world, self._report = world, report
        self._facts = Facts(Truth(), world.pods.all, times)
        self._seen: list[Seen] = []
        self._began = time.monotonic()
        self.on: set[Fault] = set()

    def take(self, seen: Seen) -> None:
        """Keep it until it can be judged."""
        self._seen.append(seen)

    async def run(self) -> None:
        """Judge until cancelled."""
        with closing(TruthFile(self._world.truth_file)) as file:
            while True:
                await asyncio.sleep(0.5)
                # Pages are noted before they are sent: whatever was seen before now is noted by now.
                seen, self._seen = self._seen, []
                self._facts.truth.add(file)
                for one in seen:
                    self._judge(one)

    def _judge(self, seen: Seen) -> None:
        if isinstance(seen, AgentsSeen):
            self._hold("the counts of agents are right", invariants.counts_right(seen, self._facts), seen)
            self._hold("no figure is older than it claims", invariants.ages_right(seen, self._facts), seen)
        elif isinstance(seen, FleetsSeen):
            self._hold("the demand is enough", invariants.demand_enough(seen, self._facts), seen)

    def _hold(self, invariant: str, verdicts: invariants.Verdicts, seen: AgentsSeen | FleetsSeen) -> None:
        on = tuple(f"during: {fault.kind} ({fault.replica})" for fault in self.on)
        self._report.judge(invariant, verdicts, seen.answered - self._began, seen.replica, on)


async def suffer_all(world: World, faults: Sequence[Fault], judge: Judge, report: Report) -> None:
    """Let each fault happen when its time comes."""
    began = time.monotonic()

    async def one(fault: Fault) -> None:
        await asyncio.sleep(began + fault.start - time.monotonic())
        judge.on.add(fault)
        await world.suffer(fault)
        judge.on.discard(fault)
        report.faults[fault.kind] += 1

    async with asyncio.TaskGroup() as group:
        for fault in faults:
            group.create_task(one(fault), name=str(fault))


async def run(binaries: Path, folder: Path, *, seed: int, minutes: float, agents: int, scale: float) -> Report:
    """Run it all; the report tells what was violated."""
    times = Times().scaled(scale)
    report = Report(seed, minutes, agents)
    async with world(binaries, folder, seed=seed, agents=agents, hostile=HOSTILE, times=times) as there:
        replicas = list(there.replicas.values())
        async with background(*(replica.run() for replica in replicas)):
            for replica in replicas:
                await eventually(lambda one=replica: _ready(one))
            judge = Judge(there, times, report)
            observer = Observer(replicas, there.control_url, judge.take)
            churn = there.pods.come_and_go(CHURN * agents / 150)
            async with background(observer.run(), judge.run(), churn):
                await suffer_all(there, schedule(seed, minutes * 60, scale), judge, report)
                await asyncio.sleep(2 * times.interval)
    return report


async def _ready(replica: Replica) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(replica.url + "/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
