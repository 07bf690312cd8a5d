"""Fleets and agents as lines for a person. Pure: documents in, text out.

What is withheld is shown as withheld, and what is not known as `?`; neither is ever a number.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from exporter.client import Status
from exporter.terminal import Paper, Style, columns, visible

UNKNOWN, WITHHELD = "?", "withheld"
_UNWELL = {"down": Style.BAD, "degraded": Style.DOUBTFUL}
"""Words of health whose problems are listed; incomplete data has a line of its own."""
STAYS = "stays"
"""What an HPA does that gets no demand."""

_COLUMNS = {
    "FLEET": "",
    "AGENTS": "",
    "LOAD": "",
    "RUNNING": "tasks_active",
    "OF": "capacity_tasks",
    "FREE": "free_slots",
    "QUEUED": "tasks_queued",
    "HELD": "held_tasks",
    "DEMAND": "demand_tasks",
    "DESIRED": "desired_agents",
    "HPA": "hpa_agents",
}
"""Headings, and the figure below each that is one."""
_LEFT = ("FLEET", "AGENTS", "LOAD")
_BAR = 10
_URGENCY = ("unreachable", "disconnected", "stopped", "starting", "serving", "draining")
_STYLES = {
    "serving": Style.GOOD,
    "draining": Style.FAINT,
    "starting": Style.DOUBTFUL,
    "unreachable": Style.BAD,
    "stopped": Style.BAD,
    "disconnected": Style.BAD,
}
_MINUTE, _HOUR = 60, 3600
_OLD_PAST = _HOUR
"""Seconds after which a forecast's past is old: sources are read at least every quarter of an hour."""
Json = Mapping[str, Any]


def screen(url: str, status: Status, paper: Paper) -> list[str]:
    """Return what there is to see, line by line."""
    shown_at = datetime.fromtimestamp(status.time_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"{paper.paint(visible(url), Style.HEADING)}  {paper.paint(shown_at, Style.FAINT)}"]
    if status.not_ready:
        lines += _note("not ready yet", status.not_ready, paper)
    for remark in status.remarks:
        lines += _note("note", remark, paper, Style.DOUBTFUL)
    lines.append("")
    if not status.fleets:
        return [*lines, "No fleet was found."]
    lines += _fleets(status.fleets, status.time_seconds, paper)
    needing = sorted((agent for agent in status.agents if agent["needs_attention"]), key=_urgency)
    lines += ["", *_attention(needing, len(status.agents), paper)]
    return lines


def _urgency(agent: Json) -> tuple[int, str, str, str]:
    state = agent["state"]
    rank = _URGENCY.index(state) if state in _URGENCY else -1
    if agent.get("drain_cut_short"):  # before all others, for only its minutes count
        rank = -2
    return rank, str(agent["namespace"]), str(agent["fleet"]), str(agent["pod"])


# -- fleets ------------------------------------------------------------------------------------------------------------

_NARROWER: Sequence[tuple[bool, frozenset[str]]] = (
    (False, frozenset()),
    (True, frozenset()),
    (True, frozenset({"LOAD"})),
    (True, frozenset({"LOAD", "HELD", "FREE", "HPA"})),
)
"""What is given up, step by step, where the terminal is too narrow: how many are in each state, then columns."""


def _fleets(fleets: Sequence[Json], now: float, paper: Paper) -> Iterator[str]:
    heading, *lines = _table(fleets, paper)
    yield paper.paint("".join(heading).rstrip(), Style.FAINT)
    for fleet, cells in zip(fleets, lines, strict=True):
        yield "".join(cells).rstrip()
        if not fleet["trusted"]:
            reason = fleet.get("untrusted_reason") or "do not act on its figures"
            yield from _note("  not trusted", f"{reason}; its demand is withheld from autoscalers", paper)
        if lost := fleet.get("tasks_lost"):
            tasks = f"{lost:g} running task{'' if lost == 1 else 's'} lost since the exporter started"
            yield from _note("  lost", f"{tasks}; fleet-exporter ledger lists the agents", paper)
        yield from _forecast(fleet, now, paper)
        if (word := fleet.get("health")) in _UNWELL:
            for problem in fleet.get("problems", ()):
                yield from _note(f"  {word}", problem, paper, _UNWELL[word])
        for remark in fleet.get("remarks", ()):
            yield from _note("  note", remark, paper, Style.DOUBTFUL)


def _forecast(fleet: Json, now: float, paper: Paper) -> Iterator[str]:
    forecast = fleet.get("forecast")
    if not forecast:
        return
    if (tasks := forecast.get("tasks")) is None:
        yield from _note("  no forecast", forecast.get("withheld_reason") or UNKNOWN, paper, Style.DOUBTFUL)
        return
    days = forecast.get("like_days")
    ahead = _number(fleet.get("demand_ahead_tasks")) if fleet["trusted"] else WITHHELD
    read = forecast.get("past_read_time_seconds")
    old = isinstance(read, int | float) and now - read > _OLD_PAST
    yield from _note(
        "  forecast",
        f"{_number(tasks)} task{'' if tasks == 1 else 's'} within {_lasting(forecast.get('lead_time_seconds'))}"
        f"{f' (as on {days})' if days else ''}, skill {_number(forecast.get('skill'))}; demand ahead {ahead}"
        f"{f'; its past was last read {_lasting(now - read)} ago' if old else ''}",
        paper,
        Style.DOUBTFUL if old else Style.FAINT,
    )


