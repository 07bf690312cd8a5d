"""The web server: the pages of `app`, served as the `web` settings define."""

import asyncio
from collections.abc import Awaitable, Callable
from time import time

from aiohttp.typedefs import Handler

from exporter.config.addresses import HostPort
from exporter.config.web_settings import WebSettings
from exporter.serve.connections import ConnectionLimits
from exporter.serve.listener import Listener
from exporter.serve.reload import INTERVAL as RELOAD_INTERVAL
from exporter.serve.tls import ServerTls
from exporter.store.snapshots import SnapshotStore
from exporter.web.about import About
from exporter.web.api import PastOf
from exporter.web.app import ANSWER_TIMEOUT, build_app
from exporter.web.auth import Access
from exporter.web.history import History, boot_clock
from exporter.web.hosts import Hosts
from exporter.web.points_file import PointsFile
from exporter.web.runbooks import UNNAMED, Installation, Runbooks


class WebServer:
    """Serves the pages of `build_app` as the `web` settings define.

    `metrics` answers `/metrics`; `past` returns what the forecast of a fleet is made from; `about` is this exporter,
    and `installation` what it is called in its cluster; `intact_since` is as in `serve.interruption`. The others are
    for tests: how often changed files are looked for and how long a response may take, in seconds, the limits on
    connections, the clock that people's times are read from, and the machine's.
    """

    def __init__(
        self,
        settings: WebSettings,
        view: SnapshotStore,
        metrics: Handler,
        *,
        past: PastOf = lambda _fleet: None,
        about: About = About(),  # noqa: B008 - it never changes
        installation: Installation = UNNAMED,
        intact_since: Callable[[], float] = lambda: 0.0,
        reload_interval: float = RELOAD_INTERVAL,
        answer_timeout: float = ANSWER_TIMEOUT,
        limits: ConnectionLimits | None = None,
        wall_clock: Callable[[], float] = time,
        machine_clock: Callable[[], float] = boot_clock,
    ) -> None:
        files = settings.tls
        tls = None
        if files is not None:
            tls = ServerTls(
                "web.tls",
                files.cert_file,
                files.key_file,
                client_ca_file=files.client_ca_file,
                reload_interval=reload_interval,
            )
        access = Access(settings, tls, reload_interval=reload_interval)
        self.history = History(view, past=past, wall_clock=wall_clock, machine_clock=machine_clock)
        self._beside: dict[str, Callable[[], Awaitable[None]]] = {"history": self.history.run}
        if settings.history_file is not None:
            self._beside["history file"] = PointsFile(settings.history_file, self.history, wall_clock=wall_clock).run
        app = build_app(
            view,
            metrics,
            self.history,
            hosts=Hosts(settings, installation).middleware,
            access=access.middleware,
            past=past,
            about=about,
            runbooks=Runbooks(view, settings, installation),
            wall_clock=wall_clock,
            intact_since=intact_since,
            answer_timeout=answer_timeout,
        )
        self._listener = Listener(
            "HTTP server", app, settings.listen, "web.listen", tls=tls, files=access.files, limits=limits
        )

    @property
    def address(self) -> HostPort | None:
        """Where the server listens, with the port the system chose for port 0; None before `started`."""
        return self._listener.address

    @property
    def started(self) -> asyncio.Event:
        """Set once the server listens."""
        return self._listener.started

    async def run(self) -> None:
        """Serve until cancelled. Raises ServeError, a sentence for a person, if the server cannot start."""
        await self._listener.run(self._beside)
