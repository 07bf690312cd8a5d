"""The past of fleets in ConfigMaps, on a real API server: replicas in one process, with clocks that a test moves."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from exporter.config import ForecastSettings
from exporter.history.config_maps import ConfigMapHistory
from exporter.history.recorder import Pace
from exporter.history.stored_fleet import name
from exporter.kube.api import Json, Resource
from exporter.kube.client import KubeClient
from exporter.kube.config_maps import CONFIG_MAPS
from tests.fakes.background import background
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.leadership import Leader
from tests.fakes.seen_fleets import MovedClock, SeenFleets
from tests.history.pasts import by_slot
from tests.waiting import eventually

ETL = ("matillion", "etl")
DAY, NEXT_DAY = "2026-01-01", "2026-01-02"
PACE = Pace(sample_every=0.02, poll_every=0.02, patience=1.0, retry=0.1, max_retry=0.2)
KILLED = Pace(sample_every=0.02, poll_every=0.02, last_timeout=0.0)
"""Of a replica that ends without its last additions."""
QUARTER = 900.0
SETTINGS = ForecastSettings()


class World(MovedClock):
    """A namespace for ConfigMaps, the fleets' demand, and a clock."""

    def __init__(self, admin: Admin, namespace: str, kubeconfig: Path, stack: AsyncExitStack) -> None:
        super().__init__()
        self.admin = admin
        self.namespace = namespace
        self.kubeconfig = kubeconfig
        self.demand: dict[str, float] = {"etl": 12}
        self._stack = stack

    async def replica(self, **options: Any) -> "Replica":
        kube = await self._stack.enter_async_context(
            await KubeClient.connect({"KUBECONFIG": str(options.pop("kubeconfig", self.kubeconfig))})
        )
        return Replica(self, kube, **options)

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/configmaps"

    def path_of(self, fleet: str, lease_name: str = "exporter") -> str:
        return f"{self.path}/{name(lease_name, ('matillion', fleet))}"

    async def stored(self, fleet: str = "etl", lease_name: str = "exporter") -> dict[str, str]:
        """Return the data of a ConfigMap; nothing if there is none."""
        try:
            found: dict[str, str] = (await self.admin.call("GET", self.path_of(fleet, lease_name)))["data"]
        except RuntimeError as error:
            if "404" not in str(error):
                raise
            return {}
        return found

    async def edit(self, data: dict[str, str | None], fleet: str = "etl") -> None:
        """Change entries of a ConfigMap by hand; None removes one."""
        path = self.path_of(fleet)
        found = await self.admin.call("GET", path)
        edited = {key: text for key, text in (found["data"] | data).items() if text is not None}
        await self.admin.call("PUT", path, {**found, "data": edited})


class Replica(Leader):
    """An exporter: its store, and its history."""

    def __init__(
        self,
        world: World,
        kube: KubeClient,
        *,
        leads: bool = True,
        lease_name: str = "exporter",
        pace: Pace = PACE,
        settings: ForecastSettings = SETTINGS,
        demand: dict[str, float] | None = None,
    ) -> None:
        """Let it lead or not, and see what all see or a `demand` of its own."""
        super().__init__(leads)
        self.api = Connection(kube)
        self.fleets = SeenFleets(world, world.demand if demand is None else demand)
        place = CONFIG_MAPS.within(world.namespace)
        self.history = ConfigMapHistory(
            settings, lease_name, self.fleets.store, self.api, self, place=place, on_restart=lambda _: None, pace=pace
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        async with background(self.fleets.watch(), self.history.run()), self.leading():
            yield self

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        if not self.leads:
            yield
            return
        async with background(self.history.write()):
            yield

    def past(self, fleet: str = "etl") -> dict[int, int]:
        """Return what it has of a fleet, by number of five minutes since the test's start."""
        return by_slot(self.history.past(("matillion", fleet)))

    async def has(self, past: dict[int, int], fleet: str = "etl") -> None:
        """Wait until this is in its past of a fleet; nothing is if it has none."""
        await eventually(
            lambda: past.items() <= self.past(fleet).items() if past else not self.past(fleet),
            what=lambda: f"{self.past(fleet)} instead of {past}",
        )


class Connection:
    """A KubeClient, and what a test does before its next write."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self.get, self.stream = kube.get, kube.stream
        self.writes: list[str] = []
        self.before_write: Callable[[], Awaitable[None]] | None = None

    async def send(self, method: str, resource: Resource, body: Any, **options: Any) -> Json:
        hook, self.before_write = self.before_write, None
        if hook is not None:
            await hook()
        self.writes.append(method)
        return await self._kube.send(method, resource, body, **options)


@pytest.fixture
async def world(control_plane: ControlPlane, admin: Admin, namespace: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(admin, namespace, control_plane.kubeconfig, stack)
