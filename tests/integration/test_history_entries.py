"""What keeps the past of a fleet from being stored or read: rights, room, others' ConfigMaps, invalid entries."""

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from exporter.config import ForecastSettings
from exporter.history.config_maps import VERBS
from exporter.history.stored_fleet import name
from tests.fakes.control_plane import ControlPlane
from tests.integration.stored_pasts import DAY, ETL, KILLED, QUARTER, World, world
from tests.waiting import eventually

__all__ = ["world"]

pytestmark = pytest.mark.slow


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


def about_history(log: list[EventDict]) -> list[EventDict]:
    """Return what was logged of the history itself; a watch may fail where a machine is busy."""
    return [line for line in log if line["event"].startswith("history")]


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
            # A quarter that ends while additions are under way is added with the next one.
            while not about_history(log):
                world.skip(QUARTER)
                await leader.fleets.seen()
            writes = len(leader.api.writes)
            await eventually(lambda: len(leader.api.writes) > writes + 2)
            assert leader.past() == {0: 12}
            await world.edit({"ballast": None})
            await leader.has({0: 12, 3: 12})
            await eventually(lambda: len(about_history(log)) > 1)
    told = about_history(log)
    assert [line["event"] for line in told] == [
        "history cannot be stored; it is kept in memory, and lost if no replica is left; will retry",
        "history can be stored again",
    ]
    assert name("exporter", ETL) in told[0]["error"]
    assert "1048576" in told[0]["error"]


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
