"""When each agent is scraped: phases, bounds, lanes, agents that come and go. In virtual time, with scripted agents."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config import DEFAULT_ENDPOINTS, ScrapeSettings
from exporter.fleet.model import AgentSnapshot, Target
from exporter.fleet.policy import Policy
from exporter.scrape.poller import Poller
from exporter.store.snapshots import SnapshotStore
from tests.factories import make_target
from tests.fakes.background import background
from tests.scrape.scripted_agents import FOR_EVER, Page, ScriptedAgents, legacy_page, otel_page

pytestmark = pytest.mark.looptime

SOURCE = "static targets"
INTERVAL = 5.0


class Observer:
    """Counts outcomes."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
        """Count one."""
        assert seconds >= 0
        self.outcomes[outcome] += 1


class Bench:
    """A poller at work on scripted agents."""

    def __init__(self, **settings: Any) -> None:
        clock = asyncio.get_running_loop().time
        self.agents = ScriptedAgents()
        self.observer = Observer()
        self.store = SnapshotStore(Policy(), monotonic=clock, wall=clock)
        self.poller = Poller(
            ScrapeSettings(**({"interval": INTERVAL, "filter_names": False} | settings)),
            self.store,
            self.agents,
            self.observer,
            monotonic=clock,
            phases=random.Random(7),  # noqa: S311 - jitter
        )

    def add(self, number: int, **page: Any) -> Target:
        """Make an agent and its page; the store does not know it yet."""
        target = make_target(f"agent-{number}", address=address(number))
        self.agents.pages[(address(number), 9464)] = Page(**({"body": otel_page()} | page))
        return target

    def know(self, targets: Iterable[Target]) -> None:
        """Let the store know these agents and no others."""
        self.store.replace(SOURCE, targets)

    def snapshot(self, number: int) -> AgentSnapshot:
        """Return what is known of an agent."""
        uid = f"uid-agent-{number}"
        agents = (agent.snapshot for fleet in self.store.fleets() for agent in fleet.agents)
        return next(snapshot for snapshot in agents if snapshot.target.uid == uid)

    def times(self) -> dict[str, list[float]]:
        """Return when each host was asked."""
        times = defaultdict(list)
        for at, host, _, _ in self.agents.asked:
            times[host].append(at)
        return times


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


@asynccontextmanager
async def polling(bench: Bench) -> AsyncIterator[None]:
    async with background(bench.poller.run()):
        yield


async def until_asked(bench: Bench) -> None:
    """Wait for a request to be under way at one agent that takes its time."""
    for _ in range(100):
        if bench.agents.running:
            return
        await asyncio.sleep(INTERVAL / 100)
    pytest.fail("no agent was asked")


# -- turns -------------------------------------------------------------------------------------------------------------


async def test_every_agent_is_scraped_once_per_interval_at_its_own_phase() -> None:
    """A steady pace, from the first turn on."""
    bench = Bench()
    bench.know(bench.add(number) for number in range(50))
    async with polling(bench):
        await asyncio.sleep(10 * INTERVAL - 0.1)
    times = bench.times()
    assert len(times) == 50
    for asked in times.values():
        assert len(asked) == 10
        assert all(after - before == pytest.approx(INTERVAL) for before, after in pairwise(asked))


async def test_the_phases_of_a_thousand_agents_are_spread_over_the_interval() -> None:
    """No burst: no tenth of the interval has much more than its share."""
    bench = Bench()
    bench.know(bench.add(number) for number in range(1000))
    async with polling(bench):
        await asyncio.sleep(INTERVAL)
    starts = Counter(int(asked[0] / INTERVAL * 10) for asked in bench.times().values())
    assert len(starts) == 10
    # The share is 100; chance gives it a standard deviation of 9.5.
    assert max(starts.values()) < 150
    assert min(starts.values()) > 60
    # A tick of 0.25 s has a twentieth of the agents, and chance as above.
    assert bench.agents.most_running < 90


async def test_an_agent_is_never_scraped_twice_at_once_and_missed_turns_are_skipped() -> None:
    """One that takes 12 s has a turn each 15 s, at its old phase, and none to catch up."""
    bench = Bench(interval=5.0, timeout=5.0, endpoints=DEFAULT_ENDPOINTS[:1])
    bench.know([bench.add(1)])
    bench.agents.fetch = _slow(bench.agents, 12.0)  # type: ignore[method-assign]
    async with polling(bench):
        await asyncio.sleep(100)
    (asked,) = bench.times().values()
    assert all(after - before == pytest.approx(15.0) for before, after in pairwise(asked))
    assert bench.agents.overlaps == 0


def _slow(agents: ScriptedAgents, seconds: float) -> Any:
    """Return a fetch that keeps to no limit."""
    fetch = agents.fetch

    async def slow(url: Any, *, within: float, **how: Any) -> Any:
        agents.pages[(url.host, url.port)].seconds = seconds
        return await fetch(url, within=max(within, 2 * seconds), **how)

    return slow


