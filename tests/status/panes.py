"""What a command shows on a real terminal of so many columns."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios

from tests.waiting import PATIENCE

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


async def pane(width: int, *arguments: str) -> list[str]:
    """Run `fleet-exporter` with these arguments to its end, which is good; return its lines without their colours."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "exporter", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=theirs,
            env=inherited | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        return _ESCAPES.sub("", os.read(ours, 65536).decode()).splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
