"""The command `fleet-exporter demo`: its options, and the check that what it takes is installed.

`stage` does the work. It is imported only when the demo runs, because it needs rich, which is an extra of the package.
"""

import argparse

from exporter.config import HostPort
from exporter.config.addresses import parse_listen
from exporter.simulator.agent import SimulatorError
from exporter.simulator.simulate import add_place_arguments, speed

SPEED = 10.0
"""A wave of the `demo` scenario takes twenty minutes; at this speed a newcomer has seen it within two."""
FASTEST = 60.0
"""Above this a second between two readings is over a minute of the fleet's time, and the scaler's data is stale."""
LISTEN = HostPort("127.0.0.1", 9850)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of `demo`."""
    parser.add_argument(
        "--speed",
        type=_demo_speed,
        default=SPEED,
        metavar="X",
        help=f"times as fast as the clock, up to {FASTEST:g} (default {SPEED:g})",
    )
    parser.add_argument(
        "--listen",
        type=_listen,
        default=LISTEN,
        metavar="HOST:PORT",
        help=f"where the exporter serves (default {LISTEN}; port 0 takes a free one)",
    )
    add_place_arguments(parser)


async def demo(options: argparse.Namespace) -> None:
    """Run the demo until SIGINT, SIGTERM or the end of `--duration`. Raises SimulatorError, with what helps."""
    try:
        from exporter.simulator.stage import perform  # noqa: PLC0415 - the other commands do without rich
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "rich":
            raise
        raise SimulatorError("the demo needs rich: pip install '.[demo]' in a checkout") from error
    await perform(options)


def _demo_speed(text: str) -> float:
    factor = speed(text)
    if factor > FASTEST:
        raise argparse.ArgumentTypeError(f"the demo goes up to {FASTEST:g} times as fast, not {text}")
    return factor


def _listen(text: str) -> HostPort:
    try:
        return parse_listen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a HOST:PORT to listen on: {error}") from None
