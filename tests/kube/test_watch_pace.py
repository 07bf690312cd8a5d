"""How fast a reflector tries again, in virtual time: the connection is a script in memory."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import pytest
import structlog

from exporter.kube.api import Json, KubeError, Query, Resource, UnreachableError, api_error
from exporter.kube.watch import EVENTS_PER_TURN, Reflector, RestartReason
from tests.fakes.kube_api import bookmark, obj
from tests.fakes.kube_recorders import RecordingHandler

PODS = Resource("", "v1", "pods", "matillion")
DOWN = UnreachableError("down")
BUSY = api_error("list", PODS, 429, {})


class ScriptedReader:
    """A connection whose lists and watches last as long as they are told, and fail as they are told."""

    def __init__(
        self,
        *,
        listing: KubeError | None = None,
        watch: KubeError | None = None,
        lasts: float = 0.0,
        events: Iterable[bytes] = (),
    ) -> None:
        self.listing = listing
        self.watch = watch
        self.lasts = lasts
        self.events = events
        self.listed: list[float] = []
        self.watched: list[float] = []
        self.later: list[tuple[float, KubeError | None]] = []
        """From when on lists end otherwise."""
        self.hangs_until = 0.0
        """Connections that are opened before bring nothing, ever."""
        self.pages = 1
        self.page_takes = 0.0
        self.most_at_once = 0
        self._at_once = 0

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = 30.0) -> Json:
        now = asyncio.get_running_loop().time()
        self.listed.append(now)
        while self.later and self.later[0][0] <= now:
            self.listing = self.later.pop(0)[1]
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            async with asyncio.timeout(timeout):
                await asyncio.sleep(3600.0 if now < self.hangs_until else self.page_takes)
        except TimeoutError:
            raise UnreachableError("no answer in time") from None
        finally:
            self._at_once -= 1
        if self.listing is not None:
            raise self.listing
        return self._page(int(dict(query).get("continue", 0)))

    def _page(self, number: int) -> Json:
        more = {"continue": str(number + 1)} if number + 1 < self.pages else {}
        return {"metadata": {"resourceVersion": "1", **more}, "items": [obj(f"pod-{number}")] if self.pages > 1 else []}

    @asynccontextmanager
    async def stream(
        self, resource: Resource, query: Query = (), *, idle_timeout: float, total_timeout: float | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        self.watched.append(asyncio.get_running_loop().time())
        yield self._events()

    async def _events(self) -> AsyncIterator[bytes]:
        yield bookmark("2")
        for line in self.events:
            yield line
        await asyncio.sleep(self.lasts)
        if self.watch is not None:
            raise self.watch
        yield bookmark("3")


async def follow(reader: ScriptedReader, seconds: float) -> RecordingHandler:
    handler = RecordingHandler()
    rng = random.Random(1)  # noqa: S311 — the same jitter every time
    reflector = Reflector(reader, PODS, handler, read=lambda obj: obj, on_restart=handler.restarts.append, rng=rng)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await reflector.run()
    return handler


def pauses(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("failure", "longest"),
    [(DOWN, 2.0), (api_error("list", PODS, 500, {}), 5.0), (api_error("list", PODS, 403, {}), 5.0), (BUSY, 30.0)],
    ids=["unanswered", "error", "forbidden", "throttled"],
)
async def test_a_failing_list_is_tried_again_for_ever(failure: KubeError, longest: float) -> None:
    """Pauses grow from under a second to a bound, the lower the less a try costs the server, and tries never stop."""
    reader = ScriptedReader(listing=failure)
    await follow(reader, seconds=longest * 20)
    between = pauses(reader.listed)
    assert 0.4 <= between[0] <= 0.8
    assert max(between) <= longest
    assert all(pause >= longest / 2 for pause in between[10:])
    assert len(reader.listed) > 20


@pytest.mark.looptime
async def test_a_server_that_answers_again_is_asked_again_soon() -> None:
    """What it answers first (403, 500) is not held against it: the pauses begin anew, also after a long outage."""
    reader = ScriptedReader(listing=DOWN, lasts=3600.0)
    starts = api_error("list", PODS, 403, {})
    reader.later = [(60.0, starts), (62.0, None)]
    await follow(reader, seconds=80)
    assert reader.listed[-1] <= 62.0 + 1.6


@pytest.mark.looptime
@pytest.mark.parametrize("outage", [1.0, 17.0, 100.0])
async def test_a_list_is_tried_beside_one_that_hangs(outage: float) -> None:
    """A connection that leads nowhere is not waited for: a server that is back is met within seconds."""
    reader = ScriptedReader(lasts=3600.0)
    reader.hangs_until = outage
    handler = await follow(reader, seconds=outage + 4.6)
    assert handler.calls.count("replaced") == 1
    assert reader.most_at_once == 2


@pytest.mark.looptime
async def test_a_long_list_that_goes_on_is_read_once() -> None:
    """Page by page it may take as long as it likes."""
    reader = ScriptedReader(lasts=3600.0)
    reader.pages, reader.page_takes = 20, 1.0
    handler = await follow(reader, seconds=25)
    assert len(reader.listed) == 20
    assert handler.calls[0] == "replaced"
    reader.page_takes = 2.0
    slow = await follow(reader, seconds=200)
    assert slow.calls[0] == "replaced", "and one whose pages are too slow for a second try is read all the same"


@pytest.mark.looptime
async def test_server_that_ends_each_watch_at_once_gets_no_hot_loop() -> None:
    """However politely the watches end, they are asked for ever more rarely; the lists keep the handler current."""
    reader = ScriptedReader(lasts=0.0)
    handler = await follow(reader, seconds=3600)
    assert len(reader.watched) < 250
    assert max(pauses(reader.listed)) <= 30.0
    assert set(handler.restarts) == {RestartReason.ENDED}
    assert handler.calls.count("replaced") == len(reader.listed)


@pytest.mark.looptime
async def test_list_that_works_does_not_hide_a_watch_that_never_does() -> None:
    """A good list between failing watches does not begin the backoff anew."""
    reader = ScriptedReader(watch=DOWN)
    await follow(reader, seconds=3600)
    assert len(reader.listed) < 250


@pytest.mark.looptime
async def test_watch_that_held_resets_the_backoff() -> None:
    """After real progress the next failure is met with the shortest delay."""
    reader = ScriptedReader(watch=DOWN, lasts=60.0)
    await follow(reader, seconds=3600)
    assert all(pause <= 60.8 for pause in pauses(reader.watched))


@pytest.mark.looptime
async def test_polite_ends_go_on_at_once_and_are_listed_over_once_an_hour() -> None:
    """Watches follow each other without a gap; a list an hour heals what no error betrays."""
    reader = ScriptedReader(lasts=400.0)
    handler = await follow(reader, seconds=86400)
    assert all(pause == pytest.approx(400.0) for pause in pauses(reader.watched))
    assert all(3600 <= pause <= 4000 for pause in pauses(reader.listed))
    assert len(reader.listed) > 20
    assert set(handler.restarts) == {RestartReason.ENDED}


@pytest.mark.looptime
async def test_wait_that_is_asked_for_has_a_bound() -> None:
    """A server that asks to wait for an hour is asked again after a minute."""
    busy = api_error("list", PODS, 429, {}, retry_after=3600.0)
    reader = ScriptedReader(listing=busy)
    await follow(reader, seconds=601)
    assert pauses(reader.listed) == pytest.approx([60.0] * 10)


@pytest.mark.looptime
async def test_expired_once_in_a_while_is_listed_over_at_once() -> None:
    """After a watch that held, 410 is answered with a list without a wait, every time."""
    reader = ScriptedReader(watch=api_error("watch", PODS, 410, {}), lasts=60.0)
    handler = await follow(reader, seconds=3000)
    assert all(pause == pytest.approx(60.0) for pause in pauses(reader.listed))
    assert set(handler.restarts) == {RestartReason.EXPIRED}


@pytest.mark.looptime
async def test_watch_that_holds_again_is_logged_once() -> None:
    """After watches that failed in a row, the first that holds is worth a line; a list that worked meanwhile is not."""
    reader = ScriptedReader(watch=DOWN)
    with structlog.testing.capture_logs() as logs:
        following = asyncio.create_task(follow(reader, seconds=3600))
        await asyncio.sleep(600)
        assert [log["event"] for log in logs] == ["watch failed; falling back to repeated lists"]
        reader.watch, reader.lasts = None, 60.0
        await following
    assert [log["event"] for log in logs[1:]] == ["watch works again"]


@pytest.mark.looptime
async def test_flood_of_events_leaves_others_their_turn() -> None:
    """However many events lie ready, other tasks run in between."""
    reader = ScriptedReader(events=[bookmark(str(number)) for number in range(2000)], lasts=1.0)
    handler = RecordingHandler()
    reflector = Reflector(reader, PODS, handler, read=lambda obj: obj)
    following = asyncio.create_task(reflector.run())
    turns = 0
    while handler.calls.count("alive") < 2000:
        turns += 1
        await asyncio.sleep(0)
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following
    assert turns >= 2000 / EVENTS_PER_TURN
