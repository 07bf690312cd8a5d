"""One Lease in memory, kept by an API server's rules of versions, behind connections that fail as they are told.

For virtual time, where a real server's time does not pass.
"""

import asyncio
import copy
from collections.abc import Callable
from enum import StrEnum

from exporter.kube.api import Json, Query, Resource, UnreachableError, api_error

LATENCY = 0.02
"""Seconds from a request to its being carried out, and from there to the answer."""

SLOW_ANSWER = 4.0


class LineFault(StrEnum):
    """What happens to a request."""

    HANG = "it is never carried out, and no answer comes"
    LOST = "it is carried out, and no answer comes"
    LATE = "it is carried out long after the sender gave up"
    SLOW = "it is carried out at once, and the answer takes its time"
    REFUSED = "the connection is refused"
    ERROR = "500"
    CONFLICT = "409, without a reason"
    FORBIDDEN = "403"


class LeaseServer:
    """Holds at most one Lease."""

    def __init__(self) -> None:
        self.lease: Json | None = None
        self.version = 0
        self.late: set[asyncio.Task[Json]] = set()

    def carry_out(self, method: str, resource: Resource, body: Json | None) -> Json:
        """Do what a request asks; raises ApiError as the real server would have it answered."""
        if method == "GET":
            if self.lease is None:
                raise api_error("get", resource, 404, {"reason": "NotFound"})
            return copy.deepcopy(self.lease)
        assert body is not None
        stored = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if method == "POST" and stored is not None:
            raise api_error("create", resource, 409, {"reason": "AlreadyExists"})
        if method == "PUT" and body["metadata"]["resourceVersion"] != stored:
            raise api_error("update", resource, 409, {"reason": "Conflict"})
        self.version += 1
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)

    @property
    def spec(self) -> Json:
        """What the Lease says."""
        assert self.lease is not None
        spec: Json = self.lease["spec"]
        return spec

    def edit(self, **spec: object) -> None:
        """Change the Lease as another client would."""
        assert self.lease is not None
        self.version += 1
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        self.lease["spec"].update(spec)

    def stop(self) -> None:
        """Forget what is still under way."""
        for task in self.late:
            task.cancel()


class Line:
    """A connection to the server, with the methods of KubeClient."""

    def __init__(self, server: LeaseServer, fault: Callable[[str], LineFault | None] = lambda method: None) -> None:
        """`fault` says for each request, by its HTTP method, what is to go wrong with it."""
        self.server = server
        self.fault = fault
        self.requests: list[tuple[float, str]] = []

    async def get(self, resource: Resource, query: Query = (), *, timeout: float = 30.0) -> Json:
        """Read."""
        return await self._request("GET", resource, None, timeout)

    async def send(
        self,
        method: str,
        resource: Resource,
        body: Json | list[Json] | None,
        *,
        content_type: str = "application/json",
        query: Query = (),
        timeout: float = 30.0,
    ) -> Json:
        """Write."""
        assert isinstance(body, dict)
        return await self._request(method, resource, body, timeout)

    async def _request(self, method: str, resource: Resource, body: Json | None, timeout: float) -> Json:
        self.requests.append((asyncio.get_running_loop().time(), method))
        try:
            async with asyncio.timeout(timeout):
                return await self._answer(method, resource, body)
        except TimeoutError:
            raise UnreachableError("did not respond in time") from None

    async def _answer(self, method: str, resource: Resource, body: Json | None) -> Json:
        fault = self.fault(method)
        await asyncio.sleep(LATENCY)
        match fault:
            case LineFault.REFUSED:
                raise UnreachableError("refused")
            case LineFault.ERROR:
                raise api_error("update", resource, 500, {})
            case LineFault.CONFLICT:
                raise api_error("update", resource, 409, {})
            case LineFault.FORBIDDEN:
                raise api_error("update", resource, 403, {"reason": "Forbidden"})
            case LineFault.HANG:
                await asyncio.Event().wait()
            case LineFault.LATE:
                self._carry_out_late(method, resource, body)
                await asyncio.Event().wait()
        answer = self.server.carry_out(method, resource, body)
        if fault is LineFault.LOST:
            await asyncio.Event().wait()
        await asyncio.sleep(SLOW_ANSWER if fault is LineFault.SLOW else LATENCY)
        return answer

    def _carry_out_late(self, method: str, resource: Resource, body: Json | None) -> None:
        async def later() -> Json:
            await asyncio.sleep(8.0)
            return self.server.carry_out(method, resource, body)

        task = asyncio.create_task(later(), name="late request")
        self.server.late.add(task)
        task.add_done_callback(self.server.late.discard)
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
