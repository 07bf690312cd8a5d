"""The API server's part in an aggregated API: its ConfigMap, its access reviews, and requests it passes on over TLS."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from exporter.config.settings import ExternalMetricsSettings
from exporter.fleet.model import Fleet
from exporter.publish.external_metrics import ExternalMetricsServer
from tests.factories import WALL_NOW
from tests.fakes.background import background
from tests.fakes.certificates import Authority
from tests.fakes.kube_api import Json, ScriptedKubeApi, reply, status
from tests.waiting import PATIENCE, eventually

BASE = "/apis/external.metrics.k8s.io/v1beta1"
HPA = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
DEMAND = "matillion_fleet_demand_tasks"


def demand(namespace: str = "matillion", selector: str | None = None, metric: str = DEMAND) -> str:
    """Return the path the HPA asks for."""
    path = f"{BASE}/namespaces/{namespace}/{metric}"
    return path if selector is None else f"{path}?labelSelector={selector}"


@dataclass(slots=True)
class View:
    """Fleets as a test has them."""

    shown: list[Fleet] = field(default_factory=list)
    reason: str | None = None
    wall: float | None = None
    failing: Exception | None = None

    def fleets(self) -> list[Fleet]:
        """Return the fleets, or fail as asked."""
        if self.failing is not None:
            raise self.failing
        return self.shown

    def fleet_keys(self) -> list[tuple[str, str]]:
        """Return which fleets there are."""
        return [(fleet.namespace, fleet.name) for fleet in self.fleets()]

    def fleet(self, key: tuple[str, str]) -> Fleet | None:
        """Return one of them."""
        return next((fleet for fleet in self.fleets() if (fleet.namespace, fleet.name) == key), None)

    def wall_now(self) -> float:
        """Return the date."""
        return self.wall if self.wall is not None else WALL_NOW

    def not_ready_reason(self) -> str | None:
        """Return the reason."""
        return self.reason


class Counter:
    """Counts answers by status."""

    def __init__(self) -> None:
        self.codes: dict[int, int] = {}

    def external_metrics_requested(self, code: int) -> None:
        """Count one."""
        self.codes[code] = self.codes.get(code, 0) + 1


class ControlPlaneSide:
    """What the exporter asks the API server for: a scripted answer to each."""

    def __init__(self, api: ScriptedKubeApi, *authorities: Authority) -> None:
        self.allowed = {HPA}
        self.reviews: list[Json] = []
        self.up = True
        self.review_answer: Callable[[web.Request], Any] | None = None
        self.data: dict[str, str] = {
            "requestheader-allowed-names": '["front-proxy-client"]',
            "requestheader-username-headers": '["X-Remote-User"]',
            "requestheader-group-headers": '["X-Remote-Group"]',
            "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
        }
        self.trust(*authorities)
        api.script([self._answer])

    def trust(self, *authorities: Authority) -> None:
        """Write these authorities into the ConfigMap."""
        self.data["requestheader-client-ca-file"] = b"".join(authority.pem for authority in authorities).decode()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not self.up:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if request.path.endswith("/configmaps/extension-apiserver-authentication"):
            return web.json_response({"kind": "ConfigMap", "data": self.data})
        if request.path.endswith("/subjectaccessreviews"):
            if self.review_answer is not None:
                answer: web.StreamResponse = await self.review_answer(request)
                return answer
            review = await request.json()
            self.reviews.append(review["spec"])
            allowed = review["spec"]["user"] in self.allowed
            return web.json_response({**review, "status": {"allowed": allowed}}, status=201)
        return await reply(404, status(404, "NotFound"))(request)


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        assert self.headers["Content-Type"].split(";")[0] == "application/json", self.headers
        return json.loads(self.text)


@dataclass(slots=True)
class World:
    """A running external metrics API and everything around it."""

    folder: Path
    server: ExternalMetricsServer
    control: ControlPlaneSide
    counter: Counter
    view: View
    serving_authority: Authority
    front_proxy: Authority
    cert_file: Path
    key_file: Path

    def context(
        self,
        authority: Authority | None = None,
        name: str = "front-proxy-client",
        *,
        until: timedelta = timedelta(hours=1),
    ) -> ssl.SSLContext:
        """Return a client's side of TLS that shows a certificate of that authority and name."""
        cert, key = self.folder / "client.crt", self.folder / "client.key"
        (authority or self.front_proxy).issue(name, cert, key, until=until, server=False)
        context = self.bare_context()
        context.load_cert_chain(cert, key)
        return context

    def bare_context(self) -> ssl.SSLContext:
        """Return a client's side of TLS without a certificate."""
        return ssl.create_default_context(cadata=self.serving_authority.pem.decode())

    @asynccontextmanager
    async def session(self, context: ssl.SSLContext | None = None) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a session whose connections show the front proxy's certificate, or that of the context given."""
        connector = aiohttp.TCPConnector(ssl=context or self.context())
        async with aiohttp.ClientSession(f"https://{self.server.address}", connector=connector) as session:
            yield session

    async def ask(
        self,
        path: str,
        user: str | None = HPA,
        *,
        context: ssl.SSLContext | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Pass one request on, on a connection of its own."""
        async with self.session(context) as session:
            return await exchange(session, path, user, method=method, headers=headers)


async def exchange(
    session: aiohttp.ClientSession,
    path: str,
    user: str | None = HPA,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a request on an open session."""
    said = {} if user is None else {"X-Remote-User": user, "X-Remote-Group": "system:authenticated"}
    async with session.request(method, path, headers={**said, **(headers or {})}) as response:
        return Answer(response.status, response.headers.copy(), await response.text())


@asynccontextmanager
async def aggregated(
    folder: Path, fleets: list[Fleet], *, cluster: str | None = None, known: bool = True, **arguments: Any
) -> AsyncIterator[World]:
    """Run the external metrics API beside a scripted API server; `known` waits until it knows the front proxy."""
    serving, front_proxy = Authority("serving-ca"), Authority("front-proxy-ca")
    cert, key = folder / "tls.crt", folder / "tls.key"
    serving.issue("exporter.matillion.svc", cert, key)
    view, counter = View(fleets), Counter()
    settings = ExternalMetricsSettings.model_validate(
        {"enabled": True, "listen": "127.0.0.1:0", "cert_file": str(cert), "key_file": str(key)}
    )
    async with ScriptedKubeApi(folder).serving() as api, await api.client() as kube:
        control = ControlPlaneSide(api, front_proxy)
        control.up = known
        times = {"reload_interval": 0.05, "front_proxy_interval": 0.05} | arguments
        server = ExternalMetricsServer(settings, cluster, view, kube, counter, **times)
        world = World(folder, server, control, counter, view, serving, front_proxy, cert, key)
        async with background(server.run()):
            async with asyncio.timeout(PATIENCE):
                await server.started.wait()
                await eventually(lambda: not known or server.ready)
            counter.codes.clear()
            yield world
