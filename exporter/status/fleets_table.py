"""The fleets as lines for a person: a row of figures each, and below it what is wrong. Pure.

What is withheld is shown as withheld, and what is not known as `?`; neither is ever a number.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exporter.fleet.health import Word
from exporter.status.agents_table import UNKNOWN, memory_share, number, percent
from exporter.terminal import Paper, Style, columns, visible, widest

Json = Mapping[str, Any]

WITHHELD = "withheld"
STAYS = "stays"
"""What an HPA does that gets no demand."""
WORD_STYLES: Mapping[str, Style] = {
    Word.DOWN: Style.BAD,
    Word.DATA_INCOMPLETE: Style.DOUBTFUL,
    Word.DEGRADED: Style.DOUBTFUL,
    Word.OK: Style.GOOD,
}
_COLUMNS = {
    "FLEET": "",
    "HEALTH": "",
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
    "RESTARTS": "restarts",
    "MEMORY": "",
}
"""Headings, and the figure below each that is one. MEMORY is that of the fullest agent."""
_LEFT = ("FLEET", "HEALTH", "AGENTS", "LOAD")
_GIVEN_UP = ("LOAD", "RESTARTS", "HELD", "HPA", "MEMORY", "FREE", "OF", "DESIRED", "AGENTS", "HEALTH")
"""Columns in the order in which a narrow terminal loses them: what the lines below a fleet say as well, comes first."""
_NAME_SHARE = 1 / 5
"""Share of the line below which a fleet's name is not shortened as long as a column can be given up instead."""
_SHORTEST_NAME = 8
_BAR = 10
_MINUTE, _HOUR = 60, 3600
_OLD_PAST = _HOUR
"""Seconds after which a forecast's past is old: sources are read at least every quarter of an hour."""


def health_of(fleet: Json) -> str:
    """Return the fleet's health in a word; `?` from an exporter that has none."""
    return visible(str(fleet.get("health") or UNKNOWN))


def fleets_table(fleets: Sequence[Json], agents: Sequence[Json], now: float, paper: Paper) -> Iterator[str]:
    """Yield the fleets, the worst first; `now` in Unix seconds."""
    ordered = sorted(fleets, key=_worst_first)
    rows = widest(_forms(ordered, _fullest(agents), paper), paper.width, ["FLEET"], paper.ellipsis)
    names = rows[0]
    heading, *lines = columns(rows, [name not in _LEFT for name in names])
    yield paper.paint("".join(heading).rstrip(), Style.FAINT)
    for fleet, cells in zip(ordered, lines, strict=True):
        painted = [paper.paint(cell, _style(name, fleet)) for name, cell in zip(names, cells, strict=True)]
        yield "".join(painted).rstrip()
        yield from _below(fleet, now, paper)


def note(what: str, reason: str, paper: Paper, style: Style = Style.BAD) -> Iterator[str]:
    """Yield a sentence after what kind of sentence it is."""
    yield from _listed(f"{what}: ", [reason], paper, style)


def _worst_first(fleet: Json) -> tuple[int, str, str]:
    words = [*Word]
    word = health_of(fleet)
    return words.index(Word(word)) if word in words else len(words), str(fleet["namespace"]), str(fleet["fleet"])


def _fullest(agents: Sequence[Json]) -> Mapping[tuple[object, object], float]:
    """Return the highest share of its memory limit that an agent of each fleet uses."""
    highest: dict[tuple[object, object], float] = {}
    for agent in agents:
        if (share := memory_share(agent)) is not None:
            fleet = agent["namespace"], agent["fleet"]
            highest[fleet] = max(share, highest.get(fleet, 0.0))
    return highest


def _below(fleet: Json, now: float, paper: Paper) -> Iterator[str]:
    problems = [str(problem) for problem in fleet.get("problems") or ()]
    word = health_of(fleet)
    if word != Word.DATA_INCOMPLETE:  # then the reason is that of the next line
        yield from _listed(f"  {word}: ", problems, paper, WORD_STYLES.get(word, Style.DOUBTFUL))
    if not fleet["trusted"]:
        reason = fleet.get("untrusted_reason") or "do not act on its figures"
        yield from note("  not trusted", f"{reason}; its demand is withheld from autoscalers", paper)
    if lost := fleet.get("tasks_lost"):
        tasks = f"{lost:g} running task{'' if lost == 1 else 's'} lost since the exporter started"
        yield from note("  lost", f"{tasks}; fleet-exporter ledger lists the agents", paper)
    yield from _forecast(fleet, now, paper)
    for remark in fleet.get("remarks") or ():
        if remark not in problems:
            yield from note("  note", remark, paper, Style.DOUBTFUL)


