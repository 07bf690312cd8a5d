"""The three measurements: side by side with Prometheus, pages under load, and twenty thousand agents on one core.

Each stage starts what it needs and leaves nothing behind. What the numbers mean is for `report` to say.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.scrape import agents
from benchmarks.scrape.processes import Memory, Program, ProgramError
from benchmarks.scrape.subjects import Answer, Count, Exporter, Prometheus, Subject

Say = Callable[[str], None]
_AnySubject = TypeVar("_AnySubject", bound=Subject)

FORMATS: Mapping[str, Mapping[str, str]] = {
    "text": {"Accept": "text/plain"},
    "text, gzip": {"Accept": "text/plain", "Accept-Encoding": "gzip"},
    "OpenMetrics, gzip": {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"},
}
# A reader that asks at a fixed interval meets every agent at the same age each time; an odd fraction does not.
_OFF_BEAT = 0.37
# The exporter's gauge of stalls shows the worst of the last minute.
_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure. Times in seconds."""

    agents: int
    interval: int
    warm_up: float
    minutes: int
    windows_a_minute: int
    requests: int
    many_agents: int
    many_interval: int
    many_warm_up: float
    many_windows: int


FULL = Plan(1000, 5, 30, 3, 3, 100, 20_000, 15, 60, 3)
QUICK = Plan(1000, 5, 20, 1, 3, 20, 20_000, 15, 40, 1)


@dataclass(frozen=True, slots=True)
class Window:
    """What one subject took over one window."""

    seconds: float
    scrapes: float
    failed: float
    cpu_seconds: float
    """Without what answering the benchmark's own question took."""
    cpu_seconds_with_page: float
    waited_seconds: float
    memory: Memory

    @property
    def cpu_per_scrape(self) -> float:
        """Processor seconds of one scrape."""
        return self.cpu_seconds / self.scrapes


@dataclass(frozen=True, slots=True)
class _Boundary:
    """One subject's counters at the edge of two windows, from before to after it was asked for them."""

    before_at: float
    after_at: float
    cpu_before: float
    cpu_after: float
    waited: float
    memory: Memory
    count: Count

    @classmethod
    def of(cls, subject: Subject) -> "_Boundary":
        program = subject.program
        before_at, cpu_before, waited, memory = (
            time.monotonic(),
            program.cpu_seconds(),
            program.waited_seconds(),
            program.memory(),
        )
        count = subject.count()
        return cls(before_at, time.monotonic(), cpu_before, program.cpu_seconds(), waited, memory, count)

    def until(self, later: "_Boundary") -> Window:
        """Return the window between this boundary and a later one."""
        seconds = later.before_at - self.after_at
        # The counters were read at the end of each question, so they span it as well: take its share off.
        share = seconds / (later.after_at - self.after_at)
        return Window(
            seconds,
            (later.count.scrapes - self.count.scrapes) * share,
            later.count.failed - self.count.failed,
            later.cpu_before - self.cpu_after,
            later.cpu_after - self.cpu_after,
            later.waited - self.waited,
            later.memory,
        )


@dataclass(slots=True)
class Comparison:
    """Both subjects over the same windows; and the exporter's pages under load."""

    exporter: list[Window] = field(default_factory=list)
    prometheus: list[Window] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    idle_stalls: list[float] = field(default_factory=list)
    samples_per_scrape: float = 0.0
    latencies: dict[str, list[float]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class OneCore:
    """The exporter alone on one core."""

    windows: list[Window] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)
    stall: float = 0.0
    page_seconds: float = 0.0


def compare(directory: Path, plan: Plan, say: Say) -> Comparison:
    """Run exporter and Prometheus at the same time on the same agents.

    At the same time, because on shared cores one minute is not like the next: whatever disturbs, disturbs both. Each
    also costs the other its caches, which is as it is on a node in service.
    """
    result = Comparison()
    with (
        _serving(agents.serve(directory, plan.agents)),
        _up(Exporter(directory, plan.agents, plan.interval)) as exporter,
    ):
        with (
            _up(Prometheus(directory, plan.agents, plan.interval)) as prometheus,
            _started(_idle_loop(directory)) as idle,
        ):
            say(f"{plan.agents} agents every {plan.interval} s, exporter and Prometheus together: warming up")
            time.sleep(plan.warm_up)
            for window in _windows(result, plan, (exporter, prometheus), idle):
                say(window)
        say("/metrics while scraping goes on")
        for name, headers in FORMATS.items():
            answers = [_after_a_pause(exporter, headers) for _ in range(plan.requests)]
            result.latencies[name] = [answer.seconds for answer in answers]
            result.sizes[name] = len(answers[-1].body)
            result.ages += [age for answer in answers for age in exporter.ages(answer)]
    return result


