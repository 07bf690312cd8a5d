"""Static targets: how addresses are understood, and how a file of them is followed."""

# ruff: noqa: ASYNC240 - the tests write a few bytes to a local file, and nothing else runs on their loop

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from exporter.config import StaticSettings, StaticTarget
from exporter.discovery.static import RETRY_INTERVAL, StaticDiscovery, to_target
from exporter.fleet.model import Dialect, Endpoint, Target
from tests.fakes.background import background
from tests.waiting import eventually

OTEL, LEGACY = Dialect.OTEL, Dialect.LEGACY
LOOK = 0.02


class RecordingSink:
    """A store that keeps the membership of each source and counts its confirmations."""

    def __init__(self) -> None:
        self.members: dict[str, tuple[Target, ...]] = {}
        self.confirmed: dict[str, int] = {}

    def replace(self, source: str, targets: Iterable[Target]) -> None:
        """Take the whole membership."""
        self.members[source] = tuple(targets)

    def upsert(self, source: str, target: Target) -> None:
        """Refuse: static discovery knows whole lists only."""
        raise AssertionError((source, target))

    def remove(self, source: str, uid: str) -> None:
        """Refuse, as above."""
        raise AssertionError((source, uid))

    def synced(self, source: str) -> None:
        """Count."""
        self.confirmed[source] = self.confirmed.get(source, 0) + 1

    def addresses(self, source: str = "static-file") -> list[str | None]:
        """Return where the agents of a source are."""
        return [target.address for target in self.members.get(source, ())]


@asynccontextmanager
async def running(settings: StaticSettings) -> AsyncIterator[RecordingSink]:
    """Run a discovery that looks at its file every few milliseconds."""
    sink = RecordingSink()
    async with background(StaticDiscovery(settings, sink, check_interval=LOOK).run()):
        yield sink


async def looks(sink: RecordingSink, count: int = 5, source: str = "static") -> None:
    """Wait for some confirmations of the inline targets, which come once per look."""
    start = sink.confirmed.get(source, 0)
    await eventually(lambda: sink.confirmed.get(source, 0) >= start + count)


@pytest.fixture(autouse=True)
def _plain_structlog() -> None:
    structlog.reset_defaults()


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "address", "endpoint"),
    [
        ({"address": "10.0.0.1"}, "10.0.0.1", None),
        ({"address": "agent"}, "agent", None),
        ({"address": "::1"}, "::1", None),
        ({"address": "[::1]"}, "::1", None),
        ({"address": "agent:9464"}, "agent", Endpoint(OTEL, 9464, "/metrics")),
        ({"address": "[::1]:9464"}, "::1", Endpoint(OTEL, 9464, "/metrics")),
        ({"address": "agent:8080"}, "agent", Endpoint(LEGACY, 8080, "/actuator/prometheus")),
        ({"address": "agent:8080", "path": "/metrics"}, "agent", Endpoint(OTEL, 8080, "/metrics")),
        ({"address": "agent:9464", "path": "/a/actuator/p"}, "agent", Endpoint(LEGACY, 9464, "/a/actuator/p")),
        ({"address": "agent:1", "kind": "legacy"}, "agent", Endpoint(LEGACY, 1, "/actuator/prometheus")),
        ({"address": "agent:8080", "kind": "otel"}, "agent", Endpoint(OTEL, 8080, "/metrics")),
        ({"address": "a:1", "path": "/x", "kind": "legacy"}, "a", Endpoint(LEGACY, 1, "/x")),
    ],
)  # fmt: skip
def test_an_address_with_a_port_is_one_endpoint(given: dict[str, str], address: str, endpoint: Endpoint | None) -> None:
    """Without one the agent is asked like a pod; kind and path are told from each other and from the port."""
    target = to_target(StaticTarget.model_validate(given))
    assert (target.address, target.endpoint) == (address, endpoint)


def test_a_targets_identity_is_its_names() -> None:
    """So that the same agent at a new address is the same agent; there are no pod facts."""
    target = to_target(StaticTarget(address="10.0.0.1:9464", fleet="nightly", namespace="prod", pod="agent-1"))
    assert target == Target(
        uid="static/prod/nightly/agent-1",
        namespace="prod",
        fleet="nightly",
        pod="agent-1",
        address="10.0.0.1",
        endpoint=Endpoint(OTEL, 9464, "/metrics"),
        facts=None,
    )


