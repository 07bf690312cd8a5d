"""Pages that are too large for one step: what is read of them, in whose turn, and how little of them is held."""

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from exporter.config import ScrapeSettings
from exporter.fleet.dialect import AgentPages, NotAnAgentError, NoTaskCountError, PageReading, TooManySeriesError
from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeError
from exporter.scrape.pages import PageInBlocks
from exporter.scrape.turns import BLOCK_BYTES, ONE_GO_BYTES, Turns
from tests.fakes import hostile
from tests.fakes.hostile import GZIP, OTEL_PAGE, HostileServer, chunk, head, response
from tests.fakes.hostile_pages import pages
from tests.scrape.fetching import CHUNKED, OPENMETRICS, refusal
from tests.waiting import PATIENCE

FILLER = b"".join(b'jvm_something{n="%d"} 1\n' % number for number in range(10_000))
LARGE = FILLER + OTEL_PAGE + FILLER
READING = AgentPages().read(OTEL_PAGE)


def read_in_parts(page: bytes, cuts: list[int]) -> PageReading | type[Exception]:
    """Return what is made of a page that comes in parts; what is raised is part of it."""
    blocks = PageInBlocks()
    try:
        for begin, end in zip([0, *cuts], [*cuts, len(page)], strict=True):
            blocks.feed(page[begin:end])
            while blocks.step():
                pass
        return blocks.result()
    except (NotAnAgentError, NoTaskCountError, TooManySeriesError) as error:
        return type(error)


def read_at_once(page: bytes) -> PageReading | type[Exception]:
    try:
        return AgentPages().read(page)
    except (NotAnAgentError, NoTaskCountError, TooManySeriesError) as error:
        return type(error)


LINES = st.one_of(
    st.sampled_from(OTEL_PAGE.splitlines()),
    st.sampled_from(
        [
            b"",
            b"# HELP matillion_agent_task_running_unit " + b"h" * 9000,
            b'matillion_agent_task_running_unit{a="' + b"x" * 9000 + b'"} 1',
            b'matillion_agent_task_running_unit{a="' + b"y" * (BLOCK_BYTES - 42) + b'"} 1',
            b'matillion_agent_task_running_unit{a="1',
            b"matillion_agent_task_queued_unit NaN",
            b'target_info{a="' + b"z" * 9000 + b'"} 1',
            b"app_version 1\n" * 990,
        ]
    ),
)


@given(
    st.lists(LINES, max_size=12).map(b"\n".join),
    st.lists(st.integers(0, 60_000), max_size=6),
    st.sampled_from([b"", b"\n"]),
)
def test_a_page_is_the_same_wherever_the_network_cuts_it(lines: bytes, cuts: list[int], end: bytes) -> None:
    """In parts of any size it gives what it gives as a whole, as long as no line is longer than a block."""
    page = lines + end
    assert read_in_parts(page, sorted(min(cut, len(page)) for cut in cuts)) == read_at_once(page)


@given(st.integers(BLOCK_BYTES, 4 * BLOCK_BYTES), st.lists(st.integers(0, 80_000), max_size=6), st.booleans())
def test_a_line_longer_than_a_block_loses_itself(length: int, cuts: list[int], needed: bool) -> None:
    """Wherever it is cut, the lines around it are read, and it is counted if it was one of ours."""
    name = b"matillion_agent_status_unit" if needed else b"target_info"
    line = name + b'{x="' + b"y" * (length - len(name) - 8) + b'"} 1'
    page = OTEL_PAGE + line + b"\n" + OTEL_PAGE
    assert read_in_parts(page, sorted(min(cut, len(page)) for cut in cuts)) == READING._replace(
        rejected_lines=int(needed)
    )


# -- over HTTP ---------------------------------------------------------------------------------------------------------


async def fetched(
    client: PageClient,
    server: HostileServer,
    within: float = PATIENCE,
    pages: AgentPages | None = None,
    in_blocks: type[PageInBlocks] = PageInBlocks,
) -> PageReading:
    pages = pages or AgentPages()
    url = URL(f"http://{server.host}:{server.port}/metrics")
    return await client.fetch(url, within=within, take=pages.read, knows=pages.knows, in_blocks=in_blocks)


