"""Several attempts of which some fail or hang: which one wins, how soon, and what is left of the others."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import looptime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from exporter.scrape.race import GRACE, HEAD_START, Race

FAILED = ScrapeError(ScrapeOutcome.CONNECT, "connection refused")


class Plan(NamedTuple):
    """How one attempt goes: how many seconds it takes, and whether it succeeds."""

    seconds: float
    good: bool


class Course:
    """A race as it went."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = plans
        self.began: dict[int, float] = {}
        self.running: set[int] = set()
        self.won: tuple[int, str] | None = None
        self.failed: list[int] = []
        self.took = 0.0

    def _attempt(self, number: int) -> Callable[[], Coroutine[Any, Any, str]]:
        async def attempt() -> str:
            self.began[number] = asyncio.get_running_loop().time()
            self.running.add(number)
            try:
                await asyncio.sleep(self.plans[number].seconds)
            finally:
                self.running.remove(number)
            if not self.plans[number].good:
                raise FAILED
            return f"page {number}"

        return attempt

    async def run(self) -> None:
        """Run the race and all that is left of it."""
        loop = asyncio.get_running_loop()
        race = Race([self._attempt(number) for number in range(len(self.plans))], loop.time)
        started = loop.time()
        self.won = await race.run()
        self.took = loop.time() - started
        self.began = {number: at - started for number, at in self.began.items()}
        self.failed = [number for number, _ in race.failures]
        assert not self.running, "an attempt outlives the race"
        assert asyncio.all_tasks() == {asyncio.current_task()}


def raced(plans: Sequence[Plan]) -> Course:
    """Run a race in virtual time."""
    course = Course(plans)

    with asyncio.Runner(loop_factory=partial(looptime.new_event_loop, noop_cycles=0)) as runner:
        runner.run(course.run())
    return course


# Nothing ends just when a head start or the grace does: either order would do.
SECONDS = st.integers(0, 150).map(lambda tick: tick / 50 + 0.0037)
PLANS = st.lists(st.builds(Plan, SECONDS, st.booleans()), min_size=1, max_size=5)


@given(PLANS)
def test_it_is_won_if_anyone_succeeds_and_soon(plans: list[Plan]) -> None:
    """Not later than the winner's own head starts and time take, or the grace of those before it."""
    course = raced(plans)
    if course.won is None:
        assert not any(plan.good for plan in plans)
        assert sorted(course.failed) == list(range(len(plans)))
        return
    number, page = course.won
    assert page == f"page {number}"
    for other, plan in enumerate(plans):
        if plan.good:
            assert course.took <= max(GRACE, other * HEAD_START + plan.seconds) + 0.001


@given(PLANS)
def test_the_best_that_answers_in_time_wins(plans: list[Plan]) -> None:
    """Of those that were begun and had an answer when it ended."""
    course = raced(plans)
    ends = {number: at + plans[number].seconds for number, at in course.began.items()}
    answered = [number for number, end in ends.items() if plans[number].good and end <= course.took + 0.001]
    assert (course.won[0] if course.won else None) == min(answered, default=None)


@given(PLANS)
def test_the_next_begins_after_the_head_start_or_a_failure_and_in_order(plans: list[Plan]) -> None:
    """So an endpoint that answers at once is the only one that is asked."""
    course = raced(plans)
    assert list(course.began) == list(range(len(course.began)))
    failures = {course.began[number] + plans[number].seconds for number in course.failed}
    begins = list(course.began.values())
    for before, after in pairwise(begins):
        assert after == pytest.approx(before + HEAD_START) or any(after == pytest.approx(at) for at in failures)
    if plans[0].good and plans[0].seconds < HEAD_START:
        assert len(course.began) == 1


@pytest.mark.looptime
async def test_a_loser_that_fails_as_it_is_cancelled_is_not_reported_as_lost() -> None:
    """The event loop logs errors of tasks that nobody asked for their end; this one is of no interest to anyone."""
    lost: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))

    async def stubborn() -> str:
        try:
            await asyncio.sleep(10.0)
        except asyncio.CancelledError:
            raise FAILED from None
        return "never"

    async def quick() -> str:
        return "page"

    assert await Race([stubborn, quick], asyncio.get_running_loop().time).run() == (1, "page")
    gc.collect()
    assert not lost
