"""What must hold for the processes: that they answer, end in order, and take no more and more."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from signal import SIGTERM

from tests.chaos.facts import Facts, Verdicts
from tests.chaos.faults import Kind
from tests.chaos.pulse import Beat
from tests.chaos.replicas import Boot
from tests.chaos.seen import Use

STALL_SECONDS = 0.1
LIMIT_BYTES = 512 * 1024**2
"""The chart's memory limit (chart/values.yaml)."""
END_SECONDS = 5.0
"""Within which everything ends after SIGTERM (docs/architecture.md)."""
WARM_SECONDS = 60.0
"""A process takes more and more until it has seen what there is."""
SETTLED_SECONDS = 300.0
"""From then on it has also seen agents go that it remembers for some minutes, and been the leader, or an outage."""
SLOPE_SECONDS = 30.0
FEWEST_SLOPES = 20
FIT_SECONDS = 180.0
"""A line is fitted to no less."""
KNOWN_AGAIN_SECONDS = 60.0
"""After an outage: until pods are listed, at most half a minute, and every agent is read."""
GROWTH_A_MINUTE = 1.0
"""MiB and descriptors. A page that is larger than any before still takes some."""
LAST_WORDS = "fleet-exporter: "
"""How the sentence for a person begins with which a process ends that failed."""


def alive(beat: Beat, facts: Facts) -> Verdicts:
    """/healthz is 200 as long as the process runs. To be judged when it is known whether it was about to end."""
    boot = facts.boot(beat.replica, beat.booted)
    if _at_work(boot, beat, spare=END_SECONDS):
        yield None if beat.status == 200 else f"answers {beat.status or 'nothing'} on /healthz while it runs"


def no_stall(beat: Beat, facts: Facts) -> Verdicts:
    """No event loop is ever held up, but for what the machine and a pause of the process take."""
    if beat.status == 200 and _at_work(facts.boot(beat.replica, beat.booted), beat):
        stall, machine = stall_of(beat), beat.waited + beat.control
        wrong = f"answers after {stall * 1000:.0f} ms (and {machine * 1000:.0f} ms are the machine's)"
        yield wrong if stall > STALL_SECONDS else None


def stall_of(beat: Beat) -> float:
    """Return the seconds that are the exporter's own: spent neither in wait of a processor nor as a bare server's."""
    return beat.answered - beat.asked - beat.waited - beat.control


def _at_work(boot: Boot, beat: Beat, spare: float = 0.0) -> bool:
    """Return whether a process was neither starting nor stopped, nor about to end within `spare` seconds."""
    started = boot.answered is not None and boot.answered <= beat.asked
    ending = boot.told or boot.ended
    return (
        started
        and not boot.paused(beat.asked - 1, beat.answered)
        and (ending is None or beat.answered + spare < ending)
    )


def within_memory(use: Use, _: Facts) -> Verdicts:
    """Each process stays below the chart's limit."""
    yield None if use.rss < LIMIT_BYTES else f"takes {use.rss / 1024**2:.0f} MiB"


def flat(uses: Sequence[Use], facts: Facts) -> Verdicts:
    """Neither memory nor descriptors grow with the age of the processes.

    What leaks, leaks in every half minute. A young process takes steps of some MiB, each when something happens for the
    first time, and one that is killed after three minutes may have one in most half minutes. So what counts is by how
    much it grows in the quarter of them in which it grows least. A line through all that settled processes take does
    not rise.

    The minutes without an API server are left out: of the agents that leave then, none is followed by another that is
    known, so that most connections end, and begin again later.
    """
    lives: dict[tuple[str, float], list[Use]] = {}
    for use in (one for one in uses if not _knew_few(one, facts)):
        lives.setdefault((use.replica, use.booted), []).append(use)
    for unit, value in _TAKEN.items():
        curves = [[(use.at - use.booted, value(use)) for use in life] for life in lives.values()]
        for growth in (_least_growth(curves), _settled_growth(curves)):
            if growth is not None:
                yield f"takes {growth:.1f} {unit} more each minute" if growth > GROWTH_A_MINUTE else None


def _knew_few(use: Use, facts: Facts) -> bool:
    return any(
        one.kind is Kind.API_AWAY and one.began <= use.at <= one.ended + KNOWN_AGAIN_SECONDS
        for one in facts.happenings.of(use.replica, Kind.API_AWAY.part)
    )


_TAKEN: Mapping[str, Callable[[Use], float]] = {
    "MiB of memory": lambda use: use.rss / 1024**2,
    "descriptors": lambda use: use.descriptors,
}
_Curve = Sequence[tuple[float, float]]
"""What a process takes at an age in seconds, by age."""


def _least_growth(curves: Iterable[_Curve]) -> float | None:
    """Return the lower quartile of the growth within half a minute, per minute; None for too few half minutes."""
    slopes = []
    for curve in curves:
        later = 0
        warm = [point for point in curve if point[0] >= WARM_SECONDS]
        for age, taken in warm:
            while later < len(warm) and warm[later][0] - age < SLOPE_SECONDS:
                later += 1
            if later < len(warm):
                slopes.append((warm[later][1] - taken) / (warm[later][0] - age) * 60)
    return statistics.quantiles(slopes, n=4)[0] if len(slopes) >= FEWEST_SLOPES else None


def _settled_growth(curves: Iterable[_Curve]) -> float | None:
    """Return the slope per minute of one line for all processes, each from its own mean; None if none lasted."""
    minutes: list[float] = []
    taken: list[float] = []
    for curve in curves:
        settled = [point for point in curve if point[0] >= SETTLED_SECONDS]
        if settled and settled[-1][0] - settled[0][0] >= FIT_SECONDS:
            ages, values = zip(*settled, strict=True)
            minutes += [(age - statistics.fmean(ages)) / 60 for age in ages]
            taken += [value - statistics.fmean(values) for value in values]
    return statistics.linear_regression(minutes, taken).slope if minutes else None


def ends_in_order(boot: Boot, late: float = 0.0) -> Verdicts:
    """Each process ends only when it is told to: with exit code 0, within five seconds and what is `late`."""
    if boot.ended is None or boot.killed:
        return
    if boot.told is not None and boot.code == -SIGTERM and (boot.answered is None or boot.told < boot.answered):
        yield None  # told before it had begun
    elif boot.told is None or boot.code != 0:
        yield f"ended with exit code {boot.code}{'' if boot.told else ' without being told to'}"
    else:
        # A stopped process ends when it goes on.
        told = boot.computed_from(boot.told)
        # A machine that is late is so each time that the process waits for something.
        longest = END_SECONDS + 1 + 10 * late
        yield f"took {boot.ended - told:.1f} s to end" if boot.ended - told > longest else None


def log_clean(lines: Iterable[str], secrets: Sequence[str]) -> Verdicts:
    """Each line of the log is an event, none has a traceback, and none has a secret."""
    for line in lines:
        yield _wrong_line(line, secrets)


def _wrong_line(line: str, secrets: Sequence[str]) -> str | None:
    if any(secret in line for secret in secrets):
        return f"a secret: {line[:300]}"
    if line.startswith(LAST_WORDS):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return f"no event: {line[:300]}"
    if "exception" in event or event.get("level") == "critical" or "Traceback" in line:
        return f"a traceback: {line[:2000]}"
    return None
