"""What is learned of one agent: where it answers. In virtual time."""

import asyncio

import pytest

from exporter.config import ScrapeSettings
from exporter.fleet.model import Dialect, Endpoint, Target
from exporter.scrape.outcome import ScrapeError
from tests.factories import make_target
from tests.scrape.one_reader import HOST, LEGACY, OTEL, Reader
from tests.scrape.scripted_agents import (
    FOR_EVER,
    NOT_FOUND,
    Page,
    legacy_page,
    otel_page,
)

pytestmark = pytest.mark.looptime

# -- endpoints ---------------------------------------------------------------------------------------------------------


async def test_the_first_endpoint_that_answers_wins_and_is_remembered() -> None:
    """An old image refuses the OpenTelemetry port: it is not asked there at every turn."""
    reader = Reader(filter_names=False)
    reader.serve(LEGACY, legacy_page())
    assert await reader.turn() == "legacy 5"
    assert reader.agents.ports() == [OTEL, LEGACY]
    assert await reader.turn() == "legacy 5"
    assert reader.agents.ports() == [LEGACY]


async def test_an_agent_with_both_endpoints_is_read_on_the_first_in_the_list() -> None:
    """The order is the settings' own, not the vendor's."""
    reader = Reader(filter_names=False)
    reader.serve(OTEL, otel_page())
    reader.serve(LEGACY, legacy_page())
    assert await reader.turn() == "otel 7"
    otel, legacy = ScrapeSettings().endpoints
    other = Reader(endpoints=(legacy, otel))
    other.agents.pages = reader.agents.pages
    assert await other.turn() == "legacy 5"


async def test_an_agent_upgraded_in_place_moves_over_when_its_old_endpoint_falls_silent() -> None:
    """The very next scrape finds it."""
    reader = Reader()
    reader.serve(LEGACY, legacy_page())
    await reader.turns(3)
    reader.stop(LEGACY)
    reader.serve(OTEL, otel_page())
    assert await reader.turn() == "otel 7"


async def test_an_agent_upgraded_in_place_moves_over_within_five_minutes_when_both_answer() -> None:
    """New images serve both endpoints; only the new one tells of the queue."""
    reader = Reader()
    reader.serve(LEGACY, legacy_page())
    assert set(await reader.turns(200)) == {"legacy 5"}
    reader.serve(OTEL, otel_page())
    said = await reader.turns(61)
    assert said[-1] == "otel 7"


async def test_an_agent_that_began_on_its_second_endpoint_while_starting_is_moved_soon() -> None:
    """Which port opens first at a start is chance; five minutes without the queue would not be."""
    reader = Reader()
    reader.serve(LEGACY, legacy_page())
    assert await reader.turn() == "legacy 5"
    reader.serve(OTEL, otel_page())
    assert (await reader.turns(4))[-1] == "otel 7"


async def test_an_old_agent_is_bothered_on_the_other_port_every_five_minutes_at_most() -> None:
    """After the first minutes, one refused connection in sixty turns."""
    reader = Reader(filter_names=False)
    reader.serve(LEGACY, legacy_page())
    await reader.turns(200)
    reader.agents.ports()
    await reader.turns(600)
    assert 10 <= reader.agents.ports().count(OTEL) <= 600 * 5 / 300 / 0.8


async def test_an_agent_downgraded_in_place_moves_back() -> None:
    """The port that answered refuses: the other one is asked in the same turn."""
    reader = Reader()
    reader.serve(OTEL, otel_page())
    await reader.turns(3)
    reader.stop(OTEL)
    reader.serve(LEGACY, legacy_page())
    assert await reader.turns(2) == ["legacy 5", "legacy 5"]


async def test_something_else_on_the_first_port_does_not_hide_the_agent_on_the_second() -> None:
    """A sidecar's metrics on 9464 are not the agent's."""
    reader = Reader()
    reader.serve(OTEL, b"envoy_up 1\n")
    reader.serve(LEGACY, legacy_page())
    assert await reader.turn() == "legacy 5"


@pytest.mark.parametrize("hanging", [OTEL, LEGACY])
async def test_a_new_agent_is_read_within_a_second_whatever_its_other_port_does(hanging: int) -> None:
    """The vendor's policy drops what is sent to 9464; nothing of that delays the first reading."""
    reader = Reader()
    answering = LEGACY if hanging == OTEL else OTEL
    reader.serve(hanging, b"", seconds=FOR_EVER)
    reader.serve(answering, legacy_page(), seconds=0.2)
    started = asyncio.get_running_loop().time()
    answer = await reader._reader.read(reader.target)
    assert answer.reading.tasks_active == 5
    assert asyncio.get_running_loop().time() - started <= 0.76
    assert not reader.agents.running, "nothing of the race is left"
    assert set(await reader.turns(100)) == {"legacy 5"}


