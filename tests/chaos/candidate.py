"""A process that stands in an election and writes down when it works and when it publishes.

`python candidate.py SETTINGS_JSON`. The file it appends to has a line for each event, with CLOCK_MONOTONIC, which is
one clock for the whole machine:

    boot T          the process has begun, and ends in good order from now on
    start T         its work has begun
    tick T0 T1      it published: it read the clock (T0), is_leader() was true, and the line was made at T1
    refused T       its work was running and is_leader() was false
    stop T          its work has ended
"""

import asyncio
import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

import structlog

from exporter.kube.client import KubeClient
from exporter.kube.election import LeaderElection, new_identity

TICK_SECONDS = 0.01


@dataclass(frozen=True)
class Times:
    """The times of the election."""

    lease_name: str
    lease_duration: float
    renew_deadline: float
    retry_period: float


class Candidate:
    """The work, and the file."""

    def __init__(self, events: str) -> None:
        self.file = os.open(events, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self.election: LeaderElection | None = None

    def write(self, event: str, *times: float) -> None:
        """Write in one piece: whoever is killed leaves no half line."""
        os.write(self.file, f"{' '.join((event, *map(repr, times)))}\n".encode())

    async def work(self) -> None:
        """Publish a hundred times a second."""
        assert self.election is not None
        self.write("start", time.monotonic())
        try:
            while True:
                asked = time.monotonic()
                if self.election.is_leader():
                    self.write("tick", asked, time.monotonic())
                else:
                    self.write("refused", asked)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self.write("stop", time.monotonic())


async def stand(settings: dict[str, str], times: dict[str, float]) -> None:
    """Stand in the election until SIGTERM."""
    candidate = Candidate(settings["events"])
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    candidate.write("boot", time.monotonic())
    with suppress(asyncio.CancelledError):
        async with await KubeClient.connect({"KUBECONFIG": settings["kubeconfig"]}) as client:
            candidate.election = LeaderElection(
                Times(settings["lease_name"], **times), client, settings["namespace"], new_identity()
            )
            await candidate.election.run(candidate.work)


def main() -> None:
    """Run with what the command line says."""
    structlog.configure(processors=[structlog.processors.TimeStamper(), structlog.processors.JSONRenderer()])
    given = json.loads(sys.argv[1])
    asyncio.run(stand(given["settings"], given["times"]))


if __name__ == "__main__":
    main()
