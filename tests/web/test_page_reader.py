"""What the status page does for its reader: it stays where it is, is sent to colleagues, and is read on any screen."""

import asyncio

import pytest

from exporter.fleet.departure import Departure
from tests.factories import WALL_NOW, make_facts, make_fleet, make_reading, make_snapshot
from tests.fakes.chromium import Page
from tests.web.axe import VIOLATIONS, axe
from tests.web.reading import DRAWN, NEEDS_BROWSER, text_of
from tests.web.serving import StaticView, make_server, running, serve

pytestmark = NEEDS_BROWSER

ROWS = "[...document.querySelectorAll('#agents tbody tr')].map((row) => row.querySelector('td').firstChild.textContent)"
READY = f"{DRAWN} && document.querySelector('#agents tbody tr')"
LOST = "not connected to the control plane"


def view() -> StaticView:
    """Return two fleets: one with three agents that lost the control plane and one that is full, one that is well."""
    lost = [make_snapshot(f"l-{n}", fleet="night", reading=make_reading(float(n), connected=False)) for n in range(3)]
    full = make_snapshot("full", fleet="night", tasks_active=23, facts=make_facts(restarts=2))
    return StaticView([make_fleet([*lost, full], name="night"), make_fleet()])


async def test_a_refresh_touches_nothing_that_has_not_changed(page: Page) -> None:
    """Rows and cards are the same elements, scrolling and focus stay; only what changed is written."""
    shown = view()
    server = make_server(shown)
    async with running(server) as address:
        await page.look(width=390, height=500)
        await page.goto(f"http://{address}/?show=all")
        await page.until(READY)
        await page.evaluate("""(() => {
          window.added = 0;
          window.rows = [...document.querySelectorAll('#agents tbody tr')];
          document.querySelector('#agents th button').focus();
          scrollTo(0, 700);
          new MutationObserver((changes) => {
            for (const {addedNodes} of changes) window.added += addedNodes.length;
          }).observe(document.querySelector('main'), {childList: true, subtree: true});
        })()""")
        before = await page.evaluate("scrollY")
        shown.shown = [*shown.shown[:1], make_fleet([make_snapshot(tasks_active=17)])]
        await page.until("document.querySelector('main').innerText.includes('17/20')")
        assert await page.evaluate("window.added") == 0
        same = "window.rows.every((row, at) => row === document.querySelectorAll('#agents tbody tr')[at])"
        assert await page.evaluate(same)
        assert await page.evaluate("scrollY") == before > 0
        assert await page.evaluate("document.activeElement.innerText") == "Agent"
        assert page.complaints == []


async def test_what_a_reader_chose_is_in_the_address(page: Page) -> None:
    """Fleet, range, search and order survive a reload, and the browser leads back."""
    async with serve(view()) as url:
        await page.goto(url)
        await page.until(READY)
        await page.evaluate("[...document.querySelectorAll('#ranges button')].at(-1).click()")
        link = "[...document.querySelectorAll('.links a')].find((a) => a.innerText === 'its 4 agents').click()"
        await page.evaluate(link)
        assert await page.evaluate(DRAWN) == 1
        await page.evaluate("history.back()")
        await page.until(f"location.search === '?range=21600' && {DRAWN} === 2")
        await page.evaluate(link)
        await page.evaluate("[...document.querySelectorAll('#agents th button')][2].click()")
        await page.evaluate(
            "(() => { const s = document.querySelector('#search'); s.value = 'l- lane';"
            " s.dispatchEvent(new Event('input')); })()"
        )
        address = await page.evaluate("location.search + location.hash")
        assert address == "?fleet=matillion/night&search=l-+lane&range=21600&show=all&sort=-tasks"
        for _ in range(2):
            assert await page.evaluate(ROWS) == ["l-2", "l-1", "l-0"]
            assert await page.evaluate(f"{DRAWN} === 1 && document.querySelector('#fleet').value === 'matillion/night'")
            assert await page.evaluate("document.querySelector('#search').value") == "l- lane"
            await page.goto(url + "/" + address)
            await page.until(READY)
        assert page.complaints == []


async def test_equal_reasons_are_one_row_that_opens(page: Page) -> None:
    """It says the reason once, with the range of its figures and the way to the runbook, and stays open."""
    shown = view()
    async with serve(shown) as url:
        await page.goto(url)
        await page.until(READY)
        assert await page.evaluate(ROWS) == ["3 agents"]
        row = await text_of(page, "#agents tbody tr")
        assert f"{LOST}, 0 – 2 tasks active" in row
        await page.evaluate("document.querySelector('.group button').click()")
        assert await page.evaluate(ROWS) == ["3 agents", "l-0", "l-1", "l-2"]
        shown.shown = [*shown.shown[:1], make_fleet([make_snapshot(tasks_active=17)])]
        await page.until("document.querySelector('main').innerText.includes('17')")
        assert await page.evaluate(ROWS) == ["3 agents", "l-0", "l-1", "l-2"]
        assert await page.evaluate("document.querySelector('.group button').ariaExpanded") == "true"


