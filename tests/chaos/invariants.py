"""What must hold whatever goes wrong: pure functions of what was seen and of the truth.

Each yields once for every check that it makes: None where it holds, else a sentence about what does not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.chaos.pods import Pod
from tests.chaos.replicas import Times
from tests.chaos.truth import Shown, Truth
from tests.chaos.watch import AgentSeen, AgentsSeen, FleetsSeen

TARGET = 16
"""Tasks for each agent that is asked for (capacity.target_tasks_per_agent)."""
SLACK = 1.0
"""Seconds by which what the agents note and what an exporter sees may differ: on a busy machine both are late."""

Verdicts = Iterator[str | None]


@dataclass(frozen=True)
class Facts:
    """What is true."""

    truth: Truth
    pods: dict[str, Pod]
    times: Times

    @property
    def settled(self) -> float:
        """Seconds after which a page that was made has been read, or never will be."""
        return 2 * self.times.interval + self.times.timeout + SLACK


def counts_right(seen: AgentsSeen, facts: Facts) -> Verdicts:
    """Each figure of an agent is what that agent showed to this replica, on one page, and that page was a page."""
    for agent in seen.agents:
        if agent.serial is not None:
            yield _about(agent, _wrong_count(agent, seen.replica, facts.truth))


def _wrong_count(agent: AgentSeen, replica: str, truth: Truth) -> str | None:
    page = truth.by_serial.get(agent.serial or 0)
    if page is None:
        return f"shows serial {agent.serial}, which no agent has shown"
    if (page.pod, page.reader) != (agent.pod, replica):
        return f"shows what {page.pod} showed to {page.reader}"
    if not page.readable:
        return f"was read from a page that {page.kind!r} has spoilt"
    shown = (page.active, page.queued, page.connected)
    said = (agent.active, agent.queued, agent.connected)
    return None if said == shown else f"has {said} (active, queued, connected) instead of {shown}, serial {page.serial}"


def ages_right(seen: AgentsSeen, facts: Facts) -> Verdicts:
    """No figure is older than it claims."""
    for agent in seen.agents:
        page = facts.truth.by_serial.get(agent.serial or 0)
        if page is not None and agent.age is not None:
            age = seen.computed_from - page.made
            # A page may take as long as a scrape may.
            least = age - SLACK - (0 if page.good else facts.times.timeout)
            wrong = f"claims {agent.age:.1f} s for what it showed {age:.1f} s ago" if agent.age < least else None
            yield _about(agent, wrong)


def _about(agent: AgentSeen, wrong: str | None) -> str | None:
    return None if wrong is None else f"{agent.pod} ({agent.state}) {wrong}"


def demand_enough(seen: FleetsSeen, facts: Facts) -> Verdicts:
    """Each demand is at least the work that this replica has been shown, as far as the policy assumes it."""
    for fleet in seen.fleets:
        if fleet.demand is not None:
            pods = [pod for pod in facts.pods.values() if pod.fleet == fleet.fleet and _stays(pod, seen.answered)]
            least = sum(_least_work(pod, seen, facts) for pod in pods)
            wrong = f"{fleet.fleet}: demand {fleet.demand:g}, but its agents have at least {least:g}"
            yield wrong if fleet.demand < least else None


def _stays(pod: Pod, until: float) -> bool:
    return pod.leaves is None or pod.leaves > until


def _least_work(pod: Pod, seen: FleetsSeen, facts: Facts) -> float:
    """Return what the policy assumes for an agent at least: its last count, or the target once that is too old."""
    pages = facts.truth.readable(pod.name, seen.replica, seen.booted, seen.answered)
    settled = seen.computed_from - facts.settled
    last = next((page for page in reversed(pages) if page.good and page.made < settled), None)
    if last is None:
        return 0.0
    possible: Iterable[Shown] = [last, *(page for page in pages if page.made >= last.made)]
    least = float(min(page.work for page in possible))
    forgotten = seen.answered - last.made > facts.times.forget_after - facts.settled
    return min(least, float(TARGET)) if forgotten else least