def test_names_may_be_left_out() -> None:
    """Fleet and namespace are `default`, the pod is called by its address as written."""
    assert to_target(StaticTarget(address="[::1]:9464")).uid == "static/default/default/[::1]:9464"


# -- sources ---------------------------------------------------------------------------------------------------------


def test_only_configured_sources_are_announced() -> None:
    """A source that never delivers would keep the exporter from becoming ready."""
    targets, file = (StaticTarget(address="a"),), Path("x.yaml")
    for settings, sources in (
        (StaticSettings(), ()),
        (StaticSettings(targets=targets), ("static",)),
        (StaticSettings(file=file), ("static-file",)),
        (StaticSettings(targets=targets, file=file), ("static", "static-file")),
    ):
        assert StaticDiscovery(settings, RecordingSink()).sources == sources


async def test_inline_targets_are_delivered_and_confirmed() -> None:
    """Once as a whole, then again and again as current."""
    async with running(StaticSettings(targets=(StaticTarget(address="10.0.0.1"),))) as sink:
        await looks(sink)
        assert sink.addresses("static") == ["10.0.0.1"]


@pytest.mark.looptime
async def test_what_is_current_is_confirmed_at_least_every_ten_seconds(tmp_path: Path) -> None:
    """At the interval that is used when nobody asks for another one; the sink counts longer silence as old."""
    file = tmp_path / "agents.yaml"
    file.write_text("[{address: b}]")
    sink = RecordingSink()
    discovery = StaticDiscovery(StaticSettings(targets=(StaticTarget(address="a"),), file=file), sink)
    task = asyncio.create_task(discovery.run())
    await eventually(lambda: "static-file" in sink.members)
    for _ in range(3):
        before = dict(sink.confirmed)
        await asyncio.sleep(10)
        assert all(sink.confirmed[source] > before.get(source, 0) for source in discovery.sources)
    task.cancel()


# -- the file --------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a good file with one agent."""
    path = tmp_path / "agents.yaml"
    path.write_text("- {address: 10.0.0.1, fleet: f}\n")
    return path


def follow(file: Path) -> StaticSettings:
    """Return settings with the file, and an inline target whose confirmations count the looks."""
    return StaticSettings(targets=(StaticTarget(address="inline"),), file=file)


async def test_a_changed_file_is_read_again(file: Path) -> None:
    """Written in place, to another length or the same."""
    async with running(follow(file)) as sink:
        await eventually(lambda: sink.addresses() == ["10.0.0.1"])
        file.write_text("- {address: 10.0.0.2, fleet: f}\n")
        await eventually(lambda: sink.addresses() == ["10.0.0.2"])
        file.write_text('[{"address": "10.0.0.2"}, {"address": "10.0.0.3"}]')
        await eventually(lambda: sink.addresses() == ["10.0.0.2", "10.0.0.3"])
        file.write_text("[]")
        await eventually(lambda: sink.addresses() == [])


async def test_a_swapped_configmap_is_read_again(tmp_path: Path) -> None:
    """The kubelet swaps a symbolic link to a folder; the path itself stays what it was."""
    for version, address in (("..1", "10.0.0.1"), ("..2", "10.0.0.2")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "agents.yaml").write_text(f"[{{address: {address}}}]")
        os.utime(tmp_path / version / "agents.yaml", (1, 1))
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "agents.yaml"
    file.symlink_to("..data/agents.yaml")
    async with running(follow(file)) as sink:
        await eventually(lambda: sink.addresses() == ["10.0.0.1"])
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await eventually(lambda: sink.addresses() == ["10.0.0.2"])


