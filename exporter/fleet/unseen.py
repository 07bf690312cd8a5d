"""Work assumed beyond what is observed: on unreachable agents, for lost agents, and in a queue that is not reported.

Pure. What is not known exactly must neither shrink nor grow a fleet. The one exception is a queue that must exist
because no agent has a slot left; the demand then doubles one step at a time.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from exporter.fleet.classification import OUT_OF_WORK, crash_looping, last_known, reported_state, standing
from exporter.fleet.model import Agent, AgentSnapshot, AgentState, Reading
from exporter.fleet.policy import Policy

_SURGE_SECONDS = 60.0
"""A rollout may delete its first pods a moment before it makes the first new one (maxSurge 0)."""


@dataclass(frozen=True, slots=True)
class UnseenWork:
    """Tasks to add to the observed ones; none is negative."""

    held: float
    replacement: float
    queue: float


def unseen_work(agents: Sequence[Agent], working: float, queued: float, policy: Policy, now: float) -> UnseenWork:
    """Return the work assumed in addition to the observed tasks that run (`working`) and wait (`queued`)."""
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
        # Agents that refuse work are busy: all their pods are needed, and more for the tasks that wait.
        held = max(held, full_fleet - working - replaced)
    queue = 0.0
    if exhausted and policy.saturation_growth > 1 and not _queue_reported(members):
        grown = policy.saturation_growth * policy.target_tasks_per_agent * len(takers)
        queue = max(0.0, grown - seen - held - replaced)
    return UnseenWork(held, replaced, queue)


def readings(agents: Iterable[Agent]) -> list[Reading]:
    """Return the current readings."""
    return [agent.snapshot.reading for agent in agents if agent.fresh and agent.snapshot.reading is not None]


# -- agents that are unreachable or provide no slots -------------------------------------------------------------------


def _doubtful(members: Iterable[Agent]) -> Sequence[Agent]:
    """Return the agents that are unreachable or provide no slots."""
    return [agent for agent in members if agent.state is not AgentState.SERVING or crash_looping(agent)]


def _held(
    doubtful: Sequence[Agent], members: Sequence[Agent], policy: Policy, now: float, *, unfilled: float, replaced: float
) -> float:
    """Return the work assumed on unreachable agents, and what may wait for those without slots.

    Within its bounds it is the amount that fills all pods to the target (`unfilled` is what is missing), so that it
    neither shrinks nor grows the fleet.
    """
    nothing_waits = _queue_reported(members) or any(_has_room(agent, policy) for agent in members)
    bounds = [
        _bounds(agent, policy, now, nothing_waits=nothing_waits)
        for agent in doubtful
        if not _about_to_drain(agent, policy)
    ]
    minimum = sum([low for low, _ in bounds], start=0.0)
    # Replaced agents are among those whose pods may be filled.
    maximum = sum([high for _, high in bounds], start=0.0) - replaced
    return max(minimum, min(maximum, unfilled))


def _queue_reported(members: Iterable[Agent]) -> bool:
    serving = [agent for agent in members if agent.state is AgentState.SERVING]
    return any(reading.tasks_queued is not None for reading in readings(serving))


def _has_room(agent: Agent, policy: Policy) -> bool:
    """Whether an agent has had a free slot for so long that no task can be waiting."""
    free, read_at = agent.snapshot.since.free, agent.snapshot.read_at
    if agent.state is not AgentState.SERVING or agent.refusing is not None or free is None or read_at is None:
        return False
    return read_at - free >= policy.stale_after


def _about_to_drain(agent: Agent, policy: Policy) -> bool:
    """Whether an agent has only just reported its shutdown: the event of its pod's deletion may be on the way.

    Until `stale_after` it counts as before, so that the deletion event causes no jump.
    """
    since, read_at = agent.snapshot.since.stopping, agent.snapshot.read_at
    return since is not None and read_at is not None and read_at - since < policy.stale_after


def _bounds(agent: Agent, policy: Policy, now: float, *, nothing_waits: bool) -> tuple[float, float]:
    """Return the minimum and maximum work to assume for an agent.

    An agent without slots runs nothing. But unless no unreported task can be waiting, work may wait for it.
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
        # It may still be starting, and the work it was started for may be in a reported queue.
        return 0.0, target
    known = last_known(agent, policy, now)
    if known is None:
        return target, target
    last = known.tasks_active + (known.tasks_queued or 0.0)
    return last, last + (waiting if reported_state(known) in OUT_OF_WORK else 0.0)


def _replacement(doubtful: Iterable[Agent], serving: int, policy: Policy, now: float) -> float:
    """Return the work to add for pods that are replicas without slots."""
    lost = sum(
        (standing(agent, policy, now) in OUT_OF_WORK and not _about_to_drain(agent, policy)) or crash_looping(agent)
        for agent in doubtful
    )
    return float(policy.target_tasks_per_agent * min(lost, _ceil(policy.max_replaced * serving)))


def _ceil(value: float) -> int:
    """Round up, but not for the last bit of a product such as 0.28 × 25."""
    return ceil(round(value, 9))


# -- a queue that shows only as agents without slots -------------------------------------------------------------------


def _without_slot(agent: Agent, policy: Policy) -> bool:
    """Whether an agent has had no free slot for `saturated_after`, or since it first took work."""
    since = agent.snapshot.since
    if agent.refusing is not None:
        return True
    if since.full is None or since.last_full is None:
        return False
    return since.last_full - since.full >= policy.saturated_after or (since.full == since.serving and _newborn(agent))


def _newborn(agent: Agent) -> bool:
    """Whether the agent was observed from before it became ready, so that its first reading shows its first work.

    To an exporter that has just started, every agent is new.
    """
    facts, known = agent.snapshot.target.facts, agent.snapshot.since.known
    return facts is not None and facts.ready_since is not None and known is not None and facts.ready_since >= known


# -- rollouts ----------------------------------------------------------------------------------------------------------


def _rolled_out(agents: Sequence[Agent], policy: Policy, now: float) -> float:
    """Return the tasks on draining pods that a rollout replaced: the load keeps arriving, and new agents start empty.

    Such a pod did not have the fleet's newest template when it was deleted. A pod removed by a scale-in did: its work
    no longer counts. All times are the API server's.
    """
    if not policy.hold_rollouts:
        return 0.0
    made = sorted(templates_made(agent.snapshot for agent in agents))
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
    """Return the members without a rollout's surge pods.

    These exceed the fleet's replicas. If they were assumed to be filled like the others, an autoscaler would see more
    work than the replicas can take, add replicas, get a larger surge, and so on up to its maximum.
    """
    if all(agent.snapshot.reading is not None for agent in members):
        return members
    made = sorted(templates_made(agent.snapshot for agent in members))
    if len({template for _, template in made}) <= 1:
        return members
    _, newest = made[-1]
    return [agent for agent in members if agent.snapshot.reading is not None or _template(agent) != newest]


def _template(agent: Agent) -> str | None:
    facts = agent.snapshot.target.facts
    return facts.template if facts is not None else None


def templates_made(snapshots: Iterable[AgentSnapshot]) -> Iterable[tuple[float, str]]:
    """Return the creation time and template of each pod for which both are known."""
    for snapshot in snapshots:
        facts = snapshot.target.facts
        if facts is not None and facts.created_time is not None and facts.template is not None:
            yield facts.created_time, facts.template