# -- bounds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 2, 3, 20])
async def test_no_more_than_concurrency_run_at_once(concurrency: int) -> None:
    """Whether they answer or hang, in both lanes together."""
    bench = Bench(concurrency=concurrency)
    bench.know(bench.add(number, seconds=FOR_EVER if number % 2 else 0.2) for number in range(200))
    async with polling(bench):
        await asyncio.sleep(10 * INTERVAL)
    assert bench.agents.most_running == concurrency
    assert bench.observer.outcomes["ok"] > 0


@pytest.mark.slow
async def test_agents_that_hang_do_not_delay_those_that_answer() -> None:
    """A third of a thousand accept and say nothing: every other agent still has its turn in time."""
    bench = Bench()
    bench.know(bench.add(number, seconds=FOR_EVER if number % 3 == 0 else 0.05) for number in range(1000))
    async with polling(bench):
        await asyncio.sleep(6 * INTERVAL)
    answering = [asked for host, asked in bench.times().items() if bench.agents.pages[(host, 9464)].seconds < 1]
    assert len(answering) == 666
    for asked in answering:
        assert max(asked[0], *(after - before for before, after in pairwise(asked))) < 2 * INTERVAL
        # In the first round nobody knows yet who hangs; from the third on nobody waits any more.
        settled = [at for at in asked if at > 2 * INTERVAL]
        assert all(after - before <= INTERVAL + 0.1 for before, after in pairwise(settled))


@pytest.mark.slow
async def test_agents_that_hang_are_found_again_soon_after_they_recover() -> None:
    """However many there were: within two intervals of the end of an outage all are read again."""
    bench = Bench()
    bench.know(bench.add(number, seconds=FOR_EVER) for number in range(1000))
    async with polling(bench):
        await asyncio.sleep(5 * INTERVAL)
        for page in bench.agents.pages.values():
            page.seconds = 0.01
        await asyncio.sleep(2 * INTERVAL)
        (fleet,) = bench.store.fleets()
        assert all(agent.fresh for agent in fleet.agents)


@pytest.mark.slow
async def test_looking_for_a_better_endpoint_delays_no_agent() -> None:
    """Where a NetworkPolicy drops packets to the new port of all agents, which are old, they are read in time."""
    bench = Bench(concurrency=40)
    targets = [bench.add(number, seconds=FOR_EVER) for number in range(200)]
    for number in range(200):
        bench.agents.pages[(address(number), 8080)] = Page(legacy_page())
    bench.know(targets)
    async with polling(bench):
        await asyncio.sleep(3 * INTERVAL)
        bench.agents.asked.clear()
        await asyncio.sleep(30 * INTERVAL)
    assert {port for _, _, port, _ in bench.agents.asked} == {9464, 8080}
    good: dict[str, list[float]] = defaultdict(list)
    for at, host, port, _ in bench.agents.asked:
        if port == 8080:
            good[host].append(at)
    assert len(good) == 200
    assert max(after - before for asked in good.values() for before, after in pairwise(asked)) <= INTERVAL + 0.5


@pytest.mark.slow
async def test_a_thousand_agents_behind_a_dropping_policy_are_read_in_their_first_turns() -> None:
    """All are new, and none answers on the port that is asked first: they hold no more places than there are."""
    bench = Bench()
    targets = [bench.add(number, seconds=FOR_EVER) for number in range(1000)]
    for number in range(1000):
        bench.agents.pages[(address(number), 8080)] = Page(legacy_page())
    bench.know(targets)
    async with polling(bench):
        await asyncio.sleep(INTERVAL + 1.0)
        (fleet,) = bench.store.fleets()
        assert all(agent.fresh for agent in fleet.agents)
        # While their rechecks hang, an agent that could not be read before is read soon after it comes up.
        bench.store.upsert(SOURCE, make_target("agent-1000", address=address(1000)))
        await asyncio.sleep(2 * INTERVAL)
        assert bench.snapshot(1000).error is not None
        bench.agents.pages[(address(1000), 9464)] = Page(seconds=FOR_EVER)
        bench.agents.pages[(address(1000), 8080)] = Page(legacy_page())
        await asyncio.sleep(INTERVAL + 2.5)
        assert bench.snapshot(1000).reading is not None
    assert bench.agents.most_running <= 200


# -- agents that come and go -------------------------------------------------------------------------------------------


async def test_a_removed_agent_is_scraped_no_more_and_its_scrape_ends() -> None:
    """Also one that hangs just then."""
    bench = Bench()
    bench.know([bench.add(1, seconds=FOR_EVER), bench.add(2)])
    async with polling(bench):
        await until_asked(bench)
        bench.know([])
        await asyncio.sleep(0.01)
        assert not bench.agents.running
        bench.agents.asked.clear()
        await asyncio.sleep(3 * INTERVAL)
        assert not bench.agents.asked
        assert not bench.poller._loops


async def test_an_agent_that_was_removed_and_added_again_is_scraped_on() -> None:
    """However the two fall between its turns; a static file may be saved twice in a second."""
    bench = Bench()
    target = bench.add(1)
    async with polling(bench):
        for pause in (0.0, 0.0, 0.001, 0.3, 1.7, INTERVAL, INTERVAL + 0.001):
            bench.know([target])
            await asyncio.sleep(pause)
            bench.know([])
            await asyncio.sleep(pause)
            bench.know([target])
            bench.agents.asked.clear()
            await asyncio.sleep(4 * INTERVAL)
            assert len(bench.agents.asked) in (4, 5)
        assert bench.agents.overlaps == 0


