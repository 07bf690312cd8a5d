"""The judge: compares what was seen with what is true, when all that is true by then is known."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from typing import Any

from tests.chaos import annotations, invariants, losses, processes, publishing
from tests.chaos.facts import Facts, Lateness, Verdicts
from tests.chaos.faults import Happenings
from tests.chaos.pods import FLEETS
from tests.chaos.publishing import Record, Sent
from tests.chaos.pulse import Beat
from tests.chaos.replicas import Times
from tests.chaos.report import Report
from tests.chaos.seen import (
    AgentsSeen,
    Annotated,
    DeparturesSeen,
    FleetsSeen,
    MetricsSeen,
    ReadinessSeen,
    Seen,
    Use,
)
from tests.chaos.truth import Truth, TruthFile
from tests.chaos.world import World

JUDGE_EVERY = 0.5
LOG_LINES = 5
OK = 200
ANNOTATIONS = "annotations are right"
HEALTH = "/healthz is truthful"
FLAT = "memory and descriptors are flat"
ENDS = "a process ends in order"
LOGS = "no traceback and no secret in a log"
BESIDE = (ANNOTATIONS, HEALTH, FLAT, ENDS, LOGS)
"""What is judged beside the tables below."""


class Judge:
    """Takes what was seen, and judges it."""

    def __init__(self, world: World, times: Times, report: Report, happenings: Happenings) -> None:
        self._world, self._report, self._happenings = world, report, happenings
        self._facts = Facts(
            Truth(),
            world.pods.all,
            times,
            {name: replica.boots for name, replica in world.replicas.items()},
            happenings,
            Lateness(),
            lambda replica, at: world.replicas[replica].ahead(at),
        )
        self._waiting: list[Seen | Beat] = []
        self._metrics: list[MetricsSeen] = []
        self._readiness: list[ReadinessSeen] = []
        self._uses: dict[tuple[str, float], list[Use]] = defaultdict(list)
        self._beats: list[Beat] = []
        self.began = time.monotonic()

    def take(self, seen: Seen | Beat) -> None:
        """Keep it until it can be judged."""
        self._waiting.append(seen)

    async def run(self) -> None:
        """Judge until cancelled."""
        with ExitStack() as opened:
            files = [opened.enter_context(closing(TruthFile(file))) for file in self._world.truths]
            try:
                while True:
                    await asyncio.sleep(JUDGE_EVERY)
                    self._judge_all(files)
            finally:
                self._judge_all(files)

    def _judge_all(self, files: list[TruthFile]) -> None:
        # Pages are noted before they are sent: whatever was seen before now is noted by now.
        seen, self._waiting = self._waiting, []
        for file in files:
            self._facts.truth.add(file)
        for one in seen:
            self._judge(one)

    def _judge(self, seen: Seen | Beat) -> None:
        self._keep(seen)
        for name, (of, invariant) in ALWAYS.items():
            if isinstance(seen, of):
                at = seen.at if isinstance(seen, Use) else seen.answered
                self._hold(name, invariant(seen, self._facts), at, seen.replica)
        if isinstance(seen, Annotated):
            right = annotations.annotations_right(seen, self._metrics, self._facts)
            self._hold(ANNOTATIONS, right, seen.answered, "leader")

    def _keep(self, seen: Seen | Beat) -> None:
        match seen:
            case Beat():
                self._facts.late.add(seen.answered, seen.waited + seen.control)
                self._beats.append(seen)
            case MetricsSeen():
                self._metrics.append(seen)
            case ReadinessSeen():
                self._readiness.append(seen)
            case Use():
                self._uses[seen.replica, seen.booted].append(seen)

    def _hold(self, invariant: str, verdicts: Verdicts, at: float, replica: str) -> None:
        self._report.judge(invariant, verdicts, at - self.began, replica, lambda: self._context(at, replica))

    def _context(self, at: float, replica: str) -> tuple[str, ...]:
        on = [f"during {one.kind} ({one.replica}), for {at - one.began:.0f} s" for one in self._happenings.now(at)]
        if replica not in self._world.replicas:
            return tuple(on)
        with self._world.replicas[replica].log.open(errors="replace") as log:
            return (*on, *(line.rstrip()[:400] for line in deque(log, LOG_LINES)))

    async def conclude(self) -> None:
        """Judge what can be judged only when the processes have ended."""
        facts, replicas = self._facts, self._world.replicas
        sent = [Sent.of(name, exchange) for name, exchange in self._world.taken if exchange.status == OK]
        left = [datum for replica in replicas.values() for datum in await replica.spooled()]
        record = Record(
            sent=sent,
            left={(datum.series.metric, datum.series.dimensions, float(datum.time)) for datum in left},
            metrics=self._metrics,
            readiness=self._readiness,
            fleets=FLEETS,
            wall=time.time() - time.monotonic(),
            began=self.began,
        )
        for name, invariant in OF_PUBLISHING.items():
            self._hold(name, invariant(record, facts), time.monotonic(), "both")
        for beat in self._beats:
            self._hold(HEALTH, processes.alive(beat, facts), beat.answered, beat.replica)
        every_use = [use for uses in self._uses.values() for use in uses]
        self._hold(FLAT, processes.flat(every_use, self._facts), time.monotonic(), "both")
        for name, one in replicas.items():
            for boot in one.boots:
                at = boot.ended or time.monotonic()
                late = facts.late.within(at - 10, at)
                self._hold(ENDS, processes.ends_in_order(boot, late), at, name)
            lines = one.log.read_text(errors="replace").splitlines()
            clean = processes.log_clean(lines, self._world.secrets)
            self._hold(LOGS, clean, time.monotonic(), name)
        self._figures(record)

    def _figures(self, record: Record) -> None:
        boots = [boot for replica in self._world.replicas.values() for boot in replica.boots]
        starts = sorted(boot.ready - boot.started for boot in boots if boot.ready is not None)
        peaks = [max(use.rss for use in uses) / 1024**2 for uses in self._uses.values()]
        calm = [beat for beat in self._beats if any(True for _ in processes.no_stall(beat, self._facts))]
        self._report.figures |= {
            "processes started": len(boots),
            "seconds from start to ready (median, longest)": _median_and_last(starts),
            "longest stall of an event loop (ms)": round(max(map(processes.stall_of, calm), default=0) * 1000),
            "longest wait for the machine (ms)": round(
                max((one.waited + one.control for one in calm), default=0) * 1000
            ),
            "highest memory of a process (MiB)": round(max(peaks, default=0)),
            "most descriptors of a process": max(use.descriptors for uses in self._uses.values() for use in uses),
            "pages shown by agents": len(self._facts.truth.by_serial),
            "agents that came": len(self._world.pods.all),
            "requests CloudWatch took": len(record.sent),
            "datums CloudWatch took": sum(len(one.keys) for one in record.sent),
            "datums that came more than once": len(publishing.duplicates(record)),
            "datums still in a spool": len(record.left),
        }


ALWAYS: dict[str, tuple[type[Any], Callable[[Any, Facts], Verdicts]]] = {
    "the counts of agents are right": (AgentsSeen, invariants.counts_right),
    "no figure is older than it claims": (AgentsSeen, invariants.ages_right),
    "every good agent is read within two intervals": (AgentsSeen, invariants.all_read),
    "the demand is enough": (FleetsSeen, invariants.demand_enough),
    "tasks lost are counted right": (DeparturesSeen, losses.losses_right),
    "every loss is counted": (DeparturesSeen, losses.losses_complete),
    "losses add up": (DeparturesSeen, losses.losses_add_up),
    "the event loop does not stall": (Beat, processes.no_stall),
    "memory is within the limit": (Use, processes.within_memory),
}
"""What is judged while the run lasts, by what is seen."""
OF_PUBLISHING: dict[str, Callable[[Record, Facts], Verdicts]] = {
    "one leader at a time": publishing.one_leader,
    "one publisher at a time": publishing.one_publisher,
    "no period lost that somebody led": publishing.no_period_lost,
    "duplicates are explained": publishing.duplicates_explained,
}


def _median_and_last(seconds: Iterable[float]) -> str:
    given = list(seconds)
    return f"{given[len(given) // 2]:.1f}, {given[-1]:.1f}" if given else "none"
