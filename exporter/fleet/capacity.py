"""From snapshots to fleets: what state each agent is in, what the fleet adds up to, and whether to trust it.

Knows nothing of how snapshots are made or who reads the result. The definitions are the contract with every dashboard,
alert and scaler; `docs/architecture.md` says them in prose.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from exporter.fleet.model import Agent, AgentSnapshot, AgentState, AgentStatus, Fleet, Reading, Scaler

_SHUTTING_DOWN = (AgentStatus.PENDING_SHUTDOWN, AgentStatus.SHUTTING_DOWN)
_OUT_OF_WORK = (AgentState.STOPPED, AgentState.DISCONNECTED)
_ANSWERING = (AgentState.SERVING, *_OUT_OF_WORK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How snapshots are judged. Times in seconds; the defaults are those of the `capacity` settings."""

    tasks_per_agent: int = 20
    """Tasks an agent runs at once. The vendor's EKS guide: "each agent pod can execute up to 20 concurrent tasks"."""
    target_tasks_per_agent: int = 16
    """The load per agent a scaler aims at. The vendor's advice for an HPA is 15 to 17."""
    stale_after: float = 30.0
    forget_after: float = 600.0
    max_sync_age: float = 120.0
    min_coverage: float = 0.5
    unknown_agents: Literal["hold", "full", "ignore"] = "hold"
    max_replaced: float = 0.25


def judge(snapshot: AgentSnapshot, policy: Policy, now: float) -> Agent:
    """Return the agent's state at `now`, the first that applies, and whether its reading still counts."""
    fresh = snapshot.read_at is not None and now - snapshot.read_at <= policy.stale_after
    return Agent(snapshot, _state(snapshot, fresh, policy, now), fresh, _working_set(snapshot, now))


def _working_set(snapshot: AgentSnapshot, now: float) -> float | None:
    """Return the memory in use; None where that is not known of the container that runs now.

    A sample from before the container began was of one that is dead: after an OOM kill its successor would seem to be
    at the limit still. Both times are the node's, so that no two clocks are compared.
    """
    sample, facts = snapshot.usage, snapshot.target.facts
    if sample is None or now > sample.good_until or facts is None or facts.started_time is None:
        return None
    return sample.working_set_bytes if sample.taken_time >= facts.started_time else None


def _state(snapshot: AgentSnapshot, fresh: bool, policy: Policy, now: float) -> AgentState:
    facts = snapshot.target.facts
    if facts is not None and facts.draining_time is not None:
        return AgentState.DRAINING
    if snapshot.reading is None:
        booting = snapshot.target.address is None or _still_booting(snapshot, policy, now)
        return AgentState.STARTING if booting else AgentState.UNREACHABLE
    return _said(snapshot.reading) if fresh else AgentState.UNREACHABLE


def _said(reading: Reading) -> AgentState:
    """Return the state an agent is in by its own words."""
    if reading.status in _SHUTTING_DOWN:
        return AgentState.DRAINING
    if reading.status == AgentStatus.STOPPED:
        return AgentState.STOPPED
    return AgentState.DISCONNECTED if reading.connected is False else AgentState.SERVING


def _still_booting(snapshot: AgentSnapshot, policy: Policy, now: float) -> bool:
    """Whether an agent that never answered has not yet had the time to.

    The vendor's pods have no probes: they are Ready as soon as the process starts, long before it opens its port. So
    `stale_after` runs from readiness. A static target has no readiness to count from: it is said to be there.
    """
    facts = snapshot.target.facts
    if facts is None:
        return False
    return not facts.ready or facts.ready_since is None or now - facts.ready_since <= policy.stale_after


def aggregate(
    namespace: str,
    name: str,
    snapshots: Iterable[AgentSnapshot],
    policy: Policy,
    now: float,
    *,
    sync_age: float,
    restarts: int | None = None,
    scalers: tuple[Scaler, ...] | None = None,
) -> Fleet:
    """Add up the agents of one fleet at the instant `now`.

    `sync_age` is how many seconds ago discovery last knew the fleet's membership to be current; `restarts` is counted
    by whoever sees pods come and go, `scalers` are read by whoever may (None: nobody). The order of `snapshots` does
    not matter.
    """
    agents = tuple(
        sorted(
            [judge(snapshot, policy, now) for snapshot in snapshots],
            key=lambda agent: (agent.snapshot.target.pod, agent.snapshot.target.uid),
        )
    )
    by_state: dict[AgentState, list[Agent]] = {state: [] for state in AgentState}
    for agent in agents:
        by_state[agent.state].append(agent)
    # Whoever should answer and does not is unreachable: the others have a reading that counts.
    answering = sum(len(by_state[state]) for state in _ANSWERING)
    expected = answering + len(by_state[AgentState.UNREACHABLE])
    coverage = answering / expected if expected else 1.0
    serving = [reading.tasks_active for reading in _readings(by_state[AgentState.SERVING])]
    working = sum(serving, start=_active(agent for state in _OUT_OF_WORK for agent in by_state[state]))
    queues = [reading.tasks_queued for reading in _readings(agents) if reading.tasks_queued is not None]
    tasks_queued = sum(queues) if queues else None
    seen = working + (tasks_queued or 0.0)
    replacement = _replacement(agents, policy, now)
    held = _held(by_state, seen, replacement, policy, now)
    counted_at = [agent.snapshot.read_at for agent in agents if agent.fresh and agent.snapshot.read_at is not None]
    return Fleet(
        namespace=namespace,
        name=name,
        agents=agents,
        states={state: len(members) for state, members in by_state.items()},
        tasks_per_agent=policy.tasks_per_agent,
        target_tasks_per_agent=policy.target_tasks_per_agent,
        capacity_tasks=policy.tasks_per_agent * len(serving),
        tasks_active=None if expected and not answering else working,
        tasks_draining=_active(by_state[AgentState.DRAINING]),
        tasks_queued=tasks_queued,
        free_slots=sum([max(0.0, policy.tasks_per_agent - tasks) for tasks in serving], start=0.0),
        agents_saturated=sum([tasks >= policy.tasks_per_agent for tasks in serving]),
        held_tasks=held,
        replacement_tasks=replacement,
        unseen_queue_tasks=0.0,
        agents_refusing=0,
        coverage=coverage,
        sync_age=sync_age,
        read_age=now - min(counted_at) if counted_at else None,
        untrusted_reason=_untrusted_reason(answering, expected, coverage, sync_age, policy),
        demand=seen + held + replacement,
        restarts=restarts,
        scalers=scalers,
    )


