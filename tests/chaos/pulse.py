"""Feels the pulse of the exporters, in a process that does nothing else: what it is late by is the machine's part.

`python -m tests.chaos.pulse CONTROL_URL`. Each line of its standard input is `REPLICA URL PID BOOTED`: that replica has
this process from now on. Each line of its output is a `Beat` as JSON. It ends with its input.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

EVERY = 0.1
HUNG_SECONDS = 60.0
"""After this a question is given up: a process that is stopped answers when it goes on."""


@dataclass(frozen=True)
class Beat:
    """A question to /healthz, and one to a bare server at the same time."""

    replica: str
    booted: float
    asked: float
    answered: float
    status: int | None
    waited: float
    """How long the threads of both processes waited for a processor meanwhile, in seconds."""
    control: float
    """How long the bare server took."""


class Pulse:
    """Asks for ever."""

    def __init__(self, control: str) -> None:
        self._control = control
        self._processes: dict[str, tuple[str, int, float]] = {}

    async def run(self) -> None:
        """Ask about each process that the input names, until the input ends."""
        orders = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        timeout = aiohttp.ClientTimeout(total=HUNG_SECONDS)
        # A connection each time: one that is kept ends with the process, and says nothing of the next.
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as self._session:
            feeling: set[asyncio.Task[None]] = set()
            while line := (await orders.readline()).decode():
                replica, url, pid, booted = line.split()
                if replica not in self._processes:
                    feeling.add(asyncio.create_task(self._feel(replica)))
                self._processes[replica] = url, int(pid), float(booted)
        os._exit(0)

    async def _feel(self, replica: str) -> None:
        while True:
            url, pid, booted = self._processes[replica]
            own, waited, asked = _waited(os.getpid()), _waited(pid), time.monotonic()
            (status, answered), (_, control) = await asyncio.gather(
                self._ask(url + "/healthz"), self._ask(self._control)
            )
            late = _waited(os.getpid()) - own + max(0.0, _waited(pid) - waited)
            beat = Beat(replica, booted, asked, answered, status, late, control - asked)
            sys.stdout.write(json.dumps(asdict(beat)) + "\n")
            sys.stdout.flush()
            await asyncio.sleep(EVERY)

    async def _ask(self, url: str) -> tuple[int | None, float]:
        """Return the status, None without an answer, and when it came."""
        status = None
        with suppress(aiohttp.ClientError, TimeoutError):
            async with self._session.get(url) as answer:
                await answer.read()
                status = answer.status
        return status, time.monotonic()


def _waited(pid: int) -> float:
    """Return how long a process' threads have waited for a processor, in seconds (Linux, /proc/<pid>/schedstat)."""
    total = 0
    with suppress(OSError):  # it, or one of them, has ended
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text("ascii").split()[1])
    return total / 1e9


if __name__ == "__main__":
    asyncio.run(Pulse(sys.argv[1]).run())
