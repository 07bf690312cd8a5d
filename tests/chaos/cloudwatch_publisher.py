"""A process that publishes to CloudWatch until it is killed: the real publisher and spool, by a clock it shares.

It ends with the test: its standard input is a pipe of the test's, which closes however the test ends.

Its one fleet has as many tasks as `MinutesOfWork.of` says for the minute. Arguments: endpoint, spool, the clock's file.
"""

import asyncio
import os
import sys
from pathlib import Path

from exporter.config import CloudWatchSettings, SpoolSettings
from exporter.publish.cloudwatch import CloudWatchPublisher, Pace
from tests.chaos.shared_clock import LivedClock
from tests.fakes.cloudwatch_publishing import Counts, MinutesOfWork, selection
from tests.fakes.leadership import Leader


async def main(endpoint: str, spool: str, clock_file: str) -> None:
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 1)
    clock = LivedClock(Path(clock_file))
    settings = CloudWatchSettings(
        region="eu-west-1", endpoint_url=endpoint, spool=SpoolSettings(path=Path(spool)), per_agent=True
    )
    # A minute takes about a second here: the pace is as much quicker.
    pace = Pace(deadline=0.5, backlog_pause=0.05, first_retry=0.05, max_retry=0.5, max_sleep=0.02)
    # The work is that of the minute which the publisher takes it to be.
    work = MinutesOfWork(lambda: clock.last)
    publisher = CloudWatchPublisher(settings, selection("default"), work, Leader(), Counts(), wall=clock, pace=pace)
    async with publisher:
        await publisher.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