def _listed(head: str, sentences: Sequence[str], paper: Paper, style: Style) -> Iterator[str]:
    """Yield sentences below each other, the first after its kind."""
    for at, sentence in enumerate(sentences):
        first, *rest = paper.paragraph(sentence, len(head))
        yield (" " * len(head) if at else paper.paint(head, style)) + first
        yield from rest


def _forecast(fleet: Json, now: float, paper: Paper) -> Iterator[str]:
    forecast = fleet.get("forecast")
    if not forecast:
        return
    if (tasks := forecast.get("tasks")) is None:
        yield from note("  no forecast", forecast.get("withheld_reason") or UNKNOWN, paper, Style.DOUBTFUL)
        return
    days = forecast.get("like_days")
    ahead = number(fleet.get("demand_ahead_tasks")) if fleet["trusted"] else WITHHELD
    read = forecast.get("past_read_time_seconds")
    old = isinstance(read, int | float) and now - read > _OLD_PAST
    yield from note(
        "  forecast",
        f"{number(tasks)} task{'' if tasks == 1 else 's'} within {_lasting(forecast.get('lead_time_seconds'))}"
        f"{f' (as on {days})' if days else ''}, skill {number(forecast.get('skill'))}; demand ahead {ahead}"
        f"{f'; its past was last read {_lasting(now - read)} ago' if old else ''}",
        paper,
        Style.DOUBTFUL if old else Style.FAINT,
    )


def _lasting(seconds: object) -> str:
    if not isinstance(seconds, int | float):
        return UNKNOWN
    if seconds >= 2 * _HOUR:
        return f"{number(seconds / _HOUR)} h"
    return f"{number(seconds / _MINUTE)} min" if seconds >= 2 * _MINUTE else f"{seconds:.0f} s"


# -- the row of a fleet ------------------------------------------------------------------------------------------------


def _forms(
    fleets: Sequence[Json], memory: Mapping[tuple[object, object], float], paper: Paper
) -> Iterator[tuple[list[list[str]], int]]:
    """Yield the rows in narrower and narrower forms, headings first, and how short a name may be in each."""
    # First the numbers of agents in each state become the number of serving ones, then columns go.
    for step in range(len(_GIVEN_UP) + 2):
        names = [name for name in _COLUMNS if name not in _GIVEN_UP[: max(0, step - 1)]]
        cells = [[_cell(name, fleet, memory, paper, short=step > 0) for name in names] for fleet in fleets]
        yield [names, *cells], _SHORTEST_NAME if step > len(_GIVEN_UP) else round(paper.width * _NAME_SHARE)


def _cell(name: str, fleet: Json, memory: Mapping[tuple[object, object], float], paper: Paper, *, short: bool) -> str:
    utilization, free = fleet.get("utilization"), fleet.get("free_slots")
    withheld = not fleet["trusted"] and name in {"DEMAND", "DESIRED", "HPA"}
    at_most = name == "FREE" and free and not fleet.get("free_slots_certain", True)
    match name:
        case "FLEET":
            cell = visible(f"{fleet['namespace']}/{fleet['fleet']}")
        case "HEALTH":
            cell = health_of(fleet)
        case "AGENTS":
            cell = _agents(fleet["agents"], short=short)
        case "LOAD":
            cell = "" if utilization is None else paper.bar(utilization, _BAR)
        case "MEMORY":
            cell = percent(memory.get((fleet["namespace"], fleet["fleet"])))
        case _ if withheld:
            cell = STAYS if name == "HPA" else WITHHELD
        case _:
            cell = f"{'≤' if at_most else ''}{number(fleet.get(_COLUMNS[name]))}"
    return cell


def _style(name: str, fleet: Json) -> Style | None:
    match name:
        case "FLEET" | "HEALTH":
            return Style.HEADING if name == "FLEET" else WORD_STYLES.get(health_of(fleet))
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
    """Return how many agents are in which state: "9 serving, 1 draining", or in short "9 of 10"."""
    if short:
        return f"{agents.get('serving', 0)} of {agents.get('total', UNKNOWN)}"
    states = ("serving", "unreachable", "disconnected", "stopped", "starting", "draining")
    return ", ".join(f"{agents[state]} {state}" for state in states if agents.get(state)) or "none"
