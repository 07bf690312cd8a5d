"""moto's AWS over real HTTP, in a process of its own, and a client to read back with."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioboto3

from tests.fakes.ports import free_port
from tests.waiting import PATIENCE


@asynccontextmanager
async def moto_server() -> AsyncIterator[str]:
    """Run a moto server and yield its URL."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            while not await _listens(port):  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


def reader(url: str) -> Any:
    """Return a CloudWatch client, an async context manager."""
    return aioboto3.Session().client("cloudwatch", region_name="eu-west-1", endpoint_url=url)
