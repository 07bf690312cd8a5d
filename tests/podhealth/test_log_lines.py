"""Lines of a log: what they are, which were read before, how many may be looked at."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.podhealth.log_lines import NANOSECONDS, LineBudget, LineParser, LinesSeen, LogLine

BEGIN = int(datetime.fromisoformat("2024-03-01T10:00:00Z").timestamp()) * NANOSECONDS


@pytest.mark.parametrize(
    ("raw", "after_begin", "text"),
    [
        (b"2024-03-01T10:00:00.000000001Z task failed", 1, b"task failed"),
        (b"2024-03-01T10:00:01.5Z  two spaces", 1_500_000_000, b" two spaces"),
        (b"2024-03-01T12:00:00.25+02:00 elsewhere", 250_000_000, b"elsewhere"),
        (b"2024-03-01T10:00:00Z", 0, b""),
        (b"2024-03-01T10:00:00.123456789123Z \xff\xfe", 123_456_789, b"\xff\xfe"),
    ],
)
def test_line_with_its_time(raw: bytes, after_begin: int, text: bytes) -> None:
    """Nanoseconds are kept, zones are heeded, and what the agent wrote is left alone."""
    assert LineParser().parse(raw) == LogLine(BEGIN + after_begin, text)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"unable to retrieve container logs for containerd://5f",
        b"2024-03-01 10:00:00 x",
        b"2024-13-45T10:00:00Z x",
        b"9999-12-31T23:59:59-00:01 x",
        b"1969-12-31T23:59:59Z x",
    ],
)
def test_line_without_a_time_is_none_of_the_agents(raw: bytes) -> None:
    """What a kubelet has to say about a log is not the log."""
    assert LineParser().parse(raw) is None


def test_parser_distinguishes_the_same_digits_in_two_zones() -> None:
    """It remembers the last second, with its zone."""
    parser = LineParser()
    times = [parser.parse(f"2024-03-01T10:00:00{zone} x".encode()) for zone in ("Z", "+01:00", "Z")]
    assert [line and line.nanoseconds - BEGIN for line in times] == [0, -3600 * NANOSECONDS, 0]


@given(st.binary(max_size=80))
def test_parser_takes_whatever_comes(raw: bytes) -> None:
    """A line is a line or nothing, never an error."""
    assert LineParser().parse(raw) is None or raw[:4].isdigit()


steps = st.integers(0, 3 * NANOSECONDS) | st.integers(0, 1000)
"""From one line to the next: seconds, or nothing much."""


@given(
    gaps=st.lists(st.tuples(steps, st.integers(0, 400_000_000), st.integers(0, 2)), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_each_line_is_new_once_however_often_the_log_is_read_again(
    gaps: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    """Cut anywhere, repeated from a whole second on, lines a little out of order: none is lost, none comes twice."""
    log: list[LogLine] = []
    at = BEGIN
    for number, (step, late, words) in enumerate(gaps):
        at += step
        # Written by another hand, a line may be late by less than LinesSeen.DISORDER. Its text need not be unique.
        log.append(LogLine(max(BEGIN, at - late), b"failed" * words if words else str(number).encode()))
    seen, new = LinesSeen(BEGIN, maximum=1000), []
    for end in [*sorted(cuts), len(log)]:
        since = int(datetime.fromisoformat(seen.since).timestamp()) * NANOSECONDS
        new += [line for line in log[:end] if line.nanoseconds >= since and seen.is_new(line)]
    assert new == list(dict.fromkeys(log))


def test_lines_from_before_the_beginning_are_not_new() -> None:
    """A log is asked for from a whole second on; the count begins within it."""
    seen = LinesSeen(BEGIN + 5, maximum=10)
    assert seen.since == "2024-03-01T10:00:00Z"
    assert [seen.is_new(LogLine(BEGIN + offset, b"x")) for offset in (4, 5, 6)] == [False, True, True]


def test_memory_of_lines_is_bounded_in_a_flood() -> None:
    """What cannot be remembered counts as read: rather a line lost out of order than one counted twice."""
    seen = LinesSeen(BEGIN, maximum=100)
    flood = [LogLine(BEGIN + number, b"x") for number in range(10_000)]
    assert all(seen.is_new(line) for line in flood)
    assert len(seen._recent) == 100
    assert not any(seen.is_new(line) for line in flood)


def test_budget_counts_by_the_seconds_of_the_log() -> None:
    """Late lines that come all at once are not too many; as many in one second of the log are."""
    budget = LineBudget(10)
    assert sum(budget.take(BEGIN + number * NANOSECONDS // 10) for number in range(100)) == 100
    budget = LineBudget(10)
    assert sum(budget.take(BEGIN + number) for number in range(100)) == 10
    assert not budget.take(BEGIN - NANOSECONDS), "a line out of order earns nothing"
    assert budget.take(BEGIN + NANOSECONDS)
