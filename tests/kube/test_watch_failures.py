"""Every way a list or a watch can fail: what was known stays, and what is true is learnt again."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog
from aiohttp.typedefs import Handler
from structlog.typing import EventDict

from exporter.kube.watch import RestartReason
from tests.fakes.kube_api import ScriptedKubeApi, bookmark, event, lines, obj, page, reply, status
from tests.fakes.kube_recorders import RecordingHandler
from tests.waiting import eventually

Follow = Callable[..., RecordingHandler]

GONE = status(410, "Expired", "too old resource version")
FAILURES: list[tuple[Handler, RestartReason]] = [
    (reply(500, status(500, "InternalError")), RestartReason.ERROR),
    (reply(429, status(429, "TooManyRequests")), RestartReason.ERROR),
    (reply(502, "<html>bad gateway</html>"), RestartReason.ERROR),
    (reply(200, "<html>log in</html>"), RestartReason.ERROR),
    (reply(200, '{"items":' + "[" * 5000), RestartReason.ERROR),
    (reply(200, {}), RestartReason.ERROR),
    (reply(200, ""), RestartReason.ERROR),
    (reply(200, "[" * 100_000), RestartReason.ERROR),
    (reply(200, '{"items": [], "metadata": {"resourceVersion": "1", "x": ' + '{"x":' * 100_000), RestartReason.ERROR),
    (reply(200, '{"items": [], "metadata": {"resourceVersion": "1", "x": NaN}}'), RestartReason.ERROR),
    (lines(*[b" " * 1024 * 1024] * 33), RestartReason.ERROR),
    (reply(200, {"metadata": {}, "items": []}), RestartReason.ERROR),
    (reply(200, {"metadata": {"resourceVersion": 7}, "items": []}), RestartReason.ERROR),
    (reply(200, {"metadata": {"resourceVersion": "1"}, "items": [None]}), RestartReason.ERROR),
    (reply(200, {"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"uid": "u"}}]}), RestartReason.ERROR),
    (reply(200, status(200)), RestartReason.ERROR),
    (reply(200, {"kind": "PodList", "metadata": {"resourceVersion": "1"}}), RestartReason.ERROR),
    (reply(200, {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": "many"}), RestartReason.ERROR),
    (reply(200, {"kind": "PodList", "metadata": {"resourceVersion": ""}, "items": []}), RestartReason.ERROR),
    (reply(200, {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [{}]}), RestartReason.ERROR),
    (reply(401, status(401, "Unauthorized")), RestartReason.FORBIDDEN),
    (reply(403, status(403, "Forbidden")), RestartReason.FORBIDDEN),
    (reply(410, GONE), RestartReason.EXPIRED),
    (lines(b'{"kind": "PodList", "items": [', then="cut"), RestartReason.ERROR),
]


async def test_hung_watch_is_noticed_by_its_silence(api: ScriptedKubeApi, follow: Follow) -> None:
    """A watch on which nothing comes, not even a bookmark, is given up and listed over."""
    api.script(lists=[page(obj("a")), page(obj("b"))], watches=[lines()])
    handler = follow(inactivity=0.3)
    await eventually(lambda: handler.versions == {"b": "1"})
    assert handler.restarts[0] is RestartReason.INACTIVE


@pytest.mark.slow
async def test_bookmarks_keep_a_quiet_watch_alive(api: ScriptedKubeApi, follow: Follow) -> None:
    """Silence is counted from the last line, not from the start of the watch."""
    api.script(watches=[lines(*(bookmark(str(number)) for number in range(2, 10)), pause=0.15)])
    handler = follow(inactivity=1.0)
    await eventually(lambda: handler.calls.count("alive") == 8)
    assert handler.restarts == []


async def test_watch_that_overstays_is_ended_from_here(api: ScriptedKubeApi, follow: Follow) -> None:
    """A server that drips for ever and forgets the time it was given is not followed for ever."""
    drip = lines(*(bookmark(str(number)) for number in range(2, 100)), pause=0.1)
    api.script(watches=[drip, lines()])
    handler = follow(watch_min=0, watch_max=0, overtime=0.5)
    await eventually(lambda: len(api.watched) == 2)
    assert handler.restarts == [RestartReason.ERROR]
    assert len(api.listed) == 2


@pytest.mark.parametrize("answer", [reply(410, GONE), lines(event("ERROR", GONE), then="end")], ids=["status", "event"])
async def test_gone_version_is_listed_over_at_once(api: ScriptedKubeApi, follow: Follow, answer: Handler) -> None:
    """410, as an HTTP status or as an event, means list now: no waiting, the difference is delivered."""
    api.script(lists=[page(obj("a")), page(obj("b"))], watches=[answer, lines()])
    handler = follow(backoff_first=600.0, backoff_max=600.0)
    await eventually(lambda: handler.versions == {"b": "1"})
    assert handler.restarts == [RestartReason.EXPIRED]


async def test_gone_again_and_again_is_no_hot_loop(api: ScriptedKubeApi, follow: Follow) -> None:
    """A server for which every version is too old is asked ever more rarely."""
    api.script(watches=[reply(410, GONE)])
    handler = follow(backoff_first=600.0, backoff_max=600.0)
    await eventually(lambda: len(handler.restarts) == 2)
    assert len(api.listed) == 2


async def test_failed_watch_is_listed_over(api: ScriptedKubeApi, follow: Follow) -> None:
    """An ERROR event of another kind, or a refused watch, is waited for and listed over."""
    failures = [lines(event("ERROR", status(500)), then="end"), lines(event("ERROR", {}), then="end"), reply(500, "x")]
    api.script(lists=[page(obj("a")), page(obj("a")), page(obj("a")), page(obj("b"))], watches=[*failures, lines()])
    handler = follow()
    await eventually(lambda: handler.versions == {"b": "1"})
    assert handler.restarts == [RestartReason.ERROR] * 3


@pytest.mark.parametrize(("failure", "reason"), FAILURES)
async def test_failing_list_keeps_what_was_known(
    api: ScriptedKubeApi, follow: Follow, failure: Handler, reason: RestartReason
) -> None:
    """While the list fails, in whatever way, nothing is taken away; the first good one says what is true."""
    api.script(lists=[page(obj("a"), obj("b")), failure, failure, page(obj("b"))], watches=[lines(then="cut"), lines()])
    handler = follow()
    await eventually(lambda: set(handler.items) == {"b"})
    assert handler.calls == ["replaced", "replaced"]
    assert handler.restarts[0] is RestartReason.ERROR
    assert set(handler.restarts[1:]) == {reason}


async def test_slow_list_times_out_and_is_tried_again(api: ScriptedKubeApi, follow: Follow) -> None:
    """A list that hangs does not hang the reflector."""
    api.script(lists=[reply(200, {}, after=20), page(obj("a"))])
    handler = follow(list_timeout=0.2)
    await eventually(lambda: handler.versions == {"a": "1"})
    assert handler.restarts == [RestartReason.ERROR]


@pytest.mark.slow
async def test_wait_asked_for_is_kept(api: ScriptedKubeApi, follow: Follow) -> None:
    """Retry-After is heeded where it is longer than the backoff."""
    busy = reply(429, status(429), headers={"Retry-After": "1"})
    api.script(lists=[busy, page(obj("a"))])
    handler = follow(backoff_max=0.02)
    await eventually(lambda: handler.items)
    refused, listed = api.moments
    assert listed - refused >= 1


async def test_pages_make_one_list(api: ScriptedKubeApi, follow: Follow) -> None:
    """A list in pages is delivered once, whole, with the version of its first page."""
    api.script(lists=[page(obj("a"), version="7", token="t1"), page(obj("b"), version="7", token="t2"), page(obj("c"))])
    handler = follow(page_size=1)
    await eventually(lambda: api.watched)
    assert handler.calls == ["replaced"]
    assert set(handler.items) == {"a", "b", "c"}
    assert [query.get("continue") for query in api.listed] == [None, "t1", "t2"]
    assert api.watched[0]["resourceVersion"] == "7"


async def test_expired_page_begins_the_list_again(api: ScriptedKubeApi, follow: Follow) -> None:
    """A continue token that is too old throws away the half list, not what was known."""
    api.script(lists=[page(obj("a"), token="t1"), reply(410, GONE), page(obj("b"), token="t2"), page(obj("c"))])
    handler = follow()
    await eventually(lambda: handler.calls == ["replaced"])
    assert set(handler.items) == {"b", "c"}
    assert [query.get("continue") for query in api.listed] == [None, "t1", None, "t2"]
    assert handler.restarts == [RestartReason.EXPIRED]


async def test_pages_without_end_are_given_up(api: ScriptedKubeApi, follow: Follow) -> None:
    """A server that always promises one more page does not catch the reflector for ever."""
    api.script(lists=[page(obj("a"), token="again")])
    handler = follow()
    await eventually(lambda: handler.restarts)
    assert handler.calls == []


def said(logs: list[EventDict]) -> list[tuple[Any, ...]]:
    return [(log["event"], *([log["reason"]] if "reason" in log else [])) for log in logs]


async def test_outage_is_logged_once_and_its_end_once(api: ScriptedKubeApi, follow: Follow) -> None:
    """However often it is tried, the log has one line for each way in which listing fails, and one when it works."""
    down, denied = reply(503, "down"), reply(403, status(403, "Forbidden", "no"))
    api.script(lists=[page(), down, down, down, denied, denied, page(obj("a"))], watches=[lines(then="cut"), lines()])
    with structlog.testing.capture_logs() as logs:
        handler = follow()
        await eventually(lambda: handler.versions == {"a": "1"})
    assert said(logs) == [
        ("list failed; the last known state is kept", RestartReason.ERROR),
        ("list failed; the last known state is kept", RestartReason.FORBIDDEN),
        ("list works again",),
    ]
    assert logs[0]["resource"] == "pods in namespace 'matillion'"
    assert 'verbs: ["list", "watch"]}' in logs[1]["fix"]


async def test_watch_that_is_not_allowed_is_logged_and_lists_continue(api: ScriptedKubeApi, follow: Follow) -> None:
    """Where only `list` is granted the collection is kept current by lists, and the log says what is missing."""
    api.script(watches=[reply(403, status(403, "Forbidden"))])
    with structlog.testing.capture_logs() as logs:
        handler = follow()
        await eventually(lambda: handler.calls.count("replaced") == 4)
    assert said(logs) == [("watch failed; falling back to repeated lists", RestartReason.FORBIDDEN)]


async def test_single_cut_watch_is_not_worth_a_line(api: ScriptedKubeApi, follow: Follow) -> None:
    """A cut watch that a list makes good is counted, not logged; watches that fail in a row are logged once."""
    api.script(watches=[lines(then="cut"), lines(bookmark("2"))])
    with structlog.testing.capture_logs() as logs:
        handler = follow()
        await eventually(lambda: "alive" in handler.calls)
        assert handler.restarts == [RestartReason.ERROR]
        assert logs == []
        api.script(watches=[lines(then="cut")])
        second = follow()
        await eventually(lambda: len(second.restarts) > 4)
    assert said(logs) == [("watch failed; falling back to repeated lists", RestartReason.ERROR)]
