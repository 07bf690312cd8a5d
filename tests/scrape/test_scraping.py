"""Poller, client and store together on real sockets: one agent that is well among others that are not."""

import gzip
import os
import random
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from exporter.config import ScrapeSettings
from exporter.fleet.model import AgentSnapshot, AgentState, Dialect, Endpoint, Fleet, Target
from exporter.fleet.policy import Policy
from exporter.scrape.client import PageClient
from exporter.scrape.poller import Poller
from exporter.simulator.agent import AgentServer, Place
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.vitals import CURRENT, LEGACY, Image
from exporter.store.snapshots import SnapshotStore
from tests.factories import make_target
from tests.fakes import hostile
from tests.fakes.background import background
from tests.fakes.hostile import MIB, OTEL_PAGE, HostileServer, chunk, head, response
from tests.fakes.simulated_agent import agent_at_work
from tests.waiting import eventually

RUN = os.getpid() % 256
"""In the addresses, so that two runs at the same time do not meet."""
WELL = f"127.23.{RUN}.1"
ELSEWHERE = f"127.23.{RUN}.9"
SETTINGS = ScrapeSettings(interval=0.8, timeout=0.8)
LIMIT = SETTINGS.max_body_bytes
CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
GZIP = "Content-Encoding: gzip"
TOO_LARGE = f"page exceeds scrape.max_body_bytes = {LIMIT}"
DAMAGED = response(gzip.compress(OTEL_PAGE)[20:], "200 OK", GZIP)


@dataclass
class Counter:
    """Counts scrapes by outcome."""

    outcomes: list[str] = field(default_factory=list)

    def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
        """Take note of one."""
        self.outcomes.append(outcome)


class Exporter:
    """The scraping half of an exporter."""

    def __init__(self, settings: ScrapeSettings = SETTINGS) -> None:
        self.settings = settings
        self.counter = Counter()
        self.store = SnapshotStore(Policy(), monotonic=time.monotonic, wall=time.time)

    @asynccontextmanager
    async def scraping(self, *targets: Target) -> AsyncIterator[None]:
        """Scrape these agents while the context lasts."""
        self.store.replace("static targets", targets)
        phases = random.Random()  # noqa: S311 - jitter
        async with PageClient(self.settings) as client:
            poller = Poller(self.settings, self.store, client, self.counter, monotonic=time.monotonic, phases=phases)
            async with background(poller.run()):
                yield

    def fleet(self) -> Fleet:
        """Return the one fleet as of now."""
        (fleet,) = self.store.fleets()
        return fleet

    def snapshot(self, pod: str) -> AgentSnapshot:
        """Return what is known of an agent."""
        return next(agent.snapshot for agent in self.fleet().agents if agent.snapshot.target.pod == pod)

    def errors(self) -> dict[str, str]:
        """Return what is wrong with each agent that is not well."""
        agents = (agent.snapshot for agent in self.fleet().agents)
        return {snapshot.target.pod: snapshot.error for snapshot in agents if snapshot.error}

    async def until(self, done: Callable[[], bool], what: str) -> None:
        """Wait for a condition."""
        await eventually(done, what=lambda: f"{what} never happened; outcomes so far: {self.counter.outcomes}")


@asynccontextmanager
async def simulated(image: Image = CURRENT, host: str = WELL) -> AsyncIterator[SimulatedAgent]:
    """Run one agent of the simulator, with 7 tasks."""
    agent = agent_at_work(0, "etl", "well", image, tasks=7)
    server = AgentServer(agent, Place(host), clock=lambda: 100.0)
    await server.follow()
    try:
        yield agent
    finally:
        await server.close()


def well(host: str = WELL) -> Target:
    return make_target("well", address=host)


def ill(server: HostileServer, pod: str = "ill") -> Target:
    return make_target(pod, address=server.host, endpoint=Endpoint(Dialect.OTEL, server.port, "/metrics"))


