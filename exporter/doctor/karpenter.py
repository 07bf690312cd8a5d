"""Karpenter's NodePools: when nodes with agents are removed, and how long agents then have.

Karpenter evicts a node's pods with their own grace and waits for them, unless the NodePool has a
`terminationGracePeriod`: then the node ends after that time, whatever still runs there, and pods whose grace is longer
are deleted at once. `karpenter.sh/do-not-disrupt` does not prevent that; it prevents consolidation and drift, but not
expiration, and counts on a terminating pod for nothing. Sources: karpenter.sh, "Disruption" (TerminationGracePeriod,
Expiration, Pod-Level Controls, Node-Level Controls) and "NodePools".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.config import format_duration
from exporter.doctor.autoscaling import served
from exporter.doctor.check import Check, CheckFailedError, Finding, not_checked, ok, warning
from exporter.doctor.draining import FARGATE, PROTECT, SUBJECT, Draining, draining
from exporter.doctor.environment import REQUEST_SECONDS, Environment, described
from exporter.fleet.protection import KARPENTER
from exporter.kube.api import AccessDeniedError, KubeError, Resource
from exporter.kube.client import KubeClient
from exporter.kube.fields import Json, line, mapping, mappings
from exporter.kube.times import go_duration

NAME = "Karpenter"
NODE_POOLS = (
    Resource("karpenter.sh", "v1", "nodepools"),
    Resource("karpenter.sh", "v1beta1", "nodepools"),
)
"""Newest first: v1 since Karpenter 1.0, v1beta1 from 0.32 to 1.0."""
_EXPIRES, _POLICY = "720h", "WhenEmptyOrUnderutilized"
"""Defaults where a NodePool sets none."""
_NEVER = "Never"
_LONGEST = 253


@dataclass(frozen=True, slots=True)
class Rules:
    """When a NodePool's nodes are removed."""

    grace: float | None
    """Seconds after which a node that is being removed ends; None if it waits for its pods."""
    expires: str
    """Age at which a node is removed; `Never` if it is not."""
    consolidation: str
    """Which nodes are removed to save cost, and after what time; empty if none are."""

    @property
    def removal(self) -> str:
        """When nodes are removed, as the end of a sentence."""
        parts = [
            f"consolidation is {self.consolidation}" if self.consolidation else "nodes are not consolidated",
            "nodes do not expire" if self.expires == _NEVER else f"nodes expire after {self.expires}",
        ]
        return " and ".join(parts)


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    return [Check(SUBJECT, NAME, lambda: _check(env))] if env.settings.discovery.kubernetes.enabled else []


async def _check(env: Environment) -> Sequence[Finding]:
    drain, kube = await draining(env), await env.kube()
    try:
        pools = await _node_pools(kube)
    except AccessDeniedError as error:
        fix = f"run the doctor with your own kubeconfig, or {error.resource.grant('list')}"
        return [not_checked(NAME, "no permission to list its NodePools; the exporter does not need it", fix)]
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    if drain.fargate and pools:
        return [ok(NAME, FARGATE)]
    by_rules: dict[Rules, list[str]] = {}
    for pool in pools:
        by_rules.setdefault(rules_of(pool), []).append(line(mapping(pool.get("metadata")).get("name"), _LONGEST))
    return [_finding(sorted(names), rules, drain) for rules, names in by_rules.items()]


async def _node_pools(kube: KubeClient) -> Sequence[Json]:
    """Return the NodePools; none where Karpenter is not installed. Raises KubeError."""
    for pools in NODE_POOLS:
        if await served(kube, pools):
            return list(mappings((await kube.get(pools, timeout=REQUEST_SECONDS)).get("items")))
    return ()


def rules_of(pool: Json) -> Rules:
    """Return a NodePool's settings, from either version."""
    spec = mapping(pool.get("spec"))
    template, disruption = mapping(mapping(spec.get("template")).get("spec")), mapping(spec.get("disruption"))
    expires = template.get("expireAfter") or disruption.get("expireAfter")
    policy, after = disruption.get("consolidationPolicy"), line(disruption.get("consolidateAfter"), _LONGEST)
    consolidation = line(policy, _LONGEST) or _POLICY
    stopped = after == _NEVER or any(map(_blocks, mappings(disruption.get("budgets"))))
    return Rules(
        grace=go_duration(template.get("terminationGracePeriod")),
        expires=line(expires, _LONGEST) or _EXPIRES,
        consolidation="" if stopped else f"{consolidation} after {after}" if after else consolidation,
    )


def _blocks(budget: Json) -> bool:
    """Return whether a budget allows no voluntary disruption at any time, for any reason."""
    return budget.get("nodes") in ("0", "0%") and not budget.get("schedule") and not budget.get("reasons")


def _finding(pools: Sequence[str], rules: Rules, drain: Draining) -> Finding:
    title = f"{NAME} NodePool{'' if len(pools) == 1 else 's'} {', '.join(pools)}"
    protected = KARPENTER in drain.protecting
    if rules.grace is None or rules.grace >= drain.grace:
        found = f"agents drain for up to {drain.grace} s, their grace, when their node is removed; {rules.removal}"
        if protected:
            return ok(title, f"{found}; nodes of agents with tasks are not consolidated (protection.enabled)")
        return warning(title, f"{found}, also with agents that run tasks", PROTECT)
    if protected and drain.nodes_protected and rules.expires == _NEVER:
        return ok(title, "it removes no nodes of agents with tasks (protection.enabled and nodes; they do not expire)")
    return warning(
        title,
        f"nodes end {format_duration(rules.grace)} (terminationGracePeriod) after their removal begins, although the "
        f"agents' grace is {drain.grace} s: tasks that still run are killed, those of protected agents too; "
        f"{rules.removal}",
        f"set spec.template.spec.terminationGracePeriod: {format_duration(drain.grace)} or remove it: "
        f"kubectl edit nodepools {' '.join(pools)} (documentation: disruption)",
    )
