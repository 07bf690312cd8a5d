"""What a check is, what it finds, and how all of them are run: side by side, each within its time, none hiding another.

It must not know what is checked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

import structlog

_log = structlog.get_logger(__name__)

T = TypeVar("T")

CHECK_SECONDS = 20.0
"""Longest time for one check. The slowest, a role's credentials from a service that hangs, gives up before."""
_SHOWN = 3


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    outcome: Outcome
    found: str
    """One sentence: what was found, or why it was not checked."""
    fix: str = ""
    """What to do about it; empty where there is nothing to do."""


def ok(name: str, found: str) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(name, Outcome.OK, found)


def warning(name: str, found: str, fix: str = "") -> Finding:
    """Return a finding that may do harm, or does some."""
    return Finding(name, Outcome.WARNING, found, fix)


def failed(name: str, found: str, fix: str = "") -> Finding:
    """Return a finding with which the exporter cannot do what its settings require."""
    return Finding(name, Outcome.FAILED, found, fix)


def not_checked(name: str, why: str, fix: str = "") -> Finding:
    """Return a finding of something that was not looked at."""
    return Finding(name, Outcome.NOT_CHECKED, why, fix)


class NotPossibleError(Exception):
    """A check cannot be made, because of something another check reports; the text states what."""


class CheckFailedError(Exception):
    """A check has failed; the text states how, `fix` what to do about it."""

    def __init__(self, found: str, fix: str = "") -> None:
        super().__init__(found)
        self.fix = fix


Examination = Callable[[], Awaitable[Sequence[Finding]]]


@dataclass(frozen=True, slots=True)
class Check:
    """Something to look at. `examine` returns findings, or raises NotPossibleError or CheckFailedError."""

    subject: str
    name: str
    examine: Examination
    seconds: float = CHECK_SECONDS


@dataclass(frozen=True, slots=True)
class Examined:
    """A check and what it found; `took` in seconds."""

    check: Check
    findings: Sequence[Finding]
    took: float


@dataclass(slots=True)
class Once(Generic[T]):
    """What several checks need and one of them fetches: made once, and an error is the same for all of them."""

    make: Callable[[], Awaitable[T]]
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _made: list[T] = field(default_factory=list)
    _error: Exception | None = None

    async def get(self) -> T:
        """Return it, made now or before. Raises what making it raised."""
        async with self._lock:
            if self._error is not None:
                raise self._error
            if not self._made:
                try:
                    self._made.append(await self.make())
                except Exception as error:
                    self._error = error
                    raise
            return self._made[0]


async def run_all(checks: Iterable[Check], done: Callable[[int], None] = lambda count: None) -> list[Examined]:
    """Run every check and return what they found, in the order given; `done` hears how many have ended."""
    finished = 0

    async def one(check: Check) -> Examined:
        nonlocal finished
        examined = await _examined(check)
        finished += 1
        done(finished)
        return examined

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(check), name=f"check {check.subject}: {check.name}") for check in checks]
    return [task.result() for task in tasks]


async def _examined(check: Check) -> Examined:
    loop = asyncio.get_running_loop()
    started = loop.time()
    deadline = asyncio.timeout(check.seconds)
    try:
        async with deadline:
            findings = await check.examine()
    except NotPossibleError as error:
        findings = [not_checked(check.name, str(error))]
    except CheckFailedError as error:
        findings = [failed(check.name, str(error), error.fix)]
    except Exception as error:  # noqa: BLE001 - a check that breaks must not take the others with it; it is reported
        findings = [_broken(check, error, timed_out=deadline.expired())]
    return Examined(check, told_once(findings), loop.time() - started)


def told_once(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with those that differ only in what they are about as one: "scaling of a/x, a/y"."""
    alike: dict[tuple[str, Outcome, str, str], list[str]] = {}
    for one in findings:
        kind, _, about = one.name.rpartition(" ")
        alike.setdefault((kind, one.outcome, one.found, one.fix), []).append(about)
    return [
        Finding(f"{kind} {some(about)}".lstrip(), outcome, found, fix)
        for (kind, outcome, found, fix), about in alike.items()
    ]


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many there are besides."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _broken(check: Check, error: Exception, *, timed_out: bool) -> Finding:
    if timed_out:
        return failed(check.name, f"no response within {check.seconds:g} s")
    _log.error("a check crashed", check=check.name, exc_info=error)
    reason = f"{type(error).__name__}: {error}".rstrip(": ")
    return failed(check.name, f"this check crashed ({reason})", "this is a bug in the doctor: please report it")
