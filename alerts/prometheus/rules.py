"""Recording rules and alerts as values, and how a file of them is written."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any, Literal

import yaml

from exporter.fleet.outlets import PREFIX
from exporter.web.runbooks import PLACEHOLDERS

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))


@dataclass(frozen=True, slots=True)
class Clock:
    """Writes durations as Prometheus reads them, `faster` times shorter: 1 for use, more to play hours in a minute."""

    faster: float = 1.0

    def __call__(self, seconds: float) -> str:
        """Return a duration such as `1h30m`."""
        rest = round(seconds / self.faster * 1000)
        text = ""
        for unit, length in _UNITS:
            count, rest = divmod(rest, length)
            text += f"{count}{unit}" if count else ""
        return text or "0s"


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule, named `level:metric:operation`; the level is what its labels distinguish."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert. `for_seconds` is how long its expression must hold."""

    name: str
    severity: Literal["critical", "warning", "info"]
    """`critical` is a page, `warning` a ticket."""
    when: str
    """The condition in words, for the documentation."""
    expr: str
    for_seconds: float
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that Prometheus evaluates in sequence."""

    name: str
    rules: tuple[Recording | Alert, ...]


def latest(metric: str, by: Iterable[str], matchers: str = "") -> str:
    """Return the query for a metric of the fleets, the same for one replica of the exporter or for more."""
    return f"max by ({', '.join(by)}) ({PREFIX}{metric}{'{' + matchers + '}' if matchers else ''})"


def asked(series: str, found: str, otherwise: str) -> str:
    """Return a template that looks up a recorded series of the alert's fleet when the alert fires.

    As a label, a second figure would start a new alert whenever it changes. `found` is its text, `{}` for the value.
    """
    query = f"""{{{{ with printf "{series}{{cluster=%q,namespace=%q,fleet=%q}}"
    $labels.cluster $labels.namespace $labels.fleet | query }}}}"""
    value = "{{ . | first | value | humanize }}"
    return f"{query}{found.format(value)}{{{{ else }}}}{otherwise}{{{{ end }}}}"


def on(labels: Iterable[str]) -> str:
    """Return the vector matching on these labels."""
    return f"on ({', '.join(labels)})"


def written(groups: Iterable[Group], clock: Clock, runbook_base_url: str) -> str:
    """Return the text of a rule file."""
    document = {"groups": [_group(group, clock, runbook_base_url) for group in groups]}
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _group(group: Group, clock: Clock, runbook_base_url: str) -> dict[str, Any]:
    return {"name": group.name, "rules": [_rule(rule, clock, runbook_base_url) for rule in group.rules]}


def _rule(rule: Recording | Alert, clock: Clock, runbook_base_url: str) -> dict[str, Any]:
    expr = dedent(rule.expr).strip()
    if isinstance(rule, Recording):
        return {"record": rule.name, "expr": expr}
    wait = {"for": clock(rule.for_seconds)} if rule.for_seconds else {}
    return {
        "alert": rule.name,
        "expr": expr,
        **wait,
        "labels": {"severity": rule.severity, **rule.labels},
        "annotations": {
            "summary": " ".join(rule.summary.split()),
            "description": " ".join(rule.description.split()),
            "runbook_url": f"{runbook_base_url.rstrip('/')}/{rule.name}{_names(rule)}",
        },
    }


def _names(rule: Alert) -> str:
    """Return a query with the names that the alert's own text has; the runbook fills them into its commands."""
    named = set(re.findall(r"\$labels\.(\w+)", rule.summary + rule.description))
    # Without spaces, so that the address is one word for the chart to replace.
    query = "&".join(f"{name}={{{{$labels.{name}|urlquery}}}}" for name in PLACEHOLDERS if name in named)
    return f"?{query}" if query else ""


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
