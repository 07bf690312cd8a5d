"""From the command line to a command and its exit code.

0 is good, 1 a check that failed or a part that died, 2 wrong use or bad configuration. An error is one plain sentence,
never a traceback.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog

from exporter import __version__, service
from exporter.client import StatusError
from exporter.config import ConfigError, Settings, load
from exporter.doctor import command as doctor
from exporter.doctor import named_files
from exporter.kube.api import KubeError
from exporter.logs import configure, writes_json
from exporter.plan import command as plan
from exporter.plan.errors import PastError, PlanError
from exporter.simulator import demo, simulate
from exporter.simulator.agent import SimulatorError, WrongUseError
from exporter.status import command as status
from exporter.status import ledger

GOOD, FAILED, WRONG_USE = 0, 1, 2

_log = structlog.get_logger(__name__)

T = TypeVar("T")


def main(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name and return its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG_USE
    except (WrongUseError, PlanError) as error:
        print(f"fleet-exporter: {error}", file=sys.stderr)
        return WRONG_USE
    except (service.PartFailedError, KubeError, SimulatorError, StatusError, PastError) as error:
        print(f"fleet-exporter: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fleet-exporter",
        description="Task capacity of Matillion agents, for Prometheus and the Horizontal Pod Autoscaler.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run the exporter")
    run.add_argument(
        "--config", type=Path, metavar="FILE", help="settings file (YAML); environment variables override it"
    )
    run.set_defaults(command=_run)

    check = commands.add_parser("check-config", help="validate a settings file without running anything")
    check.add_argument("file", type=Path, metavar="FILE", help="settings file (YAML)")
    check.set_defaults(command=_check_config)

    shown = commands.add_parser(
        "status", help="show the state of a running exporter: fleets, and agents that need attention"
    )
    status.add_arguments(shown)
    shown.set_defaults(command=_status)

    listed = commands.add_parser("ledger", help="list the agents that left, with their tasks and how these ended")
    ledger.add_arguments(listed)
    listed.set_defaults(command=_ledger)

    examined = commands.add_parser(
        "doctor", help="check the cluster, the agents and the AWS account, and report what to fix"
    )
    doctor.add_arguments(examined)
    examined.set_defaults(command=_doctor)

    planned = commands.add_parser(
        "plan", help="compare ways to scale a fleet on its own past, and recommend one with its settings"
    )
    plan.add_arguments(planned)
    planned.set_defaults(command=_plan)

    simulated = commands.add_parser("simulate", help="run fake agents on real sockets, driven by a scenario")
    simulate.add_arguments(simulated)
    simulated.set_defaults(command=_simulate)

    played = commands.add_parser(
        "demo",
        help="run fake agents, the exporter, an emulated CloudWatch and a small autoscaler, and show them at work",
    )
    demo.add_arguments(played)
    played.set_defaults(command=_demo)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = load(options.config, os.environ)
    configure(settings.log)
    try:
        _run_loop(_serve(settings))
    except service.PartFailedError as error:
        if error.logged or not writes_json(settings.log, sys.stderr):
            raise
        # Those that collect the log read JSON.
        _log.critical("a part of the exporter failed", part=error.part, error=error.cause)
        return FAILED
    return GOOD


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    service.stop_on_signals(stop)
    await service.run(settings, stop, started=_show_page if sys.stderr.isatty() else lambda _: None)


def _show_page(url: str) -> None:
    _log.info("status page is served", url=url)


def _simulate(options: argparse.Namespace) -> int:
    try:
        _run_loop(simulate.simulate(options))
    except BrokenPipeError:
        return _nobody_reads()
    return GOOD


def _demo(options: argparse.Namespace) -> int:
    _run_loop(demo.demo(options))
    return GOOD


def _plan(options: argparse.Namespace) -> int:
    try:
        _run_loop(plan.plan(options))
    except BrokenPipeError:
        return _nobody_reads()
    return GOOD


def _doctor(options: argparse.Namespace) -> int:
    try:
        return GOOD if _run_loop(doctor.doctor(options)) else FAILED
    except BrokenPipeError:
        return _nobody_reads()


def _ledger(options: argparse.Namespace) -> int:
    try:
        _run_loop(ledger.ledger(options))
    except BrokenPipeError:
        return _nobody_reads()
    return GOOD


def _status(options: argparse.Namespace) -> int:
    try:
        _run_loop(status.status(options))
    except KeyboardInterrupt:
        # It is how watching ends.
        return GOOD if options.watch else FAILED
    except BrokenPipeError:
        return _nobody_reads()
    return GOOD


def _nobody_reads() -> int:
    """End when the reader of the output has left (`| head`): what is left to write is discarded without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _run_loop(main_task: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, on uvloop where there is one: it takes about a quarter off the cost of a scrape."""
    try:
        import uvloop  # noqa: PLC0415 - it is left out of the installation where it cannot be built
    except ImportError:
        return asyncio.run(main_task)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().set_exception_handler(_without_closed_connections)
        return runner.run(main_task)


def _without_closed_connections(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody caught, as a loop does.

    uvloop reports data that comes for a TLS connection after its end in this way, as a fatal error with a traceback
    (https://github.com/MagicStack/uvloop/issues/506). Whoever used the connection has ended it, and knows.
    """
    error = context.get("exception")
    if not (isinstance(error, RuntimeError) and str(error).endswith("the handler is closed")):
        loop.default_exception_handler(context)


def _check_config(options: argparse.Namespace) -> int:
    load(options.file, os.environ, named_files.problems)
    print(f"{options.file}: good")
    return GOOD
