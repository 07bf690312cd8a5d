"""The command `fleet-exporter simulate`: fake agents to scrape, until Ctrl-C or for a time."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address
from itertools import cycle, islice
from pathlib import Path

from exporter.config.durations import parse_duration
from exporter.service import stop_on_signals
from exporter.simulator.agent import WrongUseError
from exporter.simulator.fleet import (
    DEFAULT_BASE,
    DEFAULT_FIRST_PORT,
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
MONTHS = ("mixed", "nightly", "business", "month-end", "no-pattern")
"""Patterns of `exporter.simulation.months.SAMPLES`."""
FASTEST = 3600.0
"""Above this a second of the clock is more than an hour of the fleet's, and no scrape would see what happened."""

NEW_IMAGES = (CURRENT, CURRENT, PREVIOUS, CURRENT, UNFILTERED)
OLD_IMAGES = (LEGACY, OLDEST)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of `simulate`."""
    parser.add_argument("--agents", type=_whole(1), default=10, metavar="N", help="agents in all (default 10)")
    parser.add_argument(
        "--legacy", type=_whole(0), default=3, metavar="N", help="how many of them run an old image (default 3)"
    )
    parser.add_argument(
        "--fleets", type=_whole(1), default=1, metavar="N", help="fleets they are divided among (default 1)"
    )
    parser.add_argument(
        "--scenario",
        choices=sorted(SCENARIOS),
        default="mixed",
        help="what happens to them (default mixed): "
        + " ".join(f"{scenario.name}: {scenario.summary}" for scenario in SCENARIOS.values()),
    )
    parser.add_argument(
        "--names",
        choices=[spelling.value for spelling in Spelling],
        default=Spelling.UNIT.value,
        help="how OpenTelemetry pages spell their names: with the suffix `unit` (default), with `ratio`, with none, or "
        "dotted and quoted as Prometheus 3 allows",
    )
    parser.add_argument("--speed", type=speed, default=1.0, metavar="X", help="times as fast as the clock (default 1)")
    parser.add_argument(
        "--month",
        nargs="?",
        const="mixed",
        choices=MONTHS,
        metavar="PATTERN",
        help=f"write a sample month of demand as CSV instead, for `plan --csv`: {', '.join(MONTHS)} (default mixed)",
    )
    add_place_arguments(parser)
    parser.add_argument(
        "--targets-file",
        type=Path,
        metavar="FILE",
        help="keep the list of targets for `discovery.static.file` here; without it, it is printed",
    )


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options that `simulate` and `demo` share: where the agents listen, for how long, which seed."""
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed repeats the run (default 1)")
    parser.add_argument(
        "--layout",
        choices=("addresses", "ports"),
        default="addresses" if sys.platform == "linux" else "ports",
        help="a loopback address per agent, like pod IPs (Linux), or two ports per agent on 127.0.0.1",
    )
    parser.add_argument(
        "--base",
        type=_address,
        default=DEFAULT_BASE,
        metavar="ADDRESS",
        help=f"with --layout addresses: agents are counted up from here (default {DEFAULT_BASE})",
    )
    parser.add_argument(
        "--first-port",
        type=_whole(1024),
        default=DEFAULT_FIRST_PORT,
        metavar="PORT",
        help=f"with --layout ports: ports are counted up from here (default {DEFAULT_FIRST_PORT})",
    )
    parser.add_argument("--duration", type=duration, metavar="TIME", help="end after this time (default: on Ctrl-C)")


async def simulate(options: argparse.Namespace) -> None:
    """Run the fake agents until SIGINT, SIGTERM or the end of `--duration`. Raises SimulatorError, with what helps."""
    if options.month is not None:
        write_month(options.month, str(options.seed))
        return
    stop = asyncio.Event()
    stop_on_signals(stop)
    allow_files(options.agents)
    plans = fleet_plans(options.agents, options.legacy, options.fleets, Spelling(options.names))
    simulation = Simulation(plans, SCENARIOS[options.scenario], options.seed)
    async with SimulatedFleets(simulation, layout_of(options), options.speed, _listing(options.targets_file)) as fleets:
        # A reader of the pipe must see it now, not when a buffer is full.
        print(f"# {options.agents} agents run; Ctrl-C ends them", file=sys.stderr, flush=True)
        await run_until(fleets, stop, options.duration)


def write_month(pattern: str, seed: str) -> None:
    """Print a sample month of demand as CSV: the highest of every five minutes, in tasks."""
    from exporter.simulation.months import SAMPLES, sample  # noqa: PLC0415 - agents on sockets do without

    print("time,demand")
    for at, demand in sample(SAMPLES[pattern], seed):
        print(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ},{demand}")


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


def _whole(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"it must be a whole number from {lowest} up, not {text!r}")
        return int(text)

    return number


def speed(text: str) -> float:
    """Read a factor of time."""
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= FASTEST:
        raise argparse.ArgumentTypeError(f"it must be a number above 0 and up to {FASTEST:g}, not {text!r}")
    return factor


def duration(text: str) -> float:
    """Read a length of time such as `90s` or `2m`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        reason = f": {error}" if str(error) else ""
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time such as 90s or 2m{reason}") from None


def _address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an IPv4 address") from None
