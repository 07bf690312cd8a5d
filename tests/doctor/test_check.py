"""Checks run side by side, each in its time, and none takes another with it."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from exporter.doctor.check import (
    Check,
    CheckFailedError,
    Finding,
    NotPossibleError,
    Once,
    Outcome,
    ok,
    run_all,
)


def check(name: str, *, raises: Exception | None = None, lasts: float = 0.0, seconds: float = 5.0) -> Check:
    """Make a check that takes its time and ends well or badly."""

    async def examine() -> Sequence[Finding]:
        await asyncio.sleep(lasts)
        if raises is not None:
            raise raises
        return [ok(name, "it is so")]

    return Check("subject", name, examine, seconds)


async def test_one_that_fails_hides_no_other() -> None:
    """Every check has its findings, in the order given, however the others ended."""
    checks = [
        check("good"),
        check("bad", raises=CheckFailedError("it is not so", "make it so")),
        check("blind", raises=NotPossibleError("it is dark")),
        check("also good"),
    ]
    found = [finding for one in await run_all(checks) for finding in one.findings]
    assert found == [
        Finding("good", Outcome.OK, "it is so"),
        Finding("bad", Outcome.FAILED, "it is not so", "make it so"),
        Finding("blind", Outcome.NOT_CHECKED, "it is dark"),
        Finding("also good", Outcome.OK, "it is so"),
    ]


@pytest.mark.looptime
async def test_they_run_side_by_side_and_not_for_ever() -> None:
    """All together take as long as the slowest, and one that hangs has failed when its time is over."""
    started = asyncio.get_running_loop().time()
    slow, hanging = await run_all([check("slow", lasts=4.0), check("hanging", lasts=1e9, seconds=5.0)])
    assert asyncio.get_running_loop().time() - started == 5.0
    assert slow.took == 4.0
    assert hanging.findings == [Finding("hanging", Outcome.FAILED, "no response within 5 s")]


async def test_a_check_that_raises_is_reported_as_a_bug() -> None:
    """An exception nobody foresaw is a failure of that check, with its text, and is logged with its traceback."""
    with structlog.testing.capture_logs() as log:
        [examined] = await run_all([check("odd", raises=ZeroDivisionError("by 0"))])
    [finding] = examined.findings
    assert finding.outcome is Outcome.FAILED
    assert "ZeroDivisionError: by 0" in finding.found
    assert [line["check"] for line in log] == ["odd"]


async def test_a_timeout_of_its_own_is_no_timeout_of_the_check() -> None:
    """A TimeoutError from inside, long before the check's time is over, is not told as if that were over."""
    with structlog.testing.capture_logs():
        [examined] = await run_all([check("early", raises=TimeoutError())])
    assert "within" not in examined.findings[0].found


async def test_cancelled_is_cancelled() -> None:
    """A doctor that is told to stop stops."""
    task = asyncio.create_task(run_all([check("long", lasts=60.0)]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_several_need_is_fetched_once() -> None:
    """Whoever comes first fetches; the others get the same, also when it is an error."""
    calls = 0

    async def fetch() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if calls == 1:
            raise ValueError("no")
        return calls

    once = Once(fetch)
    results = await asyncio.gather(once.get(), once.get(), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    assert calls == 1


async def test_a_check_that_gives_up_does_not_stop_the_next() -> None:
    """One whose time is over while it fetches does not leave the others without."""
    released = asyncio.Event()

    async def fetch() -> str:
        await released.wait()
        return "there"

    once = Once(fetch)
    impatient = asyncio.create_task(once.get())
    patient = asyncio.create_task(once.get())
    await asyncio.sleep(0)
    impatient.cancel()
    released.set()
    assert await patient == "there"
