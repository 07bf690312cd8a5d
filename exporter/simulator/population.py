"""The agents of `fleet-exporter simulate`: which fleets there are, and where their addresses are listed."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from exporter.service import stop_on_signals
from exporter.simulator.agent import WrongUseError
from exporter.simulator.fleet import (
    Entry,
    Layout,
    OneAddress,
    PodAddresses,
    SimulatedFleets,
    allow_files,
    listing_text,
    write_listing,
)
from exporter.simulator.scenario import SCENARIOS
from exporter.simulator.simulation import FleetPlan, Simulation
from exporter.simulator.vitals import CURRENT, LEGACY, OLDEST, PREVIOUS, UNFILTERED, Image, Spelling

FLEET_NAMES = ("production", "development", "analytics", "staging")
NEW_IMAGES = (CURRENT, CURRENT, PREVIOUS, CURRENT, UNFILTERED)
OLD_IMAGES = (LEGACY, OLDEST)


async def perform(options: argparse.Namespace) -> None:
    """Run the fake agents until SIGINT, SIGTERM or the end of `--duration`. Raises SimulatorError, with what helps."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    allow_files(options.agents)
    plans = fleet_plans(options.agents, options.legacy, options.fleets, Spelling(options.names))
    simulation = Simulation(plans, SCENARIOS[options.scenario], options.seed)
    async with SimulatedFleets(simulation, layout_of(options), options.speed, _listing(options.targets_file)) as fleets:
        # A reader of the pipe must see it now, not when a buffer is full.
        print(f"# {options.agents} agents run; Ctrl-C ends them", file=sys.stderr, flush=True)
        await run_until(fleets, stop, options.duration)


async def run_until(fleets: SimulatedFleets, stop: asyncio.Event, seconds: float | None) -> None:
    """Let the fleets live until `stop` is set or so many seconds have passed."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                life = group.create_task(fleets.run(), name="simulated fleets")
                await stop.wait()
                life.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


def fleet_plans(agents: int, legacy: int, fleets: int, names: Spelling) -> list[FleetPlan]:
    """Divide agents and old images over the fleets, as evenly as it goes. Raises SimulatorError."""
    if legacy > agents:
        raise WrongUseError(
            f"--legacy {legacy} is more than the {agents} agents there are: give --agents {legacy} or more"
        )
    if fleets > agents:
        raise WrongUseError(f"--fleets {fleets} leaves a fleet without an agent: give --agents {fleets} or more")
    modern = [replace(image, spelling=names) for image in islice(cycle(NEW_IMAGES), agents - legacy)]
    images = [*modern, *islice(cycle(OLD_IMAGES), legacy)]
    fleet_names = [FLEET_NAMES[index] if index < len(FLEET_NAMES) else f"fleet-{index + 1}" for index in range(fleets)]
    shares = [tuple(images[index::fleets]) for index in range(fleets)]
    return [
        FleetPlan(name, share, added=_newest(share, names)) for name, share in zip(fleet_names, shares, strict=True)
    ]


def _newest(images: tuple[Image, ...], names: Spelling) -> Image:
    """Return what a Deployment would start next: its current image, which is old where all are."""
    return replace(CURRENT, spelling=names) if any(image.otel for image in images) else LEGACY


def layout_of(options: argparse.Namespace) -> Layout:
    """Return where the agents listen, as `add_place_arguments` asked. Raises SimulatorError."""
    return PodAddresses(options.base) if options.layout == "addresses" else OneAddress(first_port=options.first_port)


def _listing(path: Path | None) -> Callable[[list[Entry]], None]:
    if path is None:
        return lambda entries: print("---", listing_text(entries), sep="\n", end="", flush=True)
    return lambda entries: write_listing(path, entries)
