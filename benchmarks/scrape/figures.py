"""From measured numbers to verdicts: spreads over windows, percentiles, targets.

Pure: knows nothing of processes, sockets or how a report looks.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

_SAMPLE = re.compile(rb"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several windows: on a shared machine one number alone says little."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return least, median and greatest. Raises ValueError when there is no value."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("no window was measured")
        return cls(ordered[0], median(ordered), ordered[-1])

    def text(self, scale: float = 1.0, digits: int = 2) -> str:
        """Return "least – median – greatest", each times `scale`."""
        return " – ".join(f"{value * scale:.{digits}f}" for value in (self.low, self.middle, self.high))


class Verdict(StrEnum):
    """What became of a target."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "**missed**"
    UNJUDGED = "not judged"
    INFORMATION = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the report."""

    what: str
    exporter: str
    prometheus: str = ""
    ratio: str = ""
    target: str = ""
    verdict: Verdict = Verdict.INFORMATION


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that `share` of the values do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("there is nothing to take a percentile of")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def verdict(*, good: bool) -> Verdict:
    """Return what a target that can be judged became."""
    return Verdict.PASS if good else Verdict.FAIL


def judge_stalls(exporter: Sequence[float], idle: Sequence[float], limit: float) -> tuple[Verdict, int]:
    """Judge the longest stall of each minute, in seconds, against `limit`; return also how many minutes did not count.

    A minute in which an idle event loop was kept waiting as long as the limit says something of the machine and nothing
    of the exporter, unless the exporter stayed below the limit all the same.
    """
    judged = [ours < limit for ours, theirs in zip(exporter, idle, strict=True) if ours < limit or theirs < limit]
    if not judged:
        return Verdict.UNJUDGED, len(exporter)
    return verdict(good=all(judged)), len(exporter) - len(judged)


def samples(page: bytes, name: str) -> list[tuple[str, float]]:
    """Return labels (as they stand) and value of each sample of a family on a metrics page."""
    wanted = name.encode()
    found = (_SAMPLE.match(line) for line in page.splitlines() if line.startswith(wanted))
    return [((match[2] or b"").decode(), float(match[3])) for match in found if match and match[1] == wanted]


def total(page: bytes, name: str) -> float:
    """Return the sum of a family's samples. Raises LookupError when the page has none."""
    values = [value for _, value in samples(page, name)]
    if not values:
        raise LookupError(f"{name} is not on the page")
    return sum(values)
