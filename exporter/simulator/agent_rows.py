"""The demo's agents, a row each: those in trouble first, with the reason in rows of its own. Pure."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from rich.text import Text

from exporter.terminal import shortened, visible

Document = Mapping[str, Any]
"""An agent as `/api/v1` shows it."""

STATE_STYLES = {
    "serving": "green",
    "draining": "blue",
    "starting": "yellow",
    "unreachable": "bold red",
    "disconnected": "magenta",
    "stopped": "bright_black",
}
ACTIVE, FREE, FAINT = "green", "grey37", "grey62"
UNKNOWN = "–"
WIDE = 110
"""From this many columns on, the agents' versions and dialects are shown."""
NARROW = 80
"""Below this many columns a mark stands for two tasks, and there is no room for the heap."""
_SLOTS = 20
_GAP = "  "
_STATE_WIDTH = 2 + max(map(len, STATE_STYLES))
_NUMBER_WIDTH = 5
_SHORTEST_NAME = 12
_REASON_INDENT = 4
_SHORTEST_REASON = 30
"""Columns for a reason in its agent's row: with fewer it would say less than the state."""
_REASON_ROWS = 2
_LEAST_ROWS = 2
"""Of an agent in trouble, where there is room for no more: its row, and one of its reason."""


def agent_rows(agents: Sequence[Document], rows: int, width: int) -> list[Text]:
    """Return the heading and the agents, in at most `rows` rows (two at least); what is left out is counted."""
    columns = _columns(width)
    longest = max((len(agent["pod"]) for agent in agents), default=0)
    beside = sum(len(_GAP) + one.width for one in columns)
    columns = [_Column("agent", min(max(longest, len("agent")), max(_SHORTEST_NAME, width - 1 - beside))), *columns]
    shown = [_row([Text(one.pad(one.name)) for one in columns], FAINT)]
    left = len(agents)
    for agent in sorted(agents, key=lambda agent: not agent["needs_attention"]):
        block = [_row([one.padded(_cell(one, agent)) for one in columns])]
        reason = visible(agent["reason"])
        if agent["needs_attention"]:
            style = STATE_STYLES.get(agent["state"], "")
            block += [Text(" " * _REASON_INDENT + line, style) for line in _reason(reason, width)]
        elif width - len(block[0]) >= _SHORTEST_REASON:
            block[0].append(_GAP + reason, FAINT).truncate(width, overflow="ellipsis")
        # One row stays free for the number of those that are left out, unless this is the last one.
        room = rows - len(shown) - (left > 1)
        if len(block) > max(room, _LEAST_ROWS):
            block = [*block[: _LEAST_ROWS - 1], _cut(block[_LEAST_ROWS - 1], width)]
        if len(block) > room:
            return [*shown, Text(f" and {left} more", FAINT)]
        shown += block
        left -= 1
    return shown


def rows_needed(agents: Sequence[Document], width: int) -> int:
    """Return how many rows the heading and all agents take."""
    return 1 + sum(
        1 + (len(_reason(visible(agent["reason"]), width)) if agent["needs_attention"] else 0) for agent in agents
    )


def _cut(line: Text, width: int) -> Text:
    line.append(" …")
    line.truncate(width, overflow="ellipsis")
    return line


def _reason(reason: str, width: int) -> list[str]:
    return textwrap.wrap(reason, width - _REASON_INDENT, max_lines=_REASON_ROWS, placeholder=" …")


def count(value: float | None) -> str:
    """Return a figure, or a dash where it is unknown."""
    return UNKNOWN if value is None else f"{value:g}"


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    width: int
    right: bool = False

    def pad(self, text: str) -> str:
        return text.rjust(self.width) if self.right else text.ljust(self.width)

    def padded(self, text: Text) -> Text:
        blanks = max(0, self.width - len(text))
        (text.pad_left if self.right else text.pad_right)(blanks)
        return text


def _columns(width: int) -> list[_Column]:
    """Return the columns beside the agent's name."""
    marks = _SLOTS if width >= NARROW else _SLOTS // 2
    columns = [
        _Column("state", _STATE_WIDTH),
        _Column("tasks", marks + _NUMBER_WIDTH),
        _Column("queued", 6, right=True),
    ]
    if width >= NARROW:
        columns.append(_Column("heap", 5, right=True))
    if width >= WIDE:
        columns += [_Column("version", 10), _Column("speaks", 6)]
    return columns


def _cell(column: _Column, agent: Document) -> Text:
    match column.name:
        case "agent":
            return Text(shortened(visible(agent["pod"]), column.width))
        case "state":
            return Text.assemble(("● ", STATE_STYLES.get(agent["state"], "")), visible(agent["state"]))
        case "tasks":
            return _bar(agent, column.width - _NUMBER_WIDTH)
        case "queued":
            return Text(count(agent["tasks_queued"]))
        case "heap":
            return Text(_heap(agent))
        case _:
            return Text(visible(agent["version" if column.name == "version" else "dialect"] or UNKNOWN))


def _row(cells: Sequence[Text], style: str = "") -> Text:
    return Text(" ", style=style, no_wrap=True).append_text(Text(_GAP).join(cells))


def _bar(agent: Document, marks: int) -> Text:
    """Return a mark per task, or per two, up to the cap of 20, and the number; faint where the reading is too old."""
    tasks = agent["tasks_active"]
    if tasks is None:
        return Text(UNKNOWN)
    filled = min(marks, max(0, ceil(round(tasks) * marks / _SLOTS)))
    style = ACTIVE if agent["state"] == "serving" else STATE_STYLES.get(agent["state"], "")
    bar = Text.assemble(("▪" * filled, style), ("·" * (marks - filled), FREE), f" {count(tasks)}")
    if not agent["fresh"]:
        bar.stylize("dim")
    return bar


def _heap(agent: Document) -> str:
    used, limit = agent["heap_used_bytes"], agent["heap_limit_bytes"]
    return UNKNOWN if used is None or not limit else f"{used / limit:.0%}"
