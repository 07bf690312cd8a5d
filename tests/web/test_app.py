"""What holds for every answer: health, errors, headers, compression, HEAD."""

import json
import re
import zlib

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from exporter.web.about import About
from tests.factories import make_fleet, make_snapshot
from tests.web.serving import StaticView, make_server, running, serve

PATHS = ["/", "/metrics", "/healthz", "/readyz", "/api/v1/fleets", "/api/v1/agents", "/api/v1/history"]


def many(count: int) -> StaticView:
    snapshots = [make_snapshot(f"agent-{number:05}", address=f"127.1.0.{number % 250}") for number in range(count)]
    return StaticView([make_fleet(snapshots)])


async def test_healthz_answers_whatever_the_fleets_are() -> None:
    """Being alive does not depend on being ready."""
    view = StaticView(reason="discovery has not synced")
    async with serve(view) as url, aiohttp.ClientSession(url) as client, client.get("/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")


async def test_readyz_reports_what_is_missing() -> None:
    """Not ready is 503 with the reason, ready is 200."""
    view = StaticView(reason="discovery has not synced")
    async with serve(view) as url, aiohttp.ClientSession(url) as client:
        async with client.get("/readyz") as response:
            assert (response.status, await response.text()) == (503, "discovery has not synced\n")
        view.reason = None
        async with client.get("/readyz") as response:
            assert (response.status, await response.text()) == (200, "ready\n")


async def test_readyz_sends_clients_to_a_replica_that_sees_more() -> None:
    """A replica that had better answer nobody is not ready, and says why; everything else is answered as before."""
    said: list[str | None] = ["no agent is seen from here"]
    server = make_server(StaticView([make_fleet()]), about=About(out_of_service=lambda: said[-1]))
    async with running(server) as address, aiohttp.ClientSession(f"http://{address}") as client:
        async with client.get("/readyz") as response:
            assert (response.status, await response.text()) == (503, "no agent is seen from here\n")
        for path in ("/", "/metrics", "/healthz", "/api/v1/fleets/matillion/etl/demand"):
            async with client.get(path) as response:
                assert response.status == 200
        said.append(None)
        async with client.get("/readyz") as response:
            assert response.status == 200


async def test_the_page_without_a_script() -> None:
    """The document itself has a line per fleet and every link, and a name from the cluster cannot become markup."""
    view = StaticView([make_fleet(name="<b>x</b>"), make_fleet([make_snapshot(age=99)], name="dark")], reason="a & b")
    async with serve(view) as url, aiohttp.ClientSession(url) as client, client.get("/") as response:
        page = await response.text()
        assert response.content_type == "text/html"
    assert "<strong>matillion/&lt;b&gt;x&lt;/b&gt;</strong>, ok: 1 serving; 12 of 20 tasks running, 0 queued" in page
    assert "an unknown number of 0 tasks running; its figures are not trusted: only 0 of 1 agents respond" in page
    assert "Not ready yet: a &amp; b" in page
    for path in PATHS[1:]:
        assert f'href="{path.removeprefix("/")}"' in page


