"""The past of a fleet as text: one entry for each day, and one for the latest starts of agents.

A person can read it, and edit it. Each entry stands alone, so what is wrong with one of them costs no other. What is
read may be of any origin: no text leads to more work or memory than a valid one.

A day (UTC) has a value for each five minutes from midnight on, the maximum of demand in tasks; `-` is a gap, `12*3` is
12 three times:

    2026-01-01: "-*24 12 15*2 48 0*260"

A start has the time its pod was created (Unix seconds), the seconds to its first reading, and the pod's UID, shortened:

    agent-starts: "1767234600 45.3 0c5f8a21, 1767234600 47.0 77b1d3e0"
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby

from exporter.fleet.starts import KEPT_STARTS
from exporter.forecast.history import EPOCH, GAP, SLOT_SECONDS, SLOTS, History, is_kept
from exporter.history.past import Past
from exporter.store.start_times import AgentStart

MAX_TASKS = 1_000_000
"""Highest demand that is kept: ten times what 5000 agents can run."""
MAX_START_SECONDS = 86_400.0
MAX_DAY_LENGTH = SLOTS * 8
"""Seven digits and a space for each value."""
MAX_ENTRIES = 1000
"""More than the days that are ever kept, and what someone may have added."""
STARTS = "agent-starts"

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_VALUE = re.compile(r"(-|\d{1,7})(?:\*(\d{1,3}))?", re.ASCII)
_START = re.compile(r"(\d{1,11}) (\d{1,5}\.\d) ([0-9A-Za-z-]{1,8})", re.ASCII)
_UID_LENGTH = 8
_MAX_STARTS_LENGTH = KEPT_STARTS * 32

Entries = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What was read, and what was not understood."""

    history: History = field(default_factory=History)
    starts: tuple[AgentStart, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why, by entry."""
    known_until: float = 0.0
    """Unix time of the end of the last five minutes of which something is known; 0 if nothing is."""
    hashes: Mapping[str, int] = field(default_factory=dict)
    """Of the entries that were read."""

    def past(self, now: float) -> Past:
        """Return it as a source provides it; it was confirmed when the last of it was known."""
        return Past(self.history, min(self.known_until, now), [start.seconds for start in self.starts])


def decode(entries: Mapping[str, object], now: float, days: int, before: Decoded | None = None) -> Decoded:
    """Return the past in these entries. Other entries than those of this module are ignored.

    Days that `History.trim` would forget are left out; those in the future are refused. `before` is an earlier result:
    what has not changed since is taken from it, which is several times as fast.
    """
    before = before or Decoded()
    history, refused, hashes = History(), dict[str, str](), dict[str, int]()
    starts: tuple[AgentStart, ...] = ()
    for key, text in list(entries.items())[:MAX_ENTRIES]:
        day = _day(key)
        if day is None and key != STARTS:
            continue
        try:
            if not isinstance(text, str):
                raise ValueError("not text")
            if day is None:
                starts = _decode_starts(text)
            elif day > _tomorrow(now):
                raise ValueError("in the future")
            elif is_kept(day, now, days):
                same = before.hashes.get(key) == hash(text)
                history.merge_day(day, before.history.slots(day * SLOTS, SLOTS) if same else _decode_day(text))
            hashes[key] = hash(text)
        except ValueError as error:
            refused[key] = str(error)
    return Decoded(history, starts, refused, _known_until(history), hashes)


def updated(entries: Entries, addition: History, starts: Iterable[AgentStart], *, now: float, days: int) -> Entries:
    """Return the entries with an `addition`: of each five minutes the maximum, of the starts the latest.

    Days that `History.trim` would forget are left out; all else is as it was, except for a day in `addition` that could
    not be read.
    """
    found = {key: text for key, text in entries.items() if (day := _day(key)) is None or is_kept(day, now, days)}
    for day in addition.days():
        if not is_kept(day, now, days):
            continue
        key = (EPOCH + timedelta(days=day)).isoformat()
        merged = History()
        merged.merge_day(day, addition.slots(day * SLOTS, SLOTS))
        with suppress(KeyError, ValueError):
            merged.merge_day(day, _decode_day(found[key]))
        found[key] = _encode_day(merged.slots(day * SLOTS, SLOTS))
    known: Sequence[AgentStart] = ()
    with suppress(ValueError):
        known = _decode_starts(found.get(STARTS, ""))
    if text := _encode_starts([*known, *starts]):
        found[STARTS] = text
    return found


def _known_until(history: History) -> float:
    days = history.days()
    values = history.slots(days[-1] * SLOTS, SLOTS) if days else ()
    last = next((slot for slot in range(len(values) - 1, -1, -1) if values[slot] != GAP), None)
    return 0.0 if last is None else float((days[-1] * SLOTS + last + 1) * SLOT_SECONDS)


def _tomorrow(now: float) -> int:
    return int(now // 86400) + 1


def _day(key: str) -> int | None:
    """Return the number of the day (since 1970) that an entry is of; None if it is of none."""
    if not _DAY.fullmatch(key[:11]):
        return None
    try:
        return (date.fromisoformat(key) - EPOCH).days
    except ValueError:
        return None


def _encode_day(values: Iterable[int]) -> str:
    runs = (("-" if value == GAP else str(value), len(list(run))) for value, run in groupby(values))
    # Up to two times, the value itself is as short.
    return " ".join(f"{value}*{count}" if count > 2 else " ".join([value] * count) for value, count in runs)  # noqa: PLR2004


def _decode_day(text: str) -> array[int]:
    """Return the values of a day. Raises ValueError."""
    if len(text) > MAX_DAY_LENGTH:
        raise ValueError(f"longer than {MAX_DAY_LENGTH} characters")
    values = array("i")
    for one in text.split(" "):
        found = _VALUE.fullmatch(one)
        if found is None:
            raise ValueError(f"{one[:20]!r} is no number of tasks")
        tasks = GAP if found[1] == "-" else int(found[1])
        if tasks > MAX_TASKS:
            raise ValueError(f"{tasks} tasks are more than {MAX_TASKS}")
        values.extend([tasks] * int(found[2] or 1))
        if len(values) > SLOTS:
            break
    if len(values) != SLOTS:
        raise ValueError(f"not {SLOTS} values")
    return values


def _encode_starts(starts: Iterable[AgentStart]) -> str:
    """Return the latest of these starts; a pod that several replicas have seen counts once, as the first saw it."""
    found: dict[tuple[int, str], float] = {}
    for start in starts:
        key = (int(start.created), start.uid[:_UID_LENGTH])
        found[key] = min(start.seconds, found.get(key, start.seconds))
    texts = (f"{created} {seconds:.1f} {uid}" for (created, uid), seconds in sorted(found.items()))
    return ", ".join([text for text in texts if _START.fullmatch(text)][-KEPT_STARTS:])


def _decode_starts(text: str) -> tuple[AgentStart, ...]:
    """Return starts, oldest first. Raises ValueError."""
    if len(text) > _MAX_STARTS_LENGTH:
        raise ValueError(f"longer than {_MAX_STARTS_LENGTH} characters")
    starts = []
    for one in text.split(", ") if text else ():
        found = _START.fullmatch(one)
        if found is None or float(found[2]) > MAX_START_SECONDS:
            raise ValueError(f"{one[:40]!r} is no start of an agent")
        starts.append(AgentStart(float(found[1]), found[3], float(found[2])))
    return tuple(sorted(starts)[-KEPT_STARTS:])
