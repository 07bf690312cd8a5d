"""Whether a fleet does its work, in one word, and what is wrong with it now, in sentences.

Pure. The word is the same on the page, in `status`, in JSON, on `/metrics` and in the alerts. A fleet is `ok` exactly
when it has no problem; remarks (`remarks`) are facts beside that. Problems of single agents count from the share on at
which a fleet works noticeably worse: each agent's own are in `attention` and `explain`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from exporter.fleet.attention import looked_at, will_not_start
from exporter.fleet.classification import OUT_OF_WORK, crash_looping
from exporter.fleet.drains import cut_short
from exporter.fleet.explain import count, duration, named
from exporter.fleet.losses import LATELY_SECONDS
from exporter.fleet.model import Agent, AgentState, Fleet, PodFacts
from exporter.fleet.scaler_remarks import scaler_remarks

LOST_SHARE = 0.1
"""Share of the agents without a slot from which a fleet is degraded: what an HPA tolerates without a reaction."""
REFUSING_SHARE = 0.5
"""Share of the serving agents that refuse work: as in MatillionFleetRefusing."""
STUCK_SECONDS = 15 * 60
"""How long a queue or a lack of agents lasts before it is a problem: as in MatillionFleetQueueStuck."""

_NOTHING_KNOWN = PodFacts()


class Word(StrEnum):
    """The health of a fleet, worst first."""

    DOWN = "down"
    """No agent serves although some should."""
    DATA_INCOMPLETE = "data incomplete"
    """Its figures are not trusted, and Kubernetes does not prove that it is down."""
    DEGRADED = "degraded"
    """It serves, but something costs work; or it has no agents, and nothing says whether that is intended."""
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Health:
    """The word, and the sentences that are its reason, most urgent first; none for `ok`."""

    word: Word
    problems: tuple[str, ...] = ()


def health(fleet: Fleet) -> Health:
    """Return the fleet's health at the instant it was computed."""
    members = [agent for agent in fleet.agents if agent.state is not AgentState.DRAINING]
    if not fleet.membership_known:
        return Health(Word.DATA_INCOMPLETE, (f"its figures are not trusted: {fleet.untrusted_reason}",))
    if not members:
        return _without_agents(fleet)
    if _down(fleet, members):
        return Health(Word.DOWN, (_none_serves(members), *_causes(fleet, members), *_further(fleet)))
    if fleet.untrusted_reason is not None:
        return Health(Word.DATA_INCOMPLETE, (f"its figures are not trusted: {fleet.untrusted_reason}",))
    lost = [agent for agent in members if _lost(agent, fleet)]
    causes = _causes(fleet, lost) if len(lost) >= LOST_SHARE * len(members) else ()
    problems = (*causes, *_further(fleet))
    return Health(Word.DEGRADED if problems else Word.OK, problems)


def _down(fleet: Fleet, members: Sequence[Agent]) -> bool:
    """Whether no agent serves. If the readings are not trusted, only Kubernetes can prove that."""
    if fleet.states[AgentState.SERVING]:
        return False
    if not fleet.trusted:
        return all(_stuck(agent, fleet) for agent in members)
    return any(_lost(agent, fleet) for agent in members)


def _lost(agent: Agent, fleet: Fleet) -> bool:
    """Whether an agent fills a replica and provides no slot, and is neither merely starting nor not looked at yet."""
    silent = agent.state is AgentState.UNREACHABLE and looked_at(agent)
    return silent or agent.state in OUT_OF_WORK or _stuck(agent, fleet)


def _stuck(agent: Agent, fleet: Fleet) -> bool:
    """Whether Kubernetes says that the agent's container does not run and will not soon."""
    if crash_looping(agent):
        return agent.state is not AgentState.SERVING
    return agent.state is AgentState.STARTING and will_not_start(agent, fleet.time)


def _without_agents(fleet: Fleet) -> Health:
    """Return the health of a fleet without pods, but for some that drain."""
    if not fleet.scalers:
        known = "no HPA scales it" if fleet.scalers is not None else "its HPA is unknown"
        return Health(Word.DEGRADED, (f"it has no agents: {known}, so nothing says whether that is intended",))
    awake = [scaler for scaler in fleet.scalers if not scaler.asleep]
    if not awake:
        return Health(Word.OK)
    scaler = awake[0]
    why = (
        f"its Deployment {scaler.target} is scaled to 0, which disables its HPA {scaler.name}"
        if scaler.switched_off
        else f"its HPA {scaler.name} asks for at least {count(scaler.min_agents or 1)}"
    )
    return Health(Word.DOWN, (f"it has no agents: {why}", *scaler_remarks(fleet)))


