"""What has happened in the demo so far: the newest readings, the past for the chart, and the last events.

Filled by the loops of `followers`, and by the exporter's own log; read by `screen`. Knows nothing of terminals.
"""

import io
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from exporter.simulator.nodes import NamedNode
from exporter.simulator.screen import CloudWatchView, Document, Point, View, clock

KEPT_POINTS = 600
KEPT_EVENTS = 50
_NOT_REPORTED = frozenset({"timestamp", "level", "logger", "event", "namespace", "fleet", "pod", "reason", "was"})


@dataclass(slots=True)
class Story:
    """The state of the demo. `now` gives simulated seconds, `on_event` hears of each event as it happens."""

    name: str
    speed: float
    now: Callable[[], float]
    on_event: Callable[[str], None] = lambda _: None
    replicas: int | None = None
    max_replicas: int = 0
    fleet: Document | None = None
    agents: list[Document] = field(default_factory=list)
    scaler: str = "waiting for a first demand"
    desired: int | None = None
    """Agents the autoscaler last decided on."""
    scaler_trouble: str | None = None
    """Why the autoscaler gets no demand; None while it does."""
    places: tuple[tuple[str, str], ...] = ()
    cloudwatch: CloudWatchView | str = ""
    nodes: dict[int, str] = field(default_factory=dict)
    """What became of each node that went away, by its number."""
    history: deque[Point] = field(default_factory=lambda: deque(maxlen=KEPT_POINTS))
    events: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_EVENTS))

    def observed(self, fleet: Document, agents: list[Document], replicas: int) -> None:
        """Record the exporter's newest figures."""
        self.fleet, self.agents, self.replicas = fleet, agents, replicas
        self.max_replicas = max(self.max_replicas, replicas)
        self.history.append(Point(fleet["tasks_active"], fleet["tasks_queued"], fleet["capacity_tasks"]))

    def published(self, taken: int, waiting: int) -> None:
        """Record how many datums CloudWatch has accepted, and how many it has not."""
        if isinstance(self.cloudwatch, CloudWatchView):
            if taken and not self.cloudwatch.taken:
                self.notify("CloudWatch has taken its first datums")
            self.cloudwatch = replace(self.cloudwatch, taken=taken, waiting=waiting)

    def nodes_gone(self, nodes: Iterable[NamedNode]) -> None:
        """Record the nodes that went away; whatever is new about one is an event."""
        for node in nodes:
            if self.nodes.get(node.number) != (fate := node.story()):
                self.nodes[node.number] = fate
                self.notify(fate)

    def notify(self, event: str) -> None:
        """Add an event, with the fleet's time."""
        message = f"{clock(self.now())}  {event}"
        self.events.append(message)
        self.on_event(message)

    def view(self) -> View:
        """Return all that one picture shows."""
        return View(
            name=self.name,
            fleet=self.fleet,
            agents=self.agents,
            history=tuple(self.history),
            scaler=self.scaler,
            replicas=self.replicas,
            nodes=tuple(self.nodes.values()),
            events=tuple(self.events),
            simulated_seconds=self.now(),
            speed=self.speed,
            places=self.places,
            cloudwatch=self.cloudwatch,
        )


class LogToStory(io.StringIO):
    """A stream for the exporter's JSON log: each record about a fleet, and every warning, becomes an event."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self._story = story
        self._unfinished = ""
        self.failures: deque[str] = deque(maxlen=20)
        """The lines that report an error, as they were written: what to show when the exporter dies."""

    def write(self, text: str, /) -> int:
        """Take some of the log; whole lines become events at once."""
        *lines, self._unfinished = (self._unfinished + text).split("\n")
        for line in lines:
            self._notify(line)
        return len(text)

    def _notify(self, line: str) -> None:
        try:
            record = json.loads(line)
        except ValueError:
            record = {"level": "error", "event": line}
        if record.get("level") in {"error", "critical"}:
            self.failures.append(line)
        if "fleet" in record or record.get("level") != "info":
            self._story.notify(_sentence(record))


def _sentence(record: dict[str, Any]) -> str:
    """Return a log record as a sentence."""
    sentence = str(record.get("event"))
    if "pod" in record:
        sentence = f"{record['pod']}: {sentence}"
    elif "fleet" in record:
        sentence = f"{record['fleet']}: {sentence}"
    if record.get("reason"):
        sentence += f" ({record['reason']})"
    details = ", ".join(f"{key}={value}" for key, value in record.items() if key not in _NOT_REPORTED)
    return f"{sentence} {details}".rstrip()
