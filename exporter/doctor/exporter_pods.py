"""The exporter's own pods that do not run: without one there are no figures, and nothing else can tell why.

In its pod the doctor sees the other replica; on a person's machine, also an installation of which no pod has started.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.doctor.check import Check, CheckFailedError, Finding, Once, failed, ok, some, warning
from exporter.doctor.environment import Environment, described
from exporter.doctor.pages import runbook
from exporter.doctor.pod_failures import Failure, details_of, failure, message_of
from exporter.doctor.pod_reasons import OOM_KILLED, pod_reason
from exporter.doctor.pods import pod_reader
from exporter.doctor.scan import SCAN_SECONDS, Pod, Scan
from exporter.fleet.model import PodFacts
from exporter.kube.api import KubeError
from exporter.kube.fields import mapping, mappings
from exporter.terminal import counted

SUBJECT = "Kubernetes"
NAME = "exporter's pods"
_FIXES = {OOM_KILLED: "raise resources.limits.memory in the chart's values (documentation: sizing)"}
"""Where what helps an agent is not what helps the exporter."""


@dataclass(frozen=True, slots=True)
class _Failed:
    pod: Pod
    facts: PodFacts
    failure: Failure


def checks(env: Environment, scanned: Once[Scan]) -> list[Check]:
    """Return the checks of this subject; `scanned` is made once for all."""
    if not env.settings.discovery.kubernetes.enabled:
        return []
    return [Check(SUBJECT, NAME, lambda: _pods(env, scanned), SCAN_SECONDS)]


async def _pods(env: Environment, scanned: Once[Scan]) -> Sequence[Finding]:
    try:
        seen = await scanned.get()
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    now, reader = time.time(), pod_reader(env.settings)
    by_reason: dict[str, list[_Failed]] = {}
    total = running = 0
    # Where its namespace may not be listed, the check of its nodes says so.
    for pod in seen.pods:
        facts = reader.facts(pod.raw, _first_container(pod)) if pod.exporters else None
        if facts is None or facts.draining_time is not None:
            continue
        total += 1
        found = failure(pod.raw, facts, now)
        running += found is None or not found.down
        # What has no node is reported with what keeps pods from nodes.
        if found is not None and facts.node is not None:
            by_reason.setdefault(found.reason, []).append(_Failed(pod, facts, found))
    if not by_reason:
        return [ok(NAME, f"{running} of {counted(total, 'pod')} running")] if running else []
    return [_told(reason, group, none_runs=not running, now=now) for reason, group in sorted(by_reason.items())]


def _told(reason: str, group: Sequence[_Failed], *, none_runs: bool, now: float) -> Finding:
    words, first, facts = pod_reason(reason), group[0].pod, [one.facts for one in group]
    names = some([f"{one.pod.namespace}/{one.pod.name}" for one in group])
    details = details_of(reason, facts, down=any(one.failure.down for one in group), now=now)
    found = f"{names}{f' ({details})' if details else ''}; {words.meaning}{message_of(facts)}"
    workload = facts[0].workload or "NAME"
    fix = _FIXES.get(reason) or words.fix.format(namespace=first.namespace, pod=first.name, workload=workload)
    say = failed if none_runs else warning
    return say(f"{NAME}: {reason}", found, f"{fix}; {runbook('MatillionExporterDown')}")


def _first_container(pod: Pod) -> dict[str, object]:
    containers = mappings(mapping(pod.raw.get("spec")).get("containers"))
    return dict(next(containers, {}))
