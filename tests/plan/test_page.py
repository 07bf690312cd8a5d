"""The report in a real browser: it fits, it can be read on light and dark, and it loads and runs nothing."""

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest

from exporter.plan.assumptions import Assumptions
from exporter.plan.comparison import compare
from exporter.plan.report import report
from tests.fakes.chromium import Page, browser, program
from tests.plan.samples import nightly
from tests.web.reading import CONTRAST

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="Chromium is not installed (Debian: chromium, `make tools`)"),
]


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browser(tmp_path / "profile") as opened:
        yield opened


@cache
def written() -> str:
    return report(compare(nightly(6), Assumptions(fleet=("matillion", "etl<i>"), named=True)))


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("dark_mode", [False, True])
async def test_screens_and_tastes(page: Page, tmp_path: Path, *, width: int, dark_mode: bool) -> None:
    """No page is wider than its window, and text has enough contrast with what is behind it."""
    file = tmp_path / "report.html"
    file.write_text(written())
    await page.look(width=width, dark=dark_mode)
    await page.goto(file.as_uri())
    assert await page.evaluate("document.querySelector('h1').innerText.startsWith('Scale ahead of demand')")
    assert await page.evaluate("document.querySelector('.kicker').innerText") == "Plan for matillion/etl<i>"
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert await page.evaluate(
        "[...document.querySelectorAll('.figure > svg')].every((one) => one.getBBox().width > 500)"
    )
    assert await page.evaluate("document.scripts.length") == 0
    for selector in (".kicker", ".lead", ".tiles p", "thead th", "tr.best td", ".mark", "li", "pre", "footer"):
        contrast = await page.evaluate(CONTRAST % repr(selector))
        assert contrast >= 4.5, selector
    assert page.complaints == []


async def test_on_paper(page: Page, tmp_path: Path) -> None:
    """Nothing is cut off: a printer has no scrollbar, and A4 less its margins is 695 pixels wide."""
    file = tmp_path / "report.html"
    file.write_text(written())
    await page.look(width=695)
    await page.send("Emulation.setEmulatedMedia", media="print")
    await page.goto(file.as_uri())
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert await page.evaluate(
        "[...document.querySelectorAll('.figure, pre')].every((one) => one.scrollWidth <= one.clientWidth)"
    )
    assert page.complaints == []
