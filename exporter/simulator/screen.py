"""The demo's picture of a fleet: from the exporter's own JSON to something `rich` can print.

Pure: the same view gives the same picture. Knows nothing of HTTP, of time passing or of the terminal. A figure that the
exporter withholds is shown as a dash, never as 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

Document = Mapping[str, Any]
"""A fleet or an agent as `/api/v1` shows it."""

STATE_STYLES = {
    "serving": "green",
    "draining": "blue",
    "starting": "yellow",
    "unreachable": "bold red",
    "disconnected": "magenta",
    "stopped": "bright_black",
}
ACTIVE, QUEUED, HELD, FREE = "green", "red", "yellow", "grey37"
EIGHTHS = " ▁▂▃▄▅▆▇█"
UNKNOWN = "–"
CHART_ROWS = (5, 18)
"""Fewest and most rows of the chart."""
EVENT_ROWS = 4
"""The latest events and, before them, what became of the latest `NODE_ROWS` nodes."""
NODE_ROWS = 2
FRAME_ROWS = 9
"""Rows that are neither chart, agents, nodes, events nor places: title, borders, figures, headings, one left free."""
HINT_HEIGHT = 28
"""From this many rows on, there is room to show how to query CloudWatch."""
LABEL = 14
"""Columns of a place's label, with the blanks behind it."""
GAP = "   "
"""Between two places in one row."""
WIDE = 110
"""From this many columns on, the agents' versions and the reasons of their states are shown too."""


@dataclass(frozen=True, slots=True)
class Point:
    """One moment of the chart, in tasks; None where the exporter did not know."""

    active: float | None
    queued: float | None
    capacity: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatchView:
    """Where the exporter publishes to CloudWatch, and what has come of it."""

    url: str
    namespace: str
    taken: int | None = None
    """Datums that CloudWatch has accepted; None before the exporter has reported it."""
    waiting: int = 0
    """Datums it has not accepted yet."""
    command: Sequence[str] = ()
    """The parts of a command that reads what was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that one picture shows."""

    name: str
    fleet: Document | None = None
    """None while the exporter has not seen the fleet."""
    agents: Sequence[Document] = ()
    history: Sequence[Point] = ()
    """Oldest first."""
    scaler: str = ""
    """What the autoscaler decided last, and why."""
    replicas: int | None = None
    nodes: Sequence[str] = ()
    """What became of the nodes that went away, oldest first."""
    events: Sequence[str] = ()
    """Oldest first."""
    simulated_seconds: float = 0.0
    speed: float = 1.0
    places: Sequence[tuple[str, str]] = field(default_factory=tuple)
    """What there is to look at, and where."""
    cloudwatch: CloudWatchView | str = ""
    """Where there is none, why."""


