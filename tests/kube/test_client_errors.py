"""Each way a request can fail becomes one error whose text says what, where and what to do."""

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from exporter.kube.api import AccessDeniedError, ApiError, ExpiredError, InactiveError, Resource, UnreachableError
from exporter.kube.client import PROBE_AFTER, KubeClient
from tests.fakes.kube_api import ScriptedKubeApi, kubeconfig, lines, obj, page, reply, status
from tests.fakes.tcp_table import ESTABLISHED, connections
from tests.waiting import eventually

PODS = Resource("", "v1", "pods", "matillion")


async def refused(api: ScriptedKubeApi, client: KubeClient, answer: Any) -> ApiError:
    api.script(lists=[answer])
    with pytest.raises(ApiError) as caught:
        await client.get(PODS)
    return caught.value


async def drain(client: KubeClient, into: list[bytes], idle: float, total: float | None = None) -> None:
    async with client.stream(PODS, idle_timeout=idle, total_timeout=total) as stream:
        async for line in stream:
            into.append(line)  # noqa: PERF401 — a comprehension would lose what came before an error


async def test_403_names_verb_resource_group_namespace_and_rule(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A refused permission says which one is missing, who lacks it in the server's words, and the rule to add."""
    error = await refused(api, client, reply(403, status(403, "Forbidden", 'User "sa" cannot list resource "pods"')))
    assert isinstance(error, AccessDeniedError)
    assert str(error) == (
        'Cannot list pods in namespace \'matillion\': User "sa" cannot list resource "pods" (HTTP 403, Forbidden). '
        'To allow it, add the rule {apiGroups: [""], resources: ["pods"], verbs: ["list"]} to a Role in namespace '
        "'matillion' that is bound to the exporter's service account."
    )


async def test_401_speaks_of_the_credentials_first(api: ScriptedKubeApi, client: KubeClient) -> None:
    """Who is not known is told to look at the token, and still what permission it takes."""
    error = await refused(api, client, reply(401, status(401, "Unauthorized", "Unauthorized")))
    assert isinstance(error, AccessDeniedError)
    assert "does not accept the credentials" in str(error)
    assert 'resources: ["pods"], verbs: ["list"]' in str(error)


@pytest.mark.parametrize(
    ("method", "resource", "verb"),
    [
        ("GET", PODS.named("p"), "get"),
        ("GET", PODS, "list"),
        ("POST", PODS, "create"),
        ("PUT", PODS.named("p"), "update"),
        ("PATCH", PODS.named("p"), "patch"),
        ("DELETE", PODS.named("p"), "delete"),
    ],
)
async def test_verbs_are_those_of_rbac(
    api: ScriptedKubeApi, client: KubeClient, method: str, resource: Resource, verb: str
) -> None:
    """The missing permission is named by RBAC's verb, not by the HTTP method."""
    api.script(lists=[reply(403, status(403))])
    with pytest.raises(AccessDeniedError, match=f'verbs: \\["{verb}"\\]'):
        await client.send(method, resource, None if method in {"GET", "DELETE"} else {})


async def test_410_is_expired(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A version or token that is too old has an error of its own."""
    assert isinstance(await refused(api, client, reply(410, status(410, "Expired"))), ExpiredError)


async def test_conflict_keeps_status_and_reason(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A writer can tell that the object was changed meanwhile."""
    error = await refused(api, client, reply(409, status(409, "Conflict")))
    assert (error.status, error.reason) == (409, "Conflict")
    assert "read it again" in str(error)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("-1", None)])
async def test_429_carries_the_wait_asked_for(
    api: ScriptedKubeApi, client: KubeClient, header: str, seconds: float | None
) -> None:
    """Retry-After in seconds is handed on; what is not a number of seconds is not guessed at."""
    error = await refused(api, client, reply(429, status(429), headers={"Retry-After": header}))
    assert (error.status, error.retry_after) == (429, seconds)


async def test_error_that_is_not_from_kubernetes_is_marked(api: ScriptedKubeApi, client: KubeClient) -> None:
    """The HTML page of a load balancer is not quoted; its kind and status are."""
    error = await refused(api, client, reply(502, "<html>" + "x" * 100_000))
    assert error.status == 502
    assert "not from Kubernetes but text/html" in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize("body", ["<html>log in here</html>", ["a list"], "[" * 5000], ids=["html", "list", "deep"])
async def test_good_status_without_a_json_object_is_no_answer(
    api: ScriptedKubeApi, client: KubeClient, body: Any
) -> None:
    """A portal's login page with status 200 is not taken for an empty cluster."""
    api.script(lists=[reply(200, body)])
    with pytest.raises(UnreachableError, match="not a JSON object"):
        await client.get(PODS)


