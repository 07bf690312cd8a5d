"""`fleet-exporter ledger`: the agents that left, their tasks at the deletion, and how these ended.

The view is pure: documents in, text out. What is not known is shown as `?`, never as a number.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from exporter.client import DEFAULT_URL, StatusClient, add_credentials, credentials_of
from exporter.terminal import Paper, Style, columns, counted, visible, widest

UNKNOWN = "?"
_LEFT_AT, _END = "LEFT (UTC)", "END"
_HEADINGS = (_LEFT_AT, "FLEET", "POD", "CAUSE", "TASKS", "TOOK", "LOST", _END)
_RIGHT = ("TASKS", "TOOK", "LOST")
_NAMES = ("FLEET", "POD")
_GIVEN_UP = ("TOOK", "CAUSE", "FLEET", _LEFT_AT, "TASKS")
"""Columns in the order in which a narrow terminal loses them; what was lost of which pod, and why, stays."""
_NAME_SHARE = 1 / 6
"""Share of the line below which no name is shortened as long as TOOK or CAUSE can be given up instead."""
_SHORTEST_NAME = 8
_BEFORE_FLEET = _GIVEN_UP.index("FLEET")
_DATE = "%Y-%m-%d %H:%M:%S"
_MINUTE, _HOUR = 60, 3600
Json = Mapping[str, Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("--url", default=DEFAULT_URL, help=f"the exporter's web server ({DEFAULT_URL})")
    add("--namespace", help="only the fleets of this namespace")
    add("--fleet", help="only the fleets of this name")
    add("--lost", action="store_true", help="only agents that ended with tasks, or whose tasks at the end are unknown")
    add("--json", action="store_true", help="print the departures as JSON")
    add_credentials(parser)


async def ledger(options: argparse.Namespace) -> None:
    """Show how agents left. Raises StatusError."""
    credentials = await asyncio.to_thread(credentials_of, options)
    query = {name: value for name in ("namespace", "fleet") if (value := getattr(options, name)) is not None}
    async with StatusClient(options.url, credentials) as client:
        document = await client.departures(query)
        agents = await client.agents()
    departures = [one for one in document["departures"] if not options.lost or ended_badly(one)]
    if options.json:
        print(json.dumps({**document, "departures": departures}, indent=2))
    else:
        print(*shown(document, departures, agents, Paper.of(sys.stdout, os.environ)), sep="\n")


def ended_badly(departure: Json) -> bool:
    """Return whether an agent ended with tasks, or with an unknown number of them."""
    return departure["ended_time_seconds"] is not None and departure["tasks_lost"] != 0


def shown(document: Json, departures: Sequence[Json], agents: Sequence[Json], paper: Paper) -> Iterator[str]:
    """Yield the table, oldest first, and what it adds up to; `agents` says how many tasks are left on draining ones."""
    left = {agent.get("uid"): agent.get("tasks_active") for agent in agents}
    if departures:
        rows = widest(_forms(departures, left, paper.width), paper.width, _NAMES, paper.ellipsis)
        heading, *lines = columns(rows, [name in _RIGHT for name in rows[0]])
        yield paper.paint("".join(heading).rstrip(), Style.FAINT)
        for one, cells in zip(departures, lines, strict=True):
            line = "".join(cells).rstrip()
            yield paper.paint(line, Style.BAD if ended_badly(one) else None)
        yield ""
    yield from paper.paragraph(f"Since {_time(document.get('since_time_seconds'))} UTC: {summary(departures)}", 0)


def summary(departures: Sequence[Json]) -> str:
    """Return what the departures add up to, in sentences."""
    if not departures:
        return "no agent left."
    ended = [one for one in departures if one["ended_time_seconds"] is not None]
    lost = sum(one["tasks_lost"] or 0 for one in ended)
    unknown = sum(one["tasks_lost"] is None for one in ended)
    requested = [one["tasks_at_request"] for one in departures if one.get("tasks_at_request") is not None]
    by_reason: dict[str, float] = {}
    for one in ended:
        if one["tasks_lost"]:
            by_reason[one["reason"]] = by_reason.get(one["reason"], 0) + one["tasks_lost"]
    listed = ", ".join(f"{tasks:g} {visible(str(reason))}" for reason, tasks in sorted(by_reason.items()))
    parts = [
        f"{counted(len(ended), 'agent')} left, {counted(len(departures) - len(ended), 'agent')} draining",
        f"{sum(requested):g} tasks were running at the deletions",
        f"{lost:g} tasks were lost ({listed})" if lost else "no task was lost",
    ]
    if unknown:
        parts.append(f"of {counted(unknown, 'agent')} the tasks at the end are unknown")
    return "; ".join(parts) + "."


def _forms(
    departures: Sequence[Json], left: Mapping[Any, Any], width: int
) -> Iterator[tuple[list[Sequence[str]], int]]:
    """Yield the rows in narrower and narrower forms, headings first, and how short a name may be in each."""
    whole, short = ([_row(one, left, short=short) for one in departures] for short in (False, True))
    roomy = round(width * _NAME_SHARE)
    yield [_HEADINGS, *whole], roomy
    for gone in range(_BEFORE_FLEET + 1):
        yield _without(_GIVEN_UP[:gone], short), roomy
    for gone in range(_BEFORE_FLEET, len(_GIVEN_UP) + 1):
        yield _without(_GIVEN_UP[:gone], short), _SHORTEST_NAME


def _without(gone: Collection[str], rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    kept = [at for at, heading in enumerate(_HEADINGS) if heading not in gone]
    return [[row[at] for at in kept] for row in (_HEADINGS, *rows)]


def _row(one: Json, left: Mapping[Any, Any], *, short: bool) -> tuple[str, ...]:
    """Return the cells of an agent that left, or leaves; in short without year and seconds."""
    begun, ended = one.get("requested_time_seconds"), one["ended_time_seconds"]
    tasks = one.get("tasks_at_request")
    if ended is None:
        now = left.get(one.get("uid"))
        end = f"{'' if short else 'draining, '}{UNKNOWN if now is None else format(now, 'g')} left"
    elif one["tasks_lost"] == 0:
        end = "finished"
    else:
        end = visible(str(one["reason"])) if one["reason"] else UNKNOWN
    lost = "" if ended is None else UNKNOWN if one["tasks_lost"] is None else f"{one['tasks_lost']:g}"
    return (
        _time(ended if begun is None else begun, "%m-%d %H:%M" if short else _DATE),
        visible(f"{one['namespace']}/{one['fleet']}"),
        visible(str(one["pod"])),
        visible(str(one["cause"])),
        "" if begun is None else UNKNOWN if tasks is None else f"{tasks:g}",
        "" if begun is None or ended is None else _duration(ended - begun),
        lost,
        end,
    )


def _time(seconds: Any, form: str = _DATE) -> str:
    if not isinstance(seconds, int | float):
        return UNKNOWN
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"
