"""A bare server that answers at once, in a process of its own: what the machine alone makes wait.

`python -m tests.chaos.control PORT`; it ends with its standard input.
"""

import asyncio
import os
import sys

from aiohttp import web


async def _answer(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def main(port: int) -> None:
    """Serve until the input ends."""
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), os._exit, 0)
    app = web.Application()
    app.router.add_get("/", _answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
