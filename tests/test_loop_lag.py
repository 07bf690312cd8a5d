"""The event loop's lag is measured, and the worst of it stays in sight."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from exporter.loop_lag import STALL_SECONDS, LoopLag
from tests.fakes.background import background


@pytest.mark.slow
async def test_a_blocked_loop_is_seen_and_not_forgotten_at_once() -> None:
    """A callback that holds the loop for 200 ms shows, and later, calmer seconds do not hide it."""
    lag = LoopLag()
    async with background(lag.run()):
        await asyncio.sleep(0.2)
        time.sleep(0.2)  # noqa: ASYNC251 - blocking the loop is what this test is about
        at_once = lag.worst()
        await asyncio.sleep(1.2)
        later = lag.worst()
    assert 0.1 < at_once <= later


class StoppedClock:
    """The clock of a process that can be stopped: it leaps while the event loop does nothing."""

    def __init__(self) -> None:
        self.leaps = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.leaps


@pytest.mark.looptime
async def test_a_stall_is_known_from_the_first_moment_on() -> None:
    """Whatever runs first when the process goes on: what began before was interrupted, and what is read may be old."""
    clock = StoppedClock()
    lag = LoopLag(clock)
    async with background(lag.run()):
        await asyncio.sleep(100.0)
        began = clock()
        assert (lag.intact_since() < began, lag.heard_at()) == (True, began)
        clock.leaps += 20.0
        went_on = clock()
        with capture_logs() as log:
            for _ in range(10):
                assert lag.intact_since() > began
                assert lag.heard_at() == pytest.approx(began, abs=0.06)
                await asyncio.sleep(0.05)
        assert lag.worst() >= 19.9
        await asyncio.sleep(1.0)
        assert lag.heard_at() == clock()
        assert went_on <= lag.intact_since() <= went_on + 0.06
    assert [(line["event"], line["seconds"]) for line in log] == [("the process did not run for a while", 20.0)]


@pytest.mark.looptime
async def test_a_late_timer_is_no_stall() -> None:
    """A loop that is held up for a second delays answers; it does not make them untrue."""
    clock = StoppedClock()
    lag = LoopLag(clock)
    async with background(lag.run()):
        await asyncio.sleep(1.0)
        began = clock()
        clock.leaps += STALL_SECONDS - 0.5
        for _ in range(3):
            assert (lag.intact_since() < began, lag.heard_at()) == (True, clock())
            await asyncio.sleep(0.05)
