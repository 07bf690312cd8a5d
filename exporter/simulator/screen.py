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

from exporter.simulator.agent_rows import ACTIVE, FAINT, STATE_STYLES, agent_rows, count, rows_needed
from exporter.terminal import visible

Document = Mapping[str, Any]
"""A fleet or an agent as `/api/v1` shows it."""

QUEUED, HELD = "red", "yellow"
EIGHTHS = " ▁▂▃▄▅▆▇█"
RUNNING_MARK, QUEUED_MARK = "█", "▒"
"""What tells running from queued tasks where there are no colours."""
CHART_ROWS = (5, 18)
"""Fewest and most rows of the chart."""
EVENT_ROWS = 4
"""The latest events and, before them, what became of the latest `NODE_ROWS` nodes."""
NODE_ROWS = 2
FRAME_ROWS = 7
"""Rows that are neither chart, agents, nodes, events nor places: title, borders, figures, advice, one left free."""
LOW = 28
"""Below this many rows, agents in trouble come before half of the events, of the chart and of the places; how to query
CloudWatch is not shown."""
LOW_CHART_ROWS, LOW_EVENT_ROWS, LOW_PLACES = 3, 2, 1
FRAME_COLUMNS = 6
"""Columns of the frame's corners and of the blanks around its title."""
NARROW = 100
"""Below this many columns, the figures have short names."""
LABEL = 14
"""Columns of a place's label, with the blanks behind it."""
GAP = "   "
"""Between two places in one row."""


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