async def test_the_better_endpoint_wins_if_it_answers_soon() -> None:
    """It has a head start, and is waited for a little when the other one was quicker."""
    for seconds, said in ((0.2, "otel 7"), (0.7, "otel 7"), (0.8, "legacy 5")):
        reader = Reader(filter_names=False)
        reader.serve(OTEL, otel_page(), seconds=seconds)
        reader.serve(LEGACY, legacy_page(), seconds=0.01)
        assert await reader.turn() == said
        asked = reader.agents.ports()
        assert asked[:1] == [OTEL]
        assert (LEGACY in asked) is (seconds > 0.25)


async def test_a_race_that_is_cancelled_leaves_nothing_behind() -> None:
    """The agent is gone while both of its ports hang."""
    reader = Reader()
    reader.serve(OTEL, b"", seconds=FOR_EVER)
    reader.serve(LEGACY, b"", seconds=FOR_EVER)
    read = asyncio.create_task(reader._reader.read(reader.target))
    await asyncio.sleep(1.0)
    assert reader.agents.running == {HOST: 2}
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    assert not reader.agents.running
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_bug_in_one_attempt_is_not_hidden_by_another() -> None:
    """It ends the race, and the other attempts with it."""
    reader = Reader()
    reader.serve(OTEL, ValueError("a bug"), seconds=0.5)
    reader.serve(LEGACY, b"", seconds=FOR_EVER)
    with pytest.raises(ValueError, match="a bug"):
        await reader._reader.read(reader.target)
    assert not reader.agents.running


async def test_an_endpoint_that_answers_is_asked_alone() -> None:
    """Also when it is late: a page without the queue is no better than one that comes a moment later."""
    reader = Reader(filter_names=False)
    reader.serve(OTEL, otel_page())
    reader.serve(LEGACY, legacy_page())
    await reader.turn()
    reader.agents.ports()
    reader.serve(OTEL, otel_page(), seconds=2.5)
    assert await reader.turns(3) == ["otel 7"] * 3
    assert reader.agents.ports() == [OTEL] * 3


# -- endpoints that a pod declares -------------------------------------------------------------------------------------


def declaring(*endpoints: Endpoint) -> Target:
    return make_target(address=HOST, endpoints=endpoints)


async def test_what_a_pod_declares_is_asked_first() -> None:
    """The vendor's chart can put the OpenTelemetry page on any port."""
    reader = Reader(target=declaring(Endpoint(Dialect.OTEL, 9999, "/metrics"), ScrapeSettings().endpoints[1]))
    reader.serve(9999, otel_page())
    reader.serve(LEGACY, legacy_page())
    assert await reader.turn() == "otel 7"
    assert set(reader.agents.ports()) == {9999}


async def test_after_it_come_the_usual_ones_each_once() -> None:
    """A declared legacy page is no reason to pass over an OpenTelemetry page that nobody declared."""
    declared = (Endpoint(Dialect.OTEL, 9999, "/metrics"), Endpoint(Dialect.LEGACY, 8081, "/actuator/prometheus"))
    reader = Reader(target=declaring(*declared, *ScrapeSettings().endpoints))
    assert await reader.turn() == f"connect: connection refused on {HOST}:9999 and :9464 and :8080 and :8081"
    assert reader.agents.ports() == [9999, OTEL, LEGACY, 8081]


async def test_what_was_learned_ends_with_what_the_pod_declares() -> None:
    """Another declaration is another image, or another chart."""
    reader = Reader(filter_names=False)
    reader.serve(LEGACY, legacy_page())
    await reader.turns(3)
    reader.agents.ports()
    reader.target = declaring(Endpoint(Dialect.OTEL, 9999, "/metrics"))
    reader.serve(9999, otel_page())
    assert await reader.turn() == "otel 7"


async def test_one_missed_response_changes_no_endpoint() -> None:
    """A busy agent may be late once; its other endpoint says less."""
    reader = Reader(filter_names=False)
    reader.serve(OTEL, otel_page())
    reader.serve(LEGACY, legacy_page())
    await reader.turns(2)
    reader.serve(OTEL, otel_page(), seconds=FOR_EVER)
    assert (await reader.turn()).startswith("timeout")
    reader.serve(OTEL, otel_page())
    assert await reader.turn() == "otel 7"


async def test_an_agent_whose_port_keeps_hanging_is_read_on_the_other_before_it_is_stale() -> None:
    """A NetworkPolicy, or an exporter thread that died: well within the 30 s of `stale_after`."""
    reader = Reader()
    reader.serve(OTEL, otel_page())
    reader.serve(LEGACY, legacy_page())
    await reader.turns(3)
    reader.serve(OTEL, otel_page(), seconds=FOR_EVER)
    said = await reader.turns(20)
    assert said[1:] == ["legacy 5"] * 19


