"""Failed tasks, counted in logs that a server sends, cuts, repeats and refuses."""

import asyncio
import random
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from exporter.podhealth.log_follower import FollowingPace
from tests.factories import WALL_NOW
from tests.fakes.container_logs import LogApi
from tests.fakes.followed_agents import FollowedAgents
from tests.fakes.log_following import FAILED, FINE, at
from tests.waiting import eventually


async def test_failures_are_counted_as_they_are_written(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """From the moment following begins; what was written before is somebody else's, or nobody's."""
    log = api.pod()
    log.write(at(-5), at(-0.5), at(0), at(0.2, FINE))
    agents.add()
    follow()
    await eventually(lambda: agents.failures_of() == 1)
    log.write(at(1, FINE), at(1), at(2))
    await eventually(lambda: agents.failures_of() == 3)
    how = {"container": "agent", "timestamps": "true", "sinceTime": "2026-01-01T02:30:00Z"}
    assert log.requests[:2] == [how, {**how, "previous": "true"}]
    assert [query["follow"] for query in log.followed] == ["true"]


async def test_silent_log_has_no_failures_and_is_known(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """A stream of a silent container does not even begin; that its log can be read is known all the same."""
    agents.add()
    follow()
    await eventually(lambda: agents.failures_of() == 0)
    await eventually(lambda: api.pod().followed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.slow
async def test_nothing_is_lost_or_counted_twice_when_streams_are_cut(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]], seed: int
) -> None:
    """Cut after any line, again and again, with lines that share their second, their time and their words."""
    log = api.pod()
    rng = random.Random(seed)  # noqa: S311 - the same cuts each time
    log.cuts = [rng.randrange(1, 12) for _ in range(40)]
    agents.add()
    follow()
    expected = 0
    moment = 1.0
    for _ in range(60):
        moment += rng.choice([0.0, 0.000_001, 0.3, 1.1])
        burst = [at(moment + number * 1e-9, rng.choice([FAILED, FINE])) for number in range(rng.randrange(4))]
        expected += len({line for line in burst if line[1] == FAILED} - set(_as_text(log.lines)))
        log.write(*burst)
        await asyncio.sleep(0.01)
        if rng.random() < 0.2:
            before = len(log.requests)
            log.cut()
            await eventually(lambda: len(log.requests) > before)  # noqa: B023 - waited for within the round
    log.cuts = []
    log.cut()
    await eventually(lambda: agents.failures_of() == expected)
    await asyncio.sleep(0.2)
    assert agents.failures_of() == expected
    assert len(log.requests) > 20


def _as_text(lines: list[tuple[int, bytes]]) -> list[tuple[int, str]]:
    return [(nanoseconds, text.decode()) for nanoseconds, text in lines]


async def test_lines_that_come_again_within_a_stream_count_once(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """A kubelet that meets a rotated file may send its lines once more."""
    log = api.pod()
    agents.add()
    follow()
    first = [at(1), at(1.2), at(8)]
    log.write(*first, *first, at(9))
    await eventually(lambda: agents.failures_of() == 4)


async def test_rotated_log_goes_on(api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]) -> None:
    """What was read before the rotation stays counted; the new file goes on from there."""
    log = api.pod()
    agents.add()
    follow()
    await eventually(lambda: log.followed)
    log.write(at(1), at(2))
    await eventually(lambda: agents.failures_of() == 2)
    log.rotate()
    log.write(at(3))
    log.cut()
    await eventually(lambda: agents.failures_of() == 3)


async def more_looks(agents: FollowedAgents, number: int) -> None:
    """Wait until the agents have been looked at so many times more."""
    enough = agents.looks + number
    await eventually(lambda: agents.looks >= enough)


async def test_container_that_restarts_while_its_log_is_read(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """Its last lines count, nothing is asked while it is dead, and its successor is followed at once."""
    log = api.pod()
    agents.add(restarts=0)
    follow(pace=FollowingPace(backoff_first=0.02, backoff_max=600.0, poll=0.02))
    await eventually(lambda: log.followed)
    log.write(at(1), at(2))
    log.end()
    agents.add(restarts=0, started_time=None, last_terminated_reason="OOMKilled", waiting_reason="CrashLoopBackOff")
    await eventually(lambda: agents.failures_of() == 2)
    await eventually(lambda: not log.open_streams)
    await more_looks(agents, 5)
    asked = len(log.requests)
    await more_looks(agents, 5)
    assert len(log.requests) == asked
    log.restart()
    agents.add(restarts=1, started_time=WALL_NOW + 20, last_terminated_reason="OOMKilled")
    log.write(at(21))
    await eventually(lambda: agents.failures_of() == 3)


async def test_last_lines_of_a_container_that_died_while_logs_were_unreadable(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """They are in the log of the previous container, and are read before that of its successor."""
    log = api.pod()
    agents.add(restarts=0)
    follow()
    await eventually(lambda: log.followed)
    log.write(at(1), at(2))
    await eventually(lambda: agents.failures_of() == 2)
    log.refusal = (500, "InternalError")
    log.cut()
    await eventually(lambda: agents.failures_of() is None)
    log.write(at(3), at(4))
    log.restart()
    log.write(at(10))
    agents.add(restarts=1, started_time=WALL_NOW + 5)
    log.refusal = None
    await eventually(lambda: agents.failures_of() == 5)


async def test_container_that_died_before_it_was_followed_is_read_too(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """As far as it wrote since following began."""
    log = api.pod()
    log.write(at(-1), at(2))
    log.restart()
    log.write(at(4))
    agents.add(restarts=1)
    follow()
    await eventually(lambda: agents.failures_of() == 2)


@pytest.mark.parametrize("request_number", [1, 2, 3, 4])
async def test_container_that_restarts_between_two_requests(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]], request_number: int
) -> None:
    """Whichever request it comes before, its last words count, and so does all that its successor writes."""
    log = api.pod()

    def restart(query: dict[str, str]) -> None:
        if len(log.requests) == before + request_number:
            log.write(at(2))
            log.restart()
            log.write(at(2.1), at(20))

    agents.add()
    follow()
    await eventually(lambda: log.followed)
    log.write(at(1))
    await eventually(lambda: agents.failures_of() == 1)
    before = len(log.requests)
    log.before_answer = restart
    log.cut()
    await eventually(lambda: agents.failures_of() == 4)


async def test_refusal_is_logged_once_with_the_grant(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """For all pods of a namespace; what may not be read has no count. Once allowed, it goes on by itself."""
    names = ("agent-1", "agent-2", "agent-3")
    for name in names:
        api.pod(name).refusal = (403, "Forbidden")
        agents.add(name)
    with capture_logs() as said:
        follow()
        await eventually(lambda: all(len(api.pod(name).requests) > 3 for name in names))
        assert set(agents.failures.values()) <= {None}
        (refused,) = said
        assert refused["event"] == "no permission to read agents' logs"
        assert 'resources: ["pods/log"], verbs: ["get"]' in refused["fix"]
        for name in names:
            api.pod(name).refusal = None
        await eventually(lambda: [agents.failures_of(name) for name in names] == [0, 0, 0])
    assert "permission to read agents' logs granted" in [line["event"] for line in said]


async def test_count_is_withheld_while_the_log_cannot_be_read(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """One failure is none: the log is read on at once. From the second on nobody knows; then all is made good."""
    log = api.pod()
    agents.add()
    with capture_logs() as said:
        follow()
        await eventually(lambda: log.followed)
        log.write(at(1))
        await eventually(lambda: agents.failures_of() == 1)
        log.refusal = (502, "BadGateway")
        log.cut()
        await eventually(lambda: agents.failures_of() is None)
        log.write(at(2))
        log.refusal = None
        await eventually(lambda: agents.failures_of() == 2)
    assert [line["event"] for line in said] == [
        "log of an agent cannot be followed",
        "log of an agent is followed again",
    ]


async def test_silence_ends_a_stream_without_a_word(
    api: LogApi, agents: FollowedAgents, follow: Callable[..., list[int]]
) -> None:
    """A connection that died unseen is replaced after a while; an agent that has nothing to say is not in trouble."""
    log = api.pod()
    agents.add()
    with capture_logs() as said:
        follow(pace=FollowingPace(idle=0.1, backoff_first=0.02, backoff_max=0.05, poll=0.02))
        await eventually(lambda: len(log.followed) > 3)
        log.write(at(1))
        await eventually(lambda: agents.failures_of() == 1)
    assert None not in agents.told
    assert said == []
