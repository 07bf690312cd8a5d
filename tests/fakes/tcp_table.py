"""Linux's table of TCP connections: proc(5), /proc/net/tcp."""

from dataclasses import dataclass
from pathlib import Path

ESTABLISHED = "01"


@dataclass(frozen=True)
class Connection:
    """One side of a connection, or a socket that listens; an address is `ADDRESS:PORT` in hexadecimal."""

    remote: str
    state: str
    unread: int
    """Bytes that have come and were not read."""
    timer: str
    """`02` is that of keepalive."""
    timer_seconds: float


def connections() -> list[Connection]:
    """Return what there is now, of all processes."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [_connection(row) for row in rows]


def _connection(row: list[str]) -> Connection:
    timer, ticks = row[5].split(":")
    return Connection(
        remote=row[2],
        state=row[3],
        unread=int(row[4].partition(":")[2], 16),
        timer=timer,
        timer_seconds=int(ticks, 16) / 100,  # USER_HZ
    )
