"""The composition root: builds the parts from the settings, wires them, runs them, and ends them in order.

Every part is one named task of one TaskGroup. A part that fails ends the process: an exporter that half works would
still be believed.
"""

import asyncio
import gc
import math
import random
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

import structlog

from exporter import __version__
from exporter.config import LeaderElectionSettings, ScrapeSettings, Settings
from exporter.discovery.pod_addresses import own_addresses
from exporter.discovery.pods import PodDiscovery
from exporter.discovery.scalers import ScalerDiscovery
from exporter.discovery.static import StaticDiscovery
from exporter.fleet.cloudwatch_catalogue import select
from exporter.fleet.protection import AnnotationRules
from exporter.forecast.history import History
from exporter.history.config_maps import ConfigMapHistory
from exporter.history.forecasts import Forecasts
from exporter.history.past import PastSource
from exporter.history.sources import past_source
from exporter.kube.client import KubeClient
from exporter.kube.config_maps import CONFIG_MAPS
from exporter.kube.credentials import own_namespace
from exporter.kube.election import LeaderElection, Leadership, SoleLeader, new_identity, pod_name
from exporter.kube.watch import RestartReason
from exporter.loop_lag import LoopLag
from exporter.podhealth.pod_logs import PodLogs
from exporter.podhealth.pod_metrics import PodMemory
from exporter.publish.annotations import PodAnnotations
from exporter.publish.external_metrics import ExternalMetricsServer
from exporter.publish.fleet_datums import Selection
from exporter.publish.last_readings import LastReadings, config_map_name
from exporter.publish.node_annotations import NodeAnnotations
from exporter.publish.prometheus import CloudWatchMetrics, ExporterMetrics, ExternalMetricsMetrics, MetricsPage
from exporter.publish.state_log import StateLog
from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeOutcome
from exporter.scrape.poller import Poller
from exporter.serve.errors import ServeError
from exporter.store.reachability import Reachability
from exporter.store.snapshots import SnapshotStore
from exporter.web.about import About
from exporter.web.api import PastOf
from exporter.web.runbooks import UNNAMED, Installation
from exporter.web.server import WebServer

if TYPE_CHECKING:
    from exporter.publish.cloudwatch import CloudWatchPublisher

_log = structlog.get_logger(__name__)

Part = Callable[[], Awaitable[None]]


class PartFailedError(Exception):
    """A part of the service ended unexpectedly; the log has the details if it is `logged`."""

    def __init__(self, part: str, cause: str, *, logged: bool = True) -> None:
        super().__init__(f"{part} failed: {cause}")
        self.part, self.cause, self.logged = part, cause, logged


