"""Agents that never answer: what is measured beside them is the exporter's own work."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from yarl import URL

from exporter.scrape.pages import Blocks

_T = TypeVar("_T")


class SilentAgents:
    """In place of the client of the scrapes, and of their observer."""

    async def fetch(
        self,
        url: URL,
        *,
        within: float,
        take: Callable[[bytes], _T],
        knows: Callable[[bytes], bool],
        in_blocks: Callable[[], Blocks[_T]],
    ) -> _T:
        """Wait until cancelled."""
        await asyncio.Event().wait()
        raise AssertionError(url, within, take, knows, in_blocks)

    def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
        """Take note of nothing."""
