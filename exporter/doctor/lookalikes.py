"""Pods that look like agents and that the settings do not find, with the settings that would.

An agent that is not found is missing from every figure, and nothing else shows it.
"""

from collections.abc import Iterator, Sequence

from exporter.discovery.likeness import agent_marks
from exporter.discovery.pods import PODS
from exporter.doctor.check import Check, CheckFailedError, Finding, NotPossibleError, Once, not_checked, ok, warning
from exporter.doctor.environment import Environment, described
from exporter.doctor.scan import SCAN_SECONDS, Labels, Pod, Scan
from exporter.kube.api import KubeError
from exporter.kube.selector import parse_selector

SUBJECT = "agents"
NAME = "not matched"
COMPONENT = "app.kubernetes.io/component"
"""The vendor's charts give it to every pod of a release that is no agent."""
_LIKELY = ("app.kubernetes.io/name", "app.kubernetes.io/part-of", "app")
_NEVER = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "eks.amazonaws.com/fargate-profile",
        COMPONENT,
    }
)
"""Labels that identify one pod of a workload, its version, or where it runs; not what it is."""
_LABEL_THEM = "give each agent the label app.kubernetes.io/name: matillion-runner, as the vendor's chart does"
_MOST_VALUES = 20
_SHOWN = 3


def checks(env: Environment, scanned: Once[Scan]) -> list[Check]:
    """Return the checks of this subject; `scanned` is made once for all."""
    if not env.settings.discovery.kubernetes.enabled:
        return []
    return [Check(SUBJECT, NAME, lambda: _not_matched(env, scanned), SCAN_SECONDS)]


async def _not_matched(env: Environment, scanned: Once[Scan]) -> Sequence[Finding]:
    try:
        seen = await scanned.get()
    except KubeError as error:
        raise CheckFailedError(described(error)) from None
    return list(_findings(env, seen))


def _findings(env: Environment, seen: Scan) -> Iterator[Finding]:
    if seen.namespaces is not None and not seen.namespaces:
        raise NotPossibleError("no permission to list pods, see above")
    strays = [pod for pod in seen.pods if pod.alike and not pod.matched]
    where = "in the cluster" if seen.namespaces is None else f"in {' and '.join(seen.namespaces)}"
    if strays:
        yield warning(NAME, _in_words(strays), _fix(env, seen, strays))
    else:
        yield ok(NAME, f"no pod {where} looks like an agent that the settings miss")
    if seen.namespaces is not None:
        why = f"whether there are agents elsewhere than {where}: no permission to list pods cluster-wide"
        yield not_checked("agents elsewhere", why, f"run the doctor with your own kubeconfig, or {PODS.grant('list')}")


def _in_words(strays: Sequence[Pod]) -> str:
    shown = [f"{pod.namespace}/{pod.name} ({agent_marks(pod.raw)})" for pod in strays[:_SHOWN]]
    more = f" and {len(strays) - _SHOWN} more" if len(strays) > _SHOWN else ""
    look = "pod looks like an agent and is" if len(strays) == 1 else "pods look like agents and are"
    return f"{len(strays)} {look} not found by the settings: {', '.join(shown)}{more}"


def _fix(env: Environment, seen: Scan, strays: Sequence[Pod]) -> str:
    """Return which settings would find them as well as those that are found now."""
    settings = env.settings.discovery.kubernetes
    parts: list[str] = []
    selector = parse_selector(settings.label_selector)
    if not all(selector.matches(pod.labels) for pod in strays):
        agents = [pod.labels for pod in seen.pods if pod.alike or pod.matched]
        proposed = selector_for(agents, seen.bystanders)
        if proposed is None:
            return f"no label distinguishes them from other pods: {_LABEL_THEM}"
        parts.append(f'discovery.kubernetes.label_selector: "{proposed}"')
    missing = {pod.namespace for pod in strays} - set(settings.namespaces) if settings.namespaces else set()
    if missing:
        parts.append(f"discovery.kubernetes.namespaces: [{', '.join([*settings.namespaces, *sorted(missing)])}]")
    fix = f"to include them, set {' and '.join(parts)} (in the chart's values below config)"
    # Any other label is likely to have one value for each release, so that the next one is missed again.
    by_name = not parts[0].startswith("discovery.kubernetes.label_selector") or _LIKELY[0] in parts[0]
    return fix if by_name else f"{fix}; or {_LABEL_THEM}, so that future releases are found as well"


def selector_for(agents: Sequence[Labels], others: Sequence[Labels]) -> str | None:
    """Return a selector that finds all these agents and none of the others; None where no single label does."""
    common = set.intersection(*(set(labels) for labels in agents)) - _NEVER
    values = {key: sorted({labels[key] for labels in agents}) for key in common}
    rest = sorted(common - set(_LIKELY), key=lambda key: (len(values[key]), key))
    for key in [one for one in _LIKELY if one in common] + rest:
        if len(values[key]) > _MOST_VALUES:
            continue
        text = f"{key}={values[key][0]}" if len(values[key]) == 1 else f"{key} in ({','.join(values[key])})"
        if not any(COMPONENT in labels for labels in agents):
            text += f",!{COMPONENT}"
        selector = parse_selector(text)
        if not any(selector.matches(labels) for labels in others):
            return text
    return None