async def test_an_agent_whose_turn_comes_while_it_is_away_is_scraped_when_it_is_back() -> None:
    """Its loop does not end for finding nobody: it may be back before anyone noticed."""
    bench = Bench()
    target = bench.add(1)
    bench.know([target])
    async with polling(bench):
        await asyncio.sleep(INTERVAL)
        told, bench.store.membership_changed = bench.store.membership_changed, lambda: None
        bench.know([])
        await asyncio.sleep(2 * INTERVAL)
        bench.know([target])
        bench.store.membership_changed = told
        bench.agents.asked.clear()
        await asyncio.sleep(2 * INTERVAL)
        assert len(bench.agents.asked) == 2


async def test_an_agent_is_scraped_where_it_is_when_its_turn_comes() -> None:
    """Not where it was when it began to wait for a place; and a pod without an address waits for one."""
    bench = Bench()
    bench.add(1, body=otel_page(1))
    bench.add(2, body=otel_page(2))
    bench.know([make_target("agent-1", address=None)])
    async with polling(bench):
        await asyncio.sleep(2 * INTERVAL)
        assert not bench.agents.asked
        for number in (1, 2):
            bench.store.upsert(SOURCE, make_target("agent-1", address=address(number)))
            await asyncio.sleep(INTERVAL)
            reading = bench.snapshot(1).reading
            assert reading is not None
            assert reading.tasks_active == number


async def test_a_page_from_an_address_the_agent_has_left_is_dropped() -> None:
    """It was asked for at the old address, and comes when the pod has another."""
    bench = Bench()
    bench.add(1, body=otel_page(99), seconds=2.0)
    bench.know([make_target("agent-1", address=address(1))])
    async with polling(bench):
        await until_asked(bench)
        bench.store.upsert(SOURCE, make_target("agent-1", address=address(2)))
        await asyncio.sleep(2.5)
        assert bench.snapshot(1).reading is None


@pytest.mark.slow
async def test_ten_thousand_agents_begin_and_end_at_once() -> None:
    """Each has its loop from the first turn on, and none when it is gone."""
    bench = Bench(interval=15.0)
    targets = [bench.add(number) for number in range(10_000)]
    bench.know(targets)
    async with polling(bench):
        await asyncio.sleep(0.001)
        assert len(bench.poller._loops) == 10_000
        await asyncio.sleep(1.5)
        assert len(bench.times()) == pytest.approx(1000, abs=200)
        bench.know(targets[:100])
        await asyncio.sleep(0.001)
        assert len(bench.poller._loops) == 100


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_every_scrape_is_counted_by_its_outcome() -> None:
    """Good ones, refused ones, late ones."""
    bench = Bench()
    bench.know([bench.add(1), bench.add(2, seconds=FOR_EVER), make_target("agent-3", address=address(3))])
    async with polling(bench):
        await asyncio.sleep(10 * INTERVAL)
    assert bench.observer.outcomes.keys() == {"ok", "timeout", "connect"}
    assert bench.observer.outcomes["ok"] == 10


async def test_a_bug_met_in_one_scrape_is_shown_logged_once_and_contained() -> None:
    """The other agents are read on, and the process lives."""
    bench = Bench()
    bench.know([bench.add(1, body=ZeroDivisionError("boom")), bench.add(2)])
    with capture_logs() as logs:
        async with polling(bench):
            await asyncio.sleep(10 * INTERVAL)
            assert bench.snapshot(1).error == "unexpected ZeroDivisionError, see the exporter's log"
            assert bench.snapshot(2).error is None
    assert [(log["log_level"], log["pod"], log["exc_info"]) for log in logs] == [("error", "agent-1", True)]
    assert bench.observer.outcomes == {"ok": 10, "internal": 10}


async def test_a_bug_met_in_a_recheck_is_logged_and_contained() -> None:
    """The agent is read on where it answers."""
    bench = Bench()
    target = bench.add(1, body=legacy_page())
    bench.agents.pages[(address(1), 8080)] = bench.agents.pages.pop((address(1), 9464))
    bench.know([target])
    async with polling(bench):
        await asyncio.sleep(INTERVAL)
        bench.agents.pages[(address(1), 9464)] = Page(ZeroDivisionError("boom"))
        with capture_logs() as logs:
            await asyncio.sleep(5 * INTERVAL)
        assert bench.snapshot(1).error is None
        assert len(logs) in (1, 2)


async def test_a_failure_outside_of_a_scrape_ends_the_poller() -> None:
    """An exporter that cannot count or store must not look as if it worked."""

    class Broken(Observer):
        def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
            raise RuntimeError("full")

    bench = Bench()
    bench.poller._observer = Broken()
    bench.know([bench.add(1)])
    with pytest.raises(ExceptionGroup) as caught:
        await bench.poller.run()
    assert str(caught.value.exceptions[0]) == "full"
