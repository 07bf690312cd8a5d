"""What the agents showed: a line for each page they made, so that any figure of an exporter can be traced to its page.

Each page carries a number of its own (its *serial*) as the agent's open sessions. An exporter that says what an agent
runs says with it which page that is from, and so when the agent said it, and whether to this exporter.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Shown:
    """One page of an agent."""

    serial: int
    made: float
    """When (CLOCK_MONOTONIC, one clock for the whole machine)."""
    pod: str
    reader: str
    """The replica that asked for it, by the path it asks for."""
    kind: str
    """The kind of hostility with which it was sent; empty for a good answer."""
    readable: bool
    """Whether it may be taken. A good answer is to be."""
    active: int
    queued: int | None
    connected: bool

    @property
    def good(self) -> bool:
        """Whether it was sent as agents do."""
        return not self.kind

    @property
    def work(self) -> int:
        """Tasks that run or wait there."""
        return self.active + (self.queued or 0)

    def line(self) -> bytes:
        """Return the page as a line of the log."""
        return json.dumps(astuple(self)).encode() + b"\n"


@dataclass
class Truth:
    """All pages so far."""

    by_serial: dict[int, Shown] = field(default_factory=dict)
    _of: dict[tuple[str, str], list[Shown]] = field(default_factory=lambda: defaultdict(list))
    _made: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, pages: Iterable[Shown]) -> None:
        """Take more pages, in the order in which they were made."""
        for page in pages:
            self.by_serial[page.serial] = page
            if page.good or page.readable:
                self._of[page.pod, page.reader].append(page)
                self._made[page.pod, page.reader].append(page.made)

    def readable(self, pod: str, reader: str, since: float, until: float) -> list[Shown]:
        """Return the pages that a replica may have taken from an agent, made from one instant on and before another."""
        made, pages = self._made[pod, reader], self._of[pod, reader]
        return pages[bisect_left(made, since) : bisect_left(made, until)]


class TruthFile:
    """Reads on in the file that the agents write."""

    def __init__(self, file: Path) -> None:
        file.touch()
        self._file = file.open("rb")
        self._half = b""

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def __iter__(self) -> Iterator[Shown]:
        """Return what has been added since the last time."""
        *lines, self._half = (self._half + self._file.read()).split(b"\n")
        return (Shown(*json.loads(line)) for line in lines)
