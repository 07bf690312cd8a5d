"""Gives every fleet its outlook: the past from a source, through the forecast, into the store. Every replica runs it.

Replicas that read the same past give the same outlook. What is learned from the days before today is learned once a
day, or again when the source corrects one of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from exporter.config import ForecastSettings
from exporter.fleet.outlook import Outlook
from exporter.fleet.quantile import quantile
from exporter.forecast.forecaster import Forecaster, Withheld
from exporter.forecast.history import SLOT_SECONDS, History
from exporter.forecast.local_days import first_slot, local_slot
from exporter.history.past import Past, PastSource
from exporter.store.restarts import FleetKey
from exporter.store.snapshots import SnapshotStore

EVERY = 15.0
"""Seconds between two rounds: as often as an HPA looks, by its default."""
SHOWN_AHEAD = 6 * 3600.0
"""Seconds ahead that the status page draws."""
USUAL_LEAD_TIME = 180.0
"""Seconds assumed while no start has been measured: a new node, an image pull and the start of a JVM."""
MAX_MEASURED_LEAD_TIME = 1800.0
"""Pods that wait longer wait for what no forecast provides: a quota, a node group at its maximum."""
SCALER_LOOK = 15.0
"""Seconds until an HPA looks: `--horizontal-pod-autoscaler-sync-period` of the controller manager, by default."""
_QUANTILE = 0.9


def lead_time(setting: float | None, starts: Sequence[float], scrape_interval: float) -> float:
    """Return how far ahead to look: the setting, or what nine of ten starts took, and what it takes to be seen."""
    if setting is not None:
        return setting
    if not starts:
        return USUAL_LEAD_TIME
    return min(quantile(starts, _QUANTILE) + SCALER_LOOK + scrape_interval, MAX_MEASURED_LEAD_TIME)


class _OfFleet:
    """The forecast of one fleet, learned again when a day before today has changed."""

    def __init__(self, settings: ForecastSettings, headroom: float) -> None:
        self._settings = settings
        self._headroom = headroom
        self._learned_from: int | None = None
        self._seen: tuple[History, date] | None = None
        self._forecaster = self._new()

    def outlook(self, past: Past | None, now: float, lead: float) -> Outlook:
        """Return the outlook at `now` (Unix seconds), looking `lead` seconds ahead."""
        if past is None:
            return Outlook(tasks=None, lead_time=lead, skill=None, reason="its past is not known yet")
        self._learn_again(past.history, now)
        found = self._forecaster.expected(past.history, now, lead)
        outlook = Outlook(
            tasks=None,
            lead_time=lead,
            skill=found.skill,
            reason=None,
            start=now - now % SLOT_SECONDS,
            slots=tuple(self._forecaster.ahead(past.history, now, SHOWN_AHEAD)),
            past_read_time=past.read_time,
        )
        if isinstance(found, Withheld):
            return replace(outlook, reason=found.reason)
        return replace(outlook, tasks=found.tasks, like_days=found.like_days)

    def _learn_again(self, history: History, now: float) -> None:
        """Start over if a day before today has changed: a forecaster counts on these."""
        today, _ = local_slot(now, self._settings.timezone)
        if self._seen is not None and self._seen[0] is history and self._seen[1] == today:
            return
        self._seen = (history, today)
        before = history.digest(first_slot(today, self._settings.timezone))
        if before != self._learned_from:
            self._learned_from, self._forecaster = before, self._new()

    def _new(self) -> Forecaster:
        given = self._settings
        return Forecaster(
            given.timezone,
            quantile=given.quantile,
            min_days=given.min_days,
            days=given.days,
            headroom=self._headroom,
        )


class Forecasts:
    """Looks ahead for every fleet, every `EVERY` seconds."""

    def __init__(
        self,
        settings: ForecastSettings,
        source: PastSource,
        store: SnapshotStore,
        *,
        headroom: float,
        starts: Callable[[FleetKey], Sequence[float]],
        scrape_interval: float,
    ) -> None:
        """Take the source of the past, and the slots that agents have for each task they are asked for.

        `starts` returns the latest starts of a fleet's agents that this process saw.
        """
        self._settings = settings
        self._source = source
        self._store = store
        self._headroom = headroom
        self._starts = starts
        self._scrape_interval = scrape_interval
        self._fleets: dict[FleetKey, _OfFleet] = {}

    async def run(self) -> None:
        """Keep the outlooks current until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Give every fleet its outlook once."""
        self._fleets = {
            key: self._fleets.get(key) or _OfFleet(self._settings, self._headroom) for key in self._store.fleet_keys()
        }
        for key, fleet in self._fleets.items():
            past = self._source.past(key)
            starts = past.start_seconds if past is not None and past.start_seconds else self._starts(key)
            lead = lead_time(self._settings.lead_time.seconds, starts, self._scrape_interval)
            self._store.expects(key, fleet.outlook(past, self._store.wall_now(), lead))
            # Learning takes some 5 ms for a fleet: the event loop gets its turn after each.
            await asyncio.sleep(0)
