"""Ports on loopback for programs that listen only some seconds after their port must be known."""

import os
import re
import socket
from pathlib import Path
from random import Random

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _candidates() -> list[int]:
    """Return, in random order, the ports that the kernel does not give to whoever asks for any."""
    first, last = map(int, re.findall(r"\d+", _RANGE.read_text())) if _RANGE.exists() else (32768, 60999)
    ports = [port for port in range(10_000, 2**16) if not first <= port <= last]
    Random(os.getpid()).shuffle(ports)  # noqa: S311 - it keeps processes apart, and no secret
    return ports


_left = _candidates()


def free_port() -> int:
    """Return a port that nobody listens on, and that nobody is given again.

    A port of the kernel's choice may be another server's by the time at which the program that it is for has started:
    each server of another test gets one of some thousand. So these are others, and what keeps the processes of a run
    apart is a name that each of them holds until it ends. Raises IndexError when none is left.
    """
    while True:
        port = _left.pop()
        claim = socket.socket(socket.AF_UNIX)
        try:
            # A leading zero byte: a name without a file, which Linux knows for as long as the socket is open (unix(7)).
            claim.bind(f"\0free-port-{port}")
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            claim.close()
        else:
            claim.detach()
            return port
