"""What must hold for the leadership and for what CloudWatch gets, judged when a run is over."""

import gzip
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from urllib.parse import parse_qsl

from tests.chaos.facts import Facts, Verdicts
from tests.chaos.faults import REPLICAS
from tests.chaos.seen import MetricsSeen, ReadinessSeen
from tests.fakes.cloudwatch import Labels, read_datums
from tests.fakes.fault_proxy import Exchange

ALWAYS = "ScrapeCoveragePercent"
"""The metric that is published of each fleet in each period, whoever can be reached."""
STEP_SECONDS = 3.0
"""How long a process may not notice a step of its wall clock: libfaketime's cache, and the exporter's own sleep."""
SIMULTANEOUS = 1.0

Key = tuple[str, Labels, float]
"""Metric, dimensions and time of a datum."""


@dataclass(frozen=True)
class Sent:
    """A request with datums that CloudWatch took."""

    replica: str
    arrived: float
    delivered: bool
    """Whether its answer was passed on."""
    keys: tuple[Key, ...]

    @classmethod
    def of(cls, replica: str, exchange: Exchange) -> "Sent":
        """Read a request."""
        body = gzip.decompress(exchange.body) if exchange.encoding == "gzip" else exchange.body
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        keys = tuple((datum.metric, datum.dimensions, datum.time) for datum in read_datums(fields))
        return cls(replica, exchange.arrived, exchange.delivered, keys)


@dataclass(frozen=True)
class Record:
    """All of a run that concerns publishing, each in the order of time."""

    sent: Sequence[Sent]
    left: Set[Key]
    """What the spools still have when the processes have ended."""
    metrics: Sequence[MetricsSeen]
    readiness: Sequence[ReadinessSeen]
    fleets: Sequence[str]
    wall: float
    """What the wall clock showed (Unix time) at CLOCK_MONOTONIC 0, before any step."""
    began: float


# -- one at a time -----------------------------------------------------------------------------------------------------


def one_leader(record: Record, facts: Facts) -> Verdicts:
    """Never do two replicas lead at once: one that said so before and after led in between."""
    for replica, reign in _reigns(record, facts):
        for other in record.metrics:
            if other.replica != replica and reign[0] <= other.computed_from and other.answered <= reign[1]:
                wrong = f"{other.replica} leads at {other.answered - record.began:.1f} s, while {replica} does"
                yield wrong if other.leads else None


def one_publisher(record: Record, facts: Facts) -> Verdicts:
    """Nothing is sent by a replica while another leads, but for what it held when it was stopped or cut off."""
    for replica, (since, until) in _reigns(record, facts):
        for sent in record.sent:
            if since <= sent.arrived <= until:
                stopped = any(boot.paused(since - 60, sent.arrived) for boot in facts.boots[sent.replica])
                wrong = f"{sent.replica} publishes at {sent.arrived - record.began:.1f} s, while {replica} leads"
                yield None if sent.replica == replica or stopped else wrong


def _reigns(record: Record, facts: Facts) -> Iterator[tuple[str, tuple[float, float]]]:
    """Return spans in which a replica surely led all the time: too short to lose the Lease and gain it again."""
    for replica in REPLICAS:
        own = [seen for seen in record.metrics if seen.replica == replica]
        for before, after in pairwise(own):
            same = before.leads and after.leads and before.booted == after.booted
            if same and after.answered - before.asked < facts.times.lease_duration:
                yield replica, (before.answered, after.computed_from)


# -- nothing lost ------------------------------------------------------------------------------------------------------


def no_period_lost(record: Record, facts: Facts) -> Verdicts:
    """Each period in which a ready replica led has a datum of each fleet: in CloudWatch, or in the spool."""
    keys = [*record.left, *(key for sent in record.sent for key in sent.keys)]
    taken = {(dict(labels)["Fleet"], time) for metric, labels, time in keys if metric == ALWAYS}
    interval = facts.times.publish_every
    for replica, (since, until) in _led(record, facts):
        ahead = record.wall + facts.ahead(replica, since)
        first = floor((since + ahead) / interval) + 1
        for number in range(first, floor((until + ahead) / interval)):
            time = number * interval
            if _excused(replica, time - ahead, facts):
                continue
            for fleet in record.fleets:
                wrong = f"{replica} led, but CloudWatch has nothing of {fleet} at {time - ahead - record.began:.0f} s"
                yield None if (fleet, time) in taken else wrong


def _led(record: Record, facts: Facts) -> Iterator[tuple[str, tuple[float, float]]]:
    """Return spans in which a replica led, was ready, and knew its pods, its clock being in order."""
    for replica in REPLICAS:
        ready = [seen for seen in record.readiness if seen.replica == replica]
        span: tuple[float, float] | None = None
        for one, (since, until) in _reigns(record, facts):
            if one != replica:
                continue
            good = all(seen.ready for seen in ready if since - 5 <= seen.answered <= until)
            steady = facts.ahead(replica, since - STEP_SECONDS) == facts.ahead(replica, until)
            if span is not None and good and steady and since - span[1] < facts.times.lease_duration / 2:
                span = (span[0], until)
                continue
            if span is not None:
                yield replica, span
            span = (since, until) if good and steady else None
        if span is not None:
            yield replica, span


def _excused(replica: str, at: float, facts: Facts) -> bool:
    """Return whether the period at an instant may be lost: the disk was full, and the process then ended.

    What is not on disk is in memory, and lost with the process (docs/cloudwatch.md).
    """
    full = facts.happenings.at(replica, "disk", at - 1, at + 1)
    stopped = any(boot.paused(at, at + facts.times.publish_every) for boot in facts.boots[replica])
    return stopped or (full and any(boot.ended is not None and boot.ended > at for boot in facts.boots[replica]))


# -- duplicates --------------------------------------------------------------------------------------------------------


def duplicates(record: Record) -> dict[Key, list[Sent]]:
    """Return what was taken more than once."""
    taken: dict[Key, list[Sent]] = defaultdict(list)
    for sent in record.sent:
        for key in sent.keys:
            taken[key].append(sent)
    return {key: times for key, times in taken.items() if len(times) > 1}


def duplicates_explained(record: Record, facts: Facts) -> Verdicts:
    """Whatever was taken twice was sent by two leaders, or its first answer did not come, or the process had ended."""
    for (metric, labels, time), times in duplicates(record).items():
        for first, second in pairwise(times):
            changed = first.replica != second.replica
            ended = any(
                first.arrived <= (boot.ended or 0) <= second.arrived or boot.paused(first.arrived, second.arrived)
                for boot in facts.boots[first.replica]
            )
            troubled = facts.happenings.at(first.replica, "CloudWatch", first.arrived - 1, first.arrived + 20)
            full = facts.happenings.at(first.replica, "disk", first.arrived - 1, second.arrived)
            explained = changed or ended or troubled or full or not first.delivered
            where = f"{metric} of {dict(labels).get('Fleet')} at {time:.0f}"
            yield None if explained else f"{where} was sent twice by {first.replica} without need"
