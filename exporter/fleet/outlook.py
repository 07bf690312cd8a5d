"""What a fleet's own past says about the demand that is coming. docs/forecast.md explains the figures."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The forecast of one fleet at one instant, or the reason it is withheld."""

    tasks: int | None
    """Demand to have agents for before it comes, within `lead_time`; 0 if none rises too fast to be followed. None
    while it is withheld."""
    lead_time: float
    """Seconds that new agents need to be useful: how far ahead `tasks` looks."""
    skill: float | None
    """How much the forecast would have helped lately, 1 at best (`forecast.Forecast.skill`); None if unknown."""
    reason: str | None
    """Why `tasks` is withheld; None while it is not."""
    like_days: str = ""
    """Which days `tasks` is taken from; empty while it is withheld."""
    start: float = 0.0
    """Unix time at which `slots` begins."""
    slots: tuple[int | None, ...] = ()
    """Demand expected in each five minutes from `start` on, None where it is unknown. Empty while no
    forecast is made; not if one is withheld only because of what is unknown now."""
    past_read_time: float | None = None
    """Unix time at which the past was last read or written successfully; None if it never was."""
