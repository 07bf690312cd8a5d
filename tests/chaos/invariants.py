"""What must hold for the figures of agents and fleets, whatever goes wrong: pure functions of what was seen."""

from tests.chaos.facts import Facts, Verdicts
from tests.chaos.pods import Pod
from tests.chaos.seen import AgentSeen, AgentsSeen, FleetsSeen
from tests.chaos.truth import Truth

TARGET = 16.0
"""Tasks for each agent that is asked for (capacity.target_tasks_per_agent)."""


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
            # A hostile agent may take as long over its page as a scrape may.
            least = age - facts.slack(seen.answered) - (0 if page.good else facts.times.timeout)
            wrong = f"claims {agent.age:.1f} s for what it showed {age:.1f} s ago" if agent.age < least else None
            yield _about(agent, wrong)


def _about(agent: AgentSeen, wrong: str | None) -> str | None:
    return None if wrong is None else f"{agent.pod} ({agent.state}) {wrong}"


def demand_enough(seen: FleetsSeen, facts: Facts) -> Verdicts:
    """Each demand is at least the work that this replica has been shown, as far as the policy assumes it."""
    for fleet in seen.fleets:
        if fleet.demand is not None:
            pods = [pod for pod in facts.pods.values() if pod.fleet == fleet.fleet and pod.stays(seen.answered)]
            least = sum(_least_work(pod, seen, facts) for pod in pods)
            wrong = f"{fleet.fleet}: demand {fleet.demand:g}, but its agents have at least {least:g}"
            yield wrong if fleet.demand < least else None


def _least_work(pod: Pod, seen: FleetsSeen, facts: Facts) -> float:
    """Return what the policy assumes for an agent at least: its last count, or the target once that is too old."""
    settled = facts.settled + facts.slack(seen.answered)
    pages = facts.truth.readable(pod.name, seen.replica, seen.booted, seen.answered)
    last = next((page for page in reversed(pages) if page.good and page.made < seen.computed_from - settled), None)
    if last is None:
        return 0.0
    least = float(min(page.work for page in pages if page.made >= last.made))
    forgotten = seen.answered - last.made > facts.times.forget_after - settled
    return min(least, TARGET) if forgotten else least


def all_read(seen: AgentsSeen, facts: Facts) -> Verdicts:
    """Every good agent is known and has been read within two intervals; so it is soon after whatever went wrong."""
    now = seen.computed_from
    window = facts.settled + facts.slack(seen.answered)
    boot = facts.boot(seen.replica, seen.booted)
    if boot.ready is None or boot.ready > now - window or boot.paused(now - window, seen.answered):
        return
    known = {agent.pod: agent for agent in seen.agents}
    for pod in facts.pods.values():
        if pod.hostile or pod.announced is None or pod.announced > now - window or not pod.stays(seen.answered):
            continue
        agent = known.get(pod.name)
        if agent is None:
            # While the list of pods could not be seen, and until it is asked for again, a new one is not known.
            if not facts.blind(seen.replica, pod.announced, now):
                yield f"{pod.name} is not known, {now - pod.announced:.1f} s after it came"
            continue
        first_seen = pod.announced if not facts.blind(seen.replica, pod.announced, now) else now
        if agent.age is None:
            wrong = f"was never read, {now - pod.announced:.1f} s after it came"
            yield _about(agent, wrong if first_seen < now - window else None)
        else:
            wrong = f"was last read {agent.age:.1f} s ago"
            yield _about(agent, wrong if agent.age > window or not agent.fresh else None)
