"""The inhibition rules that the documentation has for Alertmanager, as matchers."""

import re
from collections.abc import Iterator, Mapping

import yaml

Matchers = dict[str, re.Pattern[str]]


def inhibitions(documentation: str) -> Iterator[tuple[Matchers, Matchers, set[str]]]:
    """Yield source, target and common labels of each rule."""
    [block] = [b for b in re.findall(r"```yaml\n(.*?)```", documentation, re.DOTALL) if "inhibit_rules" in b]
    for rule in yaml.safe_load(block)["inhibit_rules"]:
        source, target = (_matchers(rule[name]) for name in ("source_matchers", "target_matchers"))
        yield source, target, set(rule["equal"])


def matches(matchers: Mapping[str, re.Pattern[str]], labels: Mapping[str, str]) -> bool:
    """Return whether labels satisfy all matchers, as Alertmanager decides it."""
    return all(pattern.fullmatch(labels.get(name, "")) for name, pattern in matchers.items())


def _matchers(written: list[str]) -> Matchers:
    found = [re.fullmatch(r'(\w+)(=~?)"([^"]+)"', matcher) for matcher in written]
    assert None not in found
    return {
        match.group(1): re.compile(match.group(3) if match.group(2) == "=~" else re.escape(match.group(3)))
        for match in found
        if match is not None
    }
