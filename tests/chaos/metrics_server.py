"""A metrics-server that is there by turns: what a replica's proxy answers in its place."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import Enum, auto

from aiohttp import web

from tests.fakes.node_services import METRICS_API


class State(Enum):
    """How it is."""

    WELL = auto()
    AWAY = auto()
    GARBAGE = auto()


class MetricsServer:
    """Its answers, for the pods that there are."""

    def __init__(self, pods: Callable[[], Iterable[str]]) -> None:
        self._pods = pods
        self.state = State.WELL

    def be(self, state: State) -> None:
        """Be well, or not."""
        self.state = state

    def answer(self, request: web.Request) -> web.Response | None:
        """Return the answer to a request to it; None if the request is not for it."""
        if not request.path.startswith(METRICS_API):
            return None
        if self.state is State.AWAY:
            # What the API server says while the service behind an APIService does not answer.
            return web.Response(status=503, text="service unavailable")
        if self.state is State.GARBAGE:
            items = [
                {"metadata": {"name": pod}, "timestamp": "gestern", "window": -1, "containers": 7}
                for pod in self._pods()
            ]
            return web.json_response({"kind": "PodMetricsList", "items": [None, "pod", *items]})
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "metadata": {"name": pod, "namespace": "matillion"},
                "timestamp": now,
                "window": "15s",
                "containers": [{"name": "agent", "usage": {"cpu": "250m", "memory": "1Gi"}}],
            }
            for pod in self._pods()
        ]
        return web.json_response({"kind": "PodMetricsList", "metadata": {}, "items": items})
