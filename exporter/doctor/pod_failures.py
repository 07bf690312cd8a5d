"""Agents' pods that do not run, or ended lately, by Kubernetes' reason: each reason once, for all fleets.

It needs the list of pods only, so it works from anywhere. `agents` reads the agents that do run.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.discovery.pod_facts import PodReader
from exporter.doctor.check import Check, Finding, NotPossibleError, failed, ok, some, warning
from exporter.doctor.environment import Environment
from exporter.doctor.pages import runbook
from exporter.doctor.pod_reasons import (
    CRASH_LOOP,
    INIT,
    INITIALIZING,
    NO_NODE,
    OOM_KILLED,
    STUCK,
    canonical,
    exit_code,
    pod_reason,
)
from exporter.doctor.pods import fleet_name, pod_reader
from exporter.fleet.classification import MAX_START_SECONDS
from exporter.fleet.explain import duration
from exporter.fleet.model import PodFacts, Target
from exporter.kube.api import Json, KubeError
from exporter.kube.fields import condition, mapping
from exporter.terminal import counted

SUBJECT = "agents"
NAME = "pods that do not run"
LATELY_SECONDS = 24 * 3600
"""How long ago a container that runs again may have ended to be reported: a night, and the day before it."""
_GIB = 1024**3
_EXITS_SHOWN = 2


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one pod does not run, or that its container ended lately."""

    reason: str
    down: bool
    """Whether it does not run now."""


@dataclass(frozen=True, slots=True)
class _Failed:
    target: Target
    facts: PodFacts
    failure: Failure


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _pods(env))] if env.settings.discovery.kubernetes.enabled else []


def failure(pod: Json, facts: PodFacts, now: float) -> Failure | None:
    """Return why a pod does not run, or that its container ended lately; None if neither. `now` in Unix seconds.

    A pod that was just created may wait for its node and its image.
    """
    if (reason := facts.waiting_reason) is not None:
        # An agent that is killed at each start has too little memory; that it loops says less.
        killed = reason == CRASH_LOOP and facts.last_terminated_reason == OOM_KILLED
        return None if may_start(facts, now) else Failure(OOM_KILLED if killed else canonical(reason), down=True)
    if facts.node is None and not condition(mapping(pod.get("status")), "PodScheduled") and not may_start(facts, now):
        return Failure(NO_NODE, down=True)
    down, ended = facts.started_time is None, facts.last_terminated_time
    lately = ended is not None and now - ended <= LATELY_SECONDS
    if facts.last_terminated_reason is None or not (down or lately):
        return None
    return Failure(canonical(facts.last_terminated_reason), down=down)


def may_start(facts: PodFacts, now: float) -> bool:
    """Return whether a pod that does not serve may only be young: nothing keeps it from starting yet."""
    age = now - facts.created_time if facts.created_time is not None else 0.0
    waits = canonical(facts.waiting_reason).removeprefix(INIT) if facts.waiting_reason is not None else None
    return age <= MAX_START_SECONDS and waits in {None, STUCK, INITIALIZING} and facts.last_terminated_reason is None


async def _pods(env: Environment) -> Sequence[Finding]:
    try:
        pods = [pod for namespace in env.namespaces for pod in await env.pods(namespace)]
    except KubeError:
        raise NotPossibleError("the pods cannot be listed, see below") from None
    return _findings(pods, pod_reader(env.settings), time.time())


def _findings(pods: Sequence[Json], reader: PodReader, now: float) -> Sequence[Finding]:
    sizes: Counter[str] = Counter()
    by_reason: dict[str, list[_Failed]] = {}
    for pod in pods:
        target = reader.read(pod)
        if not isinstance(target, Target) or (facts := target.facts) is None or facts.draining_time is not None:
            continue
        sizes[fleet_name(target)] += 1
        if (found := failure(pod, facts, now)) is not None:
            by_reason.setdefault(found.reason, []).append(_Failed(target, facts, found))
    down = Counter(fleet_name(one.target) for group in by_reason.values() for one in group if one.failure.down)
    dead = {fleet for fleet, count in down.items() if count == sizes[fleet]}
    findings = [_told(reason, group, dead, now) for reason, group in sorted(by_reason.items(), key=_most_first)]
    if not findings:
        return [ok(NAME, "none: each agent's container runs" if sizes else "there are no agents")]
    return findings


def _most_first(entry: tuple[str, Sequence[_Failed]]) -> tuple[int, str]:
    return -len(entry[1]), entry[0]


def _told(reason: str, group: Sequence[_Failed], dead: set[str], now: float) -> Finding:
    """Return one reason with its count, its pods, what it means and what to do."""
    first, words = group[0], pod_reason(reason)
    fleets = Counter(fleet_name(one.target) for one in group)
    several = len(fleets) > 1
    in_fleets = some([f"{fleet} ({count})" if several else fleet for fleet, count in sorted(fleets.items())])
    found = f"{counted(len(group), 'agent')} in {in_fleets}: {some([one.target.pod for one in group])}"
    if details := details_of(reason, [one.facts for one in group], down=_any_down(group), now=now):
        found += f" ({details})"
    found += f"; {words.meaning}" + (f"; {words.cost}" if words.cost else "")
    found += message_of([one.facts for one in group])
    target, workload = first.target, first.facts.workload or "NAME"
    fix = words.fix.format(namespace=target.namespace, pod=target.pod, workload=workload)
    say = failed if dead & fleets.keys() else warning
    return say(reason, found, f"{fix}; {runbook(words.runbook)}")


def _any_down(group: Sequence[_Failed]) -> bool:
    return any(one.failure.down for one in group)


def details_of(reason: str, facts: Sequence[PodFacts], *, down: bool, now: float) -> str:
    """Return what tells one such pod from another: how it ended, how often and when, its limit, its image."""
    parts = [] if down else ["running again"]
    if any(one.waiting_reason == CRASH_LOOP for one in facts):
        looping = sum(one.waiting_reason == CRASH_LOOP for one in facts)
        ends = Counter(one.last_terminated_reason for one in facts if one.last_terminated_reason is not None)
        if reason == OOM_KILLED:
            parts.append(f"{looping} in CrashLoopBackOff")
        elif ends:
            parts.append(f"last exit {', '.join(sorted(ends))}")
    codes = Counter(one.last_exit_code for one in facts if one.last_exit_code is not None)
    parts += [exit_code(code) for code, _ in codes.most_common(_EXITS_SHOWN)]
    if restarts := sum(one.restarts or 0 for one in facts):
        parts.append(counted(restarts, "restart"))
    ended = [one.last_terminated_time for one in facts if one.last_terminated_time is not None]
    if ended:
        parts.append(f"the last {duration(now - max(ended))} ago")
    limits = {one.memory_limit_bytes for one in facts if one.memory_limit_bytes is not None}
    if reason == OOM_KILLED and limits:
        parts.append(f"memory limit {' and '.join(f'{limit / _GIB:.3g} GiB' for limit in sorted(limits))}")
    images = sorted({one.image for one in facts if one.image is not None})
    if "Image" in reason and images:
        parts.append(f"image {some(images)}")
    return ", ".join(parts)


def message_of(facts: Sequence[PodFacts]) -> str:
    """Return Kubernetes' own words as a sentence to append; empty without any."""
    # Of a crash loop Kubernetes states the delay and the pod's name, which tell nothing.
    texts = (one.waiting_message for one in facts if not one.crash_looping)
    text = next((text for text in texts if text is not None), None)
    return "" if text is None else f". Kubernetes: {text.rstrip('.')}"
