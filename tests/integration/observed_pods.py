"""A store that is filled by everything real: discovery, scraping, memory and logs of pods in one namespace."""

import asyncio
import time
from pathlib import Path
from random import Random

import pytest

from exporter.config import KubernetesSettings, PodLogsSettings, ScrapeSettings
from exporter.discovery.pods import PodDiscovery
from exporter.fleet.explain import explain
from exporter.fleet.model import Agent, PodFacts
from exporter.fleet.policy import Policy
from exporter.kube.client import KubeClient
from exporter.podhealth.log_follower import FollowingPace
from exporter.podhealth.pod_logs import PodLogs
from exporter.podhealth.pod_metrics import PodMemory, SamplingPace
from exporter.publish.prometheus import render
from exporter.scrape.client import PageClient
from exporter.scrape.poller import Poller
from exporter.store.snapshots import SnapshotStore
from tests.fakes.leadership import Leader
from tests.waiting import eventually

POLICY = Policy(stale_after=4.0)


class Observed:
    """A store that everything real fills: discovery, scraping, memory and logs."""

    def __init__(self, namespace: str, kubeconfig: Path) -> None:
        self.namespace = namespace
        self.kubeconfig = kubeconfig
        self.store = SnapshotStore(POLICY, monotonic=time.monotonic, wall=time.time)

    def scraped(self, outcome: str, seconds: float, rejected_lines: int) -> None:
        """Nobody counts scrapes here."""

    async def run(self) -> None:
        """Run all parts until cancelled."""
        kubernetes = KubernetesSettings(namespaces=(self.namespace,))
        logs = PodLogsSettings(enabled=True, failure_pattern="task failed", every_replica=True)
        pace = FollowingPace(backoff_first=0.1, backoff_max=0.5, poll=0.1)
        scrape = ScrapeSettings(interval=0.3, timeout=0.3)
        environ = {"KUBECONFIG": str(self.kubeconfig)}
        async with (
            await KubeClient.connect(environ) as kube,
            await KubeClient.connect(environ) as streams,
            PageClient(scrape) as pages,
            asyncio.TaskGroup() as group,
        ):
            discovery = PodDiscovery(kubernetes, kube, self.store, on_restart=lambda reason: None)
            sampling = SamplingPace(interval=0.2, max_pause=0.5)
            parts = (
                discovery.run(),
                PodMemory(kubernetes, kube, self.store, pace=sampling).run(),
                PodLogs(logs, streams, self.store, Leader(leads=False), pace=pace).run(),
                Poller(scrape, self.store, pages, self, monotonic=time.monotonic, phases=Random(1)).run(),  # noqa: S311
            )
            for part in parts:
                group.create_task(part)

    @property
    def restarts(self) -> int | None:
        """The fleet's restarts; None while there is no fleet."""
        fleets = self.store.fleets()
        return fleets[0].restarts if fleets else None

    def agent(self, pod: str = "agent-1") -> Agent | None:
        """Return an agent as it is judged now; None while it is not there."""
        agents = [agent for fleet in self.store.fleets() for agent in fleet.agents]
        return next((agent for agent in agents if agent.snapshot.target.pod == pod), None)

    def facts(self, pod: str = "agent-1") -> PodFacts:
        """Return what Kubernetes says of an agent's pod."""
        agent = self.agent(pod)
        facts = agent.snapshot.target.facts if agent is not None else None
        return facts if facts is not None else PodFacts()

    def figure(self, name: str) -> float | None:
        """Return the only series of a metric on `/metrics`; None while there is none."""
        page = "".join(render(self.store.fleets(), openmetrics=False)).splitlines()
        values = [float(line.rpartition(" ")[2]) for line in page if line.startswith(f"{name}{{")]
        return values[0] if values else None

    def memory(self, pod: str = "agent-1") -> float | None:
        """Return an agent's memory in use."""
        agent = self.agent(pod)
        return agent.memory_working_set_bytes if agent is not None else None

    def failures(self, pod: str = "agent-1") -> int | None:
        """Return an agent's failed tasks."""
        agent = self.agent(pod)
        return agent.snapshot.task_failures if agent is not None else None

    def why(self, pod: str = "agent-1") -> str:
        """Return why an agent is in its state, with the state."""
        agent = self.agent(pod)
        if agent is None:
            return "gone"
        return f"{agent.state}: {explain(agent, self.store.now(), self.store.wall_now())}"

    async def says(self, *parts: str, pod: str = "agent-1") -> None:
        """Wait until an agent's reason has all of these parts."""
        try:
            await eventually(lambda: all(part in self.why(pod) for part in parts))
        except AssertionError:
            pytest.fail(f"it says {self.why(pod)!r}, not {parts}")
