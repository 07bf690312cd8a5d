"""Fetching one page from a server on a real socket, with a short deadline."""

import pytest
from yarl import URL

from exporter.config import ScrapeSettings
from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeError
from tests.fakes.hostile import (
    Behaviour,
    HostileServer,
    head,
)

LIMIT = ScrapeSettings().max_body_bytes
TIMEOUT = 0.4
CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Joined:
    """A page that comes in parts, put together again."""

    def __init__(self) -> None:
        self._page = b""

    def feed(self, text: bytes) -> None:
        self._page += text

    def step(self) -> bool:
        return False

    def result(self) -> bytes:
        return self._page


async def fetch_url(client: PageClient, url: URL, within: float = TIMEOUT) -> bytes:
    return await client.fetch(url, within=within, take=bytes, knows=lambda page: False, in_blocks=Joined)


async def fetch(client: PageClient, server: HostileServer, within: float = TIMEOUT) -> bytes:
    return await fetch_url(client, URL(f"http://{server.host}:{server.port}/metrics"), within)


async def refusal(client: PageClient, behaviour: Behaviour, within: float = TIMEOUT) -> ScrapeError:
    async with HostileServer(behaviour) as server:
        with pytest.raises(ScrapeError) as caught:
            await fetch(client, server, within)
    return caught.value
