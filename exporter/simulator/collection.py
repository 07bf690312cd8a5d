"""One collection of a simulated Kubernetes API: what it holds is listed, changes go to its watches."""

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from typing import Any

from aiohttp import web

Json = dict[str, Any]

BOOKMARK_SECONDS = 10.0
"""Seconds between bookmarks on a silent watch. A real API server takes about a minute."""
KEPT_EVENTS = 1000


class Collection:
    """The objects of one kind, by UID."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._version = 1
        self._objects: dict[str, Json] = {}
        self._events: deque[tuple[int, bytes]] = deque(maxlen=KEPT_EVENTS)
        self._changed = asyncio.Event()

    def hold(self, objects: Iterable[Json]) -> None:
        """Hold these objects, and notify the watches of each one that was added, changed or removed."""
        needed = {one["metadata"]["uid"]: one for one in objects}
        for uid in self._objects.keys() - needed.keys():
            self.notify("DELETED", self._objects.pop(uid))
        for uid, one in needed.items():
            known = self._objects.get(uid)
            version = known["metadata"]["resourceVersion"] if known is not None else None
            if known is None or known != {**one, "metadata": {**one["metadata"], "resourceVersion": version}}:
                self._objects[uid] = one
                self.notify("ADDED" if known is None else "MODIFIED", one)

    def notify(self, kind: str, one: Json) -> None:
        """Notify the watches of a change."""
        self._version += 1
        one["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, _event(kind, one)))
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a list or a watch."""
        if request.query.get("watch") != "true":
            metadata = {"resourceVersion": str(self._version)}
            items = list(self._objects.values())
            return web.json_response({"kind": f"{self._kind}List", "metadata": metadata, "items": items})
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        sent = int(request.query.get("resourceVersion") or self._version)
        if self._events and sent < self._events[0][0] - 1:
            await response.write(_event("ERROR", {"kind": "Status", "code": 410, "message": "too old"}))
            return response
        until = asyncio.get_running_loop().time() + float(request.query.get("timeoutSeconds", "300"))
        while (left := until - asyncio.get_running_loop().time()) > 0:
            changed = self._changed
            for version, event in list(self._events):
                if version > sent:
                    await response.write(event)
                    sent = version
            try:
                await asyncio.wait_for(changed.wait(), min(left, BOOKMARK_SECONDS))
            except TimeoutError:
                metadata = {"resourceVersion": str(sent)}
                await response.write(_event("BOOKMARK", {"kind": self._kind, "metadata": metadata}))
        return response


def _event(kind: str, what: Json) -> bytes:
    return json.dumps({"type": kind, "object": what}).encode() + b"\n"
