"""Aggregates snapshots to a fleet: its totals, and whether they can be trusted.

Independent of how snapshots are made and used. The definitions are the contract with every dashboard, alert and
autoscaler; `docs/architecture.md` explains them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from exporter.fleet.classification import OUT_OF_WORK, classify, never_heard
from exporter.fleet.departure import LossReason
from exporter.fleet.lasting import lasting
from exporter.fleet.model import Agent, AgentSnapshot, AgentState, Fleet, Lasting
from exporter.fleet.outlook import Outlook
from exporter.fleet.policy import Policy
from exporter.fleet.pressure import limits_known
from exporter.fleet.scale_in import scale_in
from exporter.fleet.scaler import Scaler
from exporter.fleet.starts import Starts
from exporter.fleet.unseen import readings, unseen_work

_ANSWERING = (AgentState.SERVING, *OUT_OF_WORK)


def aggregate(
    namespace: str,
    name: str,
    snapshots: Iterable[AgentSnapshot],
    policy: Policy,
    now: float,
    *,
    wall_now: float,
    sync_age: float,
    restarts: int | None = None,
    tasks_lost: Mapping[LossReason, float] | None = None,
    tasks_lost_lately: float = 0.0,
    scalers: tuple[Scaler, ...] | None = None,
    start_seconds: float | None = None,
    starts: Starts | None = None,
    queue_alike: bool = False,
    scale_in_since: float | None = None,
    before: Lasting | None = None,
    outlook: Outlook | None = None,
) -> Fleet:
    """Add up the agents of one fleet at the instant `now`, which is `wall_now` in Unix seconds.

    `sync_age` is the number of seconds since discovery last confirmed the fleet's membership; `restarts`, `tasks_lost`,
    `scalers` and `starts` are None where unknown; `tasks_lost_lately` is the part of `tasks_lost` of the last
    `losses.LATELY_SECONDS`; `start_seconds` is how long agents of this fleet usually take from their discovery to their
    first reading (None: no start observed yet); `queue_alike` is whether the agents' queues appear to be one shared
    queue; `scale_in_since` and `before` are `Fleet.scale_in.since` and `Fleet.lasting` of the fleet's last computation;
    `outlook` is what its past says (None: no forecast). The order of `snapshots` does not matter.
    """
    agents = tuple(
        sorted(
            [classify(snapshot, policy, now, start_seconds) for snapshot in snapshots],
            key=lambda agent: (agent.snapshot.target.pod, agent.snapshot.target.uid),
        )
    )
    states = Counter([agent.state for agent in agents])
    answering = sum(states[state] for state in _ANSWERING)
    counted = _counted(agents, answering, policy, now)
    # An agent that should respond and does not is unreachable: all others have a current reading.
    expected = answering + (states[AgentState.UNREACHABLE] - (len(agents) - len(counted)))
    coverage = answering / expected if expected else 1.0
    serving = [agent for agent in counted if agent.state is AgentState.SERVING]
    of_serving = readings(serving)
    members = readings([agent for agent in counted if agent.state is not AgentState.DRAINING])
    working = sum([reading.tasks_active for reading in members], start=0.0)
    at_serving = sum([reading.tasks_active for reading in of_serving], start=0.0)
    queues = [reading.tasks_queued for reading in members if reading.tasks_queued is not None]
    tasks_queued = (max(queues) if policy.queue == "shared" else sum(queues)) if queues else None
    seen = working + (tasks_queued or 0.0)
    unseen = unseen_work(counted, working, tasks_queued or 0.0, policy, now)
    demand = seen + unseen.held + unseen.replacement + unseen.queue
    untrusted_reason = _untrusted_reason(answering, expected, coverage, sync_age, policy)
    kept = scale_in(counted, demand, policy, scale_in_since, now)
    if untrusted_reason is not None:
        # No autoscaler gets the demand: neither does the patience begin, nor is it given again.
        kept = replace(kept, since=scale_in_since)
    # Every serving agent has a current reading.
    slots = [
        max(0.0, policy.tasks_per_agent - reading.tasks_active) if agent.refusing is None else 0.0
        for agent, reading in zip(serving, of_serving, strict=True)
    ]
    counted_at = [agent.snapshot.read_at for agent in agents if agent.fresh and agent.snapshot.read_at is not None]
    replicas = len(agents) - states[AgentState.DRAINING]
    draining = readings([agent for agent in agents if agent.state is AgentState.DRAINING])
    return Fleet(
        namespace=namespace,
        name=name,
        now=now,
        time=wall_now,
        agents=agents,
        states={state: states[state] for state in AgentState},
        tasks_per_agent=policy.tasks_per_agent,
        target_tasks_per_agent=policy.target_tasks_per_agent,
        capacity_tasks=policy.tasks_per_agent * len(serving),
        tasks_active=None if expected and not answering else working,
        tasks_serving=None if expected and not answering else at_serving,
        tasks_draining=sum([reading.tasks_active for reading in draining], start=0.0),
        tasks_queued=tasks_queued,
        free_slots=sum(slots, start=0.0),
        free_slots_certain=all(
            not free or limits_known(agent.snapshot, now) for agent, free in zip(serving, slots, strict=True)
        ),
        agents_saturated=len([1 for reading in of_serving if reading.tasks_active >= policy.tasks_per_agent]),
        agents_refusing=len([1 for agent in serving if agent.refusing is not None]),
        never_heard=len(agents) - len(counted),
        held_tasks=unseen.held,
        replacement_tasks=unseen.replacement,
        unseen_queue_tasks=unseen.queue,
        scale_in=kept,
        lasting=lasting(
            before or Lasting(),
            queued=tasks_queued,
            short=None if untrusted_reason is not None else _short(max(demand, kept.floor), replicas, scalers, policy),
            agents=replicas,
            now=now,
        ),
        coverage=coverage,
        sync_age=sync_age,
        membership_known=sync_age <= policy.max_sync_age,
        read_age=now - min(counted_at) if counted_at else None,
        untrusted_reason=untrusted_reason,
        demand=max(demand, kept.floor),
        restarts=restarts,
        tasks_lost=tasks_lost,
        tasks_lost_lately=tasks_lost_lately,
        starts=starts,
        scalers=scalers,
        outlook=outlook,
        queue_alike=queue_alike and policy.queue == "per_agent",
    )


def _short(demand: float, replicas: int, scalers: tuple[Scaler, ...] | None, policy: Policy) -> bool:
    """Return whether the demand is more than the replicas have slots for, and an autoscaler may add some."""
    maxima = [scaler.max_agents for scaler in scalers or () if scaler.max_agents is not None]
    return demand > policy.tasks_per_agent * replicas and (not maxima or replicas < max(maxima))


def _counted(agents: Sequence[Agent], answering: int, policy: Policy, now: float) -> Sequence[Agent]:
    """Return the agents that count in the fleet's figures: all but those that never responded for too long.

    Applies only if others respond: if none does, the exporter itself cannot reach them, and nothing is excluded.
    """
    if not answering:
        return agents
    return [
        agent for agent in agents if agent.state is not AgentState.UNREACHABLE or not never_heard(agent, policy, now)
    ]


def _untrusted_reason(fresh: int, expected: int, coverage: float, sync_age: float, policy: Policy) -> str | None:
    reasons = []
    if coverage < policy.min_coverage:
        reasons.append(f"only {fresh} of {expected} agents respond, {policy.min_coverage:.0%} are required")
    if sync_age > policy.max_sync_age:
        reasons.append(f"the list of agents is {sync_age:.0f} s old, at most {policy.max_sync_age:.0f} s is allowed")
    return "; ".join(reasons) or None