async def test_after_a_missed_answer_a_late_one_is_still_better_than_another_page() -> None:
    """A busy agent keeps its queue; the other port is asked only while this one lets wait."""
    reader = Reader(filter_names=False)
    reader.serve(OTEL, otel_page())
    reader.serve(LEGACY, legacy_page())
    await reader.turn()
    for seconds, asked in ((1.4, [OTEL]), (2.5, [OTEL, LEGACY])):
        reader.serve(OTEL, otel_page(), seconds=FOR_EVER)
        assert (await reader.turn()).startswith("timeout")
        reader.agents.ports()
        reader.serve(OTEL, otel_page(), seconds=seconds)
        assert await reader.turn() == "otel 7"
        assert reader.agents.ports() == asked
        assert not reader.agents.running
    assert await reader.turn() == "otel 7"
    assert reader.agents.ports() == [OTEL], "one that answers again is asked alone"


async def test_a_legacy_page_that_was_missed_is_given_all_the_time_that_is_left() -> None:
    """Behind the vendor's policy the better port drops: it takes a quarter of a second, not half of the timeout."""
    reader = Reader(filter_names=False)
    reader.serve(OTEL, b"", seconds=FOR_EVER)
    reader.serve(LEGACY, legacy_page())
    await reader.turn()
    reader.serve(LEGACY, legacy_page(), seconds=FOR_EVER)
    assert (await reader.turn()).startswith("timeout")
    reader.serve(LEGACY, legacy_page(), seconds=2.7)
    assert await reader.turn() == "legacy 5"


async def test_while_nothing_answers_the_error_stays_the_same() -> None:
    """After the first miss every scrape tells of all ports."""
    reader = Reader(filter_names=False)
    reader.serve(OTEL, otel_page())
    await reader.turn()
    reader.serve(OTEL, b"", seconds=FOR_EVER)
    said = await reader.turns(10)
    assert said[0] == f"timeout: waited 3 s for an answer on {HOST}:9464"
    assert set(said[1:]) == {f"timeout: waited 3 s for an answer on {HOST}:9464; connection refused on {HOST}:8080"}


async def test_all_endpoints_together_take_no_longer_than_the_timeout() -> None:
    """`stale_after` is checked against one interval and one timeout."""
    loop = asyncio.get_running_loop()
    for seconds in (0.5, 1.4, 2.9, FOR_EVER):
        reader = Reader(timeout=3.0)
        reader.serve(OTEL, NOT_FOUND, seconds=seconds)
        reader.serve(LEGACY, NOT_FOUND, seconds=seconds)
        for _ in range(4):
            started = loop.time()
            with pytest.raises(ScrapeError):
                await reader._reader.read(reader.target)
            assert loop.time() - started <= 3.001


async def test_a_target_with_one_endpoint_is_asked_nowhere_else() -> None:
    """`host:port` in the settings means that port."""
    reader = Reader(target=make_target(address=HOST, endpoint=Endpoint(Dialect.OTEL, 7000, "/m")))
    reader.serve(OTEL, otel_page())
    assert await reader.turn() == f"connect: connection refused on {HOST}:7000"
    reader.serve(7000, otel_page(3))
    assert set(await reader.turns(100)) == {"otel 3"}
    assert set(reader.agents.ports()) == {7000}


async def test_what_was_learned_belongs_to_an_address() -> None:
    """A pod that got another address may be another image by now."""
    reader = Reader()
    reader.serve(LEGACY, legacy_page())
    await reader.turn()
    reader.target = make_target(address="10.0.3.8")
    reader.agents.pages[("10.0.3.8", OTEL)] = Page(otel_page())
    assert await reader.turn() == "otel 7"


async def test_an_error_lists_every_port_that_was_tried() -> None:
    """Equal reasons are said once, and the counter gets the one that says most."""
    reader = Reader()
    assert await reader.turn() == f"connect: connection refused on {HOST}:9464 and :8080"
    reader.serve(OTEL, NOT_FOUND)
    assert await reader.turn() == f"http_status: HTTP 404 on {HOST}:9464; connection refused on {HOST}:8080"
    reader.target = make_target(address="fd00::7")
    assert await reader.turn() == "connect: connection refused on [fd00::7]:9464 and :8080"


async def test_the_address_of_a_page_is_reported_without_its_filter() -> None:
    """It is for a person to open."""
    reader = Reader()
    reader.serve(OTEL, otel_page())
    for _ in range(2):
        answer = await reader._reader.read(reader.target)
        assert answer.url == f"http://{HOST}:9464/metrics"
