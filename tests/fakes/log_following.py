"""What tests of followed logs share: lines by their time, a quicker pace, and a replica that leads or not."""

from exporter.podhealth.log_follower import FollowingPace
from tests.factories import WALL_NOW
from tests.fakes.container_logs import NANOSECONDS

BEGIN = int(WALL_NOW) * NANOSECONDS
"""When following begins, on the nodes' clocks."""
FAILED, FINE = "ERROR task failed: no such table", "INFO task finished"
FAST = FollowingPace(backoff_first=0.02, backoff_max=0.1, poll=0.02, settled=0.0)


def at(seconds: float, text: str = FAILED) -> tuple[int, str]:
    """Make a line, so many seconds after following began."""
    return (BEGIN + round(seconds * NANOSECONDS), text)