async def run(settings: Settings, stop: asyncio.Event, started: Callable[[str], None] = lambda url: None) -> None:
    """Run the exporter until `stop` is set.

    `started` is called with the URL of the web server on this machine once that listens. Raises PartFailedError, or
    KubeError and ServeError for what cannot even be started.
    """
    files = _allow_many_files()
    async with AsyncExitStack() as resources:
        lag = LoopLag()
        store = SnapshotStore(settings.capacity.policy, monotonic=time.monotonic, wall=time.time, heard_at=lag.heard_at)
        metrics = ExporterMetrics(store, outcomes=ScrapeOutcome, restart_reasons=RestartReason)
        metrics.show_lag(lag.worst)
        kube = None
        if settings.discovery.kubernetes.enabled or settings.external_metrics.enabled:
            kube = await resources.enter_async_context(await KubeClient.connect())
        sees = _sees(store)
        leadership = _leadership(settings.leader_election, kube, sees)
        past = past_source(settings, kube, store, leadership, on_restart=metrics.watch_restarted)
        page = MetricsPage(store, metrics.registry).handle
        installation = _installation(settings, kube)
        metrics.show_page(installation.service_url(settings.web))
        server = WebServer(
            settings.web,
            store,
            page,
            past=_recorded(past),
            about=_about(settings, kube, leadership, metrics, _replaceable(leadership, sees)),
            installation=installation,
            intact_since=lag.intact_since,
        )
        parts: dict[str, Part] = {
            **_discovery(settings, kube, store, metrics),
            **_forecast(settings, past, store),
            "scraping": await _scraping(settings.scrape, files, store, metrics, resources),
            "state log": StateLog(store).run,
            **_external_metrics(settings, kube, store, metrics, lag),
            **await _led(settings, kube, store, metrics, resources, leadership=leadership, past=past),
            "event loop lag": lag.run,
            "web server": server.run,
        }
        # What start-up made stays for good; left in the collector's sight it would be walked through again and again.
        gc.collect()
        gc.freeze()
        # With the usual thresholds ten thousand agents made a full collection of 230 ms many times a minute. Reference
        # counts free nearly all there is, so one after each 12,000 young ones is enough. With 20,000 agents a young one
        # takes 20 to 40 ms; the next generation 40 to 80 after every four of them, and 170 to 400 after every hundred.
        gc.set_threshold(10_000, 3, 3_000)
        _log.info("exporter starts", version=__version__, cluster=settings.cluster, parts=list(parts))
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_guarded(name, part), name=name) for name, part in parts.items()]
                await server.started.wait()
                address = server.address or settings.web.listen
                started(f"{'https' if settings.web.tls else 'http'}://{address.from_here}")
                await stop.wait()
                _log.info("exporter stops")
                for task in tasks:
                    task.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures


def _about(
    settings: Settings,
    kube: KubeClient | None,
    leadership: Leadership,
    metrics: ExporterMetrics,
    out_of_service: Callable[[], str | None],
) -> About:
    """Return what the exporter says of itself."""
    return About(
        cluster=settings.cluster,
        instance=None if kube is None else pod_name(),
        out_of_service=out_of_service,
        other_leader=leadership.fit_leader,
        figures=metrics.figures,
    )


def _installation(settings: Settings, kube: KubeClient | None) -> Installation:
    """Return what this exporter is called in its cluster; the chart names the Lease like everything else."""
    if kube is None:
        return UNNAMED
    return Installation(namespace=own_namespace(), name=settings.leader_election.lease_name)


def _discovery(
    settings: Settings, kube: KubeClient | None, store: SnapshotStore, metrics: ExporterMetrics
) -> dict[str, Part]:
    """Return the configured sources of targets, and announce them to the store."""
    parts: dict[str, Part] = {}
    kubernetes, static = settings.discovery.kubernetes, settings.discovery.static
    if kube is not None and kubernetes.enabled:
        endpoints = settings.scrape.endpoints
        pods = PodDiscovery(
            kubernetes,
            kube,
            store,
            on_restart=metrics.watch_restarted,
            endpoints=endpoints,
            protection=settings.protection.annotations,
            own=own_addresses(),
        )
        store.expect(pods.sources)
        parts["pod discovery"] = pods.run
        parts["pod memory"] = PodMemory(kubernetes, kube, store).run
        if settings.scalers.enabled:
            parts["scaler discovery"] = ScalerDiscovery(kubernetes, kube, store, on_restart=metrics.watch_restarted).run
    if static.targets or static.file:
        listed = StaticDiscovery(static, store)
        store.expect(listed.sources)
        parts["static discovery"] = listed.run
    return parts


async def _scraping(
    settings: ScrapeSettings, files: float, store: SnapshotStore, metrics: ExporterMetrics, resources: AsyncExitStack
) -> Part:
    client = await resources.enter_async_context(PageClient(settings, files=files))
    phases = random.Random()  # noqa: S311 - it spreads scrapes over time, it keeps no secret
    return Poller(settings, store, client, metrics, monotonic=time.monotonic, phases=phases).run


