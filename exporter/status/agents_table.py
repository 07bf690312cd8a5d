"""The agents that need attention as lines for a person: the worst first, equal reasons once. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from exporter.status.alike import alike
from exporter.terminal import Paper, Style, columns, visible, widest

Json = Mapping[str, Any]

UNKNOWN = "?"
URGENCY = ("unreachable", "disconnected", "stopped", "starting", "serving", "draining")
STYLES = {
    "serving": Style.GOOD,
    "draining": Style.FAINT,
    "starting": Style.DOUBTFUL,
    "unreachable": Style.BAD,
    "stopped": Style.BAD,
    "disconnected": Style.BAD,
}
_COLUMNS = ("AGENT", "STATE", "TASKS", "RESTARTS", "MEMORY")
_NARROWER: Sequence[frozenset[str]] = (frozenset(), frozenset({"RESTARTS"}), frozenset({"RESTARTS", "MEMORY"}))
"""What is given up, step by step, where the terminal is too narrow."""
_LEFT = ("AGENT", "STATE")
_SHOWN = 5
"""Agents shown of those with the same trouble; the others are counted."""
_SHORTEST_NAME = 14
_INDENT = 4


def needing_attention(agents: Sequence[Json]) -> list[Json]:
    """Return the agents that need attention, the most urgent first."""
    return sorted((agent for agent in agents if agent["needs_attention"]), key=_urgency)


def memory_share(agent: Json) -> float | None:
    """Return the memory in use as a share of the limit; None if either is unknown."""
    used, limit = agent.get("memory_working_set_bytes"), (agent.get("kubernetes") or {}).get("memory_limit_bytes")
    return used / limit if isinstance(used, int | float) and isinstance(limit, int | float) and limit > 0 else None


def percent(share: float | None) -> str:
    """Return a share as a whole percentage."""
    return UNKNOWN if share is None else f"{share:.0%}"


def agents_table(agents: Sequence[Json], paper: Paper) -> Iterator[str]:
    """Yield the agents, and below each group of equal ones why they are listed."""
    groups = alike(agents)
    shown = [agent for group in groups for agent in _first(group.agents)]
    rows = widest(_forms(shown), paper.width, ["AGENT"], paper.ellipsis)
    names = rows[0]
    heading, *lines = columns(rows, [name not in _LEFT for name in names])
    yield paper.paint("".join(heading).rstrip(), Style.FAINT)
    of_rows = iter(zip(shown, lines, strict=True))
    for group in groups:
        for _ in _first(group.agents):
            agent, cells = next(of_rows)
            state = names.index("STATE")
            yield "".join(
                paper.paint(cell, _style(agent)) if at == state else cell for at, cell in enumerate(cells)
            ).rstrip()
        if more := len(group.agents) - len(_first(group.agents)):
            yield paper.paint(f"and {more} more", Style.FAINT)
        yield from _below(group.reason, paper)


def _below(reason: str, paper: Paper) -> Iterator[str]:
    first, *rest = paper.paragraph(reason, _INDENT)
    yield " " * _INDENT + first
    yield from rest


def _first(agents: Sequence[Json]) -> Sequence[Json]:
    # One more line is as long as the line that counts it.
    return agents if len(agents) <= _SHOWN + 1 else agents[:_SHOWN]


def _forms(agents: Sequence[Json]) -> Iterator[tuple[list[list[str]], int]]:
    """Yield the rows in narrower and narrower forms, headings first, and how short a name may be in each."""
    for without in _NARROWER:
        names = [name for name in _COLUMNS if name not in without]
        yield [names, *([_cell(name, agent) for name in names] for agent in agents)], _SHORTEST_NAME


def _cell(name: str, agent: Json) -> str:
    match name:
        case "AGENT":
            return visible(f"{agent['namespace']}/{agent['pod']}")
        case "STATE":
            return visible(agent["state"])
        case "TASKS":
            return number(agent.get("tasks_active") if agent.get("fresh") else None)
        case "RESTARTS":
            return number((agent.get("kubernetes") or {}).get("restarts"))
        case _:
            return percent(memory_share(agent))


def number(value: object) -> str:
    """Return a figure with at most one decimal; `?` if it is unknown."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, int | float) else UNKNOWN


def _urgency(agent: Json) -> tuple[int, str, str, str]:
    state = agent["state"]
    rank = URGENCY.index(state) if state in URGENCY else -1
    if agent.get("drain_cut_short"):  # before all others, for only its minutes count
        rank = -2
    return rank, str(agent["namespace"]), str(agent["fleet"]), str(agent["pod"])


def _style(agent: Json) -> Style | None:
    return Style.BAD if agent.get("drain_cut_short") else STYLES.get(agent["state"])
