"""The command: reads the past, compares, and shows the plan.

What simulates is imported when it runs: the other commands do without.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from exporter.client import add_credentials
from exporter.config.durations import parse_duration
from exporter.config.values import time_zone
from exporter.options import whole
from exporter.plan.assumptions import (
    AGENTS_PER_NODE,
    PRICE,
    START_RANGE,
    START_SECONDS,
    TASK_SECONDS,
    Assumptions,
    Today,
)
from exporter.plan.errors import PlanError
from exporter.terminal import Paper

if TYPE_CHECKING:
    from exporter.plan.series import Series

MOST_AGENTS = 10_000
_BAR = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    past = parser.add_argument_group("the past, from one of").add_mutually_exclusive_group(required=True)
    past.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="CSV with the columns time (RFC 3339 or Unix seconds) and demand (tasks; empty if unknown); - reads stdin",
    )
    past.add_argument(
        "--url", metavar="URL", help="a running exporter, with the past that it recorded (forecast.enabled)"
    )
    past.add_argument("--prometheus", metavar="URL", help="a Prometheus that scrapes the exporter, or Amazon's")
    past.add_argument("--cloudwatch", metavar="CLUSTER", help="CloudWatch, as published with this cluster's name")
    add = parser.add_argument
    add("--matchers", default="", metavar="TEXT", help="with --prometheus: of the series, such as 'cluster=\"prod\"'")
    add("--region", metavar="REGION", help="with --cloudwatch: the AWS region, if not that of the environment")
    add("--metrics-namespace", metavar="NAME", help="with --cloudwatch: if not Matillion/AgentFleet")
    add("--endpoint-url", metavar="URL", help=argparse.SUPPRESS)
    add("--fleet", type=_fleet, metavar="NAMESPACE/FLEET", help="the fleet, where the past has several")
    add("--html", type=Path, metavar="FILE", help="also write a page with charts, to show and to print")
    add("--json", action="store_true", help="print JSON")
    given = parser.add_argument_group("what is assumed")
    add = given.add_argument
    add("--timezone", type=_zone, default=ZoneInfo("UTC"), metavar="ZONE", help="of the schedules (default UTC)")
    add(
        "--start-time",
        type=_seconds,
        metavar="TIME",
        help=f"of an agent's start (default: as --url measured it, or {START_SECONDS:.0f}s)",
    )
    add(
        "--task-time",
        type=_seconds,
        default=TASK_SECONDS,
        metavar="TIME",
        help=f"how long a task runs on average (default {TASK_SECONDS / 60:.0f}m)",
    )
    add("--tasks-per-agent", type=whole(1, 1000), default=Assumptions().tasks_per_agent, metavar="N", help="at once")
    add("--target", type=whole(1, 1000), metavar="N", help="tasks per agent that the HPA aims at (default 16 of 20)")
    add("--min", type=whole(1, MOST_AGENTS), default=2, metavar="N", help="agents at least (default 2)")
    add(
        "--max",
        type=whole(1, MOST_AGENTS),
        metavar="N",
        help="agents at most (default: what the past needs, and half)",
    )
    add("--price", type=_price, metavar="DOLLARS", help=f"of one agent-hour (default {PRICE:g})")
    add("--agents-per-node", type=whole(1, 1000), default=AGENTS_PER_NODE, metavar="N", help="(default %(default)s)")
    now = parser.add_argument_group("how the fleet is scaled today (default: an HPA on CPU 70%, minimum 2)")
    now.add_argument("--today-agents", type=whole(1, MOST_AGENTS), metavar="N", help="a fixed size")
    now.add_argument("--today-min", type=whole(1, MOST_AGENTS), metavar="N", help="minimum of the HPA")
    now.add_argument("--today-max", type=whole(1, MOST_AGENTS), metavar="N", help="maximum of the HPA")
    add_credentials(parser)


async def plan(options: argparse.Namespace) -> None:
    """Make a plan and show it. Raises PlanError, PastError and StatusError."""
    given = assumptions(options)
    from exporter.plan.sources import past_of  # noqa: PLC0415 - see above

    found = await past_of(options)
    if found.fleet is not None:
        given = replace(given, fleet=found.fleet, named=True)
    if found.start_seconds is not None and given.start_source == "assumed":
        given = replace(given, start_seconds=found.start_seconds, start_source="measured")
    await asyncio.to_thread(_plan, options, found.series, given)


def _plan(options: argparse.Namespace, series: "Series", given: Assumptions) -> None:
    from exporter.plan.comparison import compare  # noqa: PLC0415 - see above
    from exporter.plan.document import document  # noqa: PLC0415
    from exporter.plan.report import report  # noqa: PLC0415
    from exporter.plan.screen import screen  # noqa: PLC0415

    made = compare(series, given, _progress())
    if options.html is not None:
        _write(options.html, report(made))
    if options.json:
        print(json.dumps(document(made), indent=2))
    else:
        print(*screen(made, Paper.of(sys.stdout, os.environ)), sep="\n")


def _write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{file} cannot be written: {error.strerror or error}") from None


def assumptions(options: argparse.Namespace) -> Assumptions:
    """Return what the options say. Raises PlanError where they contradict each other."""
    usual = Assumptions()
    target = options.target or max(1, round(usual.target * options.tasks_per_agent / usual.tasks_per_agent))
    if options.today_agents is not None and (options.today_min, options.today_max) != (None, None):
        raise PlanError("--today-agents is a fixed size, --today-min and --today-max are those of an HPA; pass one")
    today = Today(agents=options.today_agents, least=options.today_min or 2, most=options.today_max)
    for least, most, names in (
        (options.min, options.max, ("--min", "--max")),
        (today.least, today.most, ("--today-min", "--today-max")),
    ):
        if most is not None and least > most:
            raise PlanError(f"{names[0]} ({least}) is more than {names[1]} ({most}); lower one or raise the other")
    namespace, name = options.fleet or usual.fleet
    given = Assumptions(
        fleet=(namespace, name),
        named=options.fleet is not None,
        zone=options.timezone,
        start_seconds=START_SECONDS if options.start_time is None else options.start_time,
        start_source="assumed" if options.start_time is None else "given",
        task_seconds=options.task_time,
        tasks_per_agent=options.tasks_per_agent,
        target=target,
        least=options.min,
        most=options.max,
        price=PRICE if options.price is None else options.price,
        price_given=options.price is not None,
        agents_per_node=options.agents_per_node,
        today=today,
    )
    if given.target > given.highest_target:
        raise PlanError(
            f"--target {target} is too close to the {given.tasks_per_agent} tasks an agent runs at once: the HPA has a "
            f"tolerance of 10%, so a queue beside full agents could wait forever; at most {given.highest_target}"
        )
    return given


def _progress() -> Callable[[int, int], None]:
    """Return what draws a bar on a terminal, on one line that is gone at the end; nothing elsewhere."""
    stream = sys.stderr
    if not stream.isatty():
        return lambda _done, _all: None
    paper = Paper.of(stream, os.environ)

    def draw(done: int, everything: int) -> None:
        bar = f"\rreplaying {paper.bar(done / everything, _BAR)} {done} of {everything}"
        stream.write("\r" + " " * (len(bar) + 8) + "\r" if done >= everything else bar)
        stream.flush()

    return draw


def _fleet(text: str) -> tuple[str, str]:
    namespace, slash, name = text[:400].partition("/")
    if not namespace or not slash or not name or "/" in name or not (namespace + name).isprintable():
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a fleet such as matillion/etl-prod")
    return namespace, name


def _zone(text: str) -> ZoneInfo:
    try:
        return time_zone(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not an IANA time zone, such as Europe/Berlin") from None


def _seconds(text: str) -> float:
    try:
        seconds = parse_duration(text[:80])
    except ValueError:
        seconds = 0.0
    least, most = START_RANGE
    if not least <= seconds <= most:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a time from 1s to 6h, such as 90s or 3m")
    return seconds


def _price(text: str) -> float:
    try:
        price = float(text[:80])
    except ValueError:
        price = -1.0
    if not 0 < price <= 10_000:  # noqa: PLR2004 - no agent costs more in an hour
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not a price of one agent-hour in dollars, such as 0.064")
    return price