async def test_slots_are_seen(page: Page) -> None:
    """As wide as there are slots, and wider by what runs beyond them."""
    async with serve(view()) as url:
        await page.goto(f"{url}/?show=all&fleet=matillion/night&sort=-tasks")
        await page.until(READY)
        widths = await page.evaluate("[...document.querySelectorAll('.slots')].map((bar) => bar.clientWidth)")
        assert widths == [115, 100, 100, 100]
        assert "full matillion/night serving 23/20 0 33 % 2" in await text_of(page, "#agents tbody tr")


def left(fleet: str, pod: str) -> Departure:
    """Return how an agent with a task was lost."""
    return Departure(uid=pod, namespace="matillion", fleet=fleet, pod=pod, ended_time=WALL_NOW, tasks_lost=1)


async def test_departures_follow_the_fleet(page: Page) -> None:
    """A fleet that was chosen has only its own, and as many of them as all would have."""
    shown = view()
    shown.departures.gone = [left(fleet, f"{fleet}-{n}") for fleet in ("night", "etl") for n in range(20)]
    async with serve(shown) as url:
        await page.goto(f"{url}/?fleet=matillion/night")
        await page.until("document.querySelectorAll('#departures tbody tr').length === 20")
        assert "etl-" not in await text_of(page, "#departures")
        assert "lost in 24 h 20 tasks" in await text_of(page, ".fleet")


POINTER = """(() => {
  const svg = document.querySelector(".chart svg"), box = svg.getBoundingClientRect();
  for (const kind of %s) svg.dispatchEvent(new PointerEvent(kind, {clientX: box.right, bubbles: true}));
})()"""
"""What a pointer does at the end of the first chart."""


async def test_a_point_that_was_clicked_stays(page: Page) -> None:
    """The pointer may leave, and figures may come; another click or Escape lets go."""
    shown = view()
    server = make_server(shown)
    async with running(server) as address:
        await asyncio.sleep(0)
        for _ in range(3):
            shown.instant += 15
            server.history.sample()
        await page.goto(f"http://{address}/?fleet=matillion/etl")
        await page.until("document.querySelector('.chart svg')")
        legend = "document.querySelector('.legend').innerText.includes('running 12')"
        await page.evaluate(POINTER % '["pointermove"]')
        assert await page.evaluate(legend)
        await page.evaluate(POINTER % '["pointerleave"]')
        assert not await page.evaluate(legend)
        await page.evaluate(POINTER % '["pointermove", "click", "pointerleave"]')
        shown.shown = [make_fleet([make_snapshot(tasks_active=17)])]
        await page.until("document.querySelector('.load').innerText.includes('17 of 20')")
        assert await page.evaluate(legend)
        await page.evaluate("document.querySelector('h1').click()")
        assert not await page.evaluate(legend)
        assert page.complaints == []


async def test_on_a_phone_what_is_wrong_is_on_the_first_screen(page: Page) -> None:
    """And the reason of a state is whole, below its agent."""
    await page.look(width=360, height=640)
    async with serve(view()) as url:
        await page.goto(url)
        await page.until(READY)
        trouble = await page.evaluate("document.querySelector('#troubles li').getBoundingClientRect().bottom")
        card = await page.evaluate("document.querySelector('.fleet .problems').getBoundingClientRect().bottom")
        assert max(trouble, card) <= 640
        reason, row = await page.evaluate(
            "['.reason', 'tr'].map((part) =>"
            " document.querySelector(`#agents tbody ${part}`).getBoundingClientRect().toJSON())"
        )
        assert row["left"] < reason["left"] < reason["right"] < row["right"]
        assert reason["width"] > 0.9 * row["width"]
        assert reason["bottom"] <= row["bottom"]
        assert await page.evaluate("document.documentElement.scrollWidth <= 360")


@pytest.mark.parametrize("look", ["light", "dark", "forced"])
async def test_axe_finds_nothing(page: Page, look: str) -> None:
    """In both themes and in the reader's own colors: a fleet that is down, one that is dark, one that is well."""
    script = axe()
    dark = make_fleet([make_snapshot("d", never_read=True, error="refused")], name="dark")
    shown = view()
    shown.shown = [*shown.shown, dark]
    shown.departures.gone = [left("etl", "gone")]
    server = make_server(shown)
    async with running(server) as address:
        await asyncio.sleep(0)
        for _ in range(3):
            shown.instant += 15
            server.history.sample()
        features = [
            {"name": "prefers-color-scheme", "value": "light" if look == "light" else "dark"},
            {"name": "forced-colors", "value": "active" if look == "forced" else "none"},
        ]
        for width in (1200, 360):
            await page.look(width=width)
            await page.send("Emulation.setEmulatedMedia", features=features)
            await page.goto(f"http://{address}/?show=all")
            await page.until(READY)
            await page.evaluate(script)
            assert await page.evaluate(VIOLATIONS) == []