def _external_metrics(
    settings: Settings, kube: KubeClient | None, store: SnapshotStore, metrics: ExporterMetrics, lag: LoopLag
) -> dict[str, Part]:
    """Return the API for the HPA, which every replica serves."""
    if kube is None or not settings.external_metrics.enabled:
        return {}
    observer = ExternalMetricsMetrics(metrics.registry)
    server = ExternalMetricsServer(
        settings.external_metrics, settings.cluster, store, kube, observer, intact_since=lag.intact_since
    )
    return {"external metrics API": server.run}


def _recorded(past: PastSource | None) -> PastOf:
    """Return a function for what the forecast of a fleet is made from."""

    def recorded(fleet: tuple[str, str]) -> History | None:
        known = None if past is None else past.past(fleet)
        return None if known is None else known.history

    return recorded


def _forecast(settings: Settings, past: PastSource | None, store: SnapshotStore) -> dict[str, Part]:
    """Return what looks ahead, in every replica."""
    if past is None:
        return {}
    forecasts = Forecasts(
        settings.forecast,
        past,
        store,
        headroom=settings.capacity.policy.headroom,
        starts=lambda fleet: [start.seconds for start in store.starts(fleet)],
        scrape_interval=settings.scrape.interval,
    )
    return {"past of the fleets": past.run, "forecasts": forecasts.run}


async def _led(
    settings: Settings,
    kube: KubeClient | None,
    store: SnapshotStore,
    metrics: ExporterMetrics,
    resources: AsyncExitStack,
    *,
    leadership: Leadership,
    past: PastSource | None,
) -> dict[str, Part]:
    """Return what only one replica may do, and the election that decides which one does."""
    only_leader_follows = settings.pod_logs.enabled and not settings.pod_logs.every_replica
    parts: dict[str, Part] = {}
    work: dict[str, Part] = {}
    if settings.cloudwatch.enabled:
        publisher = await _cloudwatch(settings, leadership, store, metrics, resources)
        work["CloudWatch"] = publisher.run
        if isinstance(leadership, LeaderElection):
            parts["CloudWatch standby"] = publisher.stand_by
    if kube is not None and settings.discovery.kubernetes.enabled:
        if settings.deletion_cost.enabled or settings.protection.enabled:
            work |= _annotations(settings, kube, store, leadership)
        else:
            # Removing what is left takes no leader: twice does no harm, and an election may not be permitted.
            alone = SoleLeader()
            parts["pod annotations"] = partial(
                alone.run, partial(_together, _annotations(settings, kube, store, alone))
            )
    if isinstance(past, ConfigMapHistory):
        work["history"] = past.write
    if settings.pod_logs.enabled:
        # A connection pool of its own: each log that is followed holds a connection of it.
        streams = await resources.enter_async_context(await KubeClient.connect())
        skipped = metrics.log_lines_skipped
        parts["pod logs"] = PodLogs(settings.pod_logs, streams, store, leadership, on_skipped=skipped).run
    if work or only_leader_follows:
        if kube is not None and settings.discovery.kubernetes.enabled and isinstance(leadership, LeaderElection):
            readings = _last_readings(settings, kube, store, leadership)
            parts["earlier readings"] = readings.read_first
            work["last readings"] = readings.run
        metrics.show_leader(leadership.is_leader)
        parts["leader's work"] = partial(leadership.run, partial(_together, work))
    return parts


def _annotations(settings: Settings, kube: KubeClient, store: SnapshotStore, leadership: Leadership) -> dict[str, Part]:
    """Return the writers of annotations; what is disabled is removed if it was written with earlier settings."""
    cost, protection = settings.deletion_cost, settings.protection
    instance = f"{own_namespace()}/{settings.leader_election.lease_name}"
    rules = AnnotationRules(
        instance=instance,
        protection=protection.annotations if protection.enabled else None,
        idle_for=protection.idle_for,
        bucket=cost.bucket if cost.enabled else None,
    )
    parts: dict[str, Part] = {"pod annotations": PodAnnotations(rules, store, kube, leadership).run}
    if protection.nodes:
        parts["node annotations"] = NodeAnnotations(rules, store, kube, leadership).run
    return parts


