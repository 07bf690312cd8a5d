"""What a line of a pod's log is, which lines were read already, and how many may be looked at.

Pure: no network, and time is an argument. A line is never kept: what stays of it is its time and its hash.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.fleet.read_back import LAST_TIME

NANOSECONDS = 1_000_000_000
MAX_SEARCHED_BYTES = 16 * 1024
"""Bytes of a line that are searched. Container runtimes split lines there (CRI: 16 KiB), and it bounds the
time of a search, which is linear in it."""
MAX_STAMP_BYTES = 64
"""More than a line's time takes (RFC 3339 with nanoseconds and a zone: 35 bytes) and the space after it."""

_LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}+)\d*+)?(Z|[+-]\d\d:\d\d) ?")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line with the time that the container's runtime gave it."""

    nanoseconds: int
    """Since 1970, on the node's clock."""
    text: bytes


class LineParser:
    """Takes lines apart. Remembers the last second it read: most lines share theirs with the line before."""

    def __init__(self) -> None:
        self._second = (b"", b"")
        self._epoch = 0

    def parse(self, raw: bytes) -> LogLine | None:
        """Return the line; None for one without a time, which the agent did not write (a kubelet's own words)."""
        match = _LINE.match(raw)
        if match is None:
            return None
        second, fraction, zone = match.groups()
        if (second, zone) != self._second:
            try:
                self._epoch = int(datetime.fromisoformat((second + zone).decode()).timestamp())
            except (ValueError, OverflowError):
                return None
            self._second = (second, zone)
        if not 0 <= self._epoch <= LAST_TIME:
            return None
        nanoseconds = int(fraction.ljust(9, b"0")) if fraction is not None else 0
        return LogLine(self._epoch * NANOSECONDS + nanoseconds, raw[match.end() :])


class LinesSeen:
    """Knows which lines of one agent's log were read, so that a log read again from a while ago gives the new only.

    A log can be asked for from a whole second on, so some of it comes again each time. Lines are nearly in the order
    of their times, not quite: standard output and error are written by two hands. So each line of the last moments is
    remembered, by time and hash; all that is older counts as read.
    """

    DISORDER = NANOSECONDS
    """How far lines may be out of order."""

    def __init__(self, begin: int, maximum: int) -> None:
        """Take the time from which on lines are new, in nanoseconds since 1970, and how many to remember at most."""
        self._floor = begin - 1
        self._newest = self._floor
        self._maximum = maximum
        self._recent: dict[int, int] = {}
        """Times by hash of time and text, in the order in which the lines came."""

    @property
    def since(self) -> str:
        """The time from which on the log must be asked for, as RFC 3339 with whole seconds, rounded down."""
        return datetime.fromtimestamp((self._floor + 1) // NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def is_new(self, line: LogLine) -> bool:
        """Return whether the line was not read before; from now on it was."""
        if line.nanoseconds <= self._floor:
            return False
        identity = hash(line)
        if identity in self._recent:
            return False
        self._recent[identity] = line.nanoseconds
        self._newest = max(self._newest, line.nanoseconds)
        self._forget()
        return True

    def _forget(self) -> None:
        """Let go of what is too old to come again out of order, and of the oldest where there is too much."""
        self._floor = max(self._floor, self._newest - self.DISORDER)
        while self._recent:
            identity, nanoseconds = next(iter(self._recent.items()))
            if nanoseconds > self._floor and len(self._recent) <= self._maximum:
                return
            del self._recent[identity]
            self._floor = max(self._floor, nanoseconds)


class LineBudget:
    """Lets through so many lines a second, and as many at once after a quiet second.

    The seconds are those of the log: lines that come late, all at once, count by when they were written.
    """

    def __init__(self, lines_per_second: int) -> None:
        self._rate = lines_per_second
        self._left = float(lines_per_second)
        self._at: int | None = None

    def take(self, nanoseconds: int) -> bool:
        """Return whether a line of this time may be looked at too."""
        elapsed = 0 if self._at is None else max(0, nanoseconds - self._at)
        self._left = min(float(self._rate), self._left + elapsed / NANOSECONDS * self._rate)
        self._at = nanoseconds if self._at is None else max(self._at, nanoseconds)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
