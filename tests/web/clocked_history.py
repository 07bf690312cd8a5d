"""A history of the status page whose clocks a test moves."""

from typing import Any

from exporter.web.history import History
from tests.factories import NOW, WALL_NOW, make_fleet, make_snapshot
from tests.web.serving import StaticView


class Clocked:
    """A history whose time the test moves."""

    def __init__(self, **limits: Any) -> None:
        self.view = StaticView()
        self.step = 0.0
        """Seconds by which the wall clock is wrong."""
        self.slept = 0.0
        """Seconds by which the monotonic clock is behind the machine's."""
        self.history = History(self.view, wall_clock=self.wall, machine_clock=self.machine, **limits)

    def wall(self) -> float:
        """Return the Unix time."""
        return WALL_NOW - NOW + self.machine() + self.step

    def machine(self) -> float:
        """Return the seconds since the machine was started."""
        return self.view.instant + self.slept

    def at(self, seconds: float, *names: str, untrusted: bool = False) -> None:
        """Take a point `seconds` after the start, at which there are these fleets."""
        self.view.instant = NOW + seconds
        age = 99.0 if untrusted else 1.0
        self.view.shown = [make_fleet([make_snapshot(age=age)], name=name) for name in names]
        self.history.sample()

    def times(self, **query: Any) -> dict[str, list[float]]:
        """Return the instants kept of each fleet, in seconds after the start."""
        return {
            str(document["fleet"]): [round(time - WALL_NOW, 3) for time in document["time_seconds"]]  # type: ignore[union-attr,operator]
            for document in self.history.documents(**query)
        }