async def test_the_page_loads_its_own_files_only() -> None:
    """Whatever the document names is served here, with its type; nothing comes from elsewhere or stands inline."""
    async with serve() as url, aiohttp.ClientSession(url) as client:
        async with client.get("/") as response:
            page = await response.text()
        named = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
        modules = "address agents cards chart fleets page patch state tables view"
        scripts = [f"static/{module}.js" for module in modules.split()]
        assert sorted(named) == sorted(["static/icon.svg", "static/page.css", *scripts])
        types = {}
        for file in named:
            async with client.get(f"/{file}") as response:
                assert response.status == 200
                types[file] = response.content_type
    kinds = {"static/icon.svg": "image/svg+xml", "static/page.css": "text/css"}
    assert types == kinds | dict.fromkeys(scripts, "text/javascript")
    assert not re.search(r"https?://|//[a-z]|style=|\son[a-z]+=", page)


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/api/v1/nothing"])
async def test_every_answer_has_the_headers_of_safety(path: str) -> None:
    """Nothing is kept by a proxy, guessed by a browser or run by it, whatever the route."""
    async with serve() as url, aiohttp.ClientSession(url) as client, client.get(path) as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert response.headers["Server"] == "fleet-exporter"


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_the_body(path: str) -> None:
    """HEAD gives the same status and type, nothing more, and leaves the connection fit for the next request."""
    async with serve(many(500)) as url, aiohttp.ClientSession(url) as client:
        async with client.head(path) as head, client.get(path) as whole:
            assert (head.status, head.content_type) == (whole.status, whole.content_type)
            assert await head.read() == b""
            assert await whole.read()
        async with client.get("/healthz") as response:
            assert await response.text() == "ok\n"


async def test_errors_of_the_api_are_json() -> None:
    """No such route, a wrong method and a fault of ours: each is an object with `error`; the fault is logged."""
    view = StaticView()
    async with serve(view) as url, aiohttp.ClientSession(url) as client:
        async with client.get("/api/v1/agent") as response:
            assert response.status == 404
            assert await response.json() == {"error": "no resource at /api/v1/agent; / lists the resources"}
        async with client.post("/api/v1/fleets") as response:
            assert (response.status, response.headers["Allow"]) == (405, "GET,HEAD")
            assert await response.json() == {"error": "POST is not allowed here, only GET, HEAD"}
        view.failing = RuntimeError("a secret detail")
        with capture_logs() as logs:
            async with client.get("/api/v1/fleets") as response:
                assert response.status == 500
                assert await response.json() == {"error": "internal error; see the exporter's log"}
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["request failed"]


async def test_errors_elsewhere_are_a_line_of_text() -> None:
    """Outside the API a person reads the error."""
    async with serve() as url, aiohttp.ClientSession(url) as client, client.get("/metric") as response:
        assert (response.status, response.content_type) == (404, "text/plain")
        assert await response.text() == "no resource at /metric; / lists the resources\n"


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip, deflate", True),
        ("*", True),
        ("GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=x", False),
        ("identity", False),
        ("br", False),
    ],
)
@pytest.mark.parametrize("count", [20, 500])
async def test_large_responses_are_compressed_for_clients_that_accept_it(
    *, accepted: str, compressed: bool, count: int
) -> None:
    """Gzip where the client names it; one slice or many, the same document arrives."""
    async with (
        serve(many(count)) as url,
        aiohttp.ClientSession(url, auto_decompress=False) as client,
        client.get("/api/v1/agents", headers={"Accept-Encoding": accepted}) as response,
    ):
        body = await response.read()
        assert (response.headers.get("Content-Encoding") == "gzip") is compressed
        assert "Accept-Encoding" in response.headers["Vary"]
    if compressed:
        body = zlib.decompress(body, wbits=31)
    assert len(json.loads(body)["agents"]) == count


async def test_small_answers_are_not_compressed() -> None:
    """What fits a packet goes as it is, with its length."""
    async with (
        serve(StaticView([make_fleet()])) as url,
        aiohttp.ClientSession(url) as client,
        client.get("/api/v1/fleets/matillion/etl/demand") as response,
    ):
        assert "Content-Encoding" not in response.headers
        assert int(response.headers["Content-Length"]) == len(await response.read())


async def test_a_truncated_response_is_recognizable() -> None:
    """A fault after half an answer is out cuts the connection instead of ending the answer."""

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise RuntimeError("broken")

    async with serve(handler=half) as url, aiohttp.ClientSession(url) as client:
        with capture_logs() as logs, pytest.raises(aiohttp.ClientError):
            async with client.get("/metrics") as response:
                await response.read()
        async with client.get("/healthz") as response:
            assert response.status == 200
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["request failed"]
