"""An agent that writes down when it was read, and may be told when to answer."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "golden" / "pages" / "otel_full.txt").read_bytes()


class TimedAgent:
    """Answers each request with the same page, at once while it is `open`; else those that came wait."""

    def __init__(self) -> None:
        self.port = 0
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0
        """Requests that have come and are not answered."""
        self.made: list[float] = []
        """When each page was made, by CLOCK_MONOTONIC: the state of the agent is of this moment."""
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, host: str = "127.0.0.1") -> AsyncIterator["TimedAgent"]:
        """Listen on a free port."""
        server = await asyncio.start_server(self._serve, host, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.waiting += 1
                await self.open.wait()
                self.waiting -= 1
                self.made.append(time.monotonic())
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(PAGE)}\r\n\r\n"
                writer.write(head.encode() + PAGE)
                await writer.drain()
        writer.transport.abort()
