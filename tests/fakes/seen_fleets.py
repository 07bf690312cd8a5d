"""Fleets with the demand that a test gives them, in a real store, by a clock that the test moves on."""

import asyncio
import time

from exporter.fleet.policy import Policy
from exporter.store.snapshots import SnapshotStore
from tests.factories import WALL_NOW, make_facts, make_reading, make_target
from tests.waiting import eventually


class MovedClock:
    """Real time, and what was skipped."""

    def __init__(self) -> None:
        self._ahead = -time.monotonic()

    def now(self) -> float:
        return time.monotonic() + self._ahead

    def wall(self) -> float:
        return WALL_NOW + self.now()

    def skip(self, seconds: float) -> None:
        self._ahead += seconds


class SeenFleets:
    """One agent for each fleet, which is read all the time."""

    def __init__(self, clock: MovedClock, demand: dict[str, float]) -> None:
        """`demand` is by fleet, all in the namespace `matillion`; it may be changed."""
        self.demand = demand
        self.store = SnapshotStore(Policy(), monotonic=clock.now, wall=clock.wall)
        self.store.expect(["kubernetes"])

    async def watch(self) -> None:
        """Let the store see the demand until cancelled."""
        while True:
            targets = {
                fleet: make_target(fleet, fleet=fleet, address=fleet, facts=make_facts()) for fleet in self.demand
            }
            self.store.replace("kubernetes", targets.values())
            for fleet, target in targets.items():
                self.store.scraped(target, make_reading(self.demand[fleet]), url="http://agent", seconds=0.01)
            await asyncio.sleep(0.05)

    async def seen(self) -> None:
        """Wait until the store shows the demand as it is, and whoever samples it every 20 ms has it."""
        await eventually(
            lambda: {fleet.name: fleet.demand_tasks for fleet in self.store.fleets() if fleet.agents} == self.demand
        )
        await asyncio.sleep(0.1)
