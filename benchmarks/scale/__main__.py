"""`python -m benchmarks.scale`: what grows with fleets, agents and pod events, and the demand route under load.

Prints a table. Exit 0 when every target is met, 1 when one is missed, 2 when it cannot be measured here.
"""

import asyncio
import gc
import sys

from benchmarks.scale import demand, events, growth
from benchmarks.scrape import agents
from benchmarks.scrape.figures import Row, verdict
from benchmarks.scrape.processes import ProgramError
from benchmarks.scrape.report import missed, table

_MOST_BY_CHEAPEST = 6.0
"""CPU of a demand by that of /healthz: a fleet is computed anew for each reading that is asked for, up to five times a
second, which is most of the difference."""


def main() -> int:
    """Print the table; return the exit code."""
    # As `service` sets it: collections would be what is measured.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    rows = [_growth_row(found) for found in growth.measure()]
    for found, longest in events.measure():
        rows.append(_growth_row(found))
        rows.append(
            Row(
                what=f"{found.what}: longest turn of the event loop, ms",
                exporter=f"{longest:.0f}",
                target=f"≤ {events.MOST_MILLISECONDS:.0f}",
                verdict=verdict(good=longest <= events.MOST_MILLISECONDS),
            )
        )
    try:
        with agents.workspace() as directory:
            cheapest, demands = asyncio.run(demand.measure(directory))
    except ProgramError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    rows += _demand_rows(cheapest, demands)
    print(table(rows))
    return 1 if missed(rows) else 0


def _growth_row(found: growth.Growth) -> Row:
    return Row(
        what=f"{found.what}: ms of CPU, exponent",
        exporter=f"{found.largest_ms:.1f}, {found.exponent:.2f}",
        target=f"exponent ≤ {growth.LARGEST_EXPONENT}",
        verdict=verdict(good=found.exponent <= growth.LARGEST_EXPONENT),
    )


def _demand_rows(cheapest: demand.Load, demands: demand.Load) -> list[Row]:
    ratio = demands.cpu / cheapest.cpu
    return [
        Row(
            what=f"demand of {demand.FLEETS} fleets, {demand.RATE:,} requests a second: answered with 200",
            exporter=f"{demands.answered:,} of {demands.sent:,}",
            target="all",
            verdict=verdict(good=demands.answered == demands.sent),
        ),
        Row(
            what="the same: CPU, share of a core (/healthz at that rate)",
            exporter=f"{demands.cpu:.2f} ({cheapest.cpu:.2f}), ratio {ratio:.1f}",
            target=f"ratio ≤ {_MOST_BY_CHEAPEST:.0f}",
            verdict=verdict(good=ratio <= _MOST_BY_CHEAPEST),
        ),
        Row(
            what="the same: p99 of the answer, ms (/healthz at that rate)",
            exporter=f"{demands.p99 * 1e3:.0f} ({cheapest.p99 * 1e3:.0f})",
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
