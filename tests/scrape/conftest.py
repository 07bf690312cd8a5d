"""What the tests of the HTTP client share."""

from collections.abc import AsyncIterator

import pytest

from exporter.config import ScrapeSettings
from exporter.scrape.client import PageClient
from tests.scrape.fetching import TIMEOUT


@pytest.fixture
async def client() -> AsyncIterator[PageClient]:
    async with PageClient(ScrapeSettings(timeout=TIMEOUT)) as client:
        yield client
