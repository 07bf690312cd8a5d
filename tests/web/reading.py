"""What a reader of the status page sees, asked of the browser."""

import pytest

from tests.fakes.chromium import Page, program

NEEDS_BROWSER = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="Chromium is not installed (Debian: chromium, `make tools`)"),
]

DRAWN = "document.querySelectorAll('.fleet').length"


async def text_of(page: Page, selector: str) -> str:
    """Return what a reader sees in an element, once it is there: the page draws each answer when it comes."""
    await page.until(f"document.querySelector({selector!r}) !== null")
    return " ".join((await page.evaluate(f"document.querySelector({selector!r}).innerText")).split())


CONTRAST = """(() => {
  const parts = (color) => color.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const element = document.querySelector(%s);
  let behind = element;
  while (parts(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const pair = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(parts).map(light);
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
})()"""
"""The contrast of a text with what is behind it (WCAG 2.2, 1.4.3: at least 4.5)."""
