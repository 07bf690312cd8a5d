"""A process that does nothing but measure how long its event loop is kept waiting, the way the exporter does.

It is the measure of the machine: on shared cores even an idle loop wakes up late now and then. Prints the longest delay
of the last minute each second, in seconds.
"""

import asyncio

import uvloop

from exporter.loop_lag import LoopLag


async def _measure() -> None:
    lag = LoopLag()
    async with asyncio.TaskGroup() as group:
        group.create_task(lag.run())
        while True:
            await asyncio.sleep(1.0)
            print(f"{lag.worst():.6f}", flush=True)


if __name__ == "__main__":
    uvloop.run(_measure())
