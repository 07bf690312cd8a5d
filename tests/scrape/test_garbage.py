"""A scrape that fails leaves nothing to the garbage collector, which hardly ever comes (service.py)."""

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint
from tests.factories import make_target
from tests.fakes import hostile
from tests.fakes.hostile import Behaviour, HostileServer, head, response
from tests.scrape.test_scraping import DAMAGED, HOSTILE, Exporter, ill

pytestmark = pytest.mark.slow

SETTINGS = ScrapeSettings(interval=0.1, timeout=0.1, concurrency=8)
WAYS: dict[str, Behaviour | None] = {
    "refuses": None,
    "hangs": hostile.hang(),
    "drips": HOSTILE["slow drip"][0],
    "cuts": hostile.cut(b"HTTP/1.1 200 OK\r\nConte"),
    "resets": hostile.reset(b""),
    "is no HTTP": hostile.answer(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "500": hostile.answer(response(b"", "500 Internal Server Error")),
    "no agent": hostile.answer(response(b"up 1\n")),
    "no task count": hostile.answer(response(b"matillion_agent_info 1\nmatillion_agent_session_count 1\n")),
    "too many series": hostile.answer(
        response(b"".join(b'matillion_agent_task_running_unit{a="%d"} 1\n' % n for n in range(1200)))
    ),
    "a head without end": hostile.answer(head("200 OK", "X: " + "x" * 65_536)),
    "damaged gzip": hostile.answer(DAMAGED),
    "in no time, and closes": hostile.cut(response(hostile.OTEL_PAGE)),
}


@contextmanager
def unreachable() -> Iterator[Counter[str]]:
    """Count what of the exporter only the garbage collector could free, of all that is given up meanwhile."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    found.update({kind: number for kind, number in kinds.items() if kind.startswith(("exporter.", "httptools."))})


@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_no_scrape_leaves_garbage(library: str) -> None:
    """On either loop, whatever the agents do: all that was made for a scrape is gone with it."""
    loop: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip(library).new_event_loop

    async def scrape() -> dict[str, Counter[str]]:
        return {way: await left_behind(behaviour) for way, behaviour in WAYS.items()}

    with asyncio.Runner(loop_factory=loop) as runner:
        found = runner.run(scrape())
    assert {way: objects for way, objects in found.items() if objects} == {}


async def left_behind(behaviour: Behaviour | None) -> Counter[str]:
    """Return what some scrapes of an agent leave; None is one that refuses connections."""
    exporter = Exporter(SETTINGS)

    async def more() -> None:
        seen = len(exporter.counter.outcomes)
        await exporter.until(lambda: len(exporter.counter.outcomes) >= seen + 2, "more scrapes")

    async with HostileServer(behaviour or hostile.hang()) as server:
        with hostile.refusing_port() as closed:
            nobody = make_target("ill", address="127.0.0.1", endpoint=Endpoint(Dialect.OTEL, closed, "/metrics"))
            async with exporter.scraping(nobody if behaviour is None else ill(server)):
                await more()
                with unreachable() as found:
                    await more()
    return found
