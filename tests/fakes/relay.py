"""TCP from one loopback port to others: what a Service is to its clients, and what a network is until it is cut."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

Place = tuple[str, int]


class Relay:
    """Passes each new connection on to the place that is chosen for it, and all of its bytes both ways."""

    def __init__(self, choose: Callable[[str], Place]) -> None:
        """`choose` says where a connection goes that was made to this local address."""
        self._choose = choose
        self._cut = False
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0

    def cut(self) -> None:
        """Refuse every connection from now on and reset those there are, as a policy on a network does."""
        self._cut = True
        for task in self._passing:
            task.cancel()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Relay"]:
        """Listen on every loopback address, on one port that the system chooses."""
        server = await asyncio.start_server(self._accept, "0.0.0.0", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._passing, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        with suppress(OSError, asyncio.CancelledError):
            if not self._cut:
                host, port = self._choose(writer.get_extra_info("sockname")[0])
                there, back = await asyncio.open_connection(host, port)
                try:
                    await self._both_ways((reader, back), (there, writer))
                finally:
                    back.transport.abort()
        writer.transport.abort()

    @staticmethod
    async def _both_ways(*ways: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Copy until either side ends."""
        tasks = [asyncio.create_task(_copy(source, sink)) for source, sink in ways]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)
        await sink.drain()
    sink.write_eof()


def service(ports: Sequence[int]) -> Relay:
    """Return what a Service is: each new connection goes to any of the ports there are, and stays there.

    By chance, as kube-proxy does it: were they taken in turn, whoever else connects in between could leave the same one
    to each of the API server's.
    """
    chance = Random(1)  # noqa: S311 - the same choices every time
    return Relay(lambda _address: ("127.0.0.1", chance.choice(ports)))


def network(port: int) -> Relay:
    """Return a way to this port of every loopback address, under another port of the same address."""
    return Relay(lambda address: (address, port))
