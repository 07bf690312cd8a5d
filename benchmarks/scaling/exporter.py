"""The real exporter over the simulated cluster: its store, its classification, and what each of its answers would say.

Only the network is left out: discovery's and the poller's calls on the store are made here, at the instants they would
be made. It must not know its clients.
"""

import random
from collections.abc import Sequence
from functools import partial

from benchmarks.scaling.cluster import Cluster
from exporter.config.settings import ScrapeSettings
from exporter.fleet.cloudwatch_catalogue import select
from exporter.fleet.model import AgentStatus, Dialect, Fleet, PodFacts, Reading, Target, UsageSample
from exporter.fleet.policy import Policy
from exporter.kube.quantity import parse_quantity
from exporter.publish.external_metrics_values import Knowledge, Question, RefusalError, items
from exporter.publish.fleet_datums import Selection
from exporter.simulation.hpa import MetricError
from exporter.simulation.pod import Pod
from exporter.simulation.timeline import Timeline
from exporter.store.snapshots import SnapshotStore
from exporter.web.documents import demand_document

NAMESPACE, FLEET, CLUSTER = "matillion", "etl", "prod"
EPOCH = 1_767_225_600.0
"""Unix time at the timeline's 0: a whole minute, hour and day."""
BOOKMARK_SECONDS = 60.0
"""How often an idle watch sends a bookmark: about once a minute (kube-apiserver)."""
SAMPLE_SECONDS = 15.0
"""How often metrics-server measures, and we ask it: its default resolution."""
SAMPLE_GOOD_SECONDS = 90.0
"""How long a sample counts: two of its windows and a minute (`discovery.pod_metrics`)."""
LIMIT_CORES, LIMIT_BYTES = 1.0, 4.0 * 2**30
"""Limits of an agent's container: the vendor's smallest size."""

_QUESTION = Question("matillion_fleet_demand_tasks", NAMESPACE, f"fleet={FLEET}")
_DEMAND = Selection(cluster=CLUSTER, metrics=select(["DemandTasks"]))


