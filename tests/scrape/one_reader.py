"""The reader of one scripted agent, turn by turn, in virtual time."""

import asyncio
import random
from typing import Any

from exporter.config import ScrapeSettings
from exporter.fleet.model import Target
from exporter.scrape.outcome import ScrapeError
from exporter.scrape.reader import AgentReader
from tests.factories import make_target
from tests.scrape.scripted_agents import (
    Page,
    ScriptedAgents,
)

HOST = "10.0.3.7"
OTEL, LEGACY = 9464, 8080
TARGET = make_target(address=HOST)


class Reader:
    """An `AgentReader` of one scripted agent."""

    def __init__(self, *, target: Target = TARGET, **settings: Any) -> None:
        self.agents = ScriptedAgents()
        self.target = target
        self._reader = AgentReader(
            ScrapeSettings(**settings),
            self.agents,
            asyncio.get_running_loop().time,
            random.Random(1),  # noqa: S311 - jitter
        )

    def serve(self, port: int, body: bytes | Exception, **page: Any) -> None:
        self.agents.pages[(HOST, port)] = Page(body, **page)

    def stop(self, port: int) -> None:
        self.agents.pages.pop((HOST, port), None)

    async def turn(self) -> str:
        """Do what the poller does in one turn, and let 5 s pass. Returns dialect and tasks, or the error."""
        start = asyncio.get_running_loop().time()
        try:
            answer = await self._reader.read(self.target)
        except ScrapeError as error:
            said = f"{error.outcome}: {error}"
        else:
            said = f"{answer.reading.dialect} {answer.reading.tasks_active:g}"
            if self._reader.recheck_due():
                await self._reader.recheck(self.target)
        spent = asyncio.get_running_loop().time() - start
        await asyncio.sleep(5.0 - spent)
        return said

    async def turns(self, count: int) -> list[str]:
        return [await self.turn() for _ in range(count)]
