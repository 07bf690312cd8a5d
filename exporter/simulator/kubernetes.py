"""A cluster that the agents seem to run in: as much of the Kubernetes API as the exporter uses, on a real socket.

Pods and what scales them by list and watch, and the pods' memory as metrics-server has it. A pod's object follows from
its simulated agent alone. Nothing can be changed through it, and it can be reached from this machine only.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from aiohttp import web

from exporter.simulation.hpa import Spec
from exporter.simulation.nodes import UNREACHABLE_SECONDS
from exporter.simulation.pod import GRACE_SECONDS
from exporter.simulator.agent import Place
from exporter.simulator.collection import Collection, Json
from exporter.simulator.nodes import Fate
from exporter.simulator.simulated_agent import MEMORY_LIMIT, Phase, SimulatedAgent

POLL_SECONDS = 0.2
"""How often pods are brought in line with their agents."""
LABELS = {"app.kubernetes.io/name": "matillion-runner"}
"""Besides the fleet: what the vendor's chart gives its pods."""
KIB = 1024


@dataclass(frozen=True, slots=True)
class SimulatedScaler:
    """What scales a fleet, as it stands now."""

    fleet: str
    spec: Spec
    replicas: int
    desired: int | None
    """What it last decided on; None before the first time."""
    trouble: str | None
    """Why it gets no demand; None while it does."""


