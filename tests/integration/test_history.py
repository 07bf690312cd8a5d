"""The past of fleets in ConfigMaps, on a real API server: replicas in one process, with clocks that a test moves.

tests/integration/test_history_service.py has the same by whole exporters.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from exporter.config import ForecastSettings
from exporter.forecast.history import SLOT_SECONDS
from exporter.history.config_maps import VERBS, ConfigMapHistory
from exporter.history.recorder import Pace
from exporter.history.stored_fleet import FLEET, INSTANCE_LABEL, NAMESPACE, name
from exporter.kube.api import Json, Resource
from exporter.kube.client import KubeClient
from exporter.kube.config_maps import CONFIG_MAPS
from tests.factories import WALL_NOW
from tests.fakes.background import background
from tests.fakes.control_plane import Admin, ControlPlane
from tests.fakes.seen_fleets import MovedClock, SeenFleets
from tests.history.pasts import by_slot
from tests.waiting import eventually

pytestmark = pytest.mark.slow

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


class Replica:
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
        self.leads = leads
        self.api = Connection(kube)
        self.fleets = SeenFleets(world, world.demand if demand is None else demand)
        place = CONFIG_MAPS.within(world.namespace)
        self.history = ConfigMapHistory(
            settings, lease_name, self.fleets.store, self.api, self, place=place, on_restart=lambda _: None, pace=pace
        )

    def is_leader(self) -> bool:
        return self.leads

    def fit_leader(self) -> str | None:
        return None

    async def run(self, work: Any) -> None:
        raise NotImplementedError

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


async def test_two_replicas_have_the_same_past(world: World) -> None:
    """What the leader stored, every 15 minutes; what a person finds with kubectl."""
    async with (await world.replica()).running() as leader, (await world.replica(leads=False)).running() as standby:
        await leader.has({0: 12})
        await standby.has({0: 12})
        world.demand["etl"] = 30
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        assert leader.past() == standby.past() == {0: 12}, "it is not stored yet"
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        world.skip(SLOT_SECONDS)
        await leader.has({0: 12, 1: 30, 2: 30})
        await standby.has({0: 12, 1: 30, 2: 30})
        assert (leader.api.writes, standby.api.writes) == (["POST", "PUT"], [])
        one, other = leader.history.past(ETL), standby.history.past(ETL)
        assert one is not None
        assert other is not None
        assert WALL_NOW + QUARTER <= one.read_time <= world.wall()
        assert WALL_NOW + QUARTER <= other.read_time <= world.wall()
    found = await world.admin.call("GET", world.path_of("etl"))
    assert found["data"][DAY] in {"-*30 12 30 30 -*255", "-*30 12 30*3 -*254"}
    metadata = found["metadata"]
    assert metadata["labels"] == {INSTANCE_LABEL: "exporter"}
    assert (metadata["annotations"][NAMESPACE], metadata["annotations"][FLEET]) == ETL
    assert metadata["name"].startswith("exporter-history-matillion-etl-")
    assert "It is forgotten when this is deleted." in metadata["annotations"]["kubernetes.io/description"]


async def test_a_restart_loses_nothing(world: World) -> None:
    """The last additions are made when the leader ends, within a second."""
    world.demand = {f"etl-{number}": number for number in range(10)}
    async with (await world.replica()).running() as first:
        await eventually(lambda: all(first.past(fleet) == {0: tasks} for fleet, tasks in world.demand.items()))
        world.demand |= {fleet: tasks + 1 for fleet, tasks in world.demand.items()}
        await first.fleets.seen()
        ended = time.monotonic()
    assert time.monotonic() - ended < 3
    async with (await world.replica(leads=False)).running() as second:
        await eventually(lambda: all(second.past(fleet) == {0: tasks} for fleet, tasks in world.demand.items()))


async def test_a_leader_that_is_killed(world: World) -> None:
    """The next one adds what it recorded itself since the last addition, and the higher of both is kept."""
    standby = await world.replica(leads=False)
    async with standby.running():
        async with (await world.replica(pace=KILLED)).running() as leader:
            await standby.has({0: 12})
            world.demand["etl"] = 40
            await leader.fleets.seen()
            await standby.fleets.seen()
            world.skip(SLOT_SECONDS)
            world.demand["etl"] = 3
            await leader.fleets.seen()
            await standby.fleets.seen()
        assert await world.stored() == {DAY: "-*30 12 -*257"}
        standby.leads = True
        async with standby.leading():
            await standby.has({0: 40, 1: 3})


async def test_a_change_by_another_client(world: World) -> None:
    """Between the look and the write: both are kept."""
    async with (await world.replica()).running() as leader:
        await leader.has({0: 12})

        async def meddle() -> None:
            await world.edit({DAY: "-*29 5 20 -*257", "note": "mine", NEXT_DAY: None})

        world.demand["etl"] = 15
        await leader.fleets.seen()
        leader.api.before_write = meddle
        world.skip(QUARTER)
        await leader.has({-1: 5, 0: 20})
        await leader.fleets.seen()
        world.skip(QUARTER)
        await leader.has({-1: 5, 0: 20, 3: 15})
        assert leader.api.writes[:3] == ["POST", "PUT", "PUT"]
    assert (await world.stored())["note"] == "mine"


async def test_two_that_create_it_at_once(world: World) -> None:
    """As where leaders change: the later one adds."""
    first, second = await world.replica(demand={"etl": 9.0}), await world.replica(demand={"etl": 4.0})

    async def be_faster() -> None:
        async with second.running():
            await second.has({0: 4})

    first.api.before_write = be_faster
    async with first.running():
        await first.has({0: 9})
        assert first.api.writes == ["POST", "PUT"]


async def test_a_deleted_config_map_is_forgotten(world: World) -> None:
    """By all replicas, with what they had not stored yet; it is made again."""
    async with (await world.replica()).running() as leader, (await world.replica(leads=False)).running() as standby:
        await standby.has({0: 12})
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        await world.admin.call("DELETE", world.path_of("etl"))
        await leader.has({})
        await standby.has({})
        world.skip(SLOT_SECONDS)
        await leader.fleets.seen()
        await standby.fleets.seen()
        world.skip(SLOT_SECONDS)
        await leader.has({2: 12})
        await standby.has({2: 12})
        assert 0 not in leader.past()


async def test_without_the_permission(control_plane: ControlPlane, world: World) -> None:
    """The log names what to grant, once for reading and once for writing; what was recorded is stored once it may."""
    token = await world.admin.service_account_token(world.namespace, "exporter")
    kubeconfig = control_plane.kubeconfig_for_token(f"{world.namespace}-exporter", token)
    with capture_logs() as log:
        async with (await world.replica(kubeconfig=kubeconfig)).running() as leader:
            await eventually(lambda: len(log) >= 2)
            assert leader.api.writes == []
            rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": list(VERBS)}
            await world.admin.grant(world.namespace, "exporter", "history", [rule])
            await leader.has({0: 12})
    denied = sorted((line for line in log if line["log_level"] == "warning"), key=lambda line: line["event"])
    assert [line["event"] for line in denied] == [
        "history cannot be stored; it is kept in memory, and lost if no replica is left; will retry",
        "list failed; the last known state is kept",
    ]
    assert 'verbs: ["get", "list", "watch", "create", "update", "delete"]' in denied[0]["fix"]
    assert 'verbs: ["list", "watch"]' in denied[1]["fix"]
    assert {"history can be stored again", "list works again"} <= {line["event"] for line in log}


@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
async def test_a_config_map_that_is_full(world: World) -> None:
    """Of what someone put there: logged once. Other fleets go on, and so does this one once there is room."""
    world.demand["other"] = 1
    with capture_logs() as log:
        async with (await world.replica()).running() as leader:
            await leader.has({0: 12})
            await world.edit({"ballast": "x" * 1_048_562})
            world.skip(QUARTER)
            await leader.fleets.seen()
            world.skip(QUARTER)
            await leader.has({0: 1, 3: 1}, "other")
            await eventually(lambda: log)
            writes = len(leader.api.writes)
            await eventually(lambda: len(leader.api.writes) > writes + 2)
            assert leader.past() == {0: 12}
            await world.edit({"ballast": None})
            await leader.has({0: 12, 3: 12})
            await eventually(lambda: len(log) > 1)
    assert [line["event"] for line in log] == [
        "history cannot be stored; it is kept in memory, and lost if no replica is left; will retry",
        "history can be stored again",
    ]
    assert name("exporter", ETL) in log[0]["error"]
    assert "1048576" in log[0]["error"]


async def test_two_exporters_in_one_namespace(world: World) -> None:
    """Each has its own past of the same fleet."""
    first, second = await world.replica(), await world.replica(lease_name="other", demand={"etl": 5.0})
    async with first.running(), second.running():
        await first.has({0: 12})
        await second.has({0: 5})
    assert await world.stored() == {DAY: "-*30 12 -*257"}
    assert await world.stored(lease_name="other") == {DAY: "-*30 5 -*257"}


async def test_what_others_wrote(world: World) -> None:
    """A copy with the label is ignored, a namesake that is something else left alone; each is logged once."""
    world.demand["taken"] = 3
    namesake = {"metadata": {"name": name("exporter", ("matillion", "taken"))}, "data": {"important": "yes"}}
    await world.admin.call("POST", world.path, namesake)
    with capture_logs() as log:
        async with (await world.replica()).running() as leader:
            await leader.has({0: 12})
            found = await world.admin.call("GET", world.path_of("etl"))
            kept = {key: found["metadata"][key] for key in ("labels", "annotations")}
            copy = {"metadata": {"name": "a-copy", **kept}, "data": {DAY: "99*288"}}
            await world.admin.call("POST", world.path, copy)
            await eventually(lambda: len(log) >= 2)
            world.skip(QUARTER)
            await leader.fleets.seen()
            world.skip(QUARTER)
            await leader.has({0: 12, 3: 12})
    assert await world.stored("taken") == {"important": "yes"}
    events = {line["event"]: line for line in log}
    assert len(events) == len(log) == 2
    assert events["a ConfigMap is labeled as the history of a fleet and is not; ignored"]["config_map"] == "a-copy"
    [line] = [line for event, line in events.items() if event.startswith("history cannot be stored")]
    assert "is not the history of fleet 'taken'" in line["error"]


async def test_entries_that_are_not_valid(world: World) -> None:
    """They are ignored one by one, and logged once."""
    with capture_logs() as log:
        async with (await world.replica()).running() as leader:
            await leader.has({0: 12})
            await world.edit(
                {"2025-12-31": "NaN", "2025-12-30": "[" * 900_000, "2025-12-29": "-*287 7", "9999-01-01": "7"}
            )
            await leader.has({-607: 7, 0: 12})
            world.skip(QUARTER)
            await leader.fleets.seen()
            world.skip(QUARTER)
            await leader.has({-607: 7, 0: 12, 3: 12})
    assert {line["entry"]: line["reason"] for line in log} == {
        "2025-12-31": "'NaN' is no number of tasks",
        "2025-12-30": "longer than 2304 characters",
        "9999-01-01": "in the future",
    }
    assert {line["event"] for line in log} == {"an entry of a fleet's history is not valid; ignored"}


async def test_fleets_that_are_gone(world: World) -> None:
    """They keep their past until none of it is kept; that of one whose entries cannot be read is not deleted."""
    world.demand |= {"gone": 5, "strange": 6}
    settings = ForecastSettings(days=7)
    with capture_logs() as log:
        async with (await world.replica(settings=settings, pace=KILLED)).running() as leader:
            await leader.has({0: 5}, "gone")
            await leader.has({0: 6}, "strange")
            del world.demand["gone"], world.demand["strange"]
            world.skip(QUARTER)
            await leader.fleets.seen()
            world.skip(QUARTER)
            await leader.has({0: 12, 3: 12})
            await leader.has({0: 5, 3: 0}, "gone")
            await leader.has({0: 6, 3: 0}, "strange")
            await world.edit({"2026-12-31": "0*288"}, "strange")
        world.skip(150 * 86400)
        async with (await world.replica(settings=settings)).running() as leader:
            await eventually(lambda: any(line["event"] == "history of a fleet that is gone deleted" for line in log))
    assert await world.stored("gone") == {}
    assert await world.stored("strange") != {}
    [line] = [line for line in log if line["log_level"] == "info"]
    assert (line["fleet"], line["namespace"]) == ("gone", "matillion")