def picture(view: View, width: int, height: int, *, colours: bool = True) -> RenderableType:
    """Return the whole screen, fitted to so many columns and rows."""
    low = height < LOW
    nodes = list(view.nodes)[-NODE_ROWS:]
    events = list(view.events)[max(0, len(view.events) + len(nodes) - (LOW_EVENT_ROWS if low else EVENT_ROWS)) :]
    places = view.places[:LOW_PLACES] if low else view.places
    shown = [*_place_rows(places, width), *_cloudwatch_rows(view.cloudwatch, width, hint=not low)]
    spare = height - FRAME_ROWS - len(shown) - len(nodes) - len(events)
    chart_rows = min(
        max(spare - rows_needed(view.agents, width), LOW_CHART_ROWS if low else CHART_ROWS[0]), CHART_ROWS[1]
    )
    parts: list[RenderableType] = [_title(view, width), *shown, _fleet_panel(view, chart_rows, width, colours=colours)]
    if view.agents:
        parts += agent_rows(view.agents, max(2, spare - chart_rows), width)
    if nodes:
        parts.append(Text("\n".join(nodes), style="yellow", no_wrap=True, overflow="ellipsis"))
    if events:
        parts.append(Text("\n".join(events), style=FAINT, no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def line(view: View) -> str:
    """Return the same in one line, for where there is no terminal."""
    head = clock(view.simulated_seconds)
    if view.fleet is None:
        return f"{head}  {view.name}: waiting for the exporter's first readings"
    fleet = view.fleet
    states = ", ".join(f"{fleet['agents'][state]} {state}" for state in STATE_STYLES if fleet["agents"][state])
    queued = "" if fleet["tasks_queued"] is None else f", {count(fleet['tasks_queued'])} queued"
    desired = (
        f"desired {count(fleet['desired_agents'])}"
        if fleet["trusted"]
        else f"not trusted: {visible(fleet['untrusted_reason'])}"
    )
    return (
        f"{head}  {view.name}: {states or 'no agents'} | {count(fleet['tasks_active'])} of {fleet['capacity_tasks']} "
        f"tasks{queued} | demand {count(fleet['demand_tasks'])}, {desired}{_published(view.cloudwatch)}"
    )


def _published(cloudwatch: CloudWatchView | str) -> str:
    if isinstance(cloudwatch, str) or cloudwatch.taken is None:
        return ""
    return f" | CloudWatch took {cloudwatch.taken} datums"


def clock(seconds: float) -> str:
    """Write simulated seconds as hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _title(view: View, width: int) -> Table:
    title = Table.grid(expand=True)
    title.add_column(no_wrap=True)
    title.add_column(justify="right", no_wrap=True)
    said = (
        f", {view.speed:g} times as fast" if width < NARROW else f" of the fleet's time, {view.speed:g} times as fast"
    )
    title.add_row(
        Text("fleet-exporter demo", style="bold"), Text.assemble((clock(view.simulated_seconds), "bold"), said)
    )
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
    about = "  moto:" if width < NARROW else "  on, moto not AWS:"
    taken = f"{about} {count(cloudwatch.taken)} datums taken"
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
    return Text.assemble((label.ljust(LABEL), FAINT), *parts, no_wrap=True, overflow="ellipsis")


def _fleet_panel(view: View, chart_rows: int, width: int, *, colours: bool) -> Panel:
    fleet = view.fleet
    if fleet is None:
        return Panel(Text("waiting for the exporter's first readings"), title=view.name, title_align="left")
    body = Group(_figures(view, fleet, short=width < NARROW), Chart(view.history, chart_rows, colours=colours))
    return Panel(
        Group(body, _advice(view, fleet)),
        title=_headline(fleet, width - FRAME_COLUMNS),
        title_align="left",
        subtitle=_legend(colours=colours),
        subtitle_align="right",
        border_style="green" if fleet["trusted"] else "red",
    )


def _headline(fleet: Document, room: int) -> Text:
    """Return the fleet's name and its agents by state; in little room the states but the first are one number."""
    states = [(style, fleet["agents"][state], state) for state, style in STATE_STYLES.items() if fleet["agents"][state]]
    others = sum(number for _, number, _ in states[1:])
    short = [*states[:1], *([("bold red", others, "others")] if others else [])]
    fleet_name = visible(fleet["fleet"])
    name = f"{visible(fleet['namespace'])}/{fleet_name}"
    texts = [_named(one, given) for given in (states, short) for one in (name, fleet_name)]
    return next((text for text in texts if len(text) <= room), texts[-1])


def _named(name: str, states: Sequence[tuple[str, int, str]]) -> Text:
    text = Text.assemble((name, "bold"))
    for style, number, state in states:
        text.append("  ● ", style=style).append(f"{number} {state}")
    return text


def _figures(view: View, fleet: Document, *, short: bool) -> Table:
    figures = Table.grid(expand=True)
    free_style = "red" if not fleet["free_slots"] else ""
    cells = (
        ("tasks running", "running", count(fleet["tasks_active"]), ACTIVE),
        ("queued", "queued", count(fleet["tasks_queued"]), QUEUED if fleet["tasks_queued"] else ""),
        ("free slots", "free slots", f"{count(fleet['free_slots'])} of {fleet['capacity_tasks']}", free_style),
        ("on unreachable agents", "held", count(fleet["held_tasks"]), HELD if fleet["held_tasks"] else ""),
        ("demand", "demand", count(fleet["demand_tasks"]), "bold"),
        ("desired agents", "desired", f"{count(fleet['desired_agents'])} ({count(view.replicas)} now)", "bold"),
    )
    for _ in cells:
        figures.add_column(justify="center", no_wrap=True)
    figures.add_row(*(Text(value, style=style or "bold") for _, _, value, style in cells))
    figures.add_row(*(Text(brief if short else label, style=FAINT) for label, brief, _, _ in cells))
    return figures


def _legend(*, colours: bool) -> Text:
    queued = (RUNNING_MARK, QUEUED) if colours else (QUEUED_MARK, "")
    return Text.assemble(
        (RUNNING_MARK, ACTIVE if colours else ""), " running  ", queued, " queued  ", ("─", "white"), " serving slots",
        style=FAINT,
    )  # fmt: skip


def _advice(view: View, fleet: Document) -> Text:
    if not fleet["trusted"]:
        return Text(f"withheld from the autoscaler: {visible(fleet['untrusted_reason'])}", style="red")
    coverage = f"{fleet['coverage']:.0%} of the agents respond. " if fleet["coverage"] < 1 else ""
    return Text(f"{coverage}autoscaler: {view.scaler}", style=FAINT, no_wrap=True, overflow="ellipsis")


class Chart:
    """Tasks over time: running, the queue on top of it, and the slots there are as a line. The newest is right."""

    def __init__(self, history: Sequence[Point], rows: int, *, colours: bool = True) -> None:
        self._history = history
        self._rows = rows
        self._cell = _cell if colours else _plain_cell

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as many points as there are columns."""
        axis = 5
        width = max(1, options.max_width - axis)
        points = list(self._history)[-width:]
        step = self._step(points)
        for row in reversed(range(self._rows)):
            label = f"{step * (row + 1):>{axis - 1}g} " if row in {self._rows - 1, self._rows // 2 - 1} else " " * axis
            yield Segment(label, Style(color=FAINT))
            for point in points:
                yield self._cell(point, row * step, step)
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


def _plain_cell(point: Point, bottom: float, step: int) -> Segment:
    """Return the cell without colours: a row with both is what there is more of, since a cell has one mark."""
    active = point.active or 0.0
    total = active + (point.queued or 0.0)
    running, queued = min(active - bottom, step), min(total, bottom + step) - max(active, bottom)
    if queued > 0 and queued >= running:
        return Segment(QUEUED_MARK)
    return _cell(Point(point.active, 0.0, point.capacity), bottom, step)


def _block(filled: float, step: int) -> str:
    return EIGHTHS[max(1, min(8, round(filled / step * 8)))]