PACKED = zlib.compress(LARGE)
WAYS = {
    "with a length": response(LARGE),
    "in chunks": CHUNKED + chunk(LARGE[:100_000]) + chunk(LARGE[100_000:]) + chunk(b""),
    "in thousands of chunks": CHUNKED
    + b"".join(chunk(LARGE[at : at + 99]) for at in range(0, len(LARGE), 99))
    + chunk(b""),
    "in gzip": response(gzip.compress(LARGE), "200 OK", GZIP),
    "in zlib's format and chunks": head("200 OK", "Transfer-Encoding: chunked", "Content-Encoding: deflate")
    + chunk(PACKED[:99])
    + chunk(PACKED[99:])
    + chunk(b""),
    "in gzip, barely compressed": response(gzip.compress(LARGE, 0), "200 OK", GZIP),
    "as OpenMetrics": response(LARGE + b"# EOF\n", content_type=OPENMETRICS),
}


@pytest.mark.parametrize("data", WAYS.values(), ids=WAYS.keys())
async def test_a_large_page_is_read_however_it_comes_and_so_are_the_next(client: PageClient, data: bytes) -> None:
    """Over one connection, large pages and small ones in turn."""
    behaviour = hostile.in_turn(hostile.answer(data), hostile.page(), hostile.answer(data), hostile.page())
    async with HostileServer(behaviour) as server:
        for _ in range(4):
            assert await fetched(client, server) == READING
        assert server.connections == 1


async def test_a_large_page_may_end_with_its_connection(client: PageClient) -> None:
    """Without a length, its end is that of the connection."""
    async with HostileServer(hostile.cut(head() + LARGE)) as server:
        for _ in range(2):
            assert await fetched(client, server) == READING


async def test_an_answer_behind_a_large_page_is_never_read(client: PageClient) -> None:
    """It costs the connection, as behind a small one."""
    async with HostileServer(hostile.answer(response(LARGE) + response(b"app_active_task_count 9\n"))) as server:
        for _ in range(2):
            assert await fetched(client, server) == READING
        assert server.connections == 2


ENDS = {
    "a page cut in a line": (response(LARGE[:-3]), "the page ends in the middle of a line"),
    "OpenMetrics without its end": (
        response(LARGE, content_type=OPENMETRICS),
        "the OpenMetrics page has no # EOF at its end",
    ),
    "gzip that ends early": (response(gzip.compress(LARGE)[:-9], "200 OK", GZIP), "compressed data is truncated"),
    "gzip and more": (
        response(gzip.compress(LARGE) + gzip.compress(LARGE), "200 OK", GZIP),
        "trailing data after the compressed page",
    ),
    "a connection lost": (response(LARGE)[:-9], "connection lost in the middle of the page"),
}


@pytest.mark.parametrize(("data", "reason"), ENDS.values(), ids=ENDS.keys())
async def test_a_large_page_that_is_not_whole_fails(client: PageClient, data: bytes, reason: str) -> None:
    """What was read of it so far is not taken for the page."""
    assert str(await refusal(client, hostile.cut(data), within=PATIENCE)) == reason


async def test_a_large_page_that_never_ends_is_given_up_in_time(client: PageClient) -> None:
    """Its deadline is that of all of it."""
    error = await refusal(client, hostile.hang(response(LARGE)[:-9]))
    assert str(error) == "waited 0.4 s for the rest of the page"


async def test_a_large_page_that_is_no_longer_wanted_is_read_no_further() -> None:
    """Whoever asked was cancelled meanwhile: its connection ends, and it takes no more turns."""
    begun = asyncio.Event()

    class Watched(PageInBlocks):
        def step(self) -> bool:
            begun.set()
            return super().step()

    async with HostileServer(hostile.page(LARGE)) as server, PageClient(ScrapeSettings()) as client:
        task = asyncio.create_task(fetched(client, server, in_blocks=Watched))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await fetched(client, server) == READING


# -- turns -------------------------------------------------------------------------------------------------------------


async def test_large_pages_take_turns_and_all_of_them_together_one_step_each_time() -> None:
    """So a hundred of them hold up whoever has something small to do for no longer than one, and none another."""
    turns, order, loops = Turns(), [], count()
    left = {"a": 3, "b": 1, "c": 2}

    def stepping(name: str) -> bool:
        left[name] -= 1
        order.append((name, next(loops)))
        return left[name] > 0

    for name in left:
        turns.take(lambda name=name: stepping(name))  # type: ignore[misc]
    for _ in range(8):
        next(loops)
        await asyncio.sleep(0)
    assert [name for name, _ in order] == ["a", "b", "c", "a", "c", "a"]
    between = [later - before for (_, before), (_, later) in pairwise(order)]
    assert between == [2] * 5


async def test_small_pages_that_have_taken_their_share_of_a_turn_leave_the_rest_for_the_next() -> None:
    """Fifty of 60 KB that are hard to read would otherwise hold the loop up for half a second, all in one turn."""
    turns = Turns()
    turns.spend(0.006)
    assert not turns.crowded
    turns.spend(0.006)
    assert turns.crowded
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not turns.crowded


