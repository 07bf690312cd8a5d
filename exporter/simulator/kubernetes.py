"""A cluster that the agents seem to run in: as much of the Kubernetes API as the exporter asks for, on a real socket.

Pods by list and watch, and their memory as metrics-server has it. What a pod says follows from its simulated agent
alone. Nothing can be changed through it, and it can be reached from this machine only.
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from aiohttp import web

from exporter.simulator.agent import Place
from exporter.simulator.simulated_agent import MEMORY_LIMIT, Phase, SimulatedAgent
from exporter.simulator.simulation import GRACE_SECONDS
from exporter.simulator.vitals import Behaviour

Json = dict[str, Any]

LOOK_SECONDS = 0.2
"""How often pods are brought in line with their agents."""
BOOKMARK_SECONDS = 10.0
"""How often a silent watch is told that it is current. A real API server takes about a minute."""
KEPT_EVENTS = 1000
LABELS = {"app.kubernetes.io/name": "matillion-runner"}
"""Besides the fleet: what the vendor's chart gives its pods."""
NODES = 3
KIB = 1024


class SimulatedKubernetes:
    """Serves the pods of the agents that `agents` gives at each look. Use as a context manager, and `run` it."""

    def __init__(
        self,
        agents: Callable[[], Iterable[SimulatedAgent]],
        place: Callable[[SimulatedAgent], Place],
        namespace: str,
        now: Callable[[], float],
        speed: float,
    ) -> None:
        """Take who there is and where each listens; `now` gives simulated seconds, `speed` times as fast as real."""
        self._agents = agents
        self._place = place
        self._namespace = namespace
        self._now = now
        self._speed = speed
        self._begun = 0.0
        self._version = 1
        self._pods: dict[str, Json] = {}
        self._events: deque[tuple[int, bytes]] = deque(maxlen=KEPT_EVENTS)
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._begun = time.time() - self._now() / self._speed
        app = web.Application()
        app.router.add_get(f"/api/v1/namespaces/{self._namespace}/pods", self._answer_pods)
        app.router.add_get(f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._namespace}/pods", self._answer_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._look()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def write_kubeconfig(self, file: Path) -> None:
        """Write what a client needs to find this cluster."""
        if self._runner is None:
            raise RuntimeError("a cluster that is not entered has no address")
        host, port = self._runner.addresses[0][:2]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "simulated",
            "clusters": [{"name": "simulated", "cluster": {"server": f"http://{host}:{port}"}}],
            "users": [{"name": "anybody", "user": {}}],
            "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "anybody"}}],
        }
        file.write_text(json.dumps(config))

    async def run(self) -> NoReturn:
        """Keep the pods in line with their agents until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        """Tell those who watch of every pod that came, changed or went."""
        wanted = {pod["metadata"]["uid"]: pod for pod in map(self._pod, self._agents())}
        for uid in self._pods.keys() - wanted.keys():
            self._tell("DELETED", self._pods.pop(uid))
        for uid, pod in wanted.items():
            known = self._pods.get(uid)
            version = known["metadata"]["resourceVersion"] if known is not None else None
            if known is None or known != {**pod, "metadata": {**pod["metadata"], "resourceVersion": version}}:
                self._pods[uid] = pod
                self._tell("ADDED" if known is None else "MODIFIED", pod)

    def _tell(self, kind: str, pod: Json) -> None:
        self._version += 1
        pod["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, _event(kind, pod)))
        self._changed.set()
        self._changed = asyncio.Event()

    # -- what is served -----------------------------------------------------------------------------------------------

    async def _answer_pods(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") != "true":
            metadata = {"resourceVersion": str(self._version)}
            return web.json_response({"kind": "PodList", "metadata": metadata, "items": list(self._pods.values())})
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
                await response.write(_event("BOOKMARK", {"kind": "Pod", "metadata": metadata}))
        return response

    async def _answer_metrics(self, _request: web.Request) -> web.Response:
        now = self._now()
        items = [
            {
                "metadata": {"name": agent.pod, "namespace": self._namespace},
                "timestamp": _time(time.time()),
                "window": "15s",
                "containers": [{"name": "agent", "usage": {"memory": f"{agent.memory_used(now) // KIB}Ki"}}],
            }
            for agent in self._agents()
            if agent.behaviour is not Behaviour.CLOSED
        ]
        return web.json_response({"kind": "PodMetricsList", "metadata": {}, "items": items})

    # -- what a pod says ----------------------------------------------------------------------------------------------

    def _pod(self, agent: SimulatedAgent) -> Json:
        metadata: Json = {
            "name": agent.pod,
            "namespace": self._namespace,
            "uid": f"{agent.fleet}-{agent.number}",
            "creationTimestamp": self._date(agent.created_at),
            "labels": {**LABELS, "app.kubernetes.io/instance": agent.fleet},
        }
        if agent.deleted_at is not None:
            # The grace is twelve hours of the clock, not of the fleet: the exporter does not know how fast time runs.
            over = self._begun + agent.deleted_at / self._speed + GRACE_SECONDS
            metadata |= {"deletionTimestamp": _time(over), "deletionGracePeriodSeconds": int(GRACE_SECONDS)}
        container = {
            "name": "agent",
            "image": f"matillion-agent:{agent.image.version}",
            "ports": [{"containerPort": 8080}],
            "resources": {"limits": {"memory": str(MEMORY_LIMIT)}},
        }
        spec = {"nodeName": f"node-{agent.number % NODES + 1}", "containers": [container]}
        return {"metadata": metadata, "spec": spec, "status": self._status(agent)}

    def _status(self, agent: SimulatedAgent) -> Json:
        created = agent.phase is not Phase.STARTING or agent.life > 0
        runs = agent.behaviour is not Behaviour.CLOSED
        ended: Json = {}
        if agent.ended_at is not None:
            ended = {"terminated": {"reason": agent.last_end, "finishedAt": self._date(agent.ended_at)}}
        state: Json = ended
        if runs:
            state = {"running": {"startedAt": self._date(agent.started_at)}}
        elif not created or agent.held_back:
            state = {"waiting": {"reason": "CrashLoopBackOff" if created else "ContainerCreating"}}
        changed = agent.started_at if runs else agent.ended_at
        condition = {"type": "Ready", "status": str(runs), "lastTransitionTime": self._date(changed or 0.0)}
        container = {"name": "agent", "restartCount": agent.restarts, "state": state, "lastState": ended}
        status: Json = {"phase": "Running" if created else "Pending", "conditions": [condition]}
        status["containerStatuses"] = [container]
        return {**status, "podIP": self._place(agent).host} if created else status

    def _date(self, simulated: float) -> str:
        """Return when something happened by the clock, which is what the exporter goes by."""
        return _time(self._begun + simulated / self._speed)


def _event(kind: str, what: Json) -> bytes:
    return json.dumps({"type": kind, "object": what}).encode() + b"\n"


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
