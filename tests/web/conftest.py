"""What tests of the status page share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.chromium import Page, browser


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    """Yield a tab of a real browser."""
    async with browser(tmp_path / "profile") as opened:
        yield opened
