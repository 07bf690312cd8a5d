"""What is remembered of an agent's page from one scrape to the next: enough to be quick, and nothing that grows."""

import gc
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.dialect import (
    AGENT_FAMILIES,
    MAX_SERIES,
    AgentPages,
    NotAnAgentError,
    NoTaskCountError,
    PageReading,
    TooManySeriesError,
    interpret,
)
from exporter.fleet.exposition import read

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "pages").iterdir())
TASKS = b"matillion_agent_task_running_unit"
Result = PageReading | type[Exception]


def read_closely(page: bytes) -> Result:
    """Return what a page says, or how it is refused, read by itself."""
    parsed = read(page, AGENT_FAMILIES)
    try:
        return PageReading(interpret(parsed), parsed.rejected_lines)
    except (NotAnAgentError, NoTaskCountError) as error:
        return type(error)


def read_by(pages: AgentPages, page: bytes) -> Result:
    try:
        return pages.read(page)
    except (NotAnAgentError, NoTaskCountError) as error:
        return type(error)


def test_a_page_with_other_values_is_known() -> None:
    """Whoever reads it tells so from a page that takes long, before it is read."""
    pages = AgentPages()
    assert not pages.knows(b"app_active_task_count 3\n")
    pages.read(b"app_active_task_count 3\n")
    assert pages.knows(b"app_active_task_count 17\n")
    assert not pages.knows(b"app_active_request_count 17\n")


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_page_says_the_same_each_time(path: Path) -> None:
    """Read closely, recognized, and after another one was read in between."""
    pages, page = AgentPages(), path.read_bytes()
    expected = read_closely(page)
    assert [read_by(pages, page) for _ in range(3)] == [expected] * 3
    read_by(pages, b"app_active_task_count 3\n")
    assert read_by(pages, page) == expected


LABELS = st.sampled_from(
    [
        b"",
        b"{}",
        b'{jvm_memory_type="heap"}',
        b'{jvm_memory_type="heap",a="1"}',
        b'{a="1",jvm_memory_type="heap"}',
        b'{"jvm.memory.type"="heap",a="1"}',
        b'{version="1",commit_hash="x"}',
        b'{version="2",commit_hash=""}',
        b'{a="1"',
        b'{a="#"}',
    ]
)
NAMES = st.sampled_from(
    [
        TASKS,
        b"matillion_agent_task_running",
        b"matillion_agent_task_queued_unit",
        b"matillion_agent_connected_unit",
        b"matillion_agent_version_unit",
        b"jvm_memory_used_bytes",
        b"jvm_memory_limit_bytes",
        b"app_active_task_count",
        b"app_version_info",
        b" app_agent_status",
        b"other",
        b"# HELP",
    ]
)
VALUES = st.sampled_from(
    [b"0", b"1", b"2.5", b"-1", b"NaN", b"1e3", b"+Inf", b"1 1767234600000", b"1 # {} 1", b"1_0", b"x", b"", b"3\r"]
)
SERIES = st.lists(st.tuples(NAMES, LABELS), max_size=8)


@given(
    st.lists(st.tuples(SERIES, st.lists(VALUES, min_size=8, max_size=8)), max_size=3), st.randoms(use_true_random=False)
)
def test_what_is_remembered_changes_no_reading(
    pages: list[tuple[list[tuple[bytes, bytes]], list[bytes]]], draw: object
) -> None:
    """Whatever the agent wrote before, a page says what it says by itself: series come, go and change places."""
    agent = AgentPages()
    written = [(series, values) for series, values in pages for _ in range(2)]
    written += [(series, values[::-1]) for series, values in pages]
    draw.shuffle(written)  # type: ignore[attr-defined]
    for series, values in written:
        page = b"\n".join(name + labels + b" " + value for (name, labels), value in zip(series, values, strict=False))
        assert read_by(agent, page) == read_closely(page)


def hostile_page(number: int, serial: int) -> bytes:
    """Return a page with long labels that were never seen before."""
    return b"".join(TASKS + b'{a="%d",b="%09d%b"} 1\n' % (place, serial, b"x" * 600) for place in range(number))


@pytest.mark.slow
@pytest.mark.parametrize("number", [80, 400])
def test_what_is_kept_of_a_page_does_not_depend_on_its_labels(number: int) -> None:
    """Ten agents, each with 55 or 260 KB of labels that are new each time, keep less than 1 KB each."""
    agents = [AgentPages() for _ in range(10)]
    AgentPages().read(hostile_page(number, 9999))  # fills the interpreter's own lists of free objects
    tracemalloc.start()
    try:
        for turn in range(2):
            for place, agent in enumerate(agents):
                assert agent.read(hostile_page(number, turn * 1000 + place)).reading.tasks_active == number
        gc.collect()  # empties them
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10 * 1_000
    assert peak < 10 * 1_000 + 5 * len(hostile_page(number, 0))


def test_agents_of_one_image_share_what_is_remembered() -> None:
    """Ten thousand of them take little more than a hash each."""
    page = next(path for path in GOLDEN if path.stem == "otel_full").read_bytes()
    AgentPages().read(page)
    tracemalloc.start()
    try:
        agents = [AgentPages() for _ in range(100)]
        for agent in agents:
            agent.read(page)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100 * 300


def test_the_number_of_series_is_bounded() -> None:
    """A page with more of them is no agent's."""
    lines = [TASKS + b'{a="%d"} 1\n' % number for number in range(MAX_SERIES + 1)]
    assert AgentPages().read(b"".join(lines[1:])).reading.tasks_active == MAX_SERIES
    with pytest.raises(TooManySeriesError):
        AgentPages().read(b"".join(lines))
