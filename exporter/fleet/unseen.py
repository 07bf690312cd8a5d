"""The work to reckon with beside what is seen: held, to be replaced, and waiting where nobody can see it.

Pure. What is not known exactly must neither shrink a fleet nor make it grow; the one exception is a queue that is
proved by agents without a slot left, which is answered by one doubling at a time.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from exporter.fleet.judgement import OUT_OF_WORK, crash_looping, last_known, said, standing
from exporter.fleet.model import Agent, AgentState, Reading
from exporter.fleet.policy import Policy

_SURGE_SECONDS = 60.0
"""A rollout may delete its first pods a moment before it makes the first new one (maxSurge 0)."""


@dataclass(frozen=True, slots=True)
class UnseenWork:
    """Tasks to add to those that are seen; none is negative."""

    held: float
    replacement: float
    queue: float


def unseen_work(agents: Sequence[Agent], working: float, queued: float, policy: Policy, now: float) -> UnseenWork:
    """Return what to reckon with beside the tasks that run (`working`) and wait (`queued`) on those that count."""
    seen = working + queued
    members = [agent for agent in agents if agent.state is not AgentState.DRAINING]
    takers = [
        agent
        for agent in members
        if agent.state is AgentState.SERVING or standing(agent, policy, now) is AgentState.SERVING
    ]
    rolled = _rolled_out(agents, policy, now) if len(members) < len(agents) else 0.0
    doubtful = _doubtful(members)
    replaced = _replacement(doubtful, len(takers), policy, now)
    replicas = _without_surge(members)
    if replicas is not members:
        doubtful = _doubtful(replicas)
    full_fleet = float(policy.target_tasks_per_agent * len(replicas))
    held = rolled
    if doubtful:
        unfilled = full_fleet - seen - replaced - rolled
        held += _held(doubtful, replicas, policy, now, unfilled=unfilled, replaced=replaced)
    exhausted = bool(takers) and all(_without_slot(agent, policy) for agent in takers)
    if exhausted and any(agent.refusing is not None for agent in takers):
        # Agents that refuse work are busy with what they have: their pods are all needed, and others for what waits.
        held = max(held, full_fleet - working - replaced)
    queue = 0.0
    if exhausted and policy.saturation_growth > 1 and not _queue_reported(members):
        grown = policy.saturation_growth * policy.target_tasks_per_agent * len(takers)
        queue = max(0.0, grown - seen - held - replaced)
    return UnseenWork(held, replaced, queue)


def readings(agents: Iterable[Agent]) -> list[Reading]:
    """Return the readings that still count."""
    return [agent.snapshot.reading for agent in agents if agent.fresh and agent.snapshot.reading is not None]


# -- agents that cannot be seen, or give no slot -----------------------------------------------------------------------


def _doubtful(members: Iterable[Agent]) -> Sequence[Agent]:
    """Return the agents of which it is not known what they do, or that give no slot."""
    return [agent for agent in members if agent.state is not AgentState.SERVING or crash_looping(agent)]


def _held(
    doubtful: Sequence[Agent], members: Sequence[Agent], policy: Policy, now: float, *, unfilled: float, replaced: float
) -> float:
    """Return the work of agents nobody sees, and what may wait for those that give no slot.

    Where that is not known exactly, the pods decide: it is taken to be so much that they are filled to the target
    (`unfilled` is what they lack), or as near to it as can be. So it neither shrinks the fleet nor makes it grow.
    """
    nothing_waits = _queue_reported(members) or any(_has_room(agent, policy) for agent in members)
    bounds = [
        _bounds(agent, policy, now, nothing_waits=nothing_waits)
        for agent in doubtful
        if not _about_to_drain(agent, policy)
    ]
    least = sum([low for low, _ in bounds], start=0.0)
    # Whoever is replaced is one of those whose pod may be filled.
    most = sum([high for _, high in bounds], start=0.0) - replaced
    return max(least, min(most, unfilled))


def _queue_reported(members: Iterable[Agent]) -> bool:
    serving = [agent for agent in members if agent.state is AgentState.SERVING]
    return any(reading.tasks_queued is not None for reading in readings(serving))


def _has_room(agent: Agent, policy: Policy) -> bool:
    """Whether an agent has had a free slot for so long that nothing can be waiting for one."""
    free, read_at = agent.snapshot.since.free, agent.snapshot.read_at
    if agent.state is not AgentState.SERVING or agent.refusing is not None or free is None or read_at is None:
        return False
    return read_at - free >= policy.stale_after


def _about_to_drain(agent: Agent, policy: Policy) -> bool:
    """Whether an agent has only just said that it shuts down: its pod's deletion may be on the way to us.

    Until `stale_after` it counts as it did before, so that a deletion heard of a moment later makes no jump.
    """
    since, read_at = agent.snapshot.since.stopping, agent.snapshot.read_at
    return since is not None and read_at is not None and read_at - since < policy.stale_after


def _bounds(agent: Agent, policy: Policy, now: float, *, nothing_waits: bool) -> tuple[float, float]:
    """Return the least and the most work to reckon with for an agent beyond what is seen.

    One that gives no slot, yet or any more, has none. But unless it is known that nothing waits but what is reported,
    work may wait for it.
    """
    target = float(policy.target_tasks_per_agent)
    waiting = 0.0 if nothing_waits else target
    if agent.state is not AgentState.UNREACHABLE or crash_looping(agent):
        return 0.0, waiting
    if policy.unknown_agents == "ignore":
        return 0.0, 0.0
    if policy.unknown_agents == "full":
        return float(policy.tasks_per_agent), float(policy.tasks_per_agent)
    if agent.snapshot.reading is None:
        # It may still be on its way, and what it came for be seen in the queue.
        return 0.0, target
    known = last_known(agent, policy, now)
    if known is None:
        return target, target
    last = known.tasks_active + (known.tasks_queued or 0.0)
    return last, last + (waiting if said(known) in OUT_OF_WORK else 0.0)


def _replacement(doubtful: Iterable[Agent], serving: int, policy: Policy, now: float) -> float:
    """Return the room to ask for in place of pods that fill a replica but give no slot."""
    lost = sum(
        (standing(agent, policy, now) in OUT_OF_WORK and not _about_to_drain(agent, policy)) or crash_looping(agent)
        for agent in doubtful
    )
    return float(policy.target_tasks_per_agent * min(lost, _ceil(policy.max_replaced * serving)))


def _ceil(value: float) -> int:
    """Round up, but not for the last bit of a product such as 0.28 × 25."""
    return ceil(round(value, 9))


# -- a queue that shows only in agents without a slot ------------------------------------------------------------------


def _without_slot(agent: Agent, policy: Policy) -> bool:
    """Whether an agent has had no slot to give for `saturated_after`, or since it first took work."""
    since = agent.snapshot.since
    if agent.refusing is not None:
        return True
    if since.full is None or since.last_full is None:
        return False
    return since.last_full - since.full >= policy.saturated_after or (since.full == since.serving and _newborn(agent))


def _newborn(agent: Agent) -> bool:
    """Whether somebody watched the agent from before it came up, so that its first reading is of its first work.

    To an exporter that has just started every agent is new.
    """
    facts, known = agent.snapshot.target.facts, agent.snapshot.since.known
    return facts is not None and facts.ready_since is not None and known is not None and facts.ready_since >= known


# -- rollouts ----------------------------------------------------------------------------------------------------------


def _rolled_out(agents: Sequence[Agent], policy: Policy, now: float) -> float:
    """Return the tasks on draining pods that a rollout replaced: that work goes on arriving, and new agents are empty.

    Such a pod was not of the fleet's newest template when it was deleted, by the pods that are there. One that a
    scale-in took was: its work is not the fleet's any more. All times are the API server's.
    """
    if not policy.hold_rollouts:
        return 0.0
    made = sorted(_made(agents))
    tasks = 0.0
    for agent in agents:
        facts = agent.snapshot.target.facts
        if facts is None or facts.draining_time is None or facts.template is None:
            continue
        then = bisect_right(made, facts.draining_time + _SURGE_SECONDS, key=lambda pod: pod[0])
        if then and made[then - 1][1] != facts.template:
            reading = agent.snapshot.reading if agent.fresh else last_known(agent, policy, now)
            tasks += reading.tasks_active if reading is not None else 0.0
    return tasks


def _without_surge(members: Sequence[Agent]) -> Sequence[Agent]:
    """Return the members without the pods that a rollout has made beside those they are to replace.

    These are on top of the fleet's replicas. Were they taken to be filled as the others are, a scaler would find more
    work than the replicas take, ask for more, get a larger surge, and so on up to its maximum.
    """
    if all(agent.snapshot.reading is not None for agent in members):
        return members
    made = sorted(_made(members))
    if len({template for _, template in made}) <= 1:
        return members
    _, newest = made[-1]
    return [agent for agent in members if agent.snapshot.reading is not None or _template(agent) != newest]


def _template(agent: Agent) -> str | None:
    facts = agent.snapshot.target.facts
    return facts.template if facts is not None else None


def _made(agents: Iterable[Agent]) -> Iterable[tuple[float, str]]:
    """Return when pods were made, and from which template, as far as that is known."""
    for agent in agents:
        facts = agent.snapshot.target.facts
        if facts is not None and facts.created_time is not None and facts.template is not None:
            yield facts.created_time, facts.template
