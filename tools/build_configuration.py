"""Writes the tables of docs/configuration.md from the settings' own classes."""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from exporter.config.durations import format_duration
from exporter.config.shape import Key, keys
from exporter.config.values import Duration
from exporter.fleet.model import Endpoint
from tools.generated import DOCS

PAGE = DOCS / "configuration.md"
BEGIN = "<!-- The tables from here on are generated (make docs) from exporter/config/settings.py. -->"
END = "<!-- End of the generated tables. -->"


def tables() -> Iterator[str]:
    """Yield the lines of the tables."""
    head = ["| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
    everything = list(keys())
    yield from head
    yield from (_row(key) for key in everything if "." not in key.path and key.shape.section is None)
    for section in everything:
        if "." not in section.path and section.shape.section is not None:
            yield from ("", f"### {section.path}", "", section.description, "", *head)
            yield from (_row(key) for key in everything if key.path.startswith(f"{section.path}."))


def _row(key: Key) -> str:
    # How durations are written is said once, above the tables.
    takes = "section" if key.shape.section is not None else key.shape.allowed.partition(" (such as")[0]
    return f"| `{key.path}` | {_cell(takes)} | {_cell(_default(key))} | {_cell(key.description)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def _default(key: Key) -> str:
    if key.shape.required:
        return "required"
    if key.shape.section is not None:
        return "off" if key.shape.nullable else ""
    is_duration = any(isinstance(kind, Duration) for kind in key.shape.kinds)
    return f"`{format_duration(key.default) if is_duration else _yaml(key.default)}`"


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Endpoint):
        return f"{{kind: {value.kind}, port: {value.port}, path: {value.path}}}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {json.dumps(text)}' for key, text in value.items())}}}"
    if type(value) is tuple:
        return f"[{', '.join(_yaml(item) for item in value)}]"
    return str(value)
