"""A scripted Kubernetes API server on a real socket, for what a real one will not do on demand.

It knows nothing of objects: a test says, answer by answer, what a list and what a watch gets.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from aiohttp import web
from aiohttp.typedefs import Handler

from exporter.kube.client import KubeClient

Json = dict[str, Any]


def obj(uid: str, version: str = "1", **fields: Any) -> Json:
    """Make the least an object is."""
    return {"metadata": {"uid": uid, "name": uid, "resourceVersion": version}, **fields}


def event(kind: str, what: Json) -> bytes:
    """Make one line of a watch."""
    return json.dumps({"type": kind, "object": what}).encode() + b"\n"


def bookmark(version: str) -> bytes:
    """Make a line that only moves the version on."""
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": version}})


def status(code: int, reason: str = "", message: str = "said the script") -> Json:
    """Make Kubernetes' own error body."""
    return {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def page(*objects: Json, version: str = "1", token: str = "") -> Handler:
    """Answer a list with objects; a token says that more follow."""
    metadata = {"resourceVersion": version, **({"continue": token} if token else {})}
    return reply(200, {"kind": "PodList", "metadata": metadata, "items": list(objects)})


def reply(
    code: int, body: Json | list[Any] | str, *, headers: dict[str, str] | None = None, after: float = 0.0
) -> Handler:
    """Answer with a JSON body, or with HTML where it is text; `after` so many seconds."""

    async def answer(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(after)
        if isinstance(body, str):
            return web.Response(status=code, text=body, content_type="text/html", headers=headers)
        return web.json_response(body, status=code, headers=headers)

    return answer


def lines(*parts: bytes, then: Literal["end", "hang", "cut"] = "hang", pause: float = 0.0) -> Handler:
    """Answer a watch with bytes, a `pause` before each; `then` end in order, stay silent, or cut the connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for part in parts:
            await asyncio.sleep(pause)
            await response.write(part)
        if then == "hang":
            await request.app[CLOSING].wait()
        elif then == "cut":
            assert request.transport is not None
            await asyncio.sleep(0.05)  # what was written shall leave first
            request.transport.abort()
        return response

    return answer


CLOSING = web.AppKey("closing", asyncio.Event)


class ScriptedKubeApi:
    """Gives each list and each watch the next answer of its script; the last answer repeats."""

    def __init__(self, folder: Path) -> None:
        self.lists: list[Handler] = [page()]
        self.watches: list[Handler] = [lines()]
        self.requests: list[web.Request] = []
        self.moments: list[float] = []
        """When each list was asked for, by the clock of the loop."""
        self.url = ""
        self.kubeconfig = folder / "scripted.kubeconfig"

    def script(self, lists: Sequence[Handler] = (), watches: Sequence[Handler] = ()) -> None:
        """Set what is answered from now on."""
        self.lists = list(lists) or self.lists
        self.watches = list(watches) or self.watches

    @property
    def listed(self) -> list[dict[str, str]]:
        """The queries of the lists so far."""
        return [dict(request.query) for request in self.requests if "watch" not in request.query]

    @property
    def watched(self) -> list[dict[str, str]]:
        """The queries of the watches so far."""
        return [dict(request.query) for request in self.requests if "watch" in request.query]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedKubeApi"]:
        """Listen on a free loopback port."""
        app = web.Application()
        app[CLOSING] = asyncio.Event()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self.kubeconfig.write_text(json.dumps(kubeconfig(self.url, {"token": "first"})))
            yield self
        finally:
            app[CLOSING].set()
            await runner.cleanup()

    async def client(self) -> KubeClient:
        """Connect to it as the exporter would."""
        return await KubeClient.connect({"KUBECONFIG": str(self.kubeconfig)})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        script = self.watches if "watch" in request.query else self.lists
        if script is self.lists:
            self.moments.append(asyncio.get_running_loop().time())
        answer = script.pop(0) if len(script) > 1 else script[0]
        return await answer(request)


def kubeconfig(url: str, user: Json) -> Json:
    """Make a kubeconfig of one cluster and one user."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
