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
GZIP = "Content-Encoding: gzip"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


async def fetch(client: PageClient, server: HostileServer, within: float = TIMEOUT) -> bytes:
    return await client.fetch(URL(f"http://{server.host}:{server.port}/metrics"), within=within, take=bytes)


async def refusal(client: PageClient, behaviour: Behaviour, within: float = TIMEOUT) -> ScrapeError:
    async with HostileServer(behaviour) as server:
        with pytest.raises(ScrapeError) as caught:
            await fetch(client, server, within)
    return caught.value
