"""Agents with the same trouble, told once: their reasons differ in numbers and addresses only. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_DURATION = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?) (s|min|h|days)\b")
_DIGITS = re.compile(r"\d+")
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(%|\N{NO-BREAK SPACE}(?:s|min|h|days))?")
_PART_OF_MORE = re.compile(r"\w|[.:]\d")
"""What stands behind a number that is none: it begins a name or an address."""
_SECONDS = {"s": 1, "min": 60, "h": 3600, "days": 86_400}


@dataclass(frozen=True, slots=True)
class Alike:
    """Agents of one fleet in one state, for one reason."""

    agents: Sequence[Json]
    reason: str


def alike(agents: Sequence[Json]) -> list[Alike]:
    """Return the agents by fleet, state and reason, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[Json]] = {}
    for agent in agents:
        shape = _DIGITS.sub("0", _DURATION.sub("0", str(agent["reason"])))
        key = (agent["namespace"], agent["fleet"], agent["state"], bool(agent.get("drain_cut_short")), shape)
        groups.setdefault(key, []).append(agent)
    return [Alike(group, common([str(agent["reason"]) for agent in group])) for group in groups.values()]


def common(reasons: Sequence[str]) -> str:
    """Return what reasons of the same shape have in common: "42 s to 3 min", and "…" for what differs otherwise."""
    words = zip(*(_DURATION.sub("\\1\N{NO-BREAK SPACE}\\2", reason).split(" ") for reason in reasons), strict=True)
    return " ".join(_together(list(dict.fromkeys(word))) for word in words).replace("\N{NO-BREAK SPACE}", " ")


def _together(words: Sequence[str]) -> str:
    if len(words) == 1:
        return words[0]
    matches = [match for word in words if (match := _NUMBER.match(word)) is not None]
    rests = {word[match.end() :] for word, match in zip(words, matches, strict=False)}
    if len(matches) < len(words) or len(rests) > 1 or any(map(_PART_OF_MORE.match, rests)):
        return "…"
    low, *_, high = sorted(matches, key=_size)
    same_unit = low[2] == high[2]
    return f"{low[1] if same_unit else low[0]} to {high[0]}{rests.pop()}"


def _size(match: re.Match[str]) -> float:
    return float(match[1]) * _SECONDS.get((match[2] or "").strip("\N{NO-BREAK SPACE}"), 1)
