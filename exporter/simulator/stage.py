"""The demo itself: fake agents in a fake cluster, the real exporter, and an autoscaler that follows it, in one process.

Where each agent has an address of its own, the exporter finds them as pods; where they share one address, which no pods
do, it reads them from a file and knows nothing of their restarts and memory limits.

Time runs `--speed` times as fast as the clock. The exporter knows nothing of that, so it is set to read the agents
every second instead of every five, and to give up on a silent one sooner.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.live import Live

from exporter import service
from exporter.config import (
    CapacitySettings,
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
from exporter.simulator.agent import SimulatorError
from exporter.simulator.autoscaler import ScalingPolicy
from exporter.simulator.fleet import NAMESPACE, SimulatedFleets, allow_files, write_listing
from exporter.simulator.followers import scale, watch
from exporter.simulator.kubernetes import SimulatedKubernetes
from exporter.simulator.scenario import SCENARIOS
from exporter.simulator.screen import line, picture
from exporter.simulator.simulate import layout_of
from exporter.simulator.simulation import FleetPlan, Simulation
from exporter.simulator.story import LogToStory, Story
from exporter.simulator.vitals import CURRENT, LEGACY, PREVIOUS

FLEET = "production"
IMAGES = (CURRENT, CURRENT, PREVIOUS, LEGACY)
"""What the fleet begins with."""
POLICY = ScalingPolicy(min_replicas=2, max_replicas=12)
PICTURE_SECONDS = 0.5
LINE_SECONDS = 5.0
"""Where there is no terminal, how often a line is printed."""


@dataclass(frozen=True, slots=True)
class _World:
    """What the exporter meets."""

    fleets: SimulatedFleets
    discovery: DiscoverySettings
    """How it is to find the agents."""
    movers: Mapping[str, Callable[[], Coroutine[Any, Any, None]]]
    """What runs until it is cancelled, by name."""


async def perform(options: argparse.Namespace) -> None:
    """Run the demo until SIGINT, SIGTERM or the end of `--duration`. Raises SimulatorError, with what helps."""
    stop = asyncio.Event()
    service.stop_on_signals(stop)
    # Those that drain are there besides the replicas.
    allow_files(2 * POLICY.max_replicas)
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
        async with _world(simulation, options, Path(folder)) as world:
            try:
                await _play(_settings(world.discovery, options.listen), world, story, console, stop)
            except* (service.PartFailedError, SimulatorError) as failures:
                print(*log.failures, sep="\n", file=sys.stderr)
                # The setting that the exporter names is an option here.
                raise SimulatorError(str(failures.exceptions[0]).replace("web.listen", "--listen")) from None
    counts = simulation.fleets[FLEET].counts()
    print(
        f"The fleet began with {len(IMAGES)} agents, had up to {story.most_replicas} and ended with "
        f"{simulation.fleets[FLEET].replicas}: {counts.finished} tasks finished, {counts.lost} were lost."
    )


@asynccontextmanager
async def _world(simulation: Simulation, options: argparse.Namespace, folder: Path) -> AsyncIterator[_World]:
    """Let the agents listen, in a cluster where each has an address of its own."""
    layout, targets, kubeconfig = layout_of(options), folder / "targets.yaml", folder / "kubeconfig"
    if options.layout != "addresses":
        listing = partial(write_listing, targets)
        async with SimulatedFleets(simulation, layout, options.speed, listing) as fleets:
            found = DiscoverySettings(static=StaticSettings(file=targets))
            yield _World(fleets, found, {"simulated fleets": fleets.run})
        return
    async with (
        SimulatedFleets(simulation, layout, options.speed, lambda _: None) as fleets,
        SimulatedKubernetes(lambda: simulation.agents, layout.place, NAMESPACE, fleets.now, options.speed) as cluster,
    ):
        cluster.write_kubeconfig(kubeconfig)
        found = DiscoverySettings(kubernetes=KubernetesSettings(namespaces=(NAMESPACE,)))
        with _found_by_clients(kubeconfig):
            yield _World(fleets, found, {"simulated fleets": fleets.run, "simulated cluster": cluster.run})


@contextmanager
def _found_by_clients(kubeconfig: Path) -> Iterator[None]:
    """Let clients of this process find the cluster of `kubeconfig` for a while, and no other that may be near."""
    before = {name: os.environ.get(name) for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST")}
    os.environ["KUBECONFIG"] = str(kubeconfig)
    os.environ.pop("KUBERNETES_SERVICE_HOST", None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _settings(discovery: DiscoverySettings, listen: HostPort) -> Settings:
    """Return the exporter's settings: its own defaults, but for what the fleet's faster time asks for."""
    return Settings(
        cluster="demo",
        discovery=discovery,
        leader_election=LeaderElectionSettings(enabled=False),
        scrape=ScrapeSettings(interval=1.0, timeout=0.8),
        # A file is looked at every five seconds: an agent that is gone must be off the list before it counts as lost.
        capacity=CapacitySettings(stale_after=6.0, forget_after=60.0),
        web=WebSettings(listen=listen),
    )


async def _play(settings: Settings, world: _World, story: Story, console: Console, stop: asyncio.Event) -> None:
    """Run everybody until `stop` is set; the exporter ends by itself, the others are cancelled."""
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run(settings, stop, started=url.set_result), name="exporter")
        tasks = [group.create_task(move(), name=name) for name, move in world.movers.items()]
        async with aiohttp.ClientSession(await url) as session:
            story.places = _places(str(await url))
            tasks += [
                group.create_task(watch(session, world.fleets, story), name="watcher"),
                group.create_task(scale(session, world.fleets, story, POLICY), name="autoscaler"),
                group.create_task(_show(story, console), name="screen"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def _places(url: str) -> tuple[tuple[str, str], ...]:
    root = url.rstrip("/")
    return (
        ("status page ", f"{root}/"),
        ("Prometheus  ", f"{root}/metrics"),
        ("autoscaler  ", f"{root}/api/v1/fleets/{NAMESPACE}/{FLEET}/demand"),
    )


async def _show(story: Story, console: Console) -> None:
    """Show the story until cancelled: a live picture on a terminal, a line now and then elsewhere."""
    if not console.is_terminal:
        for label, place in story.places:
            print(f"{label}  {place}", flush=True)
        while True:
            print(line(story.view()), flush=True)
            await asyncio.sleep(LINE_SECONDS)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            width, height = console.size
            live.update(picture(story.view(), width, height), refresh=True)
            await asyncio.sleep(PICTURE_SECONDS)
