"""Strict YAML: plain data only, and whatever could be misread is a problem with its line and column.

On top of PyYAML's safe loader: duplicate keys, keys that are not text, anchors, aliases and tags of other types are
problems, and dates and base-60 numbers (`12:30`, which YAML 1.1 takes for 750) stay text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from exporter.config.problems import Path, Problem, shown

LARGEST_BYTES = 8 * 1024 * 1024
"""A list of 25,000 targets takes a quarter of it; a device or a log file given by mistake is not read for ever."""
MAX_VALUES = 250_000
"""Keys and values, about 0.7 KB of memory each while a file is read. A list of 25,000 targets has 225,000."""
MAX_DEPTH = 50
"""Lists and mappings within one another. The settings have seven; of what is in brackets, PyYAML looks at each level
again at each word of a line."""

_TAG = "tag:yaml.org,2002:"
_KEPT = ("null", "bool", "int", "float", "str", "seq", "map")
_RESOLVED_ELSEWISE = {f"{_TAG}{name}" for name in ("timestamp", "merge", "value", "int", "float")}


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader with the traps taken out."""

    max_values = MAX_VALUES

    yaml_constructors = {  # noqa: RUF012 - PyYAML's own class attribute
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is not None and tag.removeprefix(_TAG) in _KEPT
    }
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _RESOLVED_ELSEWISE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.complaints: list[Problem] = []
        self._values = self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML has no types for the parser
        self._values += 1
        if self._values > self.max_values:
            raise ConstructorError(None, None, f"more than {self.max_values} keys and values", event.start_mark)
        if self._depth >= MAX_DEPTH:
            raise _too_deep(event.start_mark)
        if event is not None and getattr(event, "anchor", None):
            raise ConstructorError(None, None, "anchors and aliases (& and *) are not supported", event.start_mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def fetch_flow_collection_start(self, token: type) -> None:
        if self.flow_level >= MAX_DEPTH:
            raise _too_deep(self.get_mark())
        super().fetch_flow_collection_start(token)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, MappingNode):
            self._check_keys(node)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, IndexError, OverflowError):
            message = f"{shown(node.value)} cannot be read as {node.tag.removeprefix(_TAG)}"
            raise ConstructorError(None, None, message, node.start_mark) from None

    def _check_keys(self, node: MappingNode) -> None:
        first_lines: dict[str, int] = {}
        for key, _ in node.value:
            mark = key.start_mark
            if not isinstance(key, ScalarNode) or key.tag != f"{_TAG}str":
                what = shown(key.value) if isinstance(key, ScalarNode) else "this"
                raise ConstructorError(None, None, f"a key must be text, and {what} is not; write it in quotes", mark)
            if key.value in first_lines:
                message = f"the key {shown(key.value)} is already set on line {first_lines[key.value]}"
                self.complaints.append(_at(mark, message))
            first_lines.setdefault(key.value, mark.line + 1)


def _too_deep(mark: yaml.Mark) -> ConstructorError:
    return ConstructorError(None, None, "lists or mappings are nested too deeply", mark)


def _refuse_tag(_loader: _StrictLoader, node: Node) -> None:
    message = f"the tag {node.tag.replace(_TAG, '!!')} is not supported; write a plain value"
    raise ConstructorError(None, None, message, node.start_mark)


_StrictLoader.add_constructor(None, _refuse_tag)
_SIGN_OR_DIGIT = list("-+0123456789")
_StrictLoader.add_implicit_resolver(f"{_TAG}int", re.compile(r"[-+]?(?:0|[1-9][0-9_]*)$"), _SIGN_OR_DIGIT)
_StrictLoader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    [*_SIGN_OR_DIGIT, "."],
)


def _at(mark: yaml.Mark, message: str) -> Problem:
    return Problem((), f"line {mark.line + 1}, column {mark.column + 1}: {message}")


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML or JSON document."""

    data: Any = None
    """None where the text cannot be read at all; then there is at least one problem."""
    problems: list[Problem] = field(default_factory=list)
    node: Node | None = None
    """What the data was made of."""

    def lines(self) -> Mapping[Path, int]:
        """Return the line of each key and of each item of a list, counted from 1."""
        return dict(_lines(self.node, ()))


def parse_yaml(text: str) -> Document:
    """Return the data of one YAML or JSON document, and what is wrong with it."""
    loader: _StrictLoader | None = None
    try:
        loader = _StrictLoader(text)
        node = loader.get_single_node()
        data = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        message = ", ".join(part for part in (error.problem, error.context) if part)
        mark = error.problem_mark or error.context_mark
        return Document(problems=[_at(mark, message) if mark else Problem((), f"not YAML: {message}")])
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"line {line}: the character {error.character:#06x} is not allowed in YAML"
        return Document(problems=[Problem((), message)])
    finally:
        if loader is not None:
            loader.dispose()
    return Document(data, loader.complaints, node)


def _lines(node: Node | None, path: Path) -> Iterator[tuple[Path, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line + 1
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(item, (*path, index))


_WHY_NOT: dict[type[OSError], str] = {
    FileNotFoundError: "there is no such file",
    IsADirectoryError: "it is a directory, not a file",
    PermissionError: "permission denied",
}


def read_text(path: FilePath) -> tuple[str, str | None]:
    """Return the text of a file and None, or an empty text and why it cannot be read, in words."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        return "", _WHY_NOT.get(type(error), f"it cannot be read ({error.strerror or error})")
    if len(content) > LARGEST_BYTES:
        return "", f"it is larger than {LARGEST_BYTES // (1024 * 1024)} MiB"
    try:
        return content.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return "", f"it is not UTF-8 text (byte {error.start + 1})"
