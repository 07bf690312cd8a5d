"""Agents by script instead of by socket: what each of their pages says, and how long it takes to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from yarl import URL

from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from exporter.scrape.pages import Blocks
from exporter.scrape.turns import ONE_GO_BYTES

_T = TypeVar("_T")
REFUSED = ScrapeError(ScrapeOutcome.CONNECT, "connection refused")
NOT_FOUND = ScrapeError(ScrapeOutcome.HTTP_STATUS, "HTTP 404")
PART_BYTES = 50_000
"""What comes in at once of a large page."""
FOR_EVER = 1e9
"""More seconds than any timeout allows."""


def read(body: bytes, take: Callable[[bytes], _T], in_blocks: Callable[[], Blocks[_T]]) -> _T:
    """Return what is made of a page; a large one comes in parts."""
    if len(body) <= ONE_GO_BYTES:
        return take(body)
    blocks = in_blocks()
    for start in range(0, len(body), PART_BYTES):
        blocks.feed(body[start : start + PART_BYTES])
        while blocks.step():
            pass
    return blocks.result()


def otel_page(tasks: float = 7, *, queued: float | None = 2) -> bytes:
    """Return a page of an OpenTelemetry agent."""
    queue = "" if queued is None else f"matillion_agent_task_queued_unit {queued}\n"
    return f"matillion_agent_task_running_unit {tasks}\n{queue}".encode()


def legacy_page(tasks: float = 5) -> bytes:
    """Return a page of a legacy agent."""
    return f"app_active_task_count {tasks}\n".encode()


@dataclass
class Page:
    """How one port answers."""

    body: bytes | Exception = REFUSED
    filtered: bytes | Exception | None = None
    """What a request with a name filter gets; None for the same as any other."""
    seconds: float = 0.01
    """How long it takes to answer; counted as a failure to connect where that is how it fails."""


@dataclass
class ScriptedAgents:
    """A `PageSource` whose pages are looked up by host and port; where there is none, connections are refused."""

    pages: dict[tuple[str, int], Page] = field(default_factory=dict)
    asked: list[tuple[float, str, int, bool]] = field(default_factory=list)
    """Time, host, port, and whether with a filter, of each request."""
    running: dict[str, int] = field(default_factory=dict)
    """Requests on their way, by host."""
    most_running: int = 0
    """Hosts at once; while it is not known which port answers, both are asked."""
    overlaps: int = 0
    """How often a host was asked while it had not answered yet."""

    async def fetch(
        self,
        url: URL,
        *,
        within: float,
        take: Callable[[bytes], _T],
        knows: Callable[[bytes], bool],
        in_blocks: Callable[[], Blocks[_T]],
    ) -> _T:
        """Answer as scripted."""
        host, port, filtered = url.host or "", url.port or 0, bool(url.query)
        self.asked.append((asyncio.get_running_loop().time(), host, port, filtered))
        page = self.pages.get((host, port), Page())
        self.overlaps += host in self.running
        self.running[host] = self.running.get(host, 0) + 1
        self.most_running = max(self.most_running, len(self.running))
        try:
            await asyncio.sleep(min(page.seconds, within))
        finally:
            self.running[host] -= 1
            if not self.running[host]:
                del self.running[host]
        if page.seconds > within:
            raise ScrapeError(ScrapeOutcome.TIMEOUT, f"waited {within:g} s for an answer")
        body = page.filtered if filtered and page.filtered is not None else page.body
        if isinstance(body, Exception):
            raise body
        return read(body, take, in_blocks)

    def ports(self) -> list[int]:
        """Return the ports asked, in order, and forget all requests."""
        ports = [port for _, _, port, _ in self.asked]
        self.asked.clear()
        return ports

    def filters(self) -> list[bool]:
        """Return whether each request had a filter, in order, and forget all requests."""
        filters = [filtered for *_, filtered in self.asked]
        self.asked.clear()
        return filters