def costly_page(serial: int) -> bytes:
    """Return a page that is not large, and takes long to read since it is never the same."""
    line = b'matillion_agent_task_running_unit{a="%d.%d"} 1\n'
    return b"".join(line % (serial, number) for number in range(990))


@pytest.mark.slow
async def test_pages_that_wait_for_their_turn_are_read_like_all_others(client: PageClient) -> None:
    """One in each turn of the loop, over the same connections; whoever has nothing to do with them is not held up."""
    costly = [hostile.page(costly_page(serial)) for serial in range(40)]
    begun = read_before_last = 0

    class Slow(AgentPages):
        def read(self, page: bytes) -> PageReading:
            nonlocal begun
            begun += 1
            time.sleep(0.01)  # what a costly page takes at least, on any machine
            return super().read(page)

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(HostileServer(page)) for page in costly]
        good, known = await stack.enter_async_context(HostileServer(hostile.page())), AgentPages()
        await fetched(client, good, pages=known)
        for _ in range(2):
            fetches = [asyncio.create_task(fetched(client, server, pages=Slow())) for server in servers]
            last = asyncio.create_task(fetched(client, good, pages=known))
            most = 0
            while not all(fetch.done() for fetch in fetches):
                before = begun
                await asyncio.sleep(0)
                most = max(most, begun - before)
                read_before_last = read_before_last if last.done() else begun
            assert last.result() == READING
            assert read_before_last < len(fetches)
            assert {fetch.result().reading.tasks_active for fetch in fetches} == {990}
            assert most <= 2
            begun = 0
        assert all(server.connections == 1 for server in servers)


# -- memory ------------------------------------------------------------------------------------------------------------


async def most_held(behaviour: hostile.Behaviour, within: float) -> int:
    """Return the bytes that this process held at most while a page was fetched, the server's buffers included."""
    async with HostileServer(behaviour) as server, PageClient(ScrapeSettings()) as client:
        tracemalloc.start()
        try:
            with suppress(ScrapeError, NotAnAgentError, NoTaskCountError, TooManySeriesError):
                await fetched(client, server, within)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


LARGEST: Mapping[str, Callable[[], hostile.Behaviour]] = {
    "series": lambda: hostile.streamed(
        response(b'matillion_agent_task_running_unit{a="%b"} 1\n' % (b"x" * 4000) * 1000)
    ),
    "blank lines": lambda: hostile.streamed(response(b"\n" * 2**22)),
    "gzip": lambda: hostile.streamed(response(gzip.compress(LARGE * 10), "200 OK", GZIP)),
    "a gzip bomb": lambda: hostile.streamed(response(hostile.gzip_bomb(2**26), "200 OK", GZIP)),
    "gzip that says nothing": lambda: pages()["gzip that says nothing"],
    "chunks without an end": lambda: pages()["chunks without an end"],
}


@pytest.mark.parametrize("kind", LARGEST)
@pytest.mark.slow
async def test_no_more_of_a_page_is_held_than_what_came_in_at_once(kind: str) -> None:
    """Of 4 MiB less than one; the server in the same process has sent ahead a little."""
    assert await most_held(LARGEST[kind](), PATIENCE) < 2**20


async def test_tiny_chunks_are_not_kept_one_by_one(client: PageClient) -> None:
    """20,000 of them are 20 KB, and as objects a megabyte."""
    assert await most_held(pages()["tiny chunks"], 0.5) < 2**19


async def test_what_a_connection_keeps_between_two_scrapes_is_nothing_that_was_sent(client: PageClient) -> None:
    """Each agent has one, and a head may have 16 KB."""
    data = response(OTEL_PAGE, content_type="text/plain; " + "x" * 15_000)
    async with HostileServer(hostile.answer(data)) as server:
        places = [f"127.8.0.{number}" for number in range(1, 61)]
        servers = [HostileServer(hostile.answer(data), place) for place in places]
        for each in servers:
            await each.__aenter__()
        await fetched(client, server)
        tracemalloc.start()
        try:
            for each in servers:
                await fetched(client, each)
            kept = tracemalloc.take_snapshot().filter_traces(
                [tracemalloc.Filter(inclusive=True, filename_pattern="*/exporter/scrape/*")]
            )
        finally:
            tracemalloc.stop()
            for each in servers:
                await each.__aexit__(None, None, None)
    assert sum(trace.size for trace in kept.traces) < 60 * 8_000


def test_the_one_step_bound_is_above_what_an_agent_writes() -> None:
    """Twice the size of the largest page there is, so that no agent of today takes turns."""
    assert len(LARGE) > ONE_GO_BYTES > 2 * 30 * 1024