def _windows(result: Comparison, plan: Plan, subjects: tuple[Exporter, Prometheus], idle: Program) -> Iterator[str]:
    """Measure window by window; yield a line on each."""
    exporter, prometheus = subjects
    length = _MINUTE / plan.windows_a_minute + _OFF_BEAT
    ours, theirs = _Boundary.of(exporter), _Boundary.of(prometheus)
    first = theirs
    for number in range(plan.minutes * plan.windows_a_minute):
        time.sleep(length)
        ours_next, theirs_next = _Boundary.of(exporter), _Boundary.of(prometheus)
        result.exporter.append(ours.until(ours_next))
        result.prometheus.append(theirs.until(theirs_next))
        ours, theirs = ours_next, theirs_next
        result.ages += exporter.ages(ours.count.answer)
        if (number + 1) % plan.windows_a_minute == 0:
            result.stalls.append(exporter.stall(ours.count.answer))
            result.idle_stalls.append(float(idle.log_lines()[-1]))
        yield (
            f"  window {number + 1}: {result.exporter[-1].cpu_per_scrape * 1e3:.3f} ms a scrape,"
            f" Prometheus {result.prometheus[-1].cpu_per_scrape * 1e3:.3f} ms"
        )
    stored = Prometheus.appended(theirs.count.answer) - Prometheus.appended(first.count.answer)
    result.samples_per_scrape = stored / (theirs.count.scrapes - first.count.scrapes)
    if result.samples_per_scrape < agents.page()[1]:
        raise ProgramError("Prometheus stores fewer samples than the agents' page has: it does not do the same work")


def one_core(directory: Path, plan: Plan, say: Say) -> OneCore:
    """Run the exporter with many agents on one core; the agents' server has another, where there is one."""
    core, *others = sorted(os.sched_getaffinity(0))
    result = OneCore()
    with (
        _serving(agents.serve(directory, plan.many_agents, set(others) or {core})),
        _up(Exporter(directory, plan.many_agents, plan.many_interval, {core})) as exporter,
    ):
        say(f"{plan.many_agents} agents every {plan.many_interval} s on one core: warming up")
        time.sleep(plan.many_warm_up)
        ours = _Boundary.of(exporter)
        for number in range(plan.many_windows):
            time.sleep(2 * plan.many_interval + _OFF_BEAT)
            later = _Boundary.of(exporter)
            result.windows.append(ours.until(later))
            ours = later
            result.ages += exporter.ages(ours.count.answer, asked=True)
            last = result.windows[-1]
            say(f"  window {number + 1}: {last.scrapes / last.seconds:.0f} scrapes a second")
        result.stall = exporter.stall(ours.count.answer)
        result.page_seconds = ours.count.answer.seconds
    return result


def _after_a_pause(exporter: Exporter, headers: Mapping[str, str]) -> Answer:
    time.sleep(0.1)
    return exporter.ask(headers=headers)


def _idle_loop(directory: Path) -> Program:
    return Program("idle loop", [sys.executable, "-m", "benchmarks.scrape.idle_loop"], directory / "idle.log")


@contextmanager
def _started(program: Program) -> Iterator[Program]:
    with program:
        # A server that cannot listen says so at once; asking it later would blame its clients.
        time.sleep(1.0)
        program.check()
        yield program


@contextmanager
def _serving(program: Program) -> Iterator[Program]:
    with _started(program):
        agents.check()
        yield program


@contextmanager
def _up(subject: _AnySubject) -> Iterator[_AnySubject]:
    with subject.program:
        subject.wait_until_up()
        yield subject
