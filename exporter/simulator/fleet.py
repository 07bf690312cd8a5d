"""Simulated fleets on real sockets: lets time pass, keeps every agent's sockets in line, and lists their targets.

On Linux each agent has a loopback address of its own, like a pod's IP; the whole of 127.0.0.0/8 is there without being
set up. Elsewhere the agents differ by ports of one address.
"""

import asyncio
import json
import resource
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from exporter.fleet.model import Dialect
from exporter.simulator.agent import (
    DEFAULT_BASE,
    DEFAULT_FIRST_PORT,
    LEGACY_PATH,
    OTEL_PATH,
    AgentServer,
    Place,
    SimulatorError,
    WrongUseError,
)
from exporter.simulator.nodes import NamedNode
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.simulation import Simulation

NAMESPACE = "matillion"
LOOPBACK = IPv4Network("127.0.0.0/8")
HIGHEST_PORT = 65_535
STEP_SECONDS = 0.2
"""How often, in real time, the simulation catches up with the clock."""
FILES_PER_AGENT = 6
"""Two listening sockets, and on each the two ends of a connection when the exporter runs in this process too."""
FILES_BESIDES = 256

Entry = dict[str, str]


class Layout(Protocol):
    """Decides where an agent listens, and how a list of targets gives that."""

    def place(self, agent: SimulatedAgent) -> Place:
        """Return the agent's sockets. Raises SimulatorError when there is no room for one more."""

    def entry(self, agent: SimulatedAgent) -> Entry:
        """Return the agent as an entry of the exporter's `discovery.static` list."""


class PodAddresses:
    """An address per agent and the ports of the real thing, counted up from `base`."""

    def __init__(self, base: IPv4Address = DEFAULT_BASE) -> None:
        if base not in LOOPBACK:
            raise WrongUseError(f"{base} is not a loopback address: the fake agents stay within {LOOPBACK}")
        self._base = base

    def place(self, agent: SimulatedAgent) -> Place:
        """Return the agent's own address with the agents' usual ports."""
        address = self._base + 1 + agent.number
        if address not in LOOPBACK or address == LOOPBACK.broadcast_address:
            raise SimulatorError(f"no loopback address is left for agent {agent.number + 1} above {self._base}")
        return Place(str(address))

    def entry(self, agent: SimulatedAgent) -> Entry:
        """Return an entry without a port, which the exporter tries on its `scrape.endpoints` like a pod's IP."""
        return {"address": self.place(agent).host, **_labels(agent)}


class OneAddress:
    """One address, and two ports per agent, counted up from `first_port`."""

    def __init__(self, host: str = "127.0.0.1", first_port: int = DEFAULT_FIRST_PORT) -> None:
        self._host = host
        self._first_port = first_port

    def place(self, agent: SimulatedAgent) -> Place:
        """Return the agent's two ports."""
        port = self._first_port + 2 * agent.number
        if port + 1 > HIGHEST_PORT:
            raise SimulatorError(f"no port is left for agent {agent.number + 1} above {self._first_port}")
        return Place(self._host, otel_port=port, legacy_port=port + 1)

    def entry(self, agent: SimulatedAgent) -> Entry:
        """Return an entry that names the one endpoint to scrape: the better of those the image has."""
        place = self.place(agent)
        if agent.image.otel:
            port, kind, path = place.otel_port, Dialect.OTEL, OTEL_PATH
        else:
            port, kind, path = place.legacy_port, Dialect.LEGACY, LEGACY_PATH
        return {"address": f"{place.host}:{port}", "kind": kind.value, "path": path, **_labels(agent)}


def _labels(agent: SimulatedAgent) -> Entry:
    return {"fleet": agent.fleet, "namespace": NAMESPACE, "pod": agent.pod}


class SimulatedFleets:
    """Runs a simulation `speed` times as fast as the clock, with every agent on its sockets.

    `on_listing` is called with the agents to be scraped, at the start and whenever they change. An agent is listed from
    its first start until it is gone. Use as a context manager; then `run` until cancelled.
    """

    def __init__(
        self, simulation: Simulation, layout: Layout, speed: float, on_listing: Callable[[list[Entry]], None]
    ) -> None:
        self._simulation = simulation
        self._layout = layout
        self._speed = speed
        self._on_listing = on_listing
        self._servers: dict[int, AgentServer] = {}
        self._listed: list[int] | None = None
        self._begun = 0.0

    async def __aenter__(self) -> Self:
        self._begun = asyncio.get_running_loop().time()
        try:
            await self._follow()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    async def run(self) -> None:
        """Keep the fleets in motion until cancelled. Raises SimulatorError when a new agent finds no place."""
        while True:
            await asyncio.sleep(STEP_SECONDS)
            self._simulation.advance(self.now())
            await self._follow()

    def scale(self, fleet: str, replicas: int) -> None:
        """Ask for so many agents, as on a Deployment: new ones start, those that its ReplicaSet chooses drain."""
        self._simulation.scale(fleet, replicas)

    def replicas(self, fleet: str) -> int:
        """Return how many agents the fleet has besides those that drain, as a Deployment counts them."""
        return self._simulation.fleets[fleet].replicas

    def gone_nodes(self, fleet: str) -> list[NamedNode]:
        """Return the nodes of the fleet that went away, or are about to."""
        return self._simulation.fleets[fleet].gone_nodes

    def now(self) -> float:
        """Return the simulated seconds since the start."""
        return (asyncio.get_running_loop().time() - self._begun) * self._speed

    async def _follow(self) -> None:
        agents = {agent.number: agent for agent in self._simulation.agents}
        for number in self._servers.keys() - agents.keys():
            await self._servers.pop(number).close()
        for number, agent in agents.items():
            server = self._servers.get(number)
            if server is None:
                server = self._servers[number] = AgentServer(agent, self._layout.place(agent), self.now)
            await server.follow()
        listed = [number for number, agent in agents.items() if agent.listed]
        if listed != self._listed:
            self._listed = listed
            self._on_listing([self._layout.entry(agents[number]) for number in listed])

    async def _close(self) -> None:
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.close()


def listing_text(entries: list[Entry]) -> str:
    """Return the list of targets as YAML, an agent a line."""
    # JSON strings are YAML strings; writing the lines here keeps a list of a thousand agents cheap and easy to compare.
    lines = [
        "- {" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in entry.items()) + "}\n" for entry in entries
    ]
    return "".join(lines) or "[]\n"


def write_listing(path: Path, entries: list[Entry]) -> None:
    """Replace the file of targets in one step, so that a reader never sees half of it. Raises SimulatorError."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(listing_text(entries))
        beside.replace(path)
    except OSError as error:
        raise SimulatorError(f"cannot write the list of targets to {path}: {error.strerror or error}") from error


def allow_files(agents: int) -> None:
    """Raise the process' limit of open files to what so many agents need. Raises SimulatorError if it cannot be."""
    needed = agents * FILES_PER_AGENT + FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SimulatorError(
            f"{agents} agents need up to {needed} open files and this process may have {hard}: "
            f"start fewer agents, or allow more (`ulimit -Hn {needed}` as root)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
