"""Simulated fleets on real sockets, and the list of targets they keep."""

import argparse
import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import pytest
import yaml

from exporter.simulator.agent import SimulatorError, WrongUseError
from exporter.simulator.fleet import (
    Entry,
    OneAddress,
    PodAddresses,
    SimulatedFleets,
    allow_files,
    listing_text,
    write_listing,
)
from exporter.simulator.population import fleet_plans, run_until
from exporter.simulator.scenario import HOUR, Fault, Incident, Scenario, steady
from exporter.simulator.simulate import add_arguments, simulate
from exporter.simulator.simulated_agent import SimulatedAgent
from exporter.simulator.simulation import FleetPlan, Simulation
from exporter.simulator.vitals import CURRENT, LEGACY, Spelling
from tests.waiting import PATIENCE

RUN = os.getpid() % 256
"""Two runs at the same time would meet on the fixed ports, so each has addresses of its own."""
BASE = IPv4Address(f"127.22.{RUN}.0")
QUIET = Scenario(name="test", summary="", load=steady(0.1), cycle=1000 * HOUR)


def simulation(scenario: Scenario = QUIET) -> Simulation:
    return Simulation([FleetPlan("production", (CURRENT, LEGACY), CURRENT)], scenario, seed=1)


@pytest.fixture
def file_limit() -> Iterator[None]:
    """Put back the limit of open files: it is the whole process'."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def status(session: aiohttp.ClientSession, entry: Entry) -> int:
    port = "" if ":" in entry["address"] else ":8080"
    path = entry.get("path", "/actuator/prometheus")
    async with session.get(f"http://{entry['address']}{port}{path}") as response:
        return response.status


@pytest.mark.parametrize("layout", [PodAddresses(BASE), OneAddress(first_port=20_000 + 8 * RUN)])
async def test_every_listed_agent_answers(layout: PodAddresses | OneAddress) -> None:
    """By addresses or by ports: what the list names can be scraped."""
    listings: list[list[Entry]] = []
    async with SimulatedFleets(simulation(), layout, 1.0, listings.append), aiohttp.ClientSession() as session:
        assert len(listings[-1]) == 2
        for entry in listings[-1]:
            assert (entry["fleet"], entry["namespace"]) == ("production", "matillion")
            assert await status(session, entry) == 200


@pytest.mark.slow
async def test_scaling_shows_in_the_list() -> None:
    """An added agent is listed once it has started; a removed one when it has drained."""
    listings: asyncio.Queue[list[Entry]] = asyncio.Queue()
    async with (
        SimulatedFleets(simulation(), PodAddresses(BASE), 200.0, listings.put_nowait) as fleets,
        asyncio.TaskGroup() as group,
        asyncio.timeout(PATIENCE),
    ):
        life = group.create_task(fleets.run(), name="simulated fleets")
        listed = await listings.get()
        fleets.scale("production", 4)
        while len(listed) < 4:
            listed = await listings.get()
        four = listed
        fleets.scale("production", 1)
        while len(listed) > 1:
            listed = await listings.get()
        life.cancel()
    assert listed[0] in four


@pytest.mark.slow
async def test_an_agent_that_dies_stays_listed() -> None:
    """Its pod is still there while the container starts again: only its port is closed."""
    dying = Scenario(
        name="dying",
        summary="",
        load=steady(0.1),
        cycle=1000 * HOUR,
        incidents=(Incident(at=1.0, trouble=Fault.DIE, share=1.0),),
    )
    listings: list[list[Entry]] = []
    async with (
        SimulatedFleets(simulation(dying), PodAddresses(BASE), 5.0, listings.append) as fleets,
        aiohttp.ClientSession() as session,
        asyncio.TaskGroup() as group,
        asyncio.timeout(PATIENCE),
    ):
        life = group.create_task(fleets.run(), name="simulated fleets")
        [entry, _] = listings[-1]
        refused = False
        while not refused:
            await asyncio.sleep(0.05)
            try:
                await status(session, entry)
            except aiohttp.ClientConnectorError:
                refused = True
        while refused:
            await asyncio.sleep(0.05)
            with suppress(aiohttp.ClientConnectorError):
                refused = await status(session, entry) != 200
        life.cancel()
    assert len(listings) == 1


async def test_an_address_in_use_closes_what_was_opened() -> None:
    """The second simulator on the same base says what is in use, and leaves nothing behind."""
    async with SimulatedFleets(simulation(), PodAddresses(BASE), 1.0, lambda _: None):
        with pytest.raises(SimulatorError, match=rf"127\.22\.{RUN}\.2:8080 is in use"):
            async with SimulatedFleets(simulation(), PodAddresses(BASE + 1), 1.0, lambda _: None):
                pass


async def test_a_new_agent_without_a_place_ends_the_run() -> None:
    """The reason arrives as itself, not wrapped in a group."""
    layout = OneAddress(first_port=65_530)
    async with SimulatedFleets(simulation(), layout, 1.0, lambda _: None) as fleets:
        fleets.scale("production", 9)
        with pytest.raises(SimulatorError, match="no port is left for agent 4 above 65530"):
            await run_until(fleets, asyncio.Event(), 10.0)


def test_addresses_stay_on_loopback() -> None:
    """A base elsewhere is refused, and so is walking off the end."""
    with pytest.raises(WrongUseError, match=r"10\.0\.0\.0 is not a loopback address"):
        PodAddresses(IPv4Address("10.0.0.0"))
    last = SimulatedAgent(number=1, fleet="production", pod="p", image=CURRENT)
    with pytest.raises(SimulatorError, match="no loopback address is left"):
        PodAddresses(IPv4Address("127.255.255.253")).place(last)


def test_listing_is_yaml_an_agent_a_line(tmp_path: Path) -> None:
    """Written in one step over what was there, and nothing is left beside it."""
    entries = [{"address": "127.20.0.1", "fleet": "a", "namespace": "n", "pod": 'odd "name": x'}] * 3
    file = tmp_path / "targets.yaml"
    file.write_text("old")
    write_listing(file, entries)
    assert yaml.safe_load(file.read_text()) == entries
    assert file.read_text().count("\n") == 3
    assert list(tmp_path.iterdir()) == [file]


def test_an_empty_listing_is_an_empty_list() -> None:
    """Not an empty document."""
    assert yaml.safe_load(listing_text([])) == []


def test_a_listing_that_cannot_be_written_is_reported_in_one_sentence(tmp_path: Path) -> None:
    """Which file, and why."""
    with pytest.raises(SimulatorError, match=r"cannot write the list of targets to .*: No such file or directory"):
        write_listing(tmp_path / "missing" / "targets.yaml", [])


def test_the_limit_of_open_files_is_raised_as_needed(file_limit: None) -> None:
    """Up to the hard limit, and never lowered."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    allow_files(50)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 50 * 6 + 256
    allow_files(1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 50 * 6 + 256


def test_too_many_agents_for_the_hard_limit_are_refused(file_limit: None) -> None:
    """With the number it takes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("this process may open any number of files")
    with pytest.raises(SimulatorError, match=r"agents need up to \d+ open files and this process may have"):
        allow_files(hard)


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_agents_are_divided_evenly() -> None:
    """Old and new images reach every fleet as evenly as it goes."""
    plans = fleet_plans(agents=11, legacy=4, fleets=3, names=Spelling.UNIT)
    assert [plan.name for plan in plans] == ["production", "development", "analytics"]
    assert sorted(len(plan.images) for plan in plans) == [3, 4, 4]
    assert sum(not image.otel for plan in plans for image in plan.images) == 4
    assert all(plan.added == CURRENT for plan in plans)


def test_a_fleet_of_old_images_grows_by_old_images() -> None:
    """A Deployment has one image."""
    assert fleet_plans(agents=2, legacy=2, fleets=1, names=Spelling.UNIT)[0].added is LEGACY


def test_more_fleets_than_names() -> None:
    """Any number of fleets has distinct names; all their images spell those of metrics as asked for."""
    plans = fleet_plans(agents=9, legacy=0, fleets=9, names=Spelling.QUOTED)
    assert len({plan.name for plan in plans}) == 9
    assert {image.spelling for plan in plans for image in (*plan.images, plan.added)} == {Spelling.QUOTED}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((2, 3, 1), "--legacy 3 is more than the 2 agents"), ((2, 0, 3), "--fleets 3 leaves a fleet without an agent")],
)
def test_impossible_numbers_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    """With the option to change."""
    with pytest.raises(WrongUseError, match=message):
        fleet_plans(*arguments, names=Spelling.UNIT)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--agents", "0"),
        ("--agents", "many"),
        ("--speed", "0"),
        ("--speed", "fast"),
        ("--speed", "nan"),
        ("--duration", "soon"),
        ("--base", "localhost"),
        ("--scenario", "unknown"),
        ("--first-port", "80"),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """By argparse, with the option's name."""
    with pytest.raises(SystemExit):
        options(*arguments)
    assert arguments[0] in capsys.readouterr().err


async def test_the_command_ends_after_its_duration(tmp_path: Path) -> None:
    """And has written its targets."""
    file = tmp_path / "targets.yaml"
    await simulate(options("--base", str(BASE), "--duration", "300ms", "--targets-file", str(file)))
    assert len(yaml.safe_load(file.read_text())) == 10


async def test_the_command_prints_its_targets_and_ends_on_a_signal(capsys: pytest.CaptureFixture[str]) -> None:
    """A YAML document on standard output; SIGINT is the ordinary end."""
    asyncio.get_running_loop().call_later(0.3, signal.raise_signal, signal.SIGINT)
    await simulate(options("--base", str(BASE), "--agents", "3", "--legacy", "1", "--fleets", "2"))
    assert len(yaml.safe_load(capsys.readouterr().out)) == 3
