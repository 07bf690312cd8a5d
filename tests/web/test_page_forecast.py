"""The forecast on the status page: what is expected, what had been forecast, and why there is none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from exporter.fleet.outlook import Outlook
from tests.factories import WALL_NOW, make_fleet, make_outlook, make_snapshot
from tests.fakes.chromium import Page
from tests.web.reading import CONTRAST, DRAWN, NEEDS_BROWSER, text_of
from tests.web.serving import StaticView, make_server, running

pytestmark = NEEDS_BROWSER

WHY = "2 days of history, <b>at least 3</b> are needed"
MARKS = "[...document.querySelectorAll('.fleet .mark:is(.label, .here)')].map((mark) => mark.innerText)"
KINDS = "[...document.querySelectorAll('.fleet svg path')].map((path) => path.getAttribute('class'))"
LEGEND = ".fleet .legend"


def withheld() -> Outlook:
    """Return an outlook that has too little history, with markup in its reason."""
    return make_outlook(None, reason=WHY, skill=None, like_days="", slots=())


@asynccontextmanager
async def serve_past(*outlooks: Outlook | None, untrusted: bool = False) -> AsyncIterator[str]:
    """Serve a fleet that had each of the outlooks a quarter of a minute after the one before, and has the last now."""
    view = StaticView()
    time = WALL_NOW
    server = make_server(view, wall_clock=lambda: time)
    async with running(server) as address:
        for step, outlook in enumerate(outlooks, 1 - len(outlooks)):
            time = WALL_NOW + 15 * step
            view.shown = [make_fleet([make_snapshot(age=99.0 if untrusted else 1.0)], outlook=outlook)]
            view.instant += 15
            server.history.sample()
        yield f"http://{address}"


async def shown(page: Page, url: str) -> None:
    """Open the page, and wait for the fleet's chart."""
    await page.goto(url)
    await page.until(f"{DRAWN} === 1 && document.querySelector('.fleet svg')")


async def test_what_is_expected_stands_to_the_right_of_now(page: Page) -> None:
    """A band with a dashed edge beyond a line, both named; a sentence says how far ahead, from what, how well."""
    async with serve_past(*[make_outlook()] * 20) as url:
        await shown(page, url)
        assert await page.evaluate(MARKS) == ["expected", "now"]
        assert {"ground", "band", "expected", "now", "forecast"} <= set(await page.evaluate(KINDS))
        edge = await page.evaluate("getComputedStyle(document.querySelector('path.expected')).strokeDasharray")
        assert edge != "none"
        assert await text_of(page, ".outlook") == (
            "forecast 48 tasks within 3 min (as on the last 14 days), skill 0.9; demand ahead 48"
        )
        label = await page.evaluate("document.querySelector('.fleet svg').ariaLabel")
        assert label == "matillion/etl: tasks over the last 1 h, and expected in the next 15 min"
        assert page.complaints == []


async def test_the_forecast_of_the_past_is_shown_where_it_was_made_for(page: Page) -> None:
    """Its line begins a lead time after the first forecast; under the pointer it says when it was made."""
    async with serve_past(*[make_outlook(lead_time=60.0)] * 9) as url:
        await shown(page, url)
        path = await page.evaluate("document.querySelector('path.forecast').getAttribute('d')")
        demand = await page.evaluate("document.querySelector('path.demand').getAttribute('d')")
        assert path.count("L") == demand.count("L") - 4
        assert "forecast (made 60 s before)" in await text_of(page, LEGEND)
        await page.evaluate(POINT % 0.11)
        assert "demand 12 forecast 48 (made 60 s before)" in await text_of(page, LEGEND)
        await page.evaluate(POINT % 0.99)
        assert (await text_of(page, LEGEND)).endswith("expected 48")
        assert page.complaints == []


POINT = """(() => {
  const picture = document.querySelector(".fleet svg"), box = picture.getBoundingClientRect();
  picture.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + %s * box.width, bubbles: true}));
})()"""
"""Moves the pointer to a share of the chart's width."""


async def test_a_chart_is_read_with_the_keyboard(page: Page) -> None:
    """It has the focus in turn; arrows go from now to past and future, Escape ends it, and a refresh does not."""
    async with serve_past(*[make_outlook()] * 20) as url:
        await shown(page, url)
        await page.evaluate("document.querySelector('.fleet svg').focus()")
        whole = await text_of(page, LEGEND)
        await press(page, "ArrowLeft")
        assert "capacity 20 running 12 queued 0 demand 12 forecast 48" in await text_of(page, LEGEND)
        await press(page, "End")
        last = await text_of(page, LEGEND)
        assert " – 02:45 " in last
        assert last.endswith(" expected 48")
        await page.evaluate("document.querySelector('#clock').textContent = ''")
        await page.until("document.querySelector('#clock').innerText")
        assert await text_of(page, LEGEND) == last
        assert await page.evaluate("document.activeElement.tagName") == "svg"
        await press(page, "Escape")
        assert await text_of(page, LEGEND) == whole
        assert page.complaints == []


async def press(page: Page, key: str) -> None:
    """Press a key, as a person does."""
    for kind in ("rawKeyDown", "keyUp"):
        await page.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)


async def test_a_withheld_forecast_has_its_reason(page: Page) -> None:
    """No line and no band, but the reason as text; what is in it never becomes markup."""
    async with serve_past(withheld(), withheld()) as url:
        await shown(page, url)
        assert await page.evaluate("document.querySelector('.outlook').textContent") == f"no forecast: {WHY}"
        assert await page.evaluate("document.querySelectorAll('.outlook b').length") == 0
        assert await page.evaluate(MARKS) == []
        assert not {"ground", "band", "expected", "now", "forecast"} & set(await page.evaluate(KINDS))
        assert page.complaints == []


async def test_without_the_setting_there_is_nothing_of_it(page: Page) -> None:
    """The chart ends now, and no word speaks of a forecast."""
    async with serve_past(None, None) as url:
        await shown(page, url)
        kinds = await page.evaluate(KINDS)
        assert kinds == ["axis", "capacity", "area", "running", "queued", "demand", "cursor"]
        assert await page.evaluate("document.querySelector('.outlook')") is None
        assert await page.evaluate(MARKS) == []
        for word in ("forecast", "expected", "ahead"):
            assert word not in await text_of(page, ".fleet")
        assert page.complaints == []


async def test_the_demand_ahead_of_an_untrusted_fleet_is_withheld(page: Page) -> None:
    """The forecast is of its past and stays; what a scaler would get of it does not."""
    async with serve_past(make_outlook(), make_outlook(), untrusted=True) as url:
        await shown(page, url)
        assert (await text_of(page, ".outlook")).endswith("; demand ahead withheld")
        assert page.complaints == []


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("dark_mode", [False, True])
async def test_screens_and_themes(page: Page, *, width: int, dark_mode: bool) -> None:
    """Nothing stands outside a narrow window, words can be read and lines seen, on light and on dark."""
    await page.look(width=width, dark=dark_mode)
    async with serve_past(*[make_outlook()] * 20) as url:
        await shown(page, url)
        assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        boxes = await page.evaluate(
            "[...document.querySelectorAll('.mark')].map((mark) => mark.getBoundingClientRect().toJSON())"
        )
        assert all(box["left"] >= 0 and box["right"] <= width for box in boxes)
        for selector in (".mark.label", ".mark.here", ".mark.tasks", ".mark.time", ".outlook", ".legend .expected"):
            contrast = await page.evaluate(CONTRAST % repr(selector))
            assert contrast >= 4.5, selector
        assert page.complaints == []
