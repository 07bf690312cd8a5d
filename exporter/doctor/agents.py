"""The agents: whether they are found, and whether each of them answers as the exporter would ask it.

An agent is read by the very client and reader that scrape it in service, and judged by the same rules.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from exporter.config import ConfigError, ScrapeSettings, load_targets
from exporter.discovery.pod_facts import PodReader
from exporter.discovery.static import to_target
from exporter.doctor.check import (
    Check,
    CheckFailedError,
    Finding,
    NotPossibleError,
    failed,
    not_checked,
    ok,
    some,
    warning,
)
from exporter.doctor.environment import Environment, described
from exporter.doctor.network_policies import hint
from exporter.doctor.pages import runbook
from exporter.doctor.pods import pod_reader
from exporter.doctor.readings import doubts
from exporter.fleet.capacity import aggregate
from exporter.fleet.explain import explain
from exporter.fleet.health import Health, Word, health
from exporter.fleet.model import Agent, AgentSnapshot, AgentState, Fleet, IgnoredPod, Reading, Target
from exporter.kube.api import Json, KubeError
from exporter.scrape.client import PageClient
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from exporter.scrape.reader import AgentReader
from exporter.terminal import counted

SUBJECT = "agents"
MOST_ASKED = 500
"""Agents of a fleet that are asked; what keeps all the others from answering shows in these."""
SCRAPE_SECONDS = 120.0
"""For all agents: 5,000 that hang take 75 s with 200 at a time and the usual timeout of 3 s."""
_SHOWN = 3
_OUT_OF_REACH = (ScrapeOutcome.CONNECT, ScrapeOutcome.TIMEOUT)
_SILENT = (AgentState.STOPPED, AgentState.DISCONNECTED)


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    discovery = env.settings.discovery
    found: list[Check] = []
    if discovery.kubernetes.enabled:
        found += [Check(SUBJECT, _pods_name(one), partial(_pods, env, one)) for one in env.namespaces]
    found.append(Check(SUBJECT, "answers", lambda: _answers(env), SCRAPE_SECONDS))
    return found


def _pods_name(namespace: str | None) -> str:
    return "pods in the cluster" if namespace is None else f"pods in {namespace}"


# -- found -------------------------------------------------------------------------------------------------------------


async def _pods(env: Environment, namespace: str | None) -> Sequence[Finding]:
    name, settings = _pods_name(namespace), env.settings.discovery.kubernetes
    try:
        pods = await env.pods(namespace)
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    reader = pod_reader(env.settings)
    targets = [target for pod in pods if isinstance(target := reader.read(pod), Target)]
    if not targets:
        where = "" if namespace is None else f" -n {namespace}"
        raise CheckFailedError(
            f"no pod matches {settings.label_selector}",
            f"check which labels the agents have (kubectl get pods{where or ' -A'} --show-labels) and set "
            "discovery.kubernetes.label_selector and namespaces accordingly",
        )
    fleets = Counter(target.fleet for target in targets)
    named = ", ".join(f"{fleet} ({count})" for fleet, count in sorted(fleets.items()))
    found = [ok(name, f"{counted(len(targets), 'pod')} in {counted(len(fleets), 'fleet')}: {named}")]
    found += _unlabelled(pods, reader)
    found += _ignored(pods, reader)
    return found


def _unlabelled(pods: Sequence[Json], reader: PodReader) -> Sequence[Finding]:
    names = [_name(pod) for pod in pods if reader.fleet_label_of(pod) is None]
    if not names:
        return ()
    found = f"{some(names)} without the label {reader.fleet_label}: the workload's name is used as the fleet"
    return [
        warning("fleet label", found, "label the pods, or set discovery.kubernetes.fleet_label to a label they have")
    ]


def _ignored(pods: Sequence[Json], reader: PodReader) -> Sequence[Finding]:
    others = [other for pod in pods if isinstance(other := reader.read(pod), IgnoredPod)]
    if not others:
        return ()
    reasons = "; ".join(dict.fromkeys(other.reason for other in others))
    return [
        warning(
            "passed over",
            f"{some([other.pod for other in others])} matched by the selector but not counted: {reasons}",
            "make discovery.kubernetes.label_selector match agents only; an agent declares its port or sets AGENT_ID",
        )
    ]


def _name(pod: Json) -> str:
    metadata = pod.get("metadata")
    return str(metadata.get("name", "")) if isinstance(metadata, dict) else ""


# -- answering ---------------------------------------------------------------------------------------------------------


async def _answers(env: Environment) -> Sequence[Finding]:
    targets, found = await _targets(env)
    if not targets:
        return [*found, not_checked("answers", "no agent was found")]
    by_fleet: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        by_fleet.setdefault((target.namespace, target.fleet), []).append(target)
    scrape = env.settings.scrape
    places = asyncio.Semaphore(scrape.concurrency)
    async with PageClient(scrape) as client:
        ask = partial(_ask, scrape, client, places)
        fleets = await asyncio.gather(*(_fleet(env, ask, *key, members) for key, members in sorted(by_fleet.items())))
        return [*found, *(finding for findings in fleets for finding in findings)]


async def _targets(env: Environment) -> tuple[list[Target], list[Finding]]:
    """Return every agent there is, and what kept some from being found that no other check reports."""
    discovery, targets, found = env.settings.discovery, [], []
    if discovery.kubernetes.enabled:
        reader = pod_reader(env.settings)
        for namespace in env.namespaces:
            try:
                pods = await env.pods(namespace)
            except (KubeError, NotPossibleError):
                continue  # the check of the pods reports it
            targets += [target for pod in pods if isinstance(target := reader.read(pod), Target)]
    targets += map(to_target, discovery.static.targets)
    if discovery.static.file is not None:
        try:
            targets += map(to_target, await asyncio.to_thread(load_targets, discovery.static.file))
        except ConfigError as error:
            found.append(failed("file of static targets", str(error)))
    return targets, found


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One agent as it was read just now."""

    snapshot: AgentSnapshot
    outcome: ScrapeOutcome


