"""What a forecast would have brought: a fluid queue over the slots of one day.

In each slot, following demand holds what the demand of this slot and the one before asked for: a scaler grows at once
and shrinks late. What comes on top of what was there waits for pods to start, as far as the slots that the target
leaves free do not take it. A forecast is there at the slot's start. Tasks are not single, agents not whole; the time
that pods take is a common factor of both sides, and so is not needed to compare them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.forecast.history import GAP


@dataclass(frozen=True, slots=True)
class Replay:
    """One or more days, once following demand and once ahead of it."""

    late_following: float = 0.0
    """Tasks that came while no agent had a slot for them."""
    late_ahead: float = 0.0
    held_following: float = 0.0
    """What agents were asked for: tasks × slots."""
    held_ahead: float = 0.0

    def __add__(self, other: Replay) -> Replay:
        return Replay(
            self.late_following + other.late_following,
            self.late_ahead + other.late_ahead,
            self.held_following + other.held_following,
            self.held_ahead + other.held_ahead,
        )

    def weighted(self, weight: float) -> Replay:
        """Return it with all its sums multiplied."""
        return Replay(
            self.late_following * weight,
            self.late_ahead * weight,
            self.held_following * weight,
            self.held_ahead * weight,
        )

    def gain(self, late_price: float) -> float:
        """Return what it brings, where `late_price` is what it is worth that one task is not late, in tasks × slots."""
        return late_price * (self.late_following - self.late_ahead) - (self.held_ahead - self.held_following)

    @property
    def avoided(self) -> float:
        """Share of the late tasks that are avoided; 0 where none was late."""
        return 1 - self.late_ahead / self.late_following if self.late_following else 0.0

    @property
    def added(self) -> float:
        """Agent-hours added, as a share of those of following."""
        return self.held_ahead / self.held_following - 1 if self.held_following else 0.0


def rises(demand: array[int], headroom: float) -> array[int]:
    """Return the demand where some of it is late when it is followed, 0 where none is; a gap remains one.

    `headroom` is the slots that agents have for each task they are asked for.
    """
    found = array("i")
    before = demand[0]
    for value in demand:
        found.append(GAP if value == GAP else 0 if before == GAP or value <= before * headroom else value)
        before = before if value == GAP else value
    return found


def replay(demand: array[int], forecast: Sequence[int], before: int, headroom: float) -> Replay:
    """Replay one day of `demand` with a forecast for each of its slots, and the demand of the slot before the day.

    A slot that is a gap counts on neither side. `headroom` as in `rises`.
    """
    late_following = late_ahead = 0.0
    held_following = held_ahead = 0
    if before == GAP:  # then the first slot is no rise
        before = next((value for value in demand if value != GAP), 0)
    planned_before = 0
    for value, planned in zip(demand, forecast, strict=True):
        if value == GAP:
            continue
        held = max(before, value)
        held_following += held
        held_ahead += max(planned_before, planned, held)
        room = before * headroom
        if value > room:
            late_following += value - room
            late_ahead += max(0.0, value - max(before, planned_before, planned) * headroom)
        before, planned_before = value, planned
    return Replay(late_following, late_ahead, held_following, held_ahead)
