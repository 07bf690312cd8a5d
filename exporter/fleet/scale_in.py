"""A scale-in that removes only agents with little work: the demand that keeps the others, for a limited time.

Pure: since when the demand has been held is an argument. `docs/architecture.md` explains the rule.
"""

from collections import Counter
from collections.abc import Iterable
from math import ceil

from exporter.fleet.classification import crash_looping
from exporter.fleet.model import Agent, AgentState, ScaleIn
from exporter.fleet.policy import Policy
from exporter.fleet.scaling import TOLERANCE


def scale_in(agents: Iterable[Agent], demand: float, policy: Policy, since: float | None, now: float) -> ScaleIn:
    """Return how far `demand` must be raised so that an autoscaler removes no more agents than are light.

    A *light* agent runs at most `max_tasks` tasks by a current reading, or nothing, as its container is not up yet
    (starting, crash looping). All others keep their place, those whose tasks are unknown too. The fleet is then held at
    *G* × the agents that keep their place, which is never more than keeps the agents there are.

    It is held while the demand alone would make an HPA go below that number: while it is needed. `since` is since when
    it has been needed without interruption (None: it was not). After `patience` of that time it ends, until it was not
    needed for a moment: the demand has caught up, or the agents above it are gone.
    """
    max_tasks, target = policy.scale_in.max_tasks, policy.target_tasks_per_agent
    if max_tasks is None:
        return ScaleIn()
    replicas, kept = _replicas([agent for agent in agents if agent.state is not AgentState.DRAINING], max_tasks)
    # Within its tolerance an HPA removes nothing: the patience is not used up by a fleet that keeps its size anyway.
    if ceil(demand / target) >= kept or demand >= (1 - TOLERANCE) * target * replicas:
        return ScaleIn(max_tasks=max_tasks)
    since = now if since is None else since
    left = max(0.0, since + policy.scale_in.patience - now)
    floor = float(target * kept) if left else 0.0
    return ScaleIn(max_tasks, floor, max(0.0, floor - demand), since, left)


def _replicas(members: Iterable[Agent], max_tasks: int) -> tuple[int, int]:
    """Return the number of replicas, and how many of them are not light.

    During a rollout there are more pods than replicas, but never more of one template: the template with the most
    agents to keep is decisive.
    """
    replicas: Counter[str | None] = Counter()
    kept: Counter[str | None] = Counter()
    for agent in members:
        facts = agent.snapshot.target.facts
        template = facts.template if facts is not None else None
        replicas[template] += 1
        kept[template] += not _light(agent, max_tasks)
    template, most = max(kept.items(), key=lambda item: (item[1], replicas[item[0]]), default=(None, 0))
    return replicas[template], most


def _light(agent: Agent, max_tasks: int) -> bool:
    reading = agent.snapshot.reading
    if agent.state is AgentState.STARTING or crash_looping(agent):
        return True
    return agent.fresh and reading is not None and reading.tasks_active <= max_tasks
