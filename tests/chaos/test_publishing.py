"""The invariants of publishing hold for what is right, and are violated by what is wrong."""

import gzip
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import urlencode

from tests.chaos import publishing
from tests.chaos.facts import Facts
from tests.chaos.faults import Happened, Happenings, Kind
from tests.chaos.publishing import ALWAYS, Key, Record, Sent
from tests.chaos.replicas import Boot, Times
from tests.chaos.seen import MetricsSeen, ReadinessSeen
from tests.chaos.truth import Truth
from tests.fakes.fault_proxy import Exchange

BOOT = {"one": Boot(1, 0.0), "two": Boot(2, 0.0)}
WALL = 10_000.0
"""Unix time at CLOCK_MONOTONIC 0."""
PERIODS = range(10, 100, 10)
"""Those that the first replica leads through, by CLOCK_MONOTONIC."""


def key(at: float, metric: str = ALWAYS) -> Key:
    """Return a datum of the fleet for the period that begins then."""
    return metric, (("ClusterName", "c"), ("Fleet", "etl"), ("Namespace", "n")), WALL + at


def sent(at: float, *keys: Key, replica: str = "one", delivered: bool = True) -> Sent:
    """Return a request; of the current period if nothing else is said."""
    return Sent(replica, at + 1.0, delivered, keys or (key(at),))


def metrics(replica: str, times: Iterable[float], *, leads: bool = True) -> list[MetricsSeen]:
    """Return looks at whether a replica leads."""
    return [
        MetricsSeen(
            replica=replica,
            booted=0.0,
            asked=at,
            answered=at,
            computed_from=at,
            leads=leads,
            spool_datums=0,
            loop_lag=0.0,
        )
        for at in times
    ]


def record(**fields: object) -> Record:
    """Return a run of 110 s in which the first replica leads and publishes every 10 s."""
    ready = ReadinessSeen(replica="one", booted=0.0, asked=1, answered=1, computed_from=1, ready=True)
    usual = Record(
        sent=[sent(at) for at in PERIODS],
        left=frozenset(),
        metrics=sorted(
            [*metrics("one", range(4, 110, 4)), *metrics("two", range(5, 110, 4), leads=False)],
            key=lambda seen: seen.answered,
        ),
        readiness=[ready],
        fleets=["etl"],
        wall=WALL,
        began=0.0,
    )
    return replace(usual, **fields)


def facts(*gone_wrong: Happened, boots: dict[str, Boot] = BOOT) -> Facts:
    """Return what is true."""
    lives = {name: [boot] for name, boot in boots.items()}
    return Facts(Truth(), {}, Times(), lives, Happenings(list(gone_wrong)))


def wrong(verdicts: publishing.Verdicts) -> list[str]:
    """Return what is violated; something is to be checked."""
    given = list(verdicts)
    assert given, "nothing was checked"
    return [one for one in given if one is not None]


def test_two_leaders_at_once_are_seen() -> None:
    """A replica that says it leads between two looks at which the other said so, too close for a change."""
    assert wrong(publishing.one_leader(record(), facts())) == []
    both = sorted([*record().metrics, *metrics("two", [50.5])], key=lambda seen: seen.answered)
    assert wrong(publishing.one_leader(record(metrics=both), facts())) == ["two leads at 50.5 s, while one does"]


def test_a_second_publisher_is_seen() -> None:
    """What is sent while another leads is seen, but of a process that was stopped before."""
    other = sent(50.5, replica="two")
    assert wrong(publishing.one_publisher(record(sent=[other]), facts())) == [
        "two publishes at 51.5 s, while one leads"
    ]
    assert wrong(publishing.one_publisher(record(), facts())) == []
    stopped = BOOT | {"two": Boot(2, 0.0, pauses=[(20.0, 51.0)])}
    assert wrong(publishing.one_publisher(record(sent=[other]), facts(boots=stopped))) == []