def _readings(agents: Iterable[Agent]) -> list[Reading]:
    """Return the readings that still count."""
    return [agent.snapshot.reading for agent in agents if agent.fresh and agent.snapshot.reading is not None]


def _active(agents: Iterable[Agent]) -> float:
    return sum([reading.tasks_active for reading in _readings(agents)], start=0.0)


def _crash_looping(agent: Agent) -> bool:
    facts = agent.snapshot.target.facts
    return facts is not None and facts.crash_looping


def _last_known(agent: Agent, policy: Policy, now: float) -> Reading | None:
    """Return what an agent that cannot be seen is still taken to be doing.

    None when the policy does not hold on to it, when it is too old, and when Kubernetes knows that it came to an end.
    """
    read_at = agent.snapshot.read_at
    if policy.unknown_agents != "hold" or _crash_looping(agent):
        return None
    return agent.snapshot.reading if read_at is not None and now - read_at <= policy.forget_after else None


def _held(
    by_state: Mapping[AgentState, Sequence[Agent]], seen: float, replacement: float, policy: Policy, now: float
) -> float:
    """Return the work to reckon with besides what is `seen`: that of agents nobody sees, and what may wait unseen.

    Where that is not known exactly, the pods decide: it is taken to be so much that they are filled to the target, or
    as near to it as can be. So what is not known neither shrinks the fleet nor makes it grow.
    """
    serving = by_state[AgentState.SERVING]
    queue_seen = any(reading.tasks_queued is not None for reading in _readings(serving))
    doubtful = [agent for agent in serving if _crash_looping(agent)]
    for state in (AgentState.UNREACHABLE, AgentState.STARTING, *_OUT_OF_WORK):
        doubtful += by_state[state]
    bounds = [_bounds(agent, policy, now, queue_seen=queue_seen) for agent in doubtful]
    least = sum([low for low, _ in bounds], start=0.0)
    # Whoever is replaced is one of those whose pod may be filled.
    most = sum([high for _, high in bounds], start=0.0) - replacement
    pods = sum(len(members) for state, members in by_state.items() if state is not AgentState.DRAINING)
    filled = policy.target_tasks_per_agent * pods - seen - replacement
    return max(least, min(most, filled))


def _bounds(agent: Agent, policy: Policy, now: float, *, queue_seen: bool) -> tuple[float, float]:
    """Return the least and the most work to reckon with for an agent beyond what is seen.

    One that gives no slot, yet or any more, has none. But unless an agent that serves reports a queue, nobody knows
    whether work waits for it.
    """
    target = float(policy.target_tasks_per_agent)
    waiting = 0.0 if queue_seen else target
    if agent.state is not AgentState.UNREACHABLE or _crash_looping(agent):
        return 0.0, waiting
    if policy.unknown_agents == "ignore":
        return 0.0, 0.0
    if policy.unknown_agents == "full":
        return float(policy.tasks_per_agent), float(policy.tasks_per_agent)
    if agent.snapshot.reading is None:
        # It may still be on its way, and what it came for be seen in the queue.
        return 0.0, target
    known = _last_known(agent, policy, now)
    if known is None:
        return target, target
    last = known.tasks_active + (known.tasks_queued or 0.0)
    return last, last + (waiting if _said(known) in _OUT_OF_WORK else 0.0)


def _replacement(agents: Iterable[Agent], policy: Policy, now: float) -> float:
    """Return the room to ask for in place of pods that fill a replica but give no slot.

    An agent that cannot be seen keeps the standing it had: neither it nor the bound, which follows the agents that
    serve, may lower demand by going out of sight.
    """
    lost = serving = 0
    for agent in agents:
        standing = agent.state
        if standing is AgentState.UNREACHABLE and (known := _last_known(agent, policy, now)) is not None:
            standing = _said(known)
        serving += standing is AgentState.SERVING
        lost += standing in _OUT_OF_WORK or (_crash_looping(agent) and agent.state is not AgentState.DRAINING)
    return float(policy.target_tasks_per_agent * min(lost, _ceil(policy.max_replaced * serving)))


def _untrusted_reason(fresh: int, expected: int, coverage: float, sync_age: float, policy: Policy) -> str | None:
    reasons = []
    if coverage < policy.min_coverage:
        reasons.append(f"only {fresh} of {expected} agents answer, {policy.min_coverage:.0%} are needed")
    if sync_age > policy.max_sync_age:
        reasons.append(f"the list of agents is {sync_age:.0f} s old, {policy.max_sync_age:.0f} s are allowed")
    return "; ".join(reasons) or None


def _ceil(value: float) -> int:
    """Round up, but not for the last bit of a product such as 0.28 × 25."""
    return ceil(round(value, 9))