Ask = Callable[[Target], Awaitable[_Attempt]]


async def _ask(settings: ScrapeSettings, client: PageClient, places: asyncio.Semaphore, target: Target) -> _Attempt:
    if target.address is None:
        return _Attempt(AgentSnapshot(target=target), ScrapeOutcome.OK)
    reader = AgentReader(settings, client, time.monotonic, random.Random())  # noqa: S311 - it spreads rechecks, there are none
    async with places:
        try:
            answer = await reader.read(target)
        except ScrapeError as error:
            return _Attempt(AgentSnapshot(target=target, error=str(error)), error.outcome)
    snapshot = AgentSnapshot(
        target=target, reading=answer.reading, read_at=time.monotonic(), read_time=time.time(), url=answer.url
    )
    return _Attempt(snapshot, ScrapeOutcome.OK)


async def _fleet(env: Environment, ask: Ask, namespace: str, fleet_name: str, members: list[Target]) -> list[Finding]:
    async def again(target: Target) -> AgentSnapshot:
        return (await ask(target)).snapshot

    asked = members[:: -(-len(members) // MOST_ASKED)]
    attempts = await asyncio.gather(*map(ask, asked))
    left_out = f"; checked {len(asked)} of {len(members)}" if len(asked) < len(members) else ""
    finding = await _judged(env, namespace, fleet_name, attempts, left_out)
    snapshots = [attempt.snapshot for attempt in attempts]
    return [finding, *(await doubts(env, again, namespace, fleet_name, snapshots))]


async def _judged(
    env: Environment, namespace: str, fleet_name: str, attempts: Sequence[_Attempt], left_out: str
) -> Finding:
    """Return a fleet's state, by the rules of the exporter in service."""
    name = f"{namespace}/{fleet_name}"
    policy = env.settings.capacity.policy
    snapshots = [attempt.snapshot for attempt in attempts]
    # Judged as of the first reading, so that none has become old while the others were waited for.
    now = min((one.read_at for one in snapshots if one.read_at is not None), default=time.monotonic())
    fleet = aggregate(namespace, fleet_name, snapshots, policy, now, wall_now=time.time(), sync_age=0.0)
    summary = _summary(fleet) + left_out
    unseen = _in_state(fleet, AgentState.UNREACHABLE)
    silent = [agent for agent in fleet.agents if agent.state in _SILENT]
    if unseen:
        uids = {agent.snapshot.target.uid for agent in unseen}
        outcomes = {attempt.outcome for attempt in attempts if attempt.snapshot.target.uid in uids}
        return await _unseen(env, fleet, summary, [*unseen, *silent], outcomes)
    state = health(fleet)
    if silent:
        fix = f"check the agents' logs; {runbook('MatillionAgentDisconnected')}"
        say = failed if state.word is Word.DOWN else warning
        return say(name, f"{summary}; {state.word}: {_reasons(silent)}", fix)
    return _started(fleet, state, summary)


def _started(fleet: Fleet, state: Health, summary: str) -> Finding:
    """Return what to say of a fleet whose agents answer or have yet to start; why pods do not run is told elsewhere."""
    name = f"{fleet.namespace}/{fleet.name}"
    see = f"see above why the pods do not run; {runbook('MatillionAgentNotStarting')}"
    starting, serving = fleet.states[AgentState.STARTING], fleet.states[AgentState.SERVING]
    if starting and state.word is Word.DOWN:
        return failed(name, f"{summary}; {state.word}: {state.problems[0]}", see)
    if starting and state.word is Word.DEGRADED:
        return warning(name, f"{summary}; {state.word}: {'; '.join(state.problems)}", see)
    if starting and not serving:
        return warning(name, f"{summary}; none serves yet", "wait until they have started, and run the doctor again")
    return ok(name, summary)


async def _unseen(
    env: Environment, fleet: Fleet, summary: str, lost: Sequence[Agent], outcomes: set[ScrapeOutcome]
) -> Finding:
    """Return what may block a fleet's agents that do not answer; `lost` are those and the silent ones."""
    name, found = f"{fleet.namespace}/{fleet.name}", f"{summary}; {_reasons(lost)}"
    pods = [agent for agent in lost if agent.snapshot.target.facts is not None and not agent.fresh]
    if pods and not env.in_pod and fleet.coverage == 0.0 and outcomes <= set(_OUT_OF_REACH):
        why = "no pod address is reachable from here"
        return not_checked(name, why, "run the doctor in the exporter's pod: kubectl exec (documentation: doctor)")
    fix = _fix(outcomes)
    if pods and ScrapeOutcome.TIMEOUT in outcomes:
        answering = [agent.snapshot.target for agent in fleet.agents if agent.fresh]
        fix = await hint(env, fleet.namespace, [agent.snapshot.target for agent in pods], answering)
    if fleet.untrusted_reason is not None:
        return failed(name, f"{found}; its demand would be withheld from every autoscaler", fix)
    if not fleet.states[AgentState.SERVING]:
        return failed(name, f"{found}; no agent serves", fix)
    return warning(name, found, fix)


def _in_state(fleet: Fleet, state: AgentState) -> Sequence[Agent]:
    return [agent for agent in fleet.agents if agent.state is state]


def _fix(outcomes: set[ScrapeOutcome]) -> str:
    if ScrapeOutcome.OFF_LIMITS in outcomes:
        return "look at status.podIP of these pods and at their nodes: the kubelets report addresses that no agent has"
    if ScrapeOutcome.TIMEOUT in outcomes:
        return "check that the agents are running and that no firewall blocks the connection"
    if outcomes <= {ScrapeOutcome.CONNECT}:
        return (
            "the agents are still starting, or scrape.endpoints does not list their ports: their logs show "
            "which ports they open"
        )
    return (
        "check that scrape.endpoints lists the ports and paths of the agents' metrics, and that these pods are agents"
    )


# -- in words ----------------------------------------------------------------------------------------------------------


def _summary(fleet: Fleet) -> str:
    """Return what a fleet's agents reported: "3 of 4 agents answer (2 otel, 1 legacy), 45 tasks running"."""
    readings = [agent.snapshot.reading for agent in fleet.agents if agent.snapshot.reading is not None]
    dialects = Counter(reading.dialect.value for reading in readings)
    named = ", ".join(f"{count} {dialect}" for dialect, count in sorted(dialects.items(), reverse=True))
    total = len(fleet.agents)
    answer = "answers" if total == 1 else "answer"
    text = f"{len(readings)} of {counted(total, 'agent')} {answer}"
    if readings:
        tasks = sum(reading.tasks_active for reading in readings)
        text += f" ({named}), {_connected(readings)}, {counted(round(tasks), 'task')} running"
    starting = fleet.states[AgentState.STARTING]
    return f"{text}, {starting} not started" if starting else text


def _connected(readings: Sequence[Reading]) -> str:
    connected = sum(reading.connected is True for reading in readings)
    unsaid = sum(reading.connected is None for reading in readings)
    return f"{connected} connected" + (f" and {unsaid} that do not report it" if unsaid else "")


def _reasons(agents: Sequence[Agent]) -> str:
    """Return why agents are as they are, each reason once, the first few of them."""
    by_reason: dict[str, list[str]] = {}
    for agent in agents:
        by_reason.setdefault(explain(agent, time.monotonic(), time.time()), []).append(agent.snapshot.target.pod)
    parts = [f"{some(pods)}: {reason}" for reason, pods in list(by_reason.items())[:_SHOWN]]
    more = sum(len(pods) for pods in list(by_reason.values())[_SHOWN:])
    return "; ".join(parts) + (f"; and {more} more" if more else "")
