"""The demo itself: fake agents in a fake cluster, the real exporter, and an autoscaler that follows it, in one process.

Where each agent has an address of its own, the exporter finds them as pods; where they share one address, which no pods
do, it reads them from a file and knows nothing of their restarts and memory limits.

What the exporter knows it also publishes to a CloudWatch of the demo's own. Where that is not installed, the demo runs
without it and logs that.

Time runs `--speed` times as fast as the clock. The exporter knows nothing of that, so it is set to read the agents
every second instead of every five, to give up on a silent one sooner, and to publish every ten seconds.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.live import Live

from exporter import service
from exporter.config import (
    CapacitySettings,
    CloudWatchSettings,
    DiscoverySettings,
    HostPort,
    KubernetesSettings,
    LeaderElectionSettings,
    LogSettings,
    ScrapeSettings,
    Settings,
    StaticSettings,
    WebSettings,
)
from exporter.logs import configure
from exporter.simulation.hpa import VENDOR
from exporter.simulator import cloudwatch
from exporter.simulator.agent import SimulatorError
from exporter.simulator.fleet import NAMESPACE, SimulatedFleets, allow_files, write_listing
from exporter.simulator.followers import count, scale, watch
from exporter.simulator.kubernetes import SimulatedKubernetes, SimulatedScaler
from exporter.simulator.population import layout_of
from exporter.simulator.scenario import SCENARIOS
from exporter.simulator.screen import LABEL, CloudWatchView, line, picture
from exporter.simulator.simulation import FleetPlan, Simulation
from exporter.simulator.story import LogToStory, Story
from exporter.simulator.vitals import CURRENT, LEGACY, PREVIOUS

FLEET = "production"
IMAGES = (CURRENT, CURRENT, PREVIOUS, LEGACY)
"""What the fleet begins with."""
SPEC = replace(VENDOR, most=12)
"""The HPA: the vendor's advice for agents."""
PICTURE_SECONDS = 0.5
LINE_SECONDS = 5.0
"""Where there is no terminal, how often a line is printed."""


Mover = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class _World:
    """What the exporter meets."""

    fleets: SimulatedFleets
    discovery: DiscoverySettings
    """How it is to find the agents."""
    movers: Mapping[str, Mover]
    """What runs until it is cancelled, by name."""


@dataclass(frozen=True, slots=True)
class _Publishing:
    """Where the exporter publishes to."""

    settings: CloudWatchSettings
    shown: CloudWatchView | str
    movers: Mapping[str, Mover]


async def perform(options: argparse.Namespace) -> None:
    """Run the demo until SIGINT, SIGTERM or the end of `--duration`. Raises SimulatorError, with what helps."""
    stop = asyncio.Event()
    service.stop_on_signals(stop)
    # Those that drain are there besides the replicas.
    allow_files(2 * SPEC.most)
    console = Console()
    simulation = Simulation([FleetPlan(FLEET, IMAGES, CURRENT)], SCENARIOS["demo"], options.seed)
    story = Story(FLEET, options.speed, now=lambda: simulation.now)
    if not console.is_terminal:
        story.on_event = lambda event: print(event, flush=True)
    log = LogToStory(story)
    configure(LogSettings(format="json"), log)
    if options.duration is not None:
        asyncio.get_running_loop().call_later(options.duration, stop.set)
    with tempfile.TemporaryDirectory(prefix="fleet-exporter-demo-") as folder:
        async with _publishing(Path(folder)) as publishing, _world(simulation, story, options, Path(folder)) as world:
            story.cloudwatch = publishing.shown
            settings = _settings(world.discovery, publishing.settings, options.listen)
            try:
                await _play(settings, world, story, console, stop, later=publishing.movers)
            except ExceptionGroup as failures:
                first = failures.exceptions[0]
                if not isinstance(first, service.PartFailedError | SimulatorError):
                    raise
                for line_of_log in log.failures:
                    print(line_of_log, file=sys.stderr)
                # The setting that the exporter names is an option here.
                raise SimulatorError(str(first).replace("web.listen", "--listen")) from failures
    fleet, shown = simulation.fleets[FLEET], story.cloudwatch
    counts = fleet.counts()
    print(
        f"The fleet began with {len(IMAGES)} agents, had up to {story.max_replicas} and ended with "
        f"{fleet.replicas}: {counts.finished} tasks finished, {counts.lost} were lost."
        + "".join(f" {fate[0].upper()}{fate[1:]}." for fate in (node.story() for node in fleet.gone_nodes))
        + (f" CloudWatch took {shown.taken or 0} datums." if isinstance(shown, CloudWatchView) else "")
    )
    print(
        "What scaling ahead of such work brings: "
        "fleet-exporter simulate --month > month.csv; fleet-exporter plan --csv month.csv"
    )


