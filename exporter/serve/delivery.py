"""The outermost step of every answer: it leaves within its time, or its connection ends; and an error ends it too."""

import asyncio
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from exporter.serve.connections import connection_of
from exporter.serve.interruption import Interruption

log = structlog.get_logger(__name__)


def deliver_in(timeout: float) -> Middleware:
    """Return the outermost middleware, which also sends the answer, so that a client that never reads is let go."""

    @web.middleware
    async def deliver(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection, interruption = connection_of(request), Interruption(request)
        if connection is not None:
            connection.begin_request()
        try:
            async with asyncio.timeout(timeout):
                response = await handler(request)
                interruption.check()
                if response.status >= HTTPStatus.BAD_REQUEST:
                    # What this replica cannot answer another may. The API server and KEDA keep a connection whatever
                    # comes over it, so all their questions would end here; by a new one they find the other.
                    response.force_close()
                await response.prepare(request)
                await response.write_eof()
                return response
        except TimeoutError:
            log.debug("response was not read in time, connection closed", path=request.path, client=request.remote)
            return broken_off(request)
        except ConnectionError:
            return broken_off(request)
        finally:
            if connection is not None:
                connection.end_request()

    return deliver


def broken_off(request: web.Request) -> web.Response:
    """Cut the connection; aiohttp still needs a response object, which it then cannot send."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
