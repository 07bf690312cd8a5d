"""Accepts the connections of a port with TLS, and bounds the handshakes on them.

asyncio's own servers show a connection only once its handshake is over. Until then each of a flood holds a file
descriptor and the memory of a handshake, uncounted, for as long as a handshake may take. Here one too many ends the
oldest, as with connections: the clients that finish theirs in milliseconds get through.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from exporter.config.addresses import HostPort
from exporter.trouble import Trouble

_log = structlog.get_logger(__name__)

_BACKLOG = 128
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 1.0
"""Seconds until a connection is accepted again where the process is out of file descriptors or memory."""


@dataclass(eq=False, slots=True)
class _Client:
    """A client, and whether a transport owns its socket."""

    socket: socket.socket
    owned: bool = False


async def listen(address: HostPort) -> list[socket.socket]:
    """Return a listening socket for each address that a host has. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    try:
        for family, place in dict.fromkeys((family, place) for family, _, _, _, place in found):
            sockets.append(socket.create_server(place, family=family, backlog=_BACKLOG))
            sockets[-1].setblocking(False)
    except OSError:
        for one in sockets:
            one.close()
        raise
    return sockets


class Handshakes:
    """The handshakes of one port."""

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext,
        *,
        timeout: float,
        most: int,
    ) -> None:
        """Give each connection that is through its handshake to a protocol that `make` makes.

        A handshake may take `timeout` seconds, and there are at `most` so many at one time.
        """
        self._make = make
        self._context = context
        self._timeout = timeout
        self._most = most
        # The oldest comes first.
        self._clients: dict[_Client, None] = {}
        self._refused = Trouble(_log, "connections cannot be accepted; will retry", "connections are accepted again")

    async def accept(self, listening: socket.socket) -> None:
        """Accept connections until cancelled; those that are not through their handshake by then are closed."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    accepted, _ = await loop.sock_accept(listening)
                except OSError as error:
                    # Anything else is the trouble of one client, whose connection has ended already (accept(2)).
                    if error.errno in _EXHAUSTED:
                        self._refused.report(error.errno, reason=error.strerror or str(error))
                    await asyncio.sleep(_PAUSE if error.errno in _EXHAUSTED else 0)
                    continue
                self._refused.resolve()
                client = _Client(accepted)
                self._clients[client] = None
                handshake = group.create_task(self._shake_hands(client), name="TLS handshake")
                handshake.add_done_callback(partial(self._over, client))
                if len(self._clients) > self._most:
                    self._end_oldest()

    async def _shake_hands(self, client: _Client) -> None:
        client.owned = True
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._make, client.socket, ssl=self._context, ssl_handshake_timeout=self._timeout
            )
        except OSError:
            pass  # it failed or took too long: the client's affair, and no event of ours
        except Exception:  # noqa: BLE001 - contained here, and logged with its traceback
            # An unforeseen hello must not affect other clients. It is a bug, and logged as one.
            _log.exception("TLS handshake failed: a bug in the exporter")

    def _end_oldest(self) -> None:
        oldest = next(iter(self._clients))
        del self._clients[oldest]
        # Its transport, which may not exist yet, then finds the end of the connection.
        with suppress(OSError):
            oldest.socket.shutdown(socket.SHUT_RDWR)

    def _over(self, client: _Client, _handshake: asyncio.Task[None]) -> None:
        self._clients.pop(client, None)
        if not client.owned:
            client.socket.close()
