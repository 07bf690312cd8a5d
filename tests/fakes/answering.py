"""A server that has one answer for everything."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


@asynccontextmanager
async def answering(
    status: int, text: str, content_type: str = "text/plain", *, prepare: Prepare | None = None
) -> AsyncIterator[str]:
    """Serve it on a free loopback port; yields the URL. `prepare` may change the headers of each answer."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    if prepare is not None:
        app.on_response_prepare.append(prepare)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
