"""What the reader makes of an agent's pages, and of its server's name filters; in virtual time."""

import gc
import itertools
import tracemalloc
from typing import Any

import pytest

from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from tests.scrape.one_reader import HOST, LEGACY, OTEL, Reader
from tests.scrape.scripted_agents import (
    NOT_FOUND,
    ScriptedAgents,
    otel_page,
    read,
)

pytestmark = pytest.mark.looptime


# -- name filters ------------------------------------------------------------------------------------------------------


async def test_a_filter_that_loses_nothing_is_kept_and_tested_every_five_minutes() -> None:
    """One whole page, then filtered ones."""
    reader = Reader()
    reader.serve(OTEL, otel_page())
    assert set(await reader.turns(180)) == {"otel 7"}
    whole = [at for at, filtered in enumerate(reader.agents.filters()) if not filtered]
    assert len(whole) in range(3, 6)
    assert whole[0] == 0
    assert all(47 <= after - before <= 62 for before, after in itertools.pairwise(whole))


@pytest.mark.parametrize(
    "filtered",
    [
        NOT_FOUND,
        ScrapeError(ScrapeOutcome.HTTP_STATUS, "HTTP 400"),
        b"",
        b"# EOF\n",
        otel_page(queued=None),
        b"jvm_x 1\n",
    ],
    ids=["404", "400", "empty", "only EOF", "without the queue", "other families"],
)
async def test_a_filter_that_loses_something_is_not_used(filtered: bytes | Exception) -> None:
    """A server that knows other names than we do must not make the queue vanish; that is remembered for this agent."""
    reader = Reader()
    reader.serve(OTEL, otel_page(), filtered=filtered)
    assert set(await reader.turns(40)) == {"otel 7"}
    assert reader.agents.filters().count(True) == 1


async def test_a_filter_that_stops_working_costs_no_reading() -> None:
    """The whole page is asked for in the same turn."""
    reader = Reader()
    reader.serve(OTEL, otel_page())
    await reader.turns(3)
    reader.serve(OTEL, otel_page(), filtered=NOT_FOUND)
    assert set(await reader.turns(10)) == {"otel 7"}


async def test_a_server_that_ignores_the_filter_is_read_all_the_same() -> None:
    """It sends its full page."""
    reader = Reader()
    reader.serve(OTEL, otel_page(), filtered=otel_page(9))
    assert await reader.turns(2) == ["otel 7", "otel 9"]


async def test_filters_can_be_disabled() -> None:
    """`filter_names: false` asks for nothing but whole pages."""
    reader = Reader(filter_names=False)
    reader.serve(OTEL, otel_page())
    await reader.turns(100)
    assert not any(reader.agents.filters())


# -- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not_an_agent: no agent metrics on the page"),
        (b"\x00\xff\x1f\x8b" * 50_000 + b"\n", "not_an_agent: no agent metrics on the page"),
        (b"\n" * 200_000, "not_an_agent: no agent metrics on the page"),
        (b"matillion_agent_status_unit 1\n", "no_task_count: no count of running tasks on the page"),
        (b"matillion_agent_task_running_unit NaN\n", "no_task_count: no count of running tasks on the page"),
        (b"app_agent_status 1\n" * 10_000, "too_large: more than 1000 agent series on the page"),
    ],
    ids=["empty", "binary", "blank lines", "no count", "NaN", "far too many series"],
)
async def test_a_useless_page_is_an_error(body: bytes, said: str) -> None:
    """Never a reading with a zero in it."""
    reader = Reader()
    reader.serve(OTEL, body)
    reader.serve(LEGACY, body)
    assert await reader.turn() == f"{said} on {HOST}:9464 and :8080"


@pytest.mark.parametrize("end", ["\n", ""], ids=["with", "without a last line feed"])
async def test_a_large_page_is_read_to_its_end_and_a_line_that_is_none_loses_itself(end: str) -> None:
    """Pages are read in blocks; their borders lose nothing, wherever they fall."""
    filler = b"".join(b'jvm_something{n="%d"} 1\n' % number for number in range(20_000))
    endless = b'matillion_agent_status_unit{x="' + b"y" * 100_000 + b'"} 1\n'
    unwanted = b'target_info{x="' + b"y" * 100_000 + b'"} 1\n'
    reader = Reader(filter_names=False)
    for shift in (0, 1, 7, 16 * 1024):
        page = b"#" * shift + b"\n" + endless + filler + unwanted + otel_page().rstrip() + end.encode()
        reader.serve(OTEL, page)
        answer = await reader._reader.read(reader.target)
        assert (answer.reading.tasks_active, answer.reading.tasks_queued) == (7, 2)
        assert answer.rejected_lines == 1


async def test_pages_that_failed_are_not_kept_in_memory() -> None:
    """Not even until the garbage collector comes around, which with much at rest is seldom."""

    class Swollen(ScriptedAgents):
        async def fetch(self, url: Any, **how: Any) -> Any:
            await super().fetch(url, **how)
            return read(b"x" * 2**20 + b"\n", how["take"], how["in_blocks"])

    reader = Reader()
    reader.serve(OTEL, b"")
    reader.serve(LEGACY, b"")
    reader._reader._client = Swollen(reader.agents.pages)
    await reader.turn()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        await reader.turns(20)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < 2**20
