"""The application: which route answers what, and what holds for every answer."""

from collections.abc import Callable
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from exporter.fleet.remarks import ignored_remarks
from exporter.serve.delivery import broken_off, deliver_in
from exporter.serve.interruption import INTACT_SINCE
from exporter.store.snapshots import SnapshotStore
from exporter.web import api, page
from exporter.web.about import About
from exporter.web.answers import JSON_POLICY, json_answer
from exporter.web.history import History
from exporter.web.runbooks import Runbooks

log = structlog.get_logger(__name__)

ANSWER_TIMEOUT = 30.0
"""Seconds from a request's header to the last byte the client takes; three times Prometheus' usual scrape timeout."""


def build_app(
    view: SnapshotStore,
    metrics: Handler,
    history: History,
    *,
    hosts: Middleware,
    access: Middleware,
    past: api.PastOf,
    about: About,
    runbooks: Runbooks,
    wall_clock: Callable[[], float],
    intact_since: Callable[[], float],
    answer_timeout: float = ANSWER_TIMEOUT,
) -> web.Application:
    """Return the application.

    `metrics` answers `/metrics`; `hosts` refuses requests for unknown names, and `access` those that are not allowed;
    `past` returns what the forecast is made from; `about` is this exporter; `intact_since` is as in
    `serve.interruption`.
    """
    app = web.Application(middlewares=[deliver_in(answer_timeout), _errors, hosts, access])
    app[INTACT_SINCE] = intact_since
    app.on_response_prepare.append(_common_headers)
    health = _Health(view, about.out_of_service)
    app.router.add_routes(
        [
            web.get("/", health.front_page),
            web.get("/metrics", metrics),
            web.get("/healthz", health.healthz),
            web.get("/readyz", health.readyz),
            *page.routes(),
            *api.Api(view, history, past, about, wall_clock).routes(),
            *runbooks.routes(),
        ]
    )
    return app


class _Health:
    """The answers that need nothing but the view's state."""

    def __init__(self, view: SnapshotStore, out_of_service: Callable[[], str | None]) -> None:
        self._view = view
        self._out_of_service = out_of_service

    async def healthz(self, _request: web.Request) -> web.Response:
        """Answer at all: that is what shows that the event loop runs."""
        return web.Response(text="ok\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """Answer 200 once the figures mean something, while no other replica had better answer; else 503 and why."""
        reason = self._view.not_ready_reason() or self._out_of_service()
        if reason is not None:
            return web.Response(text=f"{reason}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)
        return web.Response(text="ready\n")

    async def front_page(self, _request: web.Request) -> web.Response:
        """Answer with the status page, for a person."""
        remarks = ignored_remarks(self._view.ignored_pods())
        html = page.render(self._view.fleets(), self._view.not_ready_reason(), remarks)
        # What is no character cannot be written, and must not cost the reader the page.
        body = html.encode(errors="replace")
        headers = {"Content-Security-Policy": page.POLICY}
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into answers: JSON below /api/, a line of text elsewhere."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _error_answer(request, error)
    except ConnectionError:
        raise
    except Exception:
        log.exception("request failed", path=request.path)
        if request.writer.output_size:
            # Half an answer is out; it must not look like a whole one.
            return broken_off(request)
        return _error_answer(request, web.HTTPInternalServerError(text="internal error; see the exporter's log"))


def _error_answer(request: web.Request, error: web.HTTPException) -> web.Response:
    text = error.text or error.reason
    if isinstance(error, web.HTTPMethodNotAllowed):
        text = f"{request.method} is not allowed here, only {', '.join(sorted(error.allowed_methods))}"
    elif error.status == HTTPStatus.NOT_FOUND and request.match_info.http_exception is error:
        text = f"no resource at {request.path}; / lists the resources"
    if request.path.startswith("/api/"):
        answer = json_answer(request, {"error": text}, error.status)
    else:
        answer = web.Response(text=f"{text}\n", status=error.status)
    for name in (hdrs.ALLOW, hdrs.RETRY_AFTER, hdrs.WWW_AUTHENTICATE):
        for value in error.headers.getall(name, ()):
            answer.headers.add(name, value)
    return answer


async def _common_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Give every answer what a proxy and a browser must know: keep nothing, guess nothing, run nothing."""
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers.setdefault("Content-Security-Policy", JSON_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers[hdrs.SERVER] = "fleet-exporter"