@pytest.mark.parametrize("text", ["", "[", "a: 1", "[{address: ''}]", "[{adress: a}]", "[{address: inline}]"])
async def test_a_broken_file_keeps_the_last_good_targets(file: Path, text: str) -> None:
    """It is no longer confirmed as current, and the log says so once, and once more when it is good again."""
    with capture_logs() as log:
        async with running(follow(file)) as sink:
            await eventually(lambda: sink.addresses() == ["10.0.0.1"])
            file.write_text(text)
            await eventually(lambda: log[-1]["log_level"] == "error")
            confirmed = sink.confirmed.get("static-file")
            await looks(sink)
            assert sink.addresses() == ["10.0.0.1"]
            assert sink.confirmed.get("static-file") == confirmed
            file.write_text("[{address: 10.0.0.2}]")
            await eventually(lambda: sink.addresses() == ["10.0.0.2"])
            await looks(sink, source="static-file")
    assert [entry["event"] for entry in log] == [
        "static targets file loaded",
        "static targets file is invalid, the last valid targets stay in use",
        "static targets file is valid again",
    ]
    assert log[1]["kept_targets"] == 1
    assert log[1]["problems"]


async def test_a_vanished_file_keeps_the_last_good_targets(file: Path) -> None:
    """Until it is there again, even with the same content."""
    with capture_logs() as log:
        async with running(follow(file)) as sink:
            await eventually(lambda: sink.addresses() == ["10.0.0.1"])
            content = file.read_text()
            file.unlink()
            await eventually(lambda: log[-1]["log_level"] == "error")
            assert log[-1]["problems"] == ("there is no such file",)
            await looks(sink)
            assert sink.addresses() == ["10.0.0.1"]
            file.write_text(content)
            await eventually(lambda: log[-1]["event"] == "static targets file is valid again")


async def test_a_file_that_is_bad_from_the_start_delivers_nothing(file: Path) -> None:
    """The source stays without a first delivery, so the exporter does not become ready on half its agents."""
    file.write_text("[")
    async with running(follow(file)) as sink:
        await looks(sink)
        assert "static-file" not in sink.members
        assert "static-file" not in sink.confirmed
        file.write_text("[{address: a}]")
        await eventually(lambda: sink.addresses() == ["a"])


async def test_another_problem_is_logged_again(file: Path) -> None:
    """The log follows a person who repairs the file step by step."""
    with capture_logs() as log:
        async with running(follow(file)):
            for text in ("[", "[{address: ''}]"):
                count = len(log)
                file.write_text(text)
                await eventually(lambda count=count: len(log) > count and log[-1]["log_level"] == "error")


async def test_a_file_that_is_still_being_written_is_left_alone(file: Path) -> None:
    """The first half of a list is a list, too: only a file that stays the same from one look to the next is read."""
    async with running(follow(file)) as sink:
        await eventually(lambda: sink.addresses() == ["10.0.0.1"])
        seen = set()
        with file.open("w") as writer:
            for number in range(60):
                writer.write(f"- {{address: 10.0.1.{number}}}\n")
                writer.flush()
                seen.add(len(sink.addresses()))
                await asyncio.sleep(LOOK / 4)
        await eventually(lambda: len(sink.addresses()) == 60)
        assert seen == {1}


@pytest.mark.looptime
async def test_a_bad_file_is_tried_again_although_it_looks_unchanged(tmp_path: Path) -> None:
    """A disk may recover without the file changing: a link loop stands for it, whose stat never shows a thing."""
    target, file = tmp_path / "target.yaml", tmp_path / "agents.yaml"
    file.symlink_to(file)
    sink = RecordingSink()
    with capture_logs() as log:
        task = asyncio.create_task(StaticDiscovery(StaticSettings(file=file), sink).run())
        await eventually(lambda: len(log) == 1)
        await asyncio.sleep(RETRY_INTERVAL * 3)
        assert [entry["log_level"] for entry in log] == ["error"]
        target.write_text("[{address: a}]")
        file.unlink()
        file.symlink_to(target)
        await asyncio.sleep(RETRY_INTERVAL * 2)
    assert sink.addresses() == ["a"]
    task.cancel()


async def test_many_problems_do_not_make_a_long_line(file: Path) -> None:
    """The first few are named, the others counted."""
    file.write_text("[" + "{address: ''}, " * 100 + "]")
    with capture_logs() as log:
        async with running(follow(file)):
            await eventually(lambda: bool(log))
    assert len(log[0]["problems"]) == 5
    assert log[0]["more_problems"] == 95