class SimulatedKubernetes:
    """Serves what `agents` and `scalers` give at each look. Use as a context manager, and `run` it."""

    def __init__(
        self,
        agents: Callable[[], Iterable[SimulatedAgent]],
        place: Callable[[SimulatedAgent], Place],
        namespace: str,
        now: Callable[[], float],
        speed: float,
        *,
        scalers: Callable[[], Iterable[SimulatedScaler]] = tuple,
    ) -> None:
        """Take the agents and where each listens; `now` gives simulated seconds, `speed` times as fast as real."""
        self._agents = agents
        self._place = place
        self._namespace = namespace
        self._now = now
        self._speed = speed
        self._begun = 0.0
        self._scalers = scalers
        self.pods = Collection("Pod")
        self.hpas = Collection("HorizontalPodAutoscaler")
        self._polled: list[SimulatedAgent] = []
        """Whose pods are served."""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self._begun = time.time() - self._now() / self._speed
        app = web.Application()
        app.router.add_get(f"/api/v1/namespaces/{self._namespace}/pods", self.pods.answer)
        hpas = f"/apis/autoscaling/v2/namespaces/{self._namespace}/horizontalpodautoscalers"
        app.router.add_get(hpas, self.hpas.answer)
        app.router.add_get(f"/apis/metrics.k8s.io/v1beta1/namespaces/{self._namespace}/pods", self._answer_metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._poll()
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
            "users": [{"name": "anonymous", "user": {}}],
            "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "anonymous"}}],
        }
        file.write_text(json.dumps(config))

    async def run(self) -> NoReturn:
        """Keep the pods in line with their agents until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self._poll()

    def _poll(self) -> None:
        agents = list(self._agents())
        # A pod's last state comes before it is deleted: the kubelet or pod garbage collection writes how it ended.
        gone = [agent for agent in self._polled if agent.phase is Phase.GONE]
        if gone:
            self.pods.hold(map(self.pod, [*agents, *gone]))
        self.pods.hold(map(self.pod, agents))
        self._polled = agents
        self.hpas.hold(map(self._hpa, self._scalers()))

    # -- what is served -----------------------------------------------------------------------------------------------

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
            if agent.up
        ]
        return web.json_response({"kind": "PodMetricsList", "metadata": {}, "items": items})

    # -- the objects of scalers and pods -------------------------------------------------------------------------------

    def _hpa(self, scaler: SimulatedScaler) -> Json:
        conditions = {"AbleToScale": ("True", "SucceededGetScale"), "ScalingActive": ("True", "ValidMetricFound")}
        if scaler.trouble is not None:
            conditions["ScalingActive"] = ("False", "FailedGetExternalMetric")
        elif scaler.desired is None:
            del conditions["ScalingActive"]
        metric = {"metric": {"name": "matillion_fleet_demand_tasks"}}
        return {
            "metadata": {"name": scaler.fleet, "namespace": self._namespace, "uid": f"hpa-{scaler.fleet}"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": scaler.fleet},
                "minReplicas": scaler.spec.least,
                "maxReplicas": scaler.spec.most,
                "metrics": [{"type": "External", "external": metric}],
            },
            "status": {
                "currentReplicas": scaler.replicas,
                "desiredReplicas": scaler.desired or 0,
                "conditions": [
                    {"type": kind, "status": holds, "reason": reason, "message": scaler.trouble or ""}
                    for kind, (holds, reason) in conditions.items()
                ],
            },
        }

    def pod(self, agent: SimulatedAgent) -> Json:
        """Return the pod that an agent runs in."""
        # A Deployment's pods are called by its ReplicaSet, and that by the hash of its template.
        replica_set = agent.pod.rpartition("-")[0]
        metadata: Json = {
            "name": agent.pod,
            "namespace": self._namespace,
            "uid": f"{agent.fleet}-{agent.number}",
            "creationTimestamp": self._date(agent.created_at),
            "labels": {
                **LABELS,
                "app.kubernetes.io/instance": agent.fleet,
                "pod-template-hash": replica_set.rpartition("-")[2],
            },
            "ownerReferences": [{"kind": "ReplicaSet", "name": replica_set, "controller": True}],
        }
        if agent.deleted_at is not None:
            metadata |= {
                "deletionTimestamp": self._date(agent.deleted_at + agent.grace_seconds),
                "deletionGracePeriodSeconds": self._by_the_clock(agent.grace_seconds),
            }
        container = {
            "name": "agent",
            "image": f"matillion-agent:{agent.image.version}",
            "ports": [{"containerPort": 8080}],
            "resources": {"limits": {"memory": str(MEMORY_LIMIT)}},
        }
        spec = {
            "nodeName": agent.node.name,
            "terminationGracePeriodSeconds": self._by_the_clock(GRACE_SECONDS),
            "containers": [container],
        }
        return {"metadata": metadata, "spec": spec, "status": self._status(agent)}

    def _status(self, agent: SimulatedAgent) -> Json:
        ended: Json = {}
        if agent.ended_at is not None and agent.last_end is not None:
            end = {"reason": agent.last_end.reason, "exitCode": agent.last_end.exit_code}
            ended = {"terminated": {**end, "finishedAt": self._date(agent.ended_at)}}
        state = ended
        if agent.ready_since is not None:
            state = {"running": {"startedAt": self._date(agent.ready_since)}}
        elif not agent.ran or agent.held_back:
            state = {"waiting": {"reason": "CrashLoopBackOff" if agent.ran else "ContainerCreating"}}
        container = {"name": "agent", "restartCount": agent.restarts, "state": state, "lastState": ended}
        status: Json = {"phase": _phase(agent), "conditions": self._conditions(agent)}
        status["containerStatuses"] = [container]
        return {**status, "podIP": self._place(agent).host} if agent.ran else status

    def _conditions(self, agent: SimulatedAgent) -> list[Json]:
        ready, changed = agent.ready_since is not None, agent.ready_since or agent.ended_at or agent.created_at
        silent_from = agent.node.ended_at + UNREACHABLE_SECONDS
        if ready and agent.node.fate is Fate.LOST and self._now() >= silent_from:
            # The node's own condition Ready is Unknown then; that of its pods is False.
            ready, changed = False, silent_from
        conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": self._date(changed)}]
        disruption = None
        if agent.node.fate is Fate.REMOVED:
            disruption = ("EvictionByEvictionAPI", "Eviction API: evicting")
        elif agent.node.fate is Fate.LOST and agent.phase is Phase.GONE:
            disruption = ("DeletionByPodGC", "PodGC: node no longer exists")
        if disruption is not None:
            reason, message = disruption
            conditions.append({"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message})
        return conditions

    def _by_the_clock(self, simulated: float) -> int:
        """Return a length of time as the exporter measures it; it does not know how fast the fleet's time runs."""
        return max(1, round(simulated / self._speed))

    def _date(self, simulated: float) -> str:
        """Return when something happened by the clock, which is what the exporter goes by."""
        return _time(self._begun + simulated / self._speed)


def _phase(agent: SimulatedAgent) -> str:
    """Return the phase of the pod: the kubelet and pod garbage collection end it before they delete the pod."""
    if not agent.ran:
        return "Pending"
    return "Failed" if agent.phase is Phase.GONE else "Running"


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
