"""Reads the Terraform module: its blocks as plain values, and what its expressions refer to."""

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import hcl2

from tools.generated import ROOT

FOLDER = ROOT / "deploy" / "terraform"
FACTS: dict[str, dict[str, Any]] = json.loads(
    (ROOT / "tests" / "testdata" / "terraform" / "providers.json").read_text(encoding="utf-8")
)
"""What the providers' documentation says of each resource and data source that the module uses."""

META = {"count", "for_each", "depends_on", "lifecycle", "provider"}
"""Arguments that Terraform itself gives to every resource."""

_EXPRESSION = re.compile(r"\$\{(.*)\}", re.DOTALL)


def read(text: str) -> dict[str, list[dict[str, Any]]]:
    """Return the top-level blocks of HCL by their kind, names and strings without their quotes."""
    blocks: dict[str, list[dict[str, Any]]] = _plain(hcl2.loads(text))
    return blocks


@functools.cache
def _files() -> list[dict[str, list[dict[str, Any]]]]:
    return [read(file.read_text(encoding="utf-8")) for file in sorted(FOLDER.glob("*.tf"))]


def blocks(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and content of each block of a kind with one label, such as `variable`."""
    for file in _files():
        for block in file.get(kind, []):
            yield from block.items()


def objects(kind: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield type, name and content of each `resource` or `data`."""
    for type_name, block in blocks(kind):
        for name, content in block.items():
            yield type_name, name, content


def named_values() -> dict[str, Any]:
    """Return all locals."""
    found: dict[str, Any] = {}
    for file in _files():
        for block in file.get("locals", []):
            found |= block
    return found


def replaced(value: Any, known: dict[str, Any]) -> Any:
    """Return a value in which the expressions that are keys of `known` are replaced, within strings too."""
    if isinstance(value, dict):
        return {replaced(key, known): replaced(content, known) for key, content in value.items()}
    if isinstance(value, list):
        return [replaced(one, known) for one in value]
    if isinstance(value, str):
        whole = _EXPRESSION.fullmatch(value)
        if whole is not None and whole[1] in known:
            return known[whole[1]]
        return re.sub(r"\$\{([\w.]+)\}", lambda one: str(known.get(one[1], one[0])), value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value
