"""Pasts of fleets as tests compare them."""

from exporter.forecast.history import SLOT_SECONDS
from exporter.history.past import Past
from tests.factories import WALL_NOW


def by_slot(past: Past | None) -> dict[int, int]:
    """Return what is known, by number of five minutes since `WALL_NOW`; nothing without a past."""
    if past is None:
        return {}
    first, values = past.history.known_slots()
    offset = first - int(WALL_NOW // SLOT_SECONDS)
    return {offset + slot: value for slot, value in enumerate(values) if value >= 0}
