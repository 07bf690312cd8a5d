"""The event loop's lag is measured, and the worst of it stays in sight."""

import asyncio
import time

import pytest

from exporter.loop_lag import LoopLag


@pytest.mark.slow
async def test_a_blocked_loop_is_seen_and_not_forgotten_at_once() -> None:
    """A callback that holds the loop for 200 ms shows, and later, calmer seconds do not hide it."""
    reports: asyncio.Queue[float] = asyncio.Queue()
    measuring = asyncio.create_task(LoopLag(reports.put_nowait).run())
    await asyncio.sleep(0.2)
    time.sleep(0.2)  # noqa: ASYNC251 - blocking the loop is what this test is about
    blocked, later = await reports.get(), await reports.get()
    measuring.cancel()
    assert 0.1 < blocked <= later
