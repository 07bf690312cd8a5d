"""The composition root: builds the parts from the settings, wires them, runs them, and ends them in order.

Every part is one named task of one TaskGroup. A part that fails ends the process: an exporter that half works would
still be believed.
"""

import asyncio
import gc
import random
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import structlog

from exporter import __version__
from exporter.config import Settings
from exporter.discovery.pods import PodDiscovery
from exporter.discovery.static import StaticDiscovery
from exporter.fleet.capacity import Policy
from exporter.kube.client import KubeClient
from exporter.kube.watch import RestartReason
from exporter.publish.loop_lag import LoopLag
from exporter.publish.prometheus import ExporterMetrics, MetricsPage
from exporter.publish.state_log import StateLog
from exporter.scrape.client import Outcome, PageClient
from exporter.scrape.poller import Poller
from exporter.scrape.store import SnapshotStore
from exporter.web.app import WebServer

_log = structlog.get_logger(__name__)

Part = Callable[[], Awaitable[None]]


class PartFailedError(Exception):
    """A part of the service ended although nobody asked it to; the log has the details."""

    def __init__(self, part: str, cause: str) -> None:
        super().__init__(f"{part} failed: {cause}")


async def run(settings: Settings, stop: asyncio.Event, started: Callable[[str], None] = lambda _: None) -> None:
    """Run the exporter until `stop` is set.

    `started` is called with the URL of the web server once that listens. Raises PartFailedError, and KubeError or
    OSError for what cannot even be started.
    """
    _allow_many_sockets()
    async with AsyncExitStack() as resources:
        parts = await _build(settings, resources, started)
        # What start-up made stays for good; left in the collector's sight it would be walked through again and again.
        gc.collect()
        gc.freeze()
        _log.info("exporter starts", version=__version__, cluster=settings.cluster, parts=list(parts))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_guarded(name, part), name=name) for name, part in parts.items()]
                await stop.wait()
                _log.info("exporter stops")
                for task in tasks:
                    task.cancel()
        except* PartFailedError as failures:
            raise failures.exceptions[0] from None


async def _build(settings: Settings, resources: AsyncExitStack, started: Callable[[str], None]) -> dict[str, Part]:
    """Return the parts by name, in the order of the way of the data."""
    parts: dict[str, Part] = {}
    kubernetes, static = settings.discovery.kubernetes, settings.discovery.static
    store = SnapshotStore(policy=Policy(**settings.capacity.model_dump()), monotonic=time.monotonic, wall=time.time)
    metrics = ExporterMetrics(store, outcomes=Outcome, restart_reasons=RestartReason)
    if kubernetes.enabled:
        kube = await resources.enter_async_context(await KubeClient.connect())
        pods = PodDiscovery(kubernetes, kube, store, on_restart=metrics.watch_restarted)
        store.expect(pods.sources)
        parts["pod discovery"] = pods.run
    if static.targets or static.file:
        addresses = StaticDiscovery(static, store)
        store.expect(addresses.sources)
        parts["static discovery"] = addresses.run
    client = await resources.enter_async_context(PageClient(settings.scrape))
    parts["scraping"] = Poller(
        settings.scrape,
        store,
        client,
        metrics,
        monotonic=time.monotonic,
        phases=random.Random(),  # noqa: S311 - jitter
    ).run
    parts["state log"] = StateLog(store).run
    parts["event loop lag"] = LoopLag(metrics.event_loop_lag).run
    parts["web server"] = WebServer(
        settings.web, store, MetricsPage(store, metrics.registry).handle, started=started
    ).run
    return parts


async def _guarded(name: str, part: Part) -> None:
    """Run a part; log how it failed, once, where its name is known. Raises PartFailedError."""
    try:
        await part()
    except Exception as error:
        _log.critical("a part of the exporter failed", part=name, exc_info=True)
        raise PartFailedError(name, str(error) or type(error).__name__) from error
    raise PartFailedError(name, "it ended by itself")


def stop_on_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _allow_many_sockets() -> None:
    """Raise the process' limit of open files as far as it may: each agent keeps a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