def test_a_period_that_is_lost_is_seen() -> None:
    """Each period that a replica led through from begin to end is in CloudWatch or in the spool."""
    assert wrong(publishing.no_period_lost(record(), facts())) == []
    but_one = [one for one in record().sent if one.arrived != 51.0]
    [sentence] = wrong(publishing.no_period_lost(record(sent=but_one), facts()))
    assert sentence == "one led, but CloudWatch has nothing of etl at 50 s"
    assert wrong(publishing.no_period_lost(record(sent=but_one, left={key(50)}), facts())) == []
    other_metric = [*but_one, sent(50, key(50, "DemandTasks"))]
    assert wrong(publishing.no_period_lost(record(sent=other_metric), facts()))


def test_a_period_may_be_lost_where_the_docs_say_so() -> None:
    """What could not be written to disk is lost with the process; while it is stopped nothing is recorded."""
    but_one = record(sent=[one for one in record().sent if one.arrived != 51.0])
    full = Happened(Kind.DISK_FULL, "one", 45.0, 55.0)
    ended = BOOT | {"one": Boot(1, 0.0, ended=105.0)}
    assert wrong(publishing.no_period_lost(but_one, facts(full)))
    assert wrong(publishing.no_period_lost(but_one, facts(boots=ended)))
    assert wrong(publishing.no_period_lost(but_one, facts(full, boots=ended))) == []
    stopped = BOOT | {"one": Boot(1, 0.0, pauses=[(49.0, 53.0)])}
    assert wrong(publishing.no_period_lost(but_one, facts(boots=stopped))) == []


def test_a_period_is_named_by_the_process_own_clock() -> None:
    """A wall clock that is an hour ahead records an hour ahead."""
    ahead = replace(facts(), ahead=lambda replica, at: 3600.0)
    assert wrong(publishing.no_period_lost(record(), ahead))
    later = [sent(at, key(at + 3600)) for at in PERIODS]
    assert wrong(publishing.no_period_lost(record(sent=later), ahead)) == []


def test_a_duplicate_without_a_reason_is_seen() -> None:
    """The same datum twice from one process whose answers came is seen, and nothing else is."""
    again = Sent("one", 58.0, True, (key(50),))
    twice = record(sent=[*record().sent, again])
    [sentence] = wrong(publishing.duplicates_explained(twice, facts()))
    assert sentence == f"{ALWAYS} of etl at {WALL + 50:.0f} was sent twice by one without need"
    assert list(publishing.duplicates_explained(record(), facts())) == []
    assert len(publishing.duplicates(twice)) == 1


def test_duplicates_that_the_docs_tell_of_are_explained() -> None:
    """A second leader, an answer that did not come, a process that ended or was stopped in between."""
    first, again = sent(50), Sent("one", 58.0, True, (key(50),))
    for given, world in (
        ([first, replace(again, replica="two")], facts()),
        ([replace(first, delivered=False), again], facts()),
        ([first, again], facts(Happened(Kind.CLOUDWATCH_HUNG, "one", 51.0, 55.0))),
        ([first, again], facts(boots=BOOT | {"one": Boot(1, 0.0, ended=55.0)})),
        ([first, again], facts(boots=BOOT | {"one": Boot(1, 0.0, pauses=[(52.0, 57.0)])})),
    ):
        assert wrong(publishing.duplicates_explained(record(sent=given), world)) == []


def test_a_request_is_read_as_cloudwatch_reads_it() -> None:
    """Datums are named by metric, dimensions and time, compressed or not."""
    body = urlencode(
        {
            "Action": "PutMetricData",
            "Namespace": "Matillion/AgentFleet",
            "MetricData.member.1.MetricName": ALWAYS,
            "MetricData.member.1.Value": "100",
            "MetricData.member.1.Timestamp": "2026-01-01T00:00:00Z",
            "MetricData.member.1.Dimensions.member.1.Name": "Fleet",
            "MetricData.member.1.Dimensions.member.1.Value": "etl",
        }
    ).encode()
    for coded, encoding in ((body, ""), (gzip.compress(body), "gzip")):
        read = Sent.of("one", Exchange(7.0, coded, encoding, 200, delivered=False))
        assert read == Sent("one", 7.0, False, ((ALWAYS, (("Fleet", "etl"),), 1767225600.0),))
