"""The command `fleet-exporter simulate`: fake agents to scrape, until Ctrl-C or for a time. These are its options.

`population` does the work. It is imported only when the command runs, as it needs the simulation.
"""

import argparse
import sys
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path

from exporter.config.durations import parse_duration
from exporter.options import whole
from exporter.simulator.agent import DEFAULT_BASE, DEFAULT_FIRST_PORT
from exporter.simulator.scenario import SCENARIOS
from exporter.simulator.vitals import Spelling

MONTHS = ("mixed", "nightly", "business", "month-end", "no-pattern")
"""Patterns of `exporter.simulation.months.SAMPLES`."""
FASTEST = 3600.0
"""Above this a second of the clock is more than an hour of the fleet's, and no scrape would see what happened."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of `simulate`."""
    parser.add_argument("--agents", type=whole(1), default=10, metavar="N", help="agents in all (default 10)")
    parser.add_argument(
        "--legacy", type=whole(0), default=3, metavar="N", help="how many of them run an old image (default 3)"
    )
    parser.add_argument(
        "--fleets", type=whole(1), default=1, metavar="N", help="fleets they are divided among (default 1)"
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
        type=whole(1024),
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
    from exporter.simulator.population import perform  # noqa: PLC0415 - the other commands do without the simulation

    await perform(options)


def write_month(pattern: str, seed: str) -> None:
    """Print a sample month of demand as CSV: the highest of every five minutes, in tasks."""
    from exporter.simulation.months import SAMPLES, sample  # noqa: PLC0415 - as above

    print("time,demand")
    for at, demand in sample(SAMPLES[pattern], seed):
        print(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ},{demand}")


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
