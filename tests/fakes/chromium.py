"""A real browser without a window, steered by its DevTools protocol (chromedevtools.github.io) over a websocket."""

import asyncio
import base64
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from tests.waiting import PATIENCE

START_SECONDS = 60.0
"""For the browser to come up on a busy machine."""
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """Return the browser's path, or None where there is none."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


class Page:
    """One tab."""

    def __init__(self, socket: ClientWebSocketResponse, session: str) -> None:
        self._socket = socket
        self._session = session
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        """What the browser had to say against the page: errors of its script, what its policy forbade, failed loads."""

    async def listen(self) -> None:
        """Take what the browser sends, until it ends."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                return
            said = json.loads(message.data)
            if said.get("id") in self._answers:
                future = self._answers.pop(said["id"])
                if not future.done():
                    future.set_result(said)
            elif said.get("method") == "Page.loadEventFired":
                self._loaded.set()
            elif said.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.complaints.append(json.dumps(said["params"]))

    async def send(self, method: str, **parameters: Any) -> Any:
        """Give one command; returns its result."""
        number = next(self._numbers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "sessionId": self._session, "method": method, "params": parameters}
        await self._socket.send_str(json.dumps(command))
        said = await asyncio.wait_for(future, START_SECONDS)
        assert "error" not in said, said
        return said["result"]

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression; promises are waited for."""
        result = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def goto(self, url: str) -> None:
        """Open a page, and wait until it has loaded."""
        self._loaded.clear()
        await self.send("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), START_SECONDS)

    async def until(self, script: str, seconds: float = PATIENCE) -> None:
        """Wait until an expression is true."""
        async with asyncio.timeout(seconds):
            while not await self.evaluate(f"Boolean({script})"):  # noqa: ASYNC110 - a page has no event of ours
                await asyncio.sleep(0.05)

    async def look(self, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Give the window a size, and the reader a taste."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.send("Emulation.setEmulatedMedia", features=scheme)

    async def screenshot(self, file: Path) -> None:
        """Take a picture of the whole page."""
        taken = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(taken["data"]))


@asynccontextmanager
async def browser(folder: Path, *flags: str) -> AsyncIterator[Page]:
    """Run a browser with a profile of its own in `folder` and further flags, and open a tab."""
    executable = program()
    assert executable is not None
    process = await asyncio.create_subprocess_exec(
        executable, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder}", *flags,
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=os.environ | {"HOME": str(folder)},
    )  # fmt: skip
    try:
        url = await asyncio.wait_for(_devtools(process), START_SECONDS)
        async with ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
            target = await _command(socket, "Target.createTarget", url="about:blank")
            attached = await _command(socket, "Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page = Page(socket, attached["sessionId"])
            listening = asyncio.create_task(page.listen(), name="browser")
            try:
                for domain in ("Page", "Runtime", "Log"):
                    await page.send(f"{domain}.enable")
                yield page
            finally:
                listening.cancel()
                await asyncio.wait({listening})
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _devtools(process: asyncio.subprocess.Process) -> str:
    """Read where the browser listens."""
    assert process.stderr is not None
    said = b""
    async for line in process.stderr:
        said += line
        if match := re.search(rb"DevTools listening on (\S+)", line):
            return match[1].decode()
    raise RuntimeError(f"the browser ended: {said[-2000:]!r}")


async def _command(socket: ClientWebSocketResponse, method: str, **parameters: Any) -> Any:
    """Give a command to the browser itself, before there is a tab."""
    await socket.send_str(json.dumps({"id": 0, "method": method, "params": parameters}))
    while True:
        said = await socket.receive_json(timeout=START_SECONDS)
        if said.get("id") == 0:
            return said["result"]
