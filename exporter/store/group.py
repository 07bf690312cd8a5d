"""The agents of one fleet in the store, and what is remembered of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from exporter.fleet.model import AgentSnapshot, AgentState, Fleet, Lasting
from exporter.fleet.outlook import Outlook
from exporter.fleet.unseen import templates_made
from exporter.store.queue_scope import QueueScope

# With many agents there is always a new reading. A fleet is recomputed at most this often for that reason, so frequent
# readers cost at most five computations a second and get data that is at most this much older.
_RECOMPUTE_AFTER = 0.2
# Without a new reading a fleet still changes as readings age.
_RECOMPUTE_ANYWAY_AFTER = 1.0
# A fleet of thousands of agents takes longer than usual. It may take this share of a core, and is kept for longer then.
_SHARE_OF_CORE = 0.05


@dataclass(slots=True)
class Group:
    """The agents of one fleet, and the last `Fleet` computed from them."""

    snapshots: dict[str, AgentSnapshot] = field(default_factory=dict)
    new_readings: bool = False
    fleet: Fleet | None = None
    """None also after a target or the outlook has changed: that takes effect at once."""
    computed_at: float = 0.0
    computed_in: float = 0.0
    """How long it took, in seconds."""
    queue_scope: QueueScope = field(default_factory=QueueScope)
    outlook: Outlook | None = None
    scale_in_since: float | None = None
    """What `aggregate` is to remember: `Fleet.scale_in.since` of the last fleet."""
    lasting: Lasting | None = None
    """The same of `Fleet.lasting`."""
    served: bool = False
    """Whether an agent has ever served."""
    scaled: bool = False
    """Whether an HPA has scaled its agents."""
    workloads: Collection[str] | None = ()
    """The Deployments of its agents, or of the last it had; None while that has to be found out anew."""
    newest: tuple[float, str] | None = None
    """Creation time and template of the newest pod it ever had."""
    source: str = ""
    """The source of the last agent that came."""
    empty_since: float | None = None
    """When its last agent left (monotonic); None while it has any."""

    def due(self, now: float) -> bool:
        """Return whether the last `Fleet` is too old."""
        after = _RECOMPUTE_AFTER if self.new_readings else _RECOMPUTE_ANYWAY_AFTER
        return now >= self.computed_at + max(after, min(_RECOMPUTE_ANYWAY_AFTER, self.computed_in / _SHARE_OF_CORE))

    def computed(self, fleet: Fleet, seconds: float) -> None:
        """Keep a `Fleet` that took so long to be computed."""
        self.fleet, self.computed_at, self.computed_in, self.new_readings = fleet, fleet.now, seconds, False
        self.scale_in_since, self.lasting = fleet.scale_in.since, fleet.lasting
        self.served |= fleet.states[AgentState.SERVING] > 0
        self.scaled |= bool(fleet.scalers) and bool(self.snapshots)

    def put(self, snapshot: AgentSnapshot, source: str) -> None:
        """Add an agent, or take its newer facts."""
        self.snapshots[snapshot.target.uid] = snapshot
        self.source, self.empty_since, self.fleet, self.workloads = source, None, None, None
        self.newest = max([*templates_made([snapshot]), *([self.newest] if self.newest else ())], default=None)

    def take_out(self, uid: str) -> None:
        """Take an agent out; the Deployment of the last one is remembered."""
        if len(self.snapshots) == 1:
            self.owners()
        else:
            self.workloads = None
        del self.snapshots[uid]
        self.fleet = None

    def owners(self) -> Collection[str]:
        """Return the names of the Deployments of its agents; without agents, those of the last."""
        if self.workloads is None:
            facts = (snapshot.target.facts for snapshot in self.snapshots.values())
            self.workloads = {one.workload for one in facts if one is not None and one.workload is not None}
        return self.workloads

    def queues(self) -> Sequence[float]:
        """Return the queues that its agents report."""
        readings = (snapshot.reading for snapshot in self.snapshots.values())
        return [one.tasks_queued for one in readings if one is not None and one.tasks_queued is not None]