def picture(view: View, width: int, height: int) -> RenderableType:
    """Return the whole screen, fitted to so many columns and rows."""
    nodes = list(view.nodes)[-NODE_ROWS:]
    events = list(view.events)[len(nodes) - EVENT_ROWS :]
    places = [*_place_rows(view.places, width), *_cloudwatch_rows(view.cloudwatch, width, hint=height >= HINT_HEIGHT)]
    spare = height - FRAME_ROWS - len(places) - len(nodes) - len(events)
    needed = len(view.agents)
    chart_rows = min(max(spare - needed, CHART_ROWS[0]), CHART_ROWS[1])
    agent_rows = max(1, spare - chart_rows)
    parts: list[RenderableType] = [_title(view), *places, _fleet_panel(view, chart_rows)]
    if view.agents:
        parts.append(_agents_table(view.agents, agent_rows, wide=width >= WIDE))
    if nodes:
        parts.append(Text("\n".join(nodes), style="yellow", no_wrap=True, overflow="ellipsis"))
    if events:
        parts.append(Text("\n".join(events), style="grey62", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def line(view: View) -> str:
    """Return the same in one line, for where there is no terminal."""
    head = clock(view.simulated_seconds)
    if view.fleet is None:
        return f"{head}  {view.name}: waiting for the exporter's first readings"
    fleet = view.fleet
    states = ", ".join(f"{fleet['agents'][state]} {state}" for state in STATE_STYLES if fleet["agents"][state])
    queued = "" if fleet["tasks_queued"] is None else f", {_count(fleet['tasks_queued'])} queued"
    desired = (
        f"desired {_count(fleet['desired_agents'])}"
        if fleet["trusted"]
        else f"not trusted: {fleet['untrusted_reason']}"
    )
    return (
        f"{head}  {view.name}: {states or 'no agents'} | {_count(fleet['tasks_active'])} of {fleet['capacity_tasks']} "
        f"tasks{queued} | demand {_count(fleet['demand_tasks'])}, {desired}{_published(view.cloudwatch)}"
    )


def _published(cloudwatch: CloudWatchView | str) -> str:
    if isinstance(cloudwatch, str) or cloudwatch.taken is None:
        return ""
    return f" | CloudWatch took {cloudwatch.taken} datums"


def clock(seconds: float) -> str:
    """Write simulated seconds as hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _title(view: View) -> Table:
    title = Table.grid(expand=True)
    title.add_column(no_wrap=True)
    title.add_column(justify="right", no_wrap=True)
    time = Text.assemble((clock(view.simulated_seconds), "bold"), f" of the fleet's time, {view.speed:g} times as fast")
    title.add_row(Text("fleet-exporter demo", style="bold"), time)
    return title


def _place_rows(places: Sequence[tuple[str, str]], width: int) -> list[Text]:
    """Return the places, as many in a row as fit."""
    rows: list[Text] = []
    for label, place in places:
        text = _row(label, (place, "underline"))
        if rows and len(rows[-1]) + len(GAP) + len(text) <= width:
            rows[-1].append(GAP).append_text(text)
        else:
            rows.append(text)
    return rows


def _cloudwatch_rows(cloudwatch: CloudWatchView | str, width: int, *, hint: bool) -> list[Text]:
    if isinstance(cloudwatch, str):
        return [_row("CloudWatch", f"off: {cloudwatch}")] if cloudwatch else []
    taken = f"  on, moto not AWS: {_count(cloudwatch.taken)} datums taken"
    if cloudwatch.waiting:
        taken += f", {cloudwatch.waiting} wait"
    rows = [_row("CloudWatch", (cloudwatch.url, "underline"), taken)]
    if len(rows[0]) + len(where := f" in {cloudwatch.namespace}") <= width:
        rows[0].append(where)
    if hint and cloudwatch.command:
        whole = " ".join(cloudwatch.command)
        command = whole if LABEL + len(whole) <= width else " \\\n".join(cloudwatch.command)
        rows += [_row("" if number else "ask it", part) for number, part in enumerate(command.split("\n"))]
    return rows


def _row(label: str, *parts: str | tuple[str, str]) -> Text:
    return Text.assemble((label.ljust(LABEL), "grey62"), *parts, no_wrap=True, overflow="ellipsis")


def _fleet_panel(view: View, chart_rows: int) -> Panel:
    fleet = view.fleet
    if fleet is None:
        return Panel(Text("waiting for the exporter's first readings"), title=view.name, title_align="left")
    body = Group(_figures(view, fleet), _legend(), Chart(view.history, chart_rows), _advice(view, fleet))
    return Panel(body, title=_headline(fleet), title_align="left", border_style="green" if fleet["trusted"] else "red")


def _headline(fleet: Document) -> Text:
    text = Text.assemble((f"{fleet['namespace']}/{fleet['fleet']}", "bold"))
    for state, style in STATE_STYLES.items():
        if number := fleet["agents"][state]:
            text.append("  ● ", style=style)
            text.append(f"{number} {state}")
    return text


def _figures(view: View, fleet: Document) -> Table:
    figures = Table.grid(expand=True)
    for _ in range(6):
        figures.add_column(justify="center")
    free_style = "red" if not fleet["free_slots"] else ""
    cells = (
        ("tasks running", _count(fleet["tasks_active"]), ACTIVE),
        ("queued", _count(fleet["tasks_queued"]), QUEUED if fleet["tasks_queued"] else ""),
        ("free slots", f"{_count(fleet['free_slots'])} of {fleet['capacity_tasks']}", free_style),
        ("on unreachable agents", _count(fleet["held_tasks"]), HELD if fleet["held_tasks"] else ""),
        ("demand", _count(fleet["demand_tasks"]), "bold"),
        ("desired agents", f"{_count(fleet['desired_agents'])} ({_count(view.replicas)} now)", "bold"),
    )
    figures.add_row(*(Text(value, style=style or "bold") for _, value, style in cells))
    figures.add_row(*(Text(label, style="grey62") for label, _, _ in cells))
    return figures


def _legend() -> Text:
    return Text.assemble(
        ("█", ACTIVE), " running  ", ("█", QUEUED), " queued  ", ("─", "white"), " slots of the agents that serve",
        style="grey62", justify="right",
    )  # fmt: skip


def _advice(view: View, fleet: Document) -> Text:
    if not fleet["trusted"]:
        return Text(f"withheld from the autoscaler: {fleet['untrusted_reason']}", style="red")
    coverage = f"{fleet['coverage']:.0%} of the agents respond. " if fleet["coverage"] < 1 else ""
    return Text(f"{coverage}autoscaler: {view.scaler}", style="grey62", no_wrap=True, overflow="ellipsis")


class Chart:
    """Tasks over time: running, the queue on top of it, and the slots there are as a line. The newest is right."""

    def __init__(self, history: Sequence[Point], rows: int) -> None:
        self._history = history
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as many points as there are columns."""
        axis = 5
        width = max(1, options.max_width - axis)
        points = list(self._history)[-width:]
        step = self._step(points)
        for row in reversed(range(self._rows)):
            label = f"{step * (row + 1):>{axis - 1}g} " if row in {self._rows - 1, self._rows // 2 - 1} else " " * axis
            yield Segment(label, Style(color="grey62"))
            for point in points:
                yield _cell(point, row * step, step)
            yield Segment.line()

    def _step(self, points: Sequence[Point]) -> int:
        """Return how many tasks a row stands for: a round number, so that the scale does not tremble."""
        highest = max(
            (max((point.active or 0) + (point.queued or 0), point.capacity or 0) for point in points), default=0
        )
        return max(5, 5 * ceil(highest / self._rows / 5))


def _cell(point: Point, bottom: float, step: int) -> Segment:
    active = point.active or 0.0
    total = active + (point.queued or 0.0)
    if active >= bottom + step:
        return Segment("█", Style(color=ACTIVE))
    if active > bottom:
        above = Style(color=ACTIVE, bgcolor=QUEUED) if total >= bottom + step else Style(color=ACTIVE)
        return Segment(_block(active - bottom, step), above)
    if total > bottom:
        return Segment(_block(min(total - bottom, step), step), Style(color=QUEUED))
    if point.capacity is not None and bottom < point.capacity <= bottom + step:
        return Segment("─", Style(color="white"))
    return Segment(" ")


def _block(filled: float, step: int) -> str:
    return EIGHTHS[max(1, min(8, round(filled / step * 8)))]


def _agents_table(agents: Sequence[Document], rows: int, *, wide: bool) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="grey62")
    for heading in ("agent", "state", "tasks"):
        table.add_column(heading, no_wrap=True)
    table.add_column("queued", justify="right", no_wrap=True)
    table.add_column("heap", justify="right", no_wrap=True)
    if wide:
        table.add_column("version", no_wrap=True)
        table.add_column("speaks", no_wrap=True)
        table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    shown = agents if len(agents) <= rows else agents[: rows - 1]
    for agent in shown:
        table.add_row(*_agent_cells(agent, wide=wide))
    if len(shown) < len(agents):
        table.add_row(Text(f"and {len(agents) - len(shown)} more", style="grey62"))
    return table


def _agent_cells(agent: Document, *, wide: bool) -> list[RenderableType]:
    style = STATE_STYLES.get(agent["state"], "")
    cells: list[RenderableType] = [
        Text(agent["pod"]),
        Text.assemble(("● ", style), agent["state"]),
        _bar(agent),
        Text(_count(agent["tasks_queued"])),
        Text(_heap(agent)),
    ]
    if wide:
        why = Text(agent["reason"], style="grey62", overflow="ellipsis")
        cells += [Text(agent["version"] or UNKNOWN), Text(agent["dialect"] or UNKNOWN), why]
    return cells


def _bar(agent: Document) -> Text:
    """Return a mark per task up to the cap of 20, and the number; faint where the reading is too old to count."""
    tasks = agent["tasks_active"]
    if tasks is None:
        return Text(UNKNOWN)
    filled = min(20, max(0, round(tasks)))
    style = ACTIVE if agent["state"] == "serving" else STATE_STYLES.get(agent["state"], "")
    bar = Text.assemble(("▪" * filled, style), ("·" * (20 - filled), FREE), f" {_count(tasks)}")
    if not agent["fresh"]:
        bar.stylize("dim")
    return bar


def _heap(agent: Document) -> str:
    used, limit = agent["heap_used_bytes"], agent["heap_limit_bytes"]
    return UNKNOWN if used is None or not limit else f"{used / limit:.0%}"


def _count(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"
