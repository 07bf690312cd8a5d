"""A process that does nothing but measure how long its event loop is kept waiting, the way the exporter does.

It is the measure of the machine: on shared cores even an idle loop wakes up late now and then. Prints the longest delay
of the last minute each second, in seconds.
"""

import uvloop

from exporter.loop_lag import LoopLag


def _say(seconds: float) -> None:
    print(f"{seconds:.6f}", flush=True)


if __name__ == "__main__":
    uvloop.run(LoopLag(_say).run())