def _lasting(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return UNKNOWN
    if seconds >= 2 * _HOUR:
        return f"{_number(seconds / _HOUR)} h"
    return f"{_number(seconds / _MINUTE)} min" if seconds >= 2 * _MINUTE else f"{seconds:.0f} s"


def _table(fleets: Sequence[Json], paper: Paper) -> list[list[str]]:
    """Return the padded and painted cells of every row, headings first, in the widest form that fits."""
    padded: list[list[str]] = []
    names: list[str] = []
    for short, without in _NARROWER:
        names = [name for name in _COLUMNS if name not in without]
        rows = [names, *([_cell(name, fleet, paper, short=short) for name in names] for fleet in fleets)]
        padded = columns(rows, [name not in _LEFT for name in names])
        if sum(map(len, padded[0])) <= paper.width:
            break
    heading, *lines = padded
    return [heading, *(_painted(names, cells, fleet, paper) for cells, fleet in zip(lines, fleets, strict=True))]


def _painted(names: Sequence[str], cells: Sequence[str], fleet: Json, paper: Paper) -> list[str]:
    return [paper.paint(cell, _style(name, fleet)) for name, cell in zip(names, cells, strict=True)]


def _cell(name: str, fleet: Json, paper: Paper, *, short: bool) -> str:
    match name:
        case "FLEET":
            return visible(f"{fleet['namespace']}/{fleet['fleet']}")
        case "AGENTS":
            return _agents(fleet["agents"], short=short)
        case "LOAD":
            utilization = fleet.get("utilization")
            return "" if utilization is None else paper.bar(utilization, _BAR)
        case "DEMAND" | "DESIRED" | "HPA" if not fleet["trusted"]:
            return STAYS if name == "HPA" else WITHHELD
        case "FREE" if fleet.get("free_slots") and not fleet.get("free_slots_certain", True):
            return f"≤{_number(fleet['free_slots'])}"
        case _:
            return _number(fleet.get(_COLUMNS[name]))


def _style(name: str, fleet: Json) -> Style | None:
    match name:
        case "FLEET":
            return Style.HEADING
        case "AGENTS":
            lost = any(fleet["agents"].get(state) for state in ("unreachable", "stopped", "disconnected"))
            return Style.BAD if lost else Style.GOOD
        case "LOAD" | "FREE" if fleet.get("free_slots") == 0:
            return Style.DOUBTFUL
        case "QUEUED" if (fleet.get("tasks_queued") or 0) > 0:
            return Style.DOUBTFUL
        case "DEMAND" | "DESIRED" if not fleet["trusted"]:
            return Style.BAD
        case _:
            return None


def _agents(agents: Json, *, short: bool) -> str:
    """Return how many agents are in which state: "9 serving, 1 draining", or in short "9 of 10 serving"."""
    if short:
        return f"{agents.get('serving', 0)} of {agents.get('total', '?')} serving"
    states = ("serving", "unreachable", "disconnected", "stopped", "starting", "draining")
    return ", ".join(f"{agents[state]} {state}" for state in states if agents.get(state)) or "none"


def _number(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, int | float) else UNKNOWN


# -- agents ------------------------------------------------------------------------------------------------------------


def _attention(agents: Sequence[Json], total: int, paper: Paper) -> Iterator[str]:
    if not agents:
        yield paper.paint(
            f"None of {total} agents needs attention." if total != 1 else "The agent is healthy.", Style.GOOD
        )
        return
    share = f"{len(agents)} of {total} agents need{'s' if len(agents) == 1 else ''} attention"
    yield paper.paint(share, Style.HEADING)
    rows = [(f"  {visible(agent['namespace'])}/{visible(agent['pod'])}", visible(agent["state"])) for agent in agents]
    for agent, (pod, state) in zip(agents, columns(rows, (False, False)), strict=True):
        head = f"{pod}{paper.paint(state, _style_of(agent))}  "
        indent = len(pod) + len(state) + 2
        if indent > paper.width // 2:
            yield head.rstrip()
            head, indent = " " * 6, 6
        first, *rest = paper.paragraph(str(agent["reason"]), indent)
        yield head + first
        yield from rest


def _style_of(agent: Json) -> Style | None:
    return Style.BAD if agent.get("drain_cut_short") else _STYLES.get(agent["state"])


def _note(what: str, reason: str, paper: Paper, style: Style = Style.BAD) -> Iterator[str]:
    head = f"{what}: "
    first, *rest = paper.paragraph(reason, len(head))
    yield paper.paint(head, style) + first
    yield from rest