def _last_readings(settings: Settings, kube: KubeClient, store: SnapshotStore, leadership: Leadership) -> LastReadings:
    pods = settings.discovery.kubernetes
    place = CONFIG_MAPS.within(own_namespace()).named(config_map_name(settings.leader_election.lease_name))
    scope = f"{pods.label_selector} in {','.join(sorted(pods.namespaces)) or 'all namespaces'} by {pods.fleet_label}"
    return LastReadings(settings.capacity.policy, store, kube, leadership, place=place, scope=scope)


async def _cloudwatch(
    settings: Settings,
    leadership: Leadership,
    store: SnapshotStore,
    metrics: ExporterMetrics,
    resources: AsyncExitStack,
) -> "CloudWatchPublisher":
    # The AWS libraries take half a second to import: only if needed.
    from exporter.publish.cloudwatch import DATUM_OUTCOMES, CloudWatchPublisher  # noqa: PLC0415
    from exporter.publish.put_metric_data import PutOutcome  # noqa: PLC0415

    selection = Selection(
        cluster=settings.cluster or "",
        metrics=select(settings.cloudwatch.metrics),
        storage_resolution=settings.cloudwatch.storage_resolution,
    )
    observer = CloudWatchMetrics(metrics.registry, datum_outcomes=DATUM_OUTCOMES, request_outcomes=PutOutcome)
    publisher = CloudWatchPublisher(settings.cloudwatch, selection, store, leadership, observer)
    await resources.enter_async_context(publisher)
    observer.show_backlog(publisher)
    return publisher


async def _together(work: dict[str, Part]) -> None:
    """Run all of the leader's work until cancelled. There may be none: some parts only ask whether this process leads.

    Raises PartFailedError when one of it fails.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for name, part in work.items():
                group.create_task(_guarded(name, part), name=name)
            await asyncio.Event().wait()
    except ExceptionGroup as failures:
        # Not `except*`: before Python 3.11.4 what is raised in it is put into a group again (python/cpython#103590).
        raise failures.exceptions[0] from failures


def _leadership(settings: LeaderElectionSettings, kube: KubeClient | None, fit: Callable[[], bool]) -> Leadership:
    """Return the election among the replicas; without Kubernetes, or if it is disabled, this process leads."""
    if kube is None or not settings.enabled:
        return SoleLeader()
    return LeaderElection(settings, kube, own_namespace(), new_identity(), fit=fit)


def _sees(store: SnapshotStore) -> Callable[[], bool]:
    """Return a function that tests whether agents are reachable from here."""
    reachability = Reachability()
    return lambda: not reachability.lost(store.fleets(), store.now())


def _replaceable(leadership: Leadership, sees: Callable[[], bool]) -> Callable[[], str | None]:
    """Return a function for why this replica is out of service: only another reaches agents. None: it serves.

    Never the leader, so that not all replicas are taken out of service.
    """

    def reason() -> str | None:
        leader = leadership.fit_leader()
        if leader is None or sees():
            return None
        return f"no agent is reachable from here, but the leader {leader} reaches them"

    return reason


async def _guarded(name: str, part: Part) -> None:
    """Run a part; log how it failed, once, where its name is known. Raises PartFailedError.

    A port in use, or a file that is no good, is a sentence for a person: its place in the program tells nothing.
    """
    try:
        await part()
    except PartFailedError:
        raise
    except ServeError as error:
        raise PartFailedError(name, str(error), logged=False) from error
    except Exception as error:
        _log.critical("a part of the exporter failed", part=name, exc_info=True)
        raise PartFailedError(name, str(error) or type(error).__name__) from error
    raise PartFailedError(name, "it ended unexpectedly")


def stop_on_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _allow_many_files() -> float:
    """Raise the process' limit of open files as far as it may, and return it: each connection to an agent is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return math.inf if hard == resource.RLIM_INFINITY else hard
