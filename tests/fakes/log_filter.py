"""CloudWatch Logs' metric filters, as far as AWS describes the part that our template uses.

No emulator knows JSON patterns, so this follows AWS' pages: "Filter pattern syntax for metric filters, subscription
filters, filter log events, and Live Tail" and "Publishing dimensions with metrics from values in JSON or
space-delimited log events". What they do not allow is an error here, as it is there.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

_TERM = re.compile(r"\s*(?P<field>\$(?:\.[A-Za-z0-9_-]+)+)\s*=\s*(?:\"(?P<text>[^\"]*)\"|%(?P<regex>[^%]*)%)\s*")
_REGEX = re.compile(r"[A-Za-z0-9:_#=@/;,^$?\[\]{}|\\*+.-]+")
MOST_CHARACTERS, MOST_REGEXES, MOST_DIMENSIONS = 1024, 2, 3


class MetricFilter:
    """One metric filter, from the properties of its CloudFormation resource."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """Raise ValueError for what AWS refuses."""
        pattern = properties["FilterPattern"]
        if len(pattern) > MOST_CHARACTERS:
            raise ValueError("the pattern is too long")
        if not (pattern.startswith("{") and pattern.endswith("}")):
            raise ValueError("only JSON patterns have dimensions")
        self._terms = [self._parsed(term) for term in pattern[1:-1].split("&&")]
        if sum(term["regex"] is not None for term in self._terms) > MOST_REGEXES:
            raise ValueError("too many regular expressions")
        [self._metric] = properties["MetricTransformations"]
        dimensions = self._metric["Dimensions"]
        if len(dimensions) > MOST_DIMENSIONS or "DefaultValue" in self._metric:
            raise ValueError("three dimensions at most, and no default value beside them")
        if not {one["Value"] for one in dimensions} <= {term["field"] for term in self._terms}:
            raise ValueError("a dimension is a field that the pattern does not name")

    def count(self, event: Mapping[str, Any]) -> tuple[tuple[str, str, frozenset[tuple[str, str]]], float] | None:
        """Return the series that an event counts in, and for how much; None if the pattern does not match it."""
        if not all(self._matches(term, event) for term in self._terms):
            return None
        dimensions = {(one["Key"], str(_value(event, one["Value"]))) for one in self._metric["Dimensions"]}
        series = (self._metric["MetricNamespace"], self._metric["MetricName"], frozenset(dimensions))
        return series, float(self._metric["MetricValue"])

    @staticmethod
    def _parsed(term: str) -> dict[str, str]:
        found = _TERM.fullmatch(term)
        if found is None:
            raise ValueError(f"not a term: {term}")
        if found["regex"] is not None and not _REGEX.fullmatch(found["regex"]):
            raise ValueError(f"not a regular expression: {found['regex']}")
        return found.groupdict()

    @staticmethod
    def _matches(term: Mapping[str, str], event: Mapping[str, Any]) -> bool:
        value = _value(event, term["field"])
        if not isinstance(value, str):
            return False
        if term["regex"] is not None:
            return re.search(term["regex"], value) is not None
        return re.fullmatch(".*".join(map(re.escape, term["text"].split("*"))), value) is not None


def _value(event: Mapping[str, Any], field: str) -> Any:
    """Return what a selector points to; None where nothing is."""
    value: Any = event
    for name in field.removeprefix("$.").split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def as_shipped(line: str, **fields: str) -> dict[str, Any]:
    """Return an event as Fluent Bit ships it for Container Insights, with the fields that its operator added.

    Labels are not in it unless they are asked for, and their names could not be selected: a selector has no dots.
    """
    kubernetes = {
        "pod_name": "etl-matillion-runner-7c9d6b5f4-x2x7k",
        "namespace_name": "matillion",
        "pod_id": "0f2f7a3e-5a0f-4f6e-9d8c-1f2e3d4c5b6a",
        "host": "ip-10-0-3-7.eu-west-1.compute.internal",
        "container_name": "agent",
    }
    event = {"time": "2026-01-01T02:30:00.123456789Z", "stream": "stdout", "log": line, "kubernetes": kubernetes}
    shipped: dict[str, Any] = json.loads(json.dumps(event | fields))
    return shipped
