"""The status page in a real browser: what it draws, what it withholds, and that nothing it is told becomes markup."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from exporter.fleet.departure import Departure, LossReason
from exporter.fleet.model import Fleet, IgnoredPod
from exporter.fleet.scaler import Condition
from tests.factories import NOW, WALL_NOW, make_drain, make_fleet, make_reading, make_scaler, make_snapshot
from tests.fakes.chromium import Page
from tests.fakes.hostile_text import HOSTILE
from tests.fakes.ports import free_port
from tests.web.reading import DRAWN, NEEDS_BROWSER, text_of
from tests.web.serving import StaticView, make_server, running, serve

pytestmark = NEEDS_BROWSER

TABLE = "(document.querySelector('div.table'))"
STRETCHES = (
    "document.querySelector('.chart path.running')?.getAttribute('d')"
    ".split('M').slice(1).map((stretch) => stretch.split('L').length).join()"
)
"""How many points each stretch of the line of running tasks has."""
UNSEEN = "connection refused on 127.0.10.1:9464"


def dark() -> Fleet:
    """Return a fleet that cannot be seen."""
    return make_fleet([make_snapshot(f"d-{n}", never_read=True, error=UNSEEN) for n in range(3)], name="dark")


def busy() -> Fleet:
    """Return a fleet with more work than slots, and an agent that lost its control plane."""
    lost = make_snapshot("b-3", fleet="busy", reading=make_reading(connected=False))
    full = [make_snapshot(f"b-{n}", fleet="busy", reading=make_reading(21.0, tasks_queued=4.0)) for n in range(2)]
    return make_fleet([*full, lost], name="busy")


async def test_a_drain_that_was_cut_short_is_seen_first(page: Page) -> None:
    """It stands above all others, in the color of lost agents, with the time that is left and its tasks."""
    ending = make_snapshot("b-9", fleet="busy", facts=make_drain(60, granted=600), tasks_active=7)
    usual = make_snapshot("b-8", fleet="busy", facts=make_drain(60), tasks_active=7)
    snapshots = [agent.snapshot for agent in busy().agents]
    async with serve(StaticView([make_fleet([*snapshots, usual, ending], name="busy")])) as url:
        await page.goto(url)
        await page.until(f"{DRAWN} === 1")
        row = await text_of(page, "#agents tbody tr")
        assert row.startswith("b-9 matillion/busy draining 7/20")
        assert "killed in 9 min with 7 tasks: draining since 02:29 UTC" in row
        assert await page.evaluate("document.querySelector('#agents tbody .state').className") == "state bad"
        link = "document.querySelector('#agents tbody .runbook').href.endsWith("
        link += "'/runbooks/MatillionAgentDrainCutShort?namespace=matillion&fleet=busy&pod=b-9')"
        assert await page.evaluate(link)
        assert "b-8" not in await text_of(page, "#agents")
        assert page.complaints == []


async def test_what_a_reader_sees(page: Page) -> None:
    """Figures of a trusted fleet, a bar beyond its slots, and the agents that need attention with their reasons."""
    async with serve(StaticView([busy(), make_fleet()])) as url:
        await page.goto(url)
        await page.until(f"{DRAWN} === 2")
        card = await text_of(page, "[data-fleet='matillion/busy']")
        for part in (
            "trusted degraded 1 of 3 agents is not connected to the control plane: b-3",
            "42 of 40 slots in use, 0 free, 8 queued, 12 more run on agents that do not serve",
            "running 54 + queued 8 + assumed 0 + replaced 16 + unseen 0 = demand 78 ÷ 16 = desired 5",
            "2 serving",
            "1 disconnected",
        ):
            assert part.lower() in card.lower()
        assert await text_of(page, "#summary") == "1 of 2 fleets degraded, 1 of 4 agents needs attention"
        assert "degraded matillion/busy: 1 of 3 agents is not connected" in await text_of(page, "#troubles")
        table = await text_of(page, "#agents")
        assert "b-3 matillion/busy disconnected 12/20" in table
        assert "not connected to the control plane, 12 tasks active" in table
        assert "b-0" not in table
        assert await page.evaluate("document.title") == "1 agent in trouble · Matillion fleets"
        await page.evaluate("document.querySelectorAll('#shown button')[1].click()")
        assert "b-0" in await text_of(page, "#agents")
        await page.evaluate(
            "(() => { const s = document.querySelector('#search'); s.value = 'etl serving';"
            " s.dispatchEvent(new Event('input')); })()"
        )
        table = await text_of(page, "#agents")
        assert "agent-1" in table
        assert "b-0" not in table
        assert page.complaints == []


async def test_what_is_withheld(page: Page) -> None:
    """A fleet that cannot be trusted shows why, no demand, and no number for what is not known."""
    async with serve(StaticView([dark()])) as url:
        await page.goto(url)
        await page.until(f"{DRAWN} === 1")
        card = await text_of(page, ".fleet")
    for part in (
        "not trusted",
        "only 0 of 3 agents respond",
        "Its demand is withheld from every scaler.",
        "running ? +",
        "how much runs is not known",
        "demand withheld",
        "desired withheld",
    ):
        assert part in card
    assert await page.evaluate("document.querySelector('.bar').className") == "bar unknown"


async def test_what_scales_a_fleet(page: Page) -> None:
    """Bounds and decision in a line, and a sentence where they are in the way; nothing where it is not known."""
    off = make_scaler("b", active=Condition(False, "FailedGetExternalMetric", "no"), desired_agents=None, keda=True)
    fleets = [
        make_fleet([make_snapshot(reading=make_reading(200))], scalers=[make_scaler("a"), off]),
        make_fleet(name="none", scalers=[]),
        make_fleet(name="unknown"),
    ]
    async with serve(StaticView(fleets)) as url:
        await page.goto(url)
        await page.until(f"{DRAWN} === 3")
        card = await text_of(page, "[data-fleet='matillion/etl']")
        assert "HPA a: 2 – 12 agents; its last decision 3, 1 there HPA b (KEDA): 2 – 12 agents" in card
        assert "its last decision ?, 1 there, not active" in card
        assert "Desires 13 agents, but its HPA a allows at most 12" in card
        assert "no HPA scales it" in await text_of(page, "[data-fleet='matillion/none']")
        assert "HPA" not in await text_of(page, "[data-fleet='matillion/unknown']")
        assert await page.evaluate("document.querySelector('.fleet h3').innerText") == "matillion/etl", (
            "the worst first"
        )
        assert page.complaints == []


async def test_what_was_passed_over(page: Page) -> None:
    """Above the fleets, and also where there is none; gone with the last such pod."""
    view = StaticView(others=[IgnoredPod("matillion", f"job-{n}", "it belongs to a Job") for n in range(2)])
    sentence = "2 pods match the selector but are not agents: matillion/job-0, matillion/job-1 (it belongs to a Job)"
    async with serve(view) as url:
        await page.goto(url)
        await page.until("document.querySelector('#remarks').children.length === 1 && document.querySelector('.empty')")
        assert await text_of(page, "#remarks") == sentence
        assert "No fleet was found." in await text_of(page, "main")
        view.others = ()
        await page.until("document.querySelector('#remarks').children.length === 0")
        assert page.complaints == []


async def test_nothing_becomes_markup(page: Page) -> None:
    """Names and reasons with markup and script in them are shown as they are; the browser had nothing to forbid."""
    evil = HOSTILE["markup"] + HOSTILE["leaves an attribute"]
    fleet = make_fleet([make_snapshot(evil, age=99.0, error=evil)], namespace=evil, name=evil)
    async with serve(StaticView([fleet], reason=evil)) as url:
        await page.goto(url)
        await page.until("document.querySelector('td.reason') !== null")
        assert evil in await page.evaluate("document.querySelector('h3').textContent")
        assert evil in await page.evaluate("document.querySelector('td.reason').textContent")
        assert evil in await page.evaluate("document.querySelector('#banner').textContent")
        assert await page.evaluate("document.querySelectorAll('main img, main script, main svg[onload]').length") == 0
        assert await page.evaluate("document.title") != "owned"
        assert page.complaints == []


async def test_its_policy_holds(page: Page) -> None:
    """Even a script that got in could neither write markup nor load anything from elsewhere."""
    async with serve(StaticView([make_fleet()])) as url:
        await page.goto(url)
        await page.until(f"{DRAWN} === 1")
        thrown = "(() => { try { document.body.innerHTML = '<b>x</b>'; return ''; } catch (e) { return e.name; } })()"
        assert await page.evaluate(thrown) == "TypeError"
        fetched = "fetch('http://127.0.0.1:1/').then(() => 'went', () => 'refused')"
        assert await page.evaluate(fetched) == "refused"
        assert any("Content Security Policy" in complaint for complaint in page.complaints)


async def test_charts(page: Page) -> None:
    """History becomes lines; what was not known leaves a hole."""
    view = StaticView([make_fleet()])
    server = make_server(view)
    async with running(server) as address:
        await asyncio.sleep(0)
        for step, fleet in enumerate(
            [make_fleet(), make_fleet(), make_fleet([make_snapshot(never_read=True)]), make_fleet()]
        ):
            view.shown, view.instant = [fleet], view.instant + step
            server.history.sample()
        await page.goto(f"http://{address}/")
        await page.until("document.querySelector('.chart path.running')")
        path = await page.evaluate("document.querySelector('.chart path.running').getAttribute('d')")
        capacity = await page.evaluate("document.querySelector('.chart path.capacity').getAttribute('d')")
    assert path.count("M") == 2
    assert capacity.count("M") == 1


async def test_lost_tasks(page: Page) -> None:
    """Marks in the chart while the range has them, the sum of a day, and how each agent left, the latest first."""
    view = StaticView()
    server = make_server(view)
    async with running(server) as address:
        await page.goto(f"http://{address}/")
        await page.until("document.querySelector('#departures').innerText.includes('No agent has left since')")
        for tasks in (0, 12):
            view.shown, view.instant = [make_fleet(tasks_lost=lost(tasks))], view.instant + 15
            server.history.sample()
        view.departures.gone = [
            Departure(uid="a", namespace="matillion", fleet="etl", pod="etl-1", ended_time=WALL_NOW - 60, tasks_lost=12,
                      reason=LossReason.OOM_KILLED),
            Departure(uid="b", namespace="matillion", fleet="etl", pod="etl-2", requested_time=WALL_NOW, replaced=False,
                      tasks_at_request=7),
        ]  # fmt: skip
        await page.goto(f"http://{address}/")
        await page.until("document.querySelector('.chart .lost') !== null")
        rows = await page.evaluate("[...document.querySelectorAll('#departures tbody tr')].map((row) => row.innerText)")
        first, second = (" ".join(row.split()) for row in rows)
        assert first.startswith("etl-2 matillion/etl draining – 7 scale-in ")
        assert second.startswith("etl-1 matillion/etl OOMKilled 12 – ended ")
        assert "lost in 24 h 12 tasks" in await text_of(page, ".fleet")
        assert page.complaints == []


def lost(tasks: float) -> Mapping[LossReason, float]:
    """Return the count of a fleet that has lost so many tasks."""
    return dict.fromkeys(LossReason, 0.0) | {LossReason.OOM_KILLED: tasks}


async def test_an_exporter_that_is_away(page: Page) -> None:
    """What is shown then is said to be old, is kept until the exporter is ready again, and then caught up with."""
    listen = f"127.0.0.1:{free_port()}"
    view = StaticView([make_fleet()])
    with capture_logs():
        async with running(make_server(view, listen=listen)):
            await page.goto(f"http://{listen}/")
            await page.until(f"{DRAWN} === 1 && document.querySelector('#agents > *')")
        await page.until("document.body.classList.contains('stale')")
        banner = await text_of(page, "#banner")
        assert banner.startswith("No answer from the exporter")
        assert "What is shown is from" in banner
        view.shown, view.reason = [], "no list of pods yet"
        async with running(make_server(view, listen=listen)):
            await page.until("document.querySelector('#banner').innerText.includes('was restarted')")
            assert await page.evaluate(f"{DRAWN} === 1 && document.body.classList.contains('stale')")
            view.shown, view.reason = [make_fleet(), busy()], None
            await page.until(f"{DRAWN} === 2")
            await page.until("document.querySelector('#banner').hidden")
            assert not await page.evaluate("document.body.classList.contains('stale')")


async def test_charts_go_on_after_a_restart(page: Page, tmp_path: Path) -> None:
    """An open page has the points from before, a gap and those since; so has one that is opened after the restart."""
    view = StaticView([make_fleet()])
    given = {
        "listen": f"127.0.0.1:{free_port()}",
        "history_file": tmp_path / "page-history",
        "wall_clock": lambda: WALL_NOW + view.instant - NOW,
    }
    async with running(server := make_server(view, **given)):
        for _ in range(3):
            view.instant += 15
            server.history.sample()
        await page.goto(f"http://{given['listen']}/")
        await page.until(f"{STRETCHES} === '4'")
    view.instant += 15
    async with running(server := make_server(view, **given)):
        for _ in range(2):
            view.instant += 15
            server.history.sample()
        await page.until(f"{STRETCHES} === '4,3'")
        # What it had still to load when the first server ended, its icon for one, was refused.
        page.complaints[:] = [complaint for complaint in page.complaints if "ERR_CONNECTION_REFUSED" not in complaint]
        await page.goto(f"http://{given['listen']}/")
        await page.until(f"{STRETCHES} === '4,3'")
        assert page.complaints == []


async def test_a_clock_that_is_set_back(page: Page) -> None:
    """An open page does not wait until the clock has caught up: it asks for all points again."""
    view, step = StaticView([make_fleet()]), 0.0

    def machine() -> float:
        return WALL_NOW + view.instant - NOW

    server = make_server(view, wall_clock=lambda: machine() + step, machine_clock=machine)
    async with running(server) as address:
        for _ in range(3):
            view.instant += 15
            server.history.sample()
        await page.goto(f"http://{address}/")
        await page.until(f"{STRETCHES} === '4'")
        step = -3600.0
        view.instant += 15
        server.history.sample()
        await page.until(f"{STRETCHES} === '5'")


async def test_not_ready_yet(page: Page) -> None:
    """What is missing stands at the top, and no agent is accused that nobody has looked at."""
    unread = make_fleet([make_snapshot(f"a-{n}", never_read=True) for n in range(3)])
    async with serve(StaticView([unread], reason="3 agents were not tried yet")) as url:
        await page.goto(url)
        await page.until("!document.querySelector('#banner').hidden && document.querySelector('#agents > *')")
        assert await text_of(page, "#banner") == "Not ready yet: 3 agents were not tried yet"
        assert await text_of(page, "#summary") == "matillion/etl was not looked at yet: 3 agents, none needs attention"
        assert "3 not looked at yet" in await text_of(page, ".states")
        assert await text_of(page, "#agents") == "No agent was looked at yet."
        assert await page.evaluate("document.querySelectorAll('main .bad, main .problems').length") == 0
        assert page.complaints == []


async def test_many_agents(page: Page) -> None:
    """A thousand agents in trouble for one reason are one row; opened, they are drawn two hundred at a time."""
    fleet = make_fleet([make_snapshot(f"a-{n:04}", age=99.0, error=UNSEEN) for n in range(1000)])
    async with serve(StaticView([fleet])) as url:
        await page.goto(url)
        await page.until("document.querySelectorAll('#agents tbody tr').length === 1")
        assert "1,000 agents matillion/etl unreachable not scraped for 99 s" in await text_of(page, "#agents tbody")
        await page.evaluate("document.querySelector('.group button').click()")
        assert await page.evaluate("document.querySelectorAll('#agents tbody tr').length") == 200
        await page.evaluate("document.querySelector('.more button').click()")
        assert await page.evaluate("document.querySelectorAll('#agents tbody tr').length") == 400


@pytest.mark.parametrize("width", [360, 768, 1600])
@pytest.mark.parametrize("dark_mode", [False, True])
async def test_screens_and_tastes(page: Page, *, width: int, dark_mode: bool) -> None:
    """It fits narrow and wide windows, and text can be read on light and on dark."""
    await page.look(width=width, dark=dark_mode)
    async with serve(StaticView([busy(), dark()])) as url:
        await page.goto(url)
        await page.until(f"{DRAWN} === 2 && {TABLE}")
        assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        boxes = "[...document.querySelectorAll('.fleet')].map((card) => card.getBoundingClientRect())"
        one, other = await page.evaluate(f"{boxes}.map((box) => [box.top, box.height])")
        assert one == other or one[0] < other[0], "cards beside each other are equally high"
        # Nothing of the table stands outside either: the reason of a state is what a reader came for.
        assert await page.evaluate("(({scrollWidth, clientWidth}) => scrollWidth <= clientWidth)" + TABLE)
        assert page.complaints == []
