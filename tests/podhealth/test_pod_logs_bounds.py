"""Whose logs are followed, by whom, and how much of them is looked at."""

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from exporter.config import PodLogsSettings
from exporter.podhealth.pod_logs import PodLogs
from tests.fakes.container_logs import LogApi
from tests.fakes.followed_agents import FollowedAgents
from tests.fakes.leadership import Leader
from tests.fakes.log_following import FAILED, at
from tests.waiting import eventually


@pytest.mark.slow
async def test_flood_is_skipped_counted_and_logged(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """No more than the limit is looked at in a second of the log; its end is said with what was skipped."""
    log = api.pod()
    agents.add()
    with capture_logs() as said:
        skipped = follow(max_lines_per_second=100)
        await eventually(lambda: agents.failures_of() == 0)
        log.write(*(at(1 + number * 1e-9) for number in range(20_000)))
        await eventually(lambda: sum(skipped) == 19_900)
        assert agents.failures_of() == 100
        log.write(at(70))
        await eventually(lambda: agents.failures_of() == 101)
    assert [line["event"] for line in said] == [
        "log lines of an agent are skipped: too many per second; failed tasks may be missed",
        "log lines of an agent are no longer skipped",
    ]
    assert said[1]["skipped"] == 19_900
    assert FAILED not in str(said)


async def test_only_the_beginning_of_a_long_line_is_searched(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """So that a search has an end; the lines after it are read as ever, however long it is."""
    log = api.pod()
    agents.add()
    with capture_logs() as said:
        follow()
        log.write(at(1, "x" * 20_000 + FAILED), at(2, FAILED + "x" * 10_000_000), at(3))
        await eventually(lambda: agents.failures_of() == 2)
        await eventually(lambda: log.followed)
        log.write(at(4, "x" * 10_000_000), at(5))
        await eventually(lambda: agents.failures_of() == 3)
    assert len(log.followed) == 1
    assert said == []


@pytest.mark.slow
async def test_pod_that_goes_ends_its_stream(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """And the pod that comes is followed; one whose container never ran has no log yet."""
    agents.add("gone")
    agents.add("new", started_time=None, restarts=None)
    follow()
    await eventually(lambda: api.pod("gone").open_streams)
    del agents.targets["uid-gone"]
    await eventually(lambda: not api.pod("gone").open_streams)
    assert not api.pod("new").requests
    agents.add("new")
    await eventually(lambda: agents.failures_of("new") == 0)


@pytest.mark.slow
async def test_only_the_leader_follows(api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]) -> None:
    """Who leads no more knows no count; who leads again begins anew."""
    replica = Leader()
    replica.leads = False
    log = api.pod()
    agents.add()
    follow(replica)
    await asyncio.sleep(0.1)
    assert not log.requests
    replica.leads = True
    await eventually(lambda: log.open_streams)
    log.write(at(1))
    await eventually(lambda: agents.failures_of() == 1)
    replica.leads = False
    await eventually(lambda: not log.open_streams)
    assert agents.failures_of() is None


async def test_every_replica_follows_if_configured(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """The setting sets leadership aside."""
    replica = Leader()
    replica.leads = False
    agents.add()
    follow(replica, every_replica=True)
    await eventually(lambda: agents.failures_of() == 0)


@pytest.mark.slow
async def test_streams_are_spread_and_bounded(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """A few begin at each look; who finds no place has no count, which is said once."""
    names = [f"agent-{number}" for number in range(25)]
    for name in names:
        agents.add(name)
    with capture_logs() as said:
        follow(max_streams=15)
        await eventually(lambda: len(api.pods) == 10)
        await eventually(lambda: len(agents.failures) == 15)
        await asyncio.sleep(0.1)
        assert len(api.pods) == 15
        (warning,) = said
        assert (warning["left_out"], warning["maximum"]) == (10, 15)
        for name in names[:12]:
            agents.targets.pop(f"uid-{name}")
        await eventually(lambda: sum(log.open_streams for log in api.pods.values()) == 13)
    assert said[-1]["event"] == "logs of all agents are followed again"


@pytest.mark.slow
async def test_all_agents_that_may_be_followed_find_a_connection(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """Each takes a second one for a moment, to hear the container before: all at once they do not wait in vain."""
    names = [f"agent-{number}" for number in range(100)]
    for name in names:
        agents.add(name)
    with capture_logs() as said:
        follow()
        await eventually(lambda: len(api.pods) == 100 and all(api.pod(name).followed for name in names))
        for name in names:
            api.pod(name).write(at(1))
        await eventually(lambda: [agents.failures_of(name) for name in names] == [1] * 100)
    assert said == []


def test_a_pattern_is_needed() -> None:
    """There is none that fits every image."""
    with pytest.raises(ValueError, match="failure_pattern"):
        PodLogs(PodLogsSettings(enabled=True), None, FollowedAgents(), Leader())  # type: ignore[arg-type]
