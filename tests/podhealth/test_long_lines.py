"""Others get their turn while a log has long lines."""

import asyncio
from collections.abc import AsyncIterator

import structlog

from exporter.config.line_pattern import LinePattern
from exporter.podhealth.log_follower import AgentLog, FollowingPace, Search
from exporter.podhealth.log_lines import MAX_SEARCHED_BYTES
from exporter.trouble import Trouble
from tests.factories import WALL_NOW
from tests.fakes.followed_agents import FollowedAgents

LINES = 40


class Log:
    """Gives a log without a pause, as a network does that is faster than its reader."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    async def lines(self) -> AsyncIterator[bytes]:
        for number in range(LINES):
            yield b"2026-01-01T02:30:%02dZ %d %s" % (number, number, self.text)


async def test_each_long_line_is_a_turn() -> None:
    """However large a share of a line's time the pattern takes, it is the time of one line."""
    agents = FollowedAgents()
    search = Search(LinePattern("ERROR .*[Tt]ask .* failed"), 1000, lambda skipped: None)
    log = AgentLog(
        None,  # type: ignore[arg-type] # no request is made
        agents,
        agents.add(),
        began=WALL_NOW,
        search=search,
        refusal=Trouble(structlog.get_logger(), "refused", "granted"),
        pace=FollowingPace(),
    )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    try:
        await log._count(Log(b"ERROR task " * (MAX_SEARCHED_BYTES // 11)).lines())
        assert turns >= LINES - 1
        turns = 0
        await log._count(Log(b"short").lines())
        assert turns < LINES / 2
    finally:
        other.cancel()
