"""Reads a CloudFormation template and works out its intrinsic functions, as far as our templates use them."""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

PSEUDO = {
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::StackName": "stack",
}
_NOTHING = object()


class _Loader(yaml.SafeLoader):
    """Makes `{"!Tag": value}` of a short-form function."""


def _function(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {f"!{tag}": loader.construct_scalar(node)}
    return {f"!{tag}": loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _function)


@cache
def _read(path: Path) -> dict[str, Any]:
    """Return what a file says: hundreds of tests ask, each for a template of its own."""
    document: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe loader with our tags
    return document


def complaints(path: Path) -> list[Any]:
    """Return what cfn-lint finds wrong with a template. It takes a second to load, so only who asks for it does."""
    found: list[Any] = importlib.import_module("cfnlint.api").lint(path.read_text(encoding="utf-8"))
    return found


class Template:
    """A template with values for its parameters; `resources` are those whose condition holds, worked out."""

    def __init__(self, path: Path, **parameters: str) -> None:
        self._template = _read(path)
        declared = self._template["Parameters"]
        assert parameters.keys() <= declared.keys()
        self._values = PSEUDO | {
            name: parameters.get(name, one.get("Default", _NOTHING)) for name, one in declared.items()
        }
        assert _NOTHING not in self._values.values(), "a parameter without a default is missing"

    def parameter(self, name: str) -> dict[str, Any]:
        """Return what the template says of a parameter."""
        declared: dict[str, Any] = self._template["Parameters"][name]
        return declared

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """Each resource's properties, by its logical name."""
        return {
            name: self._resolve(one["Properties"])
            for name, one in self._template["Resources"].items()
            if "Condition" not in one or self._condition(one["Condition"])
        }

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of one type."""
        types = {name: one["Type"] for name, one in self._template["Resources"].items()}
        return {name: properties for name, properties in self.resources.items() if types[name] == kind}

    def _condition(self, name: str) -> bool:
        return bool(self._resolve(self._template["Conditions"][name]))

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NOTHING
        if name in self._values:
            return self._values[name]
        properties = self._template["Resources"][name]["Properties"]
        return self._resolve(properties.get("AlarmName") or properties["DashboardName"])

    def _resolve(self, value: Any) -> Any:  # noqa: PLR0911 - one case for each function
        match value:
            case {"!Ref": name}:
                return self._reference(name)
            case {"!Sub": text}:
                return re.sub(r"\$\{([A-Za-z:]+)\}", lambda found: str(self._reference(found[1])), text)
            case {"!If": [condition, then, otherwise]}:
                return self._resolve(then if self._condition(condition) else otherwise)
            case {"!Equals": [one, other]}:
                return self._resolve(one) == self._resolve(other)
            case {"!Not": [one]}:
                return not self._resolve(one)
            case dict():
                resolved = {key: self._resolve(one) for key, one in value.items()}
                return {key: one for key, one in resolved.items() if one is not _NOTHING}
            case list():
                return [one for one in map(self._resolve, value) if one is not _NOTHING]
        return value