@asynccontextmanager
async def _world(
    simulation: Simulation, story: Story, options: argparse.Namespace, folder: Path
) -> AsyncIterator[_World]:
    """Let the agents listen, in a cluster where each has an address of its own."""
    layout, targets, kubeconfig = layout_of(options), folder / "targets.yaml", folder / "kubeconfig"
    if options.layout != "addresses":
        listing = partial(write_listing, targets)
        async with SimulatedFleets(simulation, layout, options.speed, listing) as fleets:
            found = DiscoverySettings(static=StaticSettings(file=targets))
            yield _World(fleets, found, {"simulated fleets": fleets.run})
        return

    def scalers() -> Iterator[SimulatedScaler]:
        replicas = simulation.fleets[FLEET].replicas
        yield SimulatedScaler(FLEET, SPEC, replicas, story.desired, story.scaler_trouble)

    agents, speed = lambda: simulation.agents, options.speed
    async with (
        SimulatedFleets(simulation, layout, speed, lambda _: None) as fleets,
        SimulatedKubernetes(agents, layout.place, NAMESPACE, fleets.now, speed, scalers=scalers) as cluster,
    ):
        cluster.write_kubeconfig(kubeconfig)
        found = DiscoverySettings(kubernetes=KubernetesSettings(namespaces=(NAMESPACE,)))
        # The cluster of this file is the one that clients find, and no other that may be near.
        with _environment({"KUBECONFIG": str(kubeconfig), "KUBERNETES_SERVICE_HOST": None}):
            yield _World(fleets, found, {"simulated fleets": fleets.run, "simulated cluster": cluster.run})


@asynccontextmanager
async def _publishing(folder: Path) -> AsyncIterator[_Publishing]:
    """Let there be a CloudWatch, which is all of AWS that clients of this process find."""
    if not cloudwatch.is_installed():
        yield _Publishing(CloudWatchSettings(), f"it needs moto: {cloudwatch.INSTALL}", {})
        return
    async with cloudwatch.SimulatedCloudWatch() as served:
        settings = cloudwatch.settings(served.url, folder)
        shown = CloudWatchView(
            url=served.url, namespace=settings.namespace, command=cloudwatch.list_command(served.url)
        )
        with _environment(cloudwatch.environment(served.url, os.environ)):
            yield _Publishing(settings, shown, {"simulated CloudWatch": served.run})


@contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Change this process' environment for a while; None removes a variable."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _settings(discovery: DiscoverySettings, publishing: CloudWatchSettings, listen: HostPort) -> Settings:
    """Return the exporter's settings: its own defaults, but for what the fleet's faster time asks for."""
    return Settings(
        cluster=cloudwatch.CLUSTER,
        discovery=discovery,
        cloudwatch=publishing,
        leader_election=LeaderElectionSettings(enabled=False),
        scrape=ScrapeSettings(interval=1.0, timeout=0.8),
        # A file is looked at every five seconds: an agent that is gone must be off the list before it counts as lost.
        capacity=CapacitySettings(stale_after=6.0, forget_after=60.0),
        web=WebSettings(listen=listen),
    )


async def _play(
    settings: Settings,
    world: _World,
    story: Story,
    console: Console,
    stop: asyncio.Event,
    *,
    later: Mapping[str, Mover],
) -> None:
    """Run everybody until `stop` is set, those of `later` once the exporter serves.

    The exporter ends by itself, the others are cancelled.
    """
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_draw(story, console), name="screen")] if console.is_terminal else []
        group.create_task(service.run(settings, stop, started=url.set_result), name="exporter")
        tasks += [group.create_task(move(), name=name) for name, move in world.movers.items()]
        async with aiohttp.ClientSession(await url) as session:
            story.places = _places(str(await url))
            tasks += [group.create_task(move(), name=name) for name, move in later.items()]
            tasks += [
                group.create_task(watch(session, world.fleets, story), name="watcher"),
                group.create_task(scale(session, world.fleets, story, SPEC), name="autoscaler"),
            ]
            if settings.cloudwatch.enabled:
                tasks.append(group.create_task(count(session, story), name="counter"))
            if not console.is_terminal:
                tasks.append(group.create_task(_print(story), name="lines"))
            await stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _places(url: str) -> tuple[tuple[str, str], ...]:
    root = url.rstrip("/")
    return (
        ("status page", f"{root}/"),
        ("Prometheus", f"{root}/metrics"),
        ("autoscaler", f"{root}/api/v1/fleets/{NAMESPACE}/{FLEET}/demand"),
    )


async def _draw(story: Story, console: Console) -> None:
    """Show the story on a terminal of its own until cancelled."""
    # Rich drops colours itself where they are not wanted (no-color.org) or not had; the picture must do without them.
    colours = console.color_system is not None and not console.no_color
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            width, height = console.size
            live.update(picture(story.view(), width, height, colours=colours), refresh=True)
            await asyncio.sleep(PICTURE_SECONDS)


async def _print(story: Story) -> None:
    """Print the story until cancelled: what there is to look at, then a line now and then."""
    for label, place in story.places:
        print(f"{label:{LABEL}}{place}")
    shown = story.cloudwatch
    if isinstance(shown, CloudWatchView):
        print(f"{'CloudWatch':{LABEL}}{shown.url} (moto, not AWS), datums of {shown.namespace}; to query them:")
        print(" \\\n    ".join(cloudwatch.statistics_command(shown.url, NAMESPACE, FLEET)))
    else:
        print(f"{'CloudWatch':{LABEL}}off: {shown}")
    while True:
        print(line(story.view()), flush=True)
        await asyncio.sleep(LINE_SECONDS)
