"""How fast datums go through the spool, and what waiting ones take: `python -m benchmarks.spool`.

Each figure is of a process of its own, on the disk of the temporary directory. Prints a table.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from exporter.publish.datum import MAX_DATUMS, Datum, DatumSeries
from exporter.publish.spool import Spool

WAITING = 100_000
"""Datums that wait: five days of one fleet."""
PER_MINUTE = 13
_SERIES = [
    DatumSeries(
        f"Metric{n}", "Count", (("ClusterName", "prod-eks"), ("Namespace", "matillion"), ("Fleet", "etl-production"))
    )
    for n in range(PER_MINUTE)
]


def minute(number: int) -> list[Datum]:
    """Return what one fleet's minute is."""
    return [Datum(series, 60 * number, (float(number % 240),)) for series in _SERIES]


async def through(spool: Spool) -> dict[str, float]:
    """Fill the spool in full requests, then take everything out again, oldest first."""
    minutes = -(-WAITING // PER_MINUTE)
    datums = [datum for number in range(minutes) for datum in minute(number)][:WAITING]
    before = resident_mib()
    begin = time.perf_counter()
    for start in range(0, WAITING, MAX_DATUMS):
        await spool.add(datums[start : start + MAX_DATUMS], {}, expire_before=0)
    added = time.perf_counter()
    while rows := await spool.oldest(MAX_DATUMS, not_before=0, not_after=2**40):
        await spool.remove([row.id for row in rows])
    done = time.perf_counter()
    return {
        "added a second": WAITING / (added - begin),
        "taken out a second": WAITING / (done - added),
        "through it a second": WAITING / (done - begin),
        "MiB more resident": resident_mib() - before,
    }


async def by_minutes(spool: Spool) -> dict[str, float]:
    """Fill the spool minute by minute, as an outage does, and look at the memory while everything waits."""
    await spool.add(minute(0), {}, expire_before=0)
    before = resident_mib()
    begin = time.perf_counter()
    number = 1
    while spool.datums < WAITING:
        await spool.add(minute(number), {"last_period": str(number)}, expire_before=0)
        number += 1
    return {
        "ms a minute's datums": (time.perf_counter() - begin) / number * 1000,
        "MiB more resident": resident_mib() - before,
    }


def resident_mib() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def measure(what: str, where: str) -> dict[str, float]:
    """Return one process' figures."""
    with tempfile.TemporaryDirectory() as directory:
        # A path below a file cannot be used: the spool then is in memory.
        (Path(directory) / "file").touch()
        path = Path(directory) / ("spool.db" if where == "disk" else "file/spool.db")
        async with Spool(path, max_datums=500_000) as spool:
            figures = await (through if what == "through" else by_minutes)(spool)
            figures["MiB on disk"] = path.stat().st_size / 2**20 if where == "disk" else 0.0
    return figures


def main() -> None:
    """Measure each case in a process of its own and print the table."""
    print(f"| {WAITING:,} datums | figure | value |\n| --- | --- | --- |")
    for what, where in (("through", "disk"), ("by minutes", "disk"), ("by minutes", "memory")):
        command = [sys.executable, "-m", "benchmarks.spool", what, where]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for name, value in json.loads(output.splitlines()[-1]).items():
            print(f"| {what}, {where} | {name} | {value:,.1f} |")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2]))))
    else:
        main()