HOSTILE = {
    "slow first byte": (hostile.hang(), "waited 0.8 s for an answer"),
    "slow drip": (hostile.drip(CHUNKED, chunk(b"#\n"), 0.05), "waited 0.8 s for the rest of the page"),
    "cut connection": (hostile.cut(response(OTEL_PAGE)[:-9]), "connection lost in the middle of the page"),
    "Content-Length too long": (
        hostile.cut(head("200 OK", "Content-Length: 9999") + OTEL_PAGE),
        "connection lost in the middle of the page",
    ),
    "Content-Length too short": (
        hostile.answer(head("200 OK", f"Content-Length: {len(OTEL_PAGE) - 4}") + OTEL_PAGE),
        "the response is not HTTP",
    ),
    "too large, plain": (hostile.answer(response(b"#\n" * LIMIT)), TOO_LARGE),
    "too large, in chunks": (
        hostile.flood(CHUNKED, chunk(b"#\n" * 999)),
        TOO_LARGE,
    ),
    "too large, by its word": (
        hostile.hang(head("200 OK", f"Content-Length: {LIMIT + 1}")),
        TOO_LARGE,
    ),
    "gzip bomb": (
        hostile.answer(response(hostile.gzip_bomb(64 * MIB), "200 OK", GZIP)),
        TOO_LARGE,
    ),
    "damaged gzip": (
        hostile.answer(response(gzip.compress(OTEL_PAGE)[20:], "200 OK", GZIP)),
        "compressed data is corrupt",
    ),
    "headers without an end": (hostile.flood(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "the response is not HTTP"),
    "500": (hostile.answer(response(b"oops", "500 Internal Server Error")), "HTTP 500"),
    "404": (hostile.answer(response(b"", "404 Not Found")), "HTTP 404"),
    "204": (hostile.answer(head("204 No Content")), "HTTP 204"),
    "HTML": (
        hostile.answer(response(b"<html></html>\n", content_type="text/html")),
        "content type 'text/html' is not a metrics page",
    ),
    "empty": (hostile.answer(response(b"")), "no agent metrics on the page"),
    "binary": (hostile.answer(response(bytes(range(256)) * 99 + b"\n")), "no agent metrics on the page"),
}


@pytest.mark.slow
async def test_hostile_agents_are_distinguished_and_cost_the_healthy_one_nothing() -> None:
    """All at once, by one poller: each has its own sentence, and the agent that is well is read at every turn."""
    exporter = Exporter()
    tracemalloc.start()
    try:
        async with AsyncExitStack() as servers:
            await servers.enter_async_context(simulated())
            targets = [
                ill(await servers.enter_async_context(HostileServer(behaviour)), name)
                for name, (behaviour, _) in HOSTILE.items()
            ]
            async with exporter.scraping(well(), *targets):
                await exporter.until(lambda: exporter.store.not_ready_reason() is None, "the first round")
                expected = {
                    target.pod: f"{reason} on {target.address}:{target.endpoint.port}"
                    for target, (_, reason) in zip(targets, HOSTILE.values(), strict=True)
                    if target.endpoint
                }
                await exporter.until(lambda: exporter.errors() == expected, "each error")
                for _ in range(3):
                    read_at = exporter.snapshot("well").read_at
                    await exporter.until(
                        lambda: exporter.snapshot("well").read_at != read_at,  # noqa: B023 - waited for within the round
                        "a newer reading",
                    )
                reading = exporter.snapshot("well").reading
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reading is not None
    assert reading.tasks_active == 7
    # Several pages of 4 MiB may be under way at once, and the servers' own copies are counted too.
    assert peak < 20 * LIMIT


@pytest.mark.parametrize("image", [CURRENT, LEGACY], ids=["current", "legacy"])
@pytest.mark.slow
async def test_an_agent_of_the_simulator_is_read_on_its_own_endpoint(image: Image) -> None:
    """An image that is new is read on 9464, an old one on 8080, whatever else they do."""
    exporter = Exporter()
    async with simulated(image), exporter.scraping(well()):
        await exporter.until(lambda: exporter.counter.outcomes.count("ok") >= 3, "a reading")
        snapshot = exporter.snapshot("well")
        assert snapshot.reading is not None
        assert snapshot.reading.tasks_active == 7
        port = 9464 if image.otel else 8080
        assert (snapshot.url or "").startswith(f"http://{WELL}:{port}/")
        assert set(exporter.counter.outcomes) == {"ok"}


@pytest.mark.slow
async def test_an_agent_that_comes_back_is_read_again() -> None:
    """Its container restarts: the port refuses, then answers."""
    exporter = Exporter()
    async with exporter.scraping(well()):
        await exporter.until(lambda: bool(exporter.counter.outcomes), "a scrape")
        assert exporter.fleet().agents[0].state is AgentState.UNREACHABLE
        assert exporter.snapshot("well").error == f"connection refused on {WELL}:9464 and :8080"
        async with simulated():
            await exporter.until(lambda: exporter.fleet().states[AgentState.SERVING] == 1, "a reading")


@pytest.mark.slow
async def test_scrapes_of_one_agent_share_a_connection() -> None:
    """Filtered and whole pages alike, over many intervals."""
    exporter = Exporter(ScrapeSettings(interval=0.05, timeout=0.05))
    async with HostileServer(hostile.page()) as server, exporter.scraping(ill(server)):
        await exporter.until(lambda: exporter.counter.outcomes.count("ok") >= 20, "twenty readings")
        assert server.connections == 1
        assert any("name%5B%5D=" in request for request in server.requests)


@pytest.mark.slow
async def test_a_redirect_leads_nowhere() -> None:
    """Neither the poller nor the client behind it ever connects to where an agent points."""
    exporter = Exporter()
    async with HostileServer(hostile.page(), host=ELSEWHERE) as elsewhere:
        away = response(b"", "302 Found", f"Location: http://{ELSEWHERE}:{elsewhere.port}/metrics")
        async with HostileServer(hostile.answer(away)) as server, exporter.scraping(ill(server)):
            await exporter.until(lambda: exporter.counter.outcomes.count("redirect") >= 3, "three refusals")
        assert elsewhere.connections == 0
        assert set(exporter.counter.outcomes) == {"redirect"}
