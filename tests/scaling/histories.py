"""Histories that hypothesis makes, and how they befall a simulated fleet."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from hypothesis import strategies as st

from benchmarks.scaling.cluster import Cluster
from benchmarks.scaling.feeds import Direct
from benchmarks.scaling.ways import OURS, TARGET
from benchmarks.scaling.world import World
from exporter.simulation.pod import Pod

SETTLED = 700.0
"""Seconds after which a fleet that nothing befalls has its size: longer than a scale-down's window."""
TASK_SECONDS = 300.0
"""How long a task takes on average."""
MARGIN = 6
"""Tasks: more than begin in such a fleet within a scrape interval."""
LEAST = OURS.spec.least

MONITORING = ("hide", "discovery lost", "exporter stopped")
"""What takes only the sight of agents."""
LOSSES = ("disconnect", "stop", "crash")
"""What makes an agent fill a replica and give no slot."""
MADE_ANEW = ("nodes lost", "evict", "rollout")
"""What puts new pods in place of others."""
NEVER_THERE = ("new pods do not start", "new pods do not connect")
EVERYTHING = (*MONITORING, *LOSSES, *MADE_ANEW, *NEVER_THERE, "hang", "control plane down")
WAITS = st.sampled_from([5.0, 20.0, 45.0, 120.0, 400.0, 1000.0])
SHARES = st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0])


@dataclass(frozen=True, slots=True)
class Event:
    """Something happens to a share of the fleet, and so many seconds pass."""

    what: str
    share: float
    wait: float


@dataclass(frozen=True, slots=True)
class Start:
    """A fleet with the agents that its load takes."""

    seed: int
    agents: int
    level: int
    otel: bool

    def world(self, replicas: int | None = None) -> World:
        """Return it at work."""
        fleet = partial(Cluster, replicas=replicas or self.agents, otel=self.otel, task_seconds=TASK_SECONDS)
        world = World(OURS, self.seed, fleet)
        world.cluster.set_level(self.level)
        return world


@st.composite
def starts(draw: st.DrawFn, *, most: int = 10, otel: bool | None = None) -> Start:
    """Fleets from the least to `most` agents, with a load for which that is the size.

    Not to the task: one that ends on one agent while its successor begins on another is counted twice, or not at all,
    where the two are read before and after. `MARGIN` tasks more or fewer take the same number of agents.
    """
    agents = draw(st.integers(LEAST, most))
    level = draw(st.integers(TARGET * (agents - 1) + MARGIN, TARGET * agents - MARGIN))
    return Start(draw(st.integers(0, 999)), agents, level, draw(st.booleans()) if otel is None else otel)


def events(kinds: Sequence[str], *, most: int = 6) -> st.SearchStrategy[list[Event]]:
    """Up to so many events, each followed by a wait; between them everything may be well again."""
    return st.lists(single_events(kinds), min_size=1, max_size=most)


def single_events(kinds: Sequence[str]) -> st.SearchStrategy[Event]:
    """One of the kinds, or that everything is well again."""
    return st.builds(Event, st.sampled_from([*kinds, "recover"]), SHARES, WAITS)


def loads(*, most: int = 160) -> st.SearchStrategy[Event]:
    """Let the load change to a share of `most`."""
    return st.builds(Event, st.just(f"load of {most}"), st.floats(0, 1).map(lambda share: round(share, 2)), WAITS)


def befall(world: World, history: Iterable[Event]) -> None:
    """Let a history happen."""
    for event in history:
        _strike(world, event)
        world.run(event.wait)


def struck(world: World, share: float) -> list[Pod]:
    """Return the oldest agents that are up, a share of all, at least one where there is one."""
    up = [pod for pod in world.cluster.members if pod.up]
    return up[: ceil(share * len(up))]


def _strike(world: World, event: Event) -> None:
    cluster, feed = world.cluster, world.feed
    assert isinstance(feed, Direct)
    pods = struck(world, event.share)
    troubles: dict[str, Callable[[], None]] = {
        "hide": lambda: cluster.hide(pods),
        "hang": lambda: cluster.hang(pods),
        "disconnect": lambda: cluster.disconnect(pods),
        "stop": lambda: cluster.stop(pods),
        "crash": lambda: cluster.crash(pods),
        "evict": lambda: cluster.evict(pods),
        "rollout": cluster.roll_out,
        "control plane down": lambda: cluster.set_control_plane(up=False),
        "discovery lost": lambda: feed.exporter.set_discovery(works=False),
        "exporter stopped": feed.exporter.stop,
    }
    if event.what == "recover":
        cluster.recover()
        feed.exporter.start()
        feed.exporter.set_discovery(works=True)
    elif event.what == "nodes lost":
        # New nodes come sooner or later: within a scale-down's window, or not.
        cluster.node_seconds = 600.0 * event.share
        cluster.lose(pods)
    elif event.what == "new pods do not connect":
        cluster.new_pods_connect = False
    elif event.what == "new pods do not start":
        cluster.new_pods_start = False
    elif event.what.startswith("load of "):
        cluster.set_level(round(event.share * int(event.what.removeprefix("load of "))))
    else:
        troubles[event.what]()