def _none_serves(members: Sequence[Agent]) -> str:
    return "its only agent does not serve" if len(members) == 1 else f"none of its {len(members)} agents serves"


def _causes(fleet: Fleet, agents: Sequence[Agent]) -> Iterator[str]:
    """Yield a sentence for each cause for which agents do not serve, the most frequent first."""
    by_cause: dict[str, list[str]] = {}
    for agent in agents:
        by_cause.setdefault(_cause(agent, fleet), []).append(agent.snapshot.target.pod)
    total = len(fleet.agents) - fleet.states[AgentState.DRAINING]
    for cause, pods in sorted(by_cause.items(), key=lambda item: -len(item[1])):
        yield f"{len(pods)} of {total} agents {'is' if len(pods) == 1 else 'are'} {cause}: {named(pods)}"


def _cause(agent: Agent, fleet: Fleet) -> str:
    facts = agent.snapshot.target.facts or _NOTHING_KNOWN
    last = "" if facts.last_terminated_reason is None else f" (last exit {facts.last_terminated_reason})"
    if crash_looping(agent):
        return f"crash looping{last}"
    if agent.state is AgentState.STARTING:
        if facts.waiting_reason is not None:
            return f"not starting ({facts.waiting_reason})"
        if last:
            return f"starting again{last}"
        return "not starting (no reason is given)" if _stuck(agent, fleet) else "starting"
    return _CAUSES[agent.state]


_CAUSES = {
    AgentState.UNREACHABLE: "not responding",
    AgentState.STOPPED: "stopped or shutting down",
    AgentState.DISCONNECTED: "not connected to the control plane",
}


def _refusing(fleet: Fleet) -> Iterator[str]:
    serving = fleet.states[AgentState.SERVING]
    if fleet.agents_refusing and fleet.agents_refusing >= REFUSING_SHARE * serving:
        yield (
            f"{fleet.agents_refusing} of {serving} serving agents accept no more work although they have free slots "
            "(CPU, heap, memory or busyness at the limit); these slots are not counted as free"
        )


def _queue(fleet: Fleet) -> Iterator[str]:
    since, queued = fleet.lasting.queued, fleet.tasks_queued
    if since is not None and queued and fleet.now - since >= STUCK_SECONDS:
        slots = f"{count(fleet.free_slots)} slots are free" if fleet.free_slots else "no slot is free"
        yield f"tasks have been waiting for {duration(fleet.now - since)}: {count(queued)} are queued, {slots}"


def _short(fleet: Fleet) -> Iterator[str]:
    since, desired = fleet.lasting.short, fleet.desired_agents
    if since is not None and desired is not None and fleet.now - since >= STUCK_SECONDS:
        there = len(fleet.agents) - fleet.states[AgentState.DRAINING]
        yield (
            f"desires {desired} agents, has {there}, and has not grown for {duration(fleet.now - since)}: "
            "look at its HPA and at the pods that do not start"
        )


def _lost_tasks(fleet: Fleet) -> Iterator[str]:
    lost = fleet.tasks_lost_lately
    if lost:
        tasks = "1 running task was" if lost == 1 else f"{count(lost)} running tasks were"
        yield f"{tasks} lost with agents within {duration(LATELY_SECONDS)}; fleet-exporter ledger lists them"


def _drains(fleet: Fleet) -> Iterator[str]:
    pods = [agent.snapshot.target.pod for agent in fleet.agents if cut_short(agent, fleet.time)]
    if pods:
        agents = "1 draining agent" if len(pods) == 1 else f"{len(pods)} draining agents"
        yield f"{agents} will be killed with running tasks: {named(pods)}"


def _further(fleet: Fleet) -> Iterator[str]:
    return (sentence for problem in _PROBLEMS for sentence in problem(fleet))


_PROBLEMS: tuple[Callable[[Fleet], Iterator[str]], ...] = (
    _queue, _short, scaler_remarks, _refusing, _lost_tasks, _drains,
)  # fmt: skip
