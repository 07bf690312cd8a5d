"""A process that publishes to CloudWatch until it is killed: the real publisher and spool, with a fast wall clock.

Its one fleet has as many tasks as `MinutesOfWork.of` says for the minute. Arguments: endpoint, spool, the clock's
origin and its speed.
"""

import asyncio
import sys
from pathlib import Path

from exporter.config import CloudWatchSettings, SpoolSettings
from exporter.publish.cloudwatch import CloudWatchPublisher, Pace
from tests.fakes.cloudwatch_publishing import Counts, FastClock, Leader, MinutesOfWork, selection


async def main(endpoint: str, spool: str, origin: str, speed: str) -> None:
    clock = FastClock(float(speed), float(origin))
    settings = CloudWatchSettings(
        region="eu-west-1", endpoint_url=endpoint, spool=SpoolSettings(path=Path(spool)), per_agent=True
    )
    # A minute takes two seconds here: the pace is as much quicker.
    pace = Pace(deadline=0.7, backlog_pause=0.1, first_retry=0.1, longest_retry=1.0, longest_sleep=0.02)
    publisher = CloudWatchPublisher(
        settings, selection("default"), MinutesOfWork(clock), Leader(), Counts(), wall=clock, pace=pace
    )
    async with publisher:
        await publisher.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