async def test_refused_connection_names_the_server(tmp_path: Path) -> None:
    """Where nobody listens, the text says where that was."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    api = ScriptedKubeApi(tmp_path)
    api.kubeconfig.write_text(json.dumps(kubeconfig(url, {"token": "t"})))
    async with await api.client() as client:
        with pytest.raises(
            UnreachableError, match=f"Cannot list pods in namespace 'matillion': {url} cannot be reached"
        ):
            await client.get(PODS)


async def test_slow_answer_ends_at_the_deadline(api: ScriptedKubeApi, client: KubeClient) -> None:
    """Every request has a deadline."""
    api.script(lists=[reply(200, {}, after=30)])
    with pytest.raises(UnreachableError, match="did not respond in time"):
        await client.get(PODS, timeout=0.2)


async def test_cut_answer_is_no_answer(api: ScriptedKubeApi, client: KubeClient) -> None:
    """Half a list is not a list."""
    api.script(lists=[lines(b'{"items": [', then="cut")])
    with pytest.raises(UnreachableError, match="cannot be reached"):
        await client.get(PODS)


async def test_body_and_content_type_of_a_patch_arrive(api: ScriptedKubeApi, client: KubeClient) -> None:
    """What is sent is what was given, with the patch's own content type and the login."""
    seen: list[tuple[str, str, str, Any]] = []

    async def answer(request: web.Request) -> web.Response:
        kind, login = request.headers["Content-Type"], request.headers["Authorization"]
        seen.append((request.method, kind, login, await request.json()))
        return web.json_response(obj("p"))

    api.script(lists=[answer])
    patch = {"metadata": {"annotations": {"a": None}}}
    assert await client.send("PATCH", PODS.named("p"), patch, content_type="application/merge-patch+json") == obj("p")
    assert seen == [("PATCH", "application/merge-patch+json", "Bearer first", patch)]


async def test_stream_yields_lines_however_they_are_cut_up(api: ScriptedKubeApi, client: KubeClient) -> None:
    """Lines do not depend on packets, and the last one needs no end."""
    api.script(lists=[lines(b"one\ntw", b"o\n", b"\nthree", then="end")])
    async with client.stream(PODS.named("p", "log"), idle_timeout=5) as stream:
        assert [line async for line in stream] == [b"one", b"two", b"", b"three"]


async def test_silent_stream_is_inactive(api: ScriptedKubeApi, client: KubeClient) -> None:
    """Silence on an open stream has an error of its own, after what came before it."""
    api.script(lists=[lines(b"one\n", then="hang")])
    got: list[bytes] = []
    with pytest.raises(InactiveError, match="sent nothing"):
        await drain(client, got, idle=0.2)
    assert got == [b"one"]


@pytest.mark.skipif(sys.platform != "linux", reason="the options are Linux's")
async def test_silent_stream_is_probed(api: ScriptedKubeApi, client: KubeClient) -> None:
    """The kernel probes the server's host, which may be gone without a word, well before the idle timeout."""
    api.script(lists=[lines(b"one\n", then="hang")])
    async with client.stream(PODS, idle_timeout=70) as stream:
        assert await anext(stream) == b"one"
        assert 0 < await asyncio.to_thread(_next_probe, int(api.url.rpartition(":")[2])) <= PROBE_AFTER


def _next_probe(port: int) -> float:
    """Return the seconds until the kernel probes the connection to this port of loopback."""
    server = f"0100007F:{port:04X}"
    [own] = [one for one in connections() if (one.remote, one.state) == (server, ESTABLISHED)]
    assert own.timer == "02"
    return own.timer_seconds


async def test_stream_has_a_last_hour(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A stream that drips for ever ends at its total deadline."""
    api.script(lists=[lines(b"drip\n", then="hang")])
    with pytest.raises(UnreachableError, match="in time"):
        await drain(client, [], idle=20, total=0.2)


async def test_endless_line_is_given_up(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A line that never ends does not fill the memory."""
    api.script(lists=[lines(*[b"x" * 1024 * 1024] * 9, then="hang")])
    with pytest.raises(UnreachableError, match="a line longer than"):
        await drain(client, [], idle=10)


async def test_lines_are_cut_where_asked(api: ScriptedKubeApi, client: KubeClient) -> None:
    """However long a line is, its beginning comes and the stream goes on; no more of it is held."""
    long = [b"y" * 1024 * 1024] * 9
    api.script(lists=[lines(b"abc", b"def\n", *long, b"\nghij\nkl\n", b"mnopq", then="end")])
    async with client.stream(PODS.named("p", "log"), idle_timeout=5, keep=4) as stream:
        assert [line async for line in stream] == [b"abcd", b"yyyy", b"ghij", b"kl", b"mnop"]


async def test_stream_refused_is_an_api_error(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A watch that is not allowed names the verb `watch`."""
    api.script(watches=[reply(403, status(403))])
    with pytest.raises(AccessDeniedError, match='verbs: \\["watch"\\]'):
        async with client.stream(PODS, [("watch", "true")], idle_timeout=5):
            pass


async def test_cancelled_request_is_cancelled(api: ScriptedKubeApi, client: KubeClient) -> None:
    """Cancellation is never turned into an error of the API."""
    api.script(lists=[reply(200, {}, after=30)])
    task = asyncio.create_task(client.get(PODS))
    await eventually(lambda: api.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_query_reaches_the_server_unharmed(api: ScriptedKubeApi, client: KubeClient) -> None:
    """A label selector with every kind of sign arrives as it was written."""
    selector = "app.kubernetes.io/name=matillion-runner,tier in (a, b),x!=y"
    api.script(lists=[page()])
    await client.get(PODS, [("labelSelector", selector), ("limit", "5")])
    assert api.listed == [{"labelSelector": selector, "limit": "5"}]