class SimulatedExporter:
    """An exporter with its defaults, or with the `policy` given."""

    def __init__(
        self,
        timeline: Timeline,
        cluster: Cluster,
        chance: random.Random,
        *,
        policy: Policy | None = None,
        scrape: ScrapeSettings | None = None,
        connected_reported: bool = True,
    ) -> None:
        """Without `connected_reported` its agents are old images, which do not report whether they are connected."""
        self.policy = policy or Policy()
        self._scrape = scrape or ScrapeSettings()
        self._connected_reported = connected_reported
        self._timeline = timeline
        self._cluster = cluster
        self._chance = chance
        self._store = self._new_store()
        self._running = True
        self._sees_pods = True
        self._begin()
        cluster.changed = self._pod_changed
        timeline.every(BOOKMARK_SECONDS, chance.uniform(0, BOOKMARK_SECONDS), self._bookmark)
        if cluster.metrics_api:
            timeline.every(SAMPLE_SECONDS, chance.uniform(0, SAMPLE_SECONDS), self._sample)

    # -- what befalls it ----------------------------------------------------------------------------------------------

    def set_discovery(self, *, works: bool) -> None:
        """Cut it off the API server, or let it list the pods again."""
        self._sees_pods = works
        self._list()

    def stop(self) -> None:
        """End the process."""
        self._running = False

    def start(self) -> None:
        """Start it again, without state. If it runs already, nothing happens."""
        if not self._running:
            self._running = True
            self._store = self._new_store()
            self._begin()

    def _new_store(self) -> SnapshotStore:
        return SnapshotStore(self.policy, monotonic=self._timeline.clock, wall=self._wall)

    def _begin(self) -> None:
        self._store.expect(["kubernetes"])
        self._list()

    # -- discovery and scraping ---------------------------------------------------------------------------------------

    def _list(self) -> None:
        if self._running and self._sees_pods:
            known = set(self._store.uids())
            self._store.replace("kubernetes", map(self._target, self._cluster.pods))
            for pod in self._cluster.pods:
                if str(pod.number) not in known:
                    self._follow(pod)

    def _pod_changed(self, pod: Pod) -> None:
        if not (self._running and self._sees_pods):
            return
        uid = str(pod.number)
        if pod.gone:
            self._store.remove("kubernetes", uid)
            return
        known = self._store.target(uid) is not None
        self._store.upsert("kubernetes", self._target(pod))
        if not known:
            self._follow(pod)

    def _bookmark(self) -> None:
        if self._running and self._sees_pods:
            self._store.synced("kubernetes")

    def _follow(self, pod: Pod) -> None:
        phase = self._chance.uniform(0, self._scrape.interval)
        self._timeline.after(phase, partial(self._look_at, pod, self._store))

    def _look_at(self, pod: Pod, store: SnapshotStore) -> None:
        target = store.target(str(pod.number))
        if target is None or store is not self._store or not self._running:
            return
        self._timeline.after(self._scrape.interval, partial(self._look_at, pod, store))
        if target.address is None:
            return
        if pod.answers:
            store.scraped(target, self._reading(pod), url="http://pod:9464/metrics", seconds=0.01)
        elif pod.hung or not pod.visible:
            self._timeline.after(self._scrape.timeout, partial(self._given_up, target, store))
        else:
            store.failed(target, "connection refused", seconds=0.001)

    def _given_up(self, target: Target, store: SnapshotStore) -> None:
        store.failed(target, "no answer", seconds=self._scrape.timeout)

    def _sample(self) -> None:
        """Take what the metrics API measured: CPU at this instant, and memory of which there is enough."""
        now = self._timeline.now
        for pod in self._cluster.pods if self._running else ():
            if pod.ready_since is not None and now - pod.ready_since >= SAMPLE_SECONDS:
                sample = UsageSample(
                    working_set_bytes=LIMIT_BYTES / 2,
                    cpu_cores=self._cluster.cpu(pod) * LIMIT_CORES,
                    taken_time=self._wall(),
                    good_until=now + SAMPLE_GOOD_SECONDS,
                )
                self._store.usage_sampled(str(pod.number), sample)

    def _reading(self, pod: Pod) -> Reading:
        queued = self._cluster.share_of_queue(pod)
        status = AgentStatus.RUNNING
        if pod.draining:
            status = AgentStatus.PENDING_SHUTDOWN
        elif pod.stopped:
            status = AgentStatus.STOPPED
        return Reading(
            dialect=Dialect.OTEL if pod.otel else Dialect.LEGACY,
            tasks_active=float(pod.tasks),
            tasks_queued=None if queued is None else float(queued),
            status=status,
            connected=pod.connected if self._connected_reported else None,
        )

    def _target(self, pod: Pod) -> Target:
        ready = pod.ready_since is not None
        facts = PodFacts(
            ready=ready,
            ready_since=pod.ready_since,
            created_time=EPOCH + pod.created_at,
            draining_time=None if pod.deleted_at is None else EPOCH + pod.deleted_at,
            started_time=None if pod.ready_since is None else EPOCH + pod.ready_since,
            restarts=pod.restarts,
            waiting_reason="CrashLoopBackOff" if pod.held_back else None,
            memory_limit_bytes=LIMIT_BYTES,
            cpu_limit_cores=LIMIT_CORES,
            template=f"template-{pod.template}",
            workload=FLEET,
            annotations=pod.annotations,
        )
        # A pod has its address from its first container on, and keeps it while that one starts again.
        address = f"127.0.{pod.number // 250}.{pod.number % 250 + 1}" if pod.ran else None
        name = f"agent-{pod.number}"
        return Target(uid=str(pod.number), namespace=NAMESPACE, fleet=FLEET, pod=name, address=address, facts=facts)

    # -- what it answers ----------------------------------------------------------------------------------------------

    def _wall(self) -> float:
        return EPOCH + self._timeline.now

    def fleets(self) -> Sequence[Fleet]:
        """Return the fleets as a client of the exporter gets them."""
        return self._store.fleets()

    def external_metric(self) -> float:
        """Return what the HPA makes of the answer of the external metrics API. Raises MetricError."""
        store = self._up()
        known = Knowledge(store.fleet_keys, store.fleet, store.not_ready_reason(), CLUSTER)
        try:
            answer = items(_QUESTION, known)
        except RefusalError as refusal:
            raise MetricError(refusal.message) from refusal
        values = [parse_quantity(item["value"]) for item in answer]
        return sum(value for value in values if value is not None)

    def demand_route(self) -> float:
        """Return the value in the JSON that KEDA reads. Raises MetricError for a 503 or 404."""
        store = self._up()
        if (reason := store.not_ready_reason()) is not None:
            raise MetricError(reason)
        for fleet in store.fleets():
            if fleet.demand_tasks is None:
                raise MetricError(fleet.untrusted_reason or "the demand is unknown")
            value = demand_document(fleet, fleet.demand_tasks, fleet.now)["value"]
            assert isinstance(value, float)
            return value
        raise MetricError("there is no such fleet")

    def demand_datum(self) -> float | None:
        """Return what would be published to CloudWatch as DemandTasks now; None where nothing would be."""
        if not self._running or self._store.not_ready_reason() is not None:
            return None
        for datum in _DEMAND.datums(self._store.fleets(), (), {}, int(self._wall())):
            return datum.values[0]
        return None

    def _up(self) -> SnapshotStore:
        if not self._running:
            raise MetricError("connection refused")
        return self._store
