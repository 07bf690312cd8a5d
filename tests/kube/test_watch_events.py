"""What the events of a watch do to what is known."""

from collections.abc import Callable

import pytest
import structlog

from exporter.kube.watch import RestartReason
from tests.fakes.kube_api import ScriptedKubeApi, bookmark, event, lines, obj, page
from tests.fakes.kube_recorders import RecordingHandler
from tests.waiting import eventually

Follow = Callable[..., RecordingHandler]


async def test_list_then_events_in_order(api: ScriptedKubeApi, follow: Follow) -> None:
    """Added, changed and gone objects follow the list, by UID."""
    api.script(
        lists=[page(obj("a"), obj("b"), version="10")],
        watches=[
            lines(
                event("ADDED", obj("c", "11")),
                event("MODIFIED", obj("a", "12")),
                event("DELETED", obj("b", "13")),
            )
        ],
    )
    handler = follow(label_selector="app=x")
    await eventually(lambda: handler.versions == {"a": "12", "c": "11"})
    assert handler.calls == ["replaced", "upserted c", "upserted a", "deleted b"]
    assert api.listed == [{"limit": "100", "labelSelector": "app=x"}]
    watch = api.watched[0]
    assert 300 <= int(watch.pop("timeoutSeconds")) <= 600
    assert watch == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "10",
        "labelSelector": "app=x",
    }


@pytest.mark.parametrize(
    ("last", "version"),
    [
        (event("ADDED", obj("b", "11")), "11"),
        (event("MODIFIED", obj("a", "12")), "12"),
        (event("DELETED", obj("a", "13")), "13"),
        (bookmark("14"), "14"),
        (event("ADDED", obj("a", "1")), "1"),
    ],
    ids=["added", "modified", "deleted", "bookmark", "repeated"],
)
async def test_watch_goes_on_from_the_last_event(
    api: ScriptedKubeApi, follow: Follow, last: bytes, version: str
) -> None:
    """A watch that ended in order is taken up at once where it stopped, whatever its last event was."""
    api.script(lists=[page(obj("a"), version="10")], watches=[lines(last, then="end"), lines()])
    handler = follow()
    await eventually(lambda: len(api.watched) == 2)
    assert api.watched[1]["resourceVersion"] == version
    assert len(api.listed) == 1
    assert handler.restarts == [RestartReason.ENDED]


async def test_bookmark_confirms_that_all_is_current(api: ScriptedKubeApi, follow: Follow) -> None:
    """A quiet collection is known to be current as long as bookmarks come."""
    api.script(watches=[lines(bookmark("2"), bookmark("3"))])
    handler = follow()
    await eventually(lambda: handler.calls == ["replaced", "alive", "alive"])


async def test_repeated_events_change_nothing(api: ScriptedKubeApi, follow: Follow) -> None:
    """An event in a version that is known already is not delivered twice, and a second deletion does no harm."""
    added, gone = event("ADDED", obj("b", "11")), event("DELETED", obj("a", "12"))
    api.script(lists=[page(obj("a"), version="10")], watches=[lines(added, added, gone, gone, bookmark("20"))])
    handler = follow()
    await eventually(lambda: "alive" in handler.calls[3:])
    assert handler.versions == {"b": "11"}
    assert handler.calls.count("upserted b") == 1
    assert handler.restarts == []


@pytest.mark.parametrize(
    "stray",
    [
        [event("DELETED", obj("a", "12")), event("MODIFIED", obj("a", "11"))],
        [event("MODIFIED", obj("unheard", "11"))],
        [event("MODIFIED", obj("a", "12")), event("ADDED", obj("a", "11"))],
    ],
    ids=["change of a gone object", "change of an unknown object", "known object added in another version"],
)
async def test_events_out_of_order_are_not_applied_but_listed_over(
    api: ScriptedKubeApi, follow: Follow, stray: list[bytes]
) -> None:
    """A gone object does not come back by an old event; the list that follows says what is true."""
    api.script(
        lists=[page(obj("a"), version="10"), page(obj("true", "15"), version="15")],
        watches=[lines(*stray), lines()],
    )
    handler = follow()
    await eventually(lambda: len(api.watched) == 2)
    assert handler.versions == {"true": "15"}
    assert handler.calls[-1] == "replaced"
    assert not {"upserted unheard", "upserted true"} & set(handler.calls)
    assert api.watched[1]["resourceVersion"] == "15"
    assert handler.restarts == [RestartReason.ERROR]


async def test_same_name_with_another_uid_is_another_object(api: ScriptedKubeApi, follow: Follow) -> None:
    """Objects are told apart by UID: the new one may come before the old one is gone."""
    new, old = obj("new", "11"), obj("old", "10")
    new["metadata"]["name"] = old["metadata"]["name"] = "agent-0"
    api.script(lists=[page(old, version="10")], watches=[lines(event("ADDED", new), event("DELETED", old))])
    handler = follow()
    await eventually(lambda: handler.versions == {"new": "11"})


@pytest.mark.parametrize(
    "garbage",
    [
        b"not json at all\n",
        b'{"type": "ADDED", "object": ' + b"[" * 5000 + b"\n",
        b'{"type": "MODIFIED", "object": {"metadata": {"uid": "a", "resourceVersion": "11", "x": NaN}}}\n',
        b'{"type": ["MODIFIED"], "object": {}}\n',
        b'{"type": "MODIFIED", "object": [1]}\n',
        b'{"type": "BOOKMARK", "object": {"metadata": {}}}\n',
        b"\xff\xfe\x00\n",
        b"[1, 2]\n",
        b'{"type": "ADDED"}\n',
        b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": "3"}}}\n',
        b'{"type": "MODIFIED", "object": {"metadata": {"uid": "a"}}}\n',
        b'{"type": "BOOKMARK", "object": {"metadata": null}}\n',
    ],
)
async def test_line_without_sense_is_listed_over(api: ScriptedKubeApi, follow: Follow, garbage: bytes) -> None:
    """A line that cannot be read may have been any event: a list makes up for it."""
    api.script(
        lists=[page(obj("a"), version="10"), page(obj("b", "12"), version="12")],
        watches=[lines(event("ADDED", obj("x", "11")), garbage), lines()],
    )
    handler = follow()
    await eventually(lambda: handler.versions == {"b": "12"})
    assert handler.restarts == [RestartReason.ERROR]


@pytest.mark.parametrize("then", ["end", "cut"])
async def test_truncated_last_line_is_listed_over(api: ScriptedKubeApi, follow: Follow, then: str) -> None:
    """Half an event at the end of the connection is never applied, and not lost either."""
    half = event("ADDED", obj("b", "11"))[:25]
    api.script(
        lists=[page(obj("a"), version="10"), page(obj("a"), obj("b", "11"), version="11")],
        watches=[lines(half, then=then), lines()],  # type: ignore[arg-type]  # both values are of the literal
    )
    handler = follow()
    await eventually(lambda: set(handler.items) == {"a", "b"})
    assert handler.calls == ["replaced", "replaced"]


async def test_blank_lines_and_unknown_types_are_passed_over(api: ScriptedKubeApi, follow: Follow) -> None:
    """What a newer server may send besides does not end the watch, and is mentioned once."""
    odd = event("RENAMED", obj("a", "11"))
    api.script(watches=[lines(b"\n", b"\r\n", odd, odd, event("ADDED", obj("b", "12")))])
    with structlog.testing.capture_logs() as logs:
        handler = follow()
        await eventually(lambda: handler.versions == {"b": "12"})
    assert handler.restarts == []
    assert [log["type"] for log in logs] == ["RENAMED"]
