"""The shape of the settings, read off their classes: which keys there are, and what each one takes, in words.

One description serves the error messages, the environment variables and the table in docs/configuration.md.
"""

import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from exporter.config.problems import Path
from exporter.config.settings import Settings
from exporter.config.values import BuiltFrom, ValueKind


@dataclass(frozen=True, slots=True)
class Shape:
    """What a place in the settings takes."""

    holds: Any
    """The bare type: a class, a Literal, or `tuple[X, ...]`."""
    kinds: tuple[object, ...] = ()
    """The metadata that goes with it."""
    nullable: bool = False
    required: bool = False

    @property
    def section(self) -> type[BaseModel] | None:
        """The class of the section that stands here; None for a plain value."""
        built = next((kind.model for kind in self.kinds if isinstance(kind, BuiltFrom)), self.holds)
        return built if isinstance(built, type) and issubclass(built, BaseModel) else None

    @property
    def item(self) -> "Shape | None":
        """What each element of the list takes; None where no list stands."""
        return shape_of(get_args(self.holds)[0]) if get_origin(self.holds) is tuple else None

    @property
    def is_text(self) -> bool:
        """Whether a plain string is always meant as it is, whatever YAML would make of it."""
        return self.holds not in {int, float, bool} and get_origin(self.holds) is None and self.section is None

    @property
    def allowed(self) -> str:
        """What is allowed, in words that complete "it is not …"."""
        for kind in self.kinds:
            if isinstance(kind, ValueKind):
                return kind.allowed
        if self.section is not None:
            return "a mapping of keys to values"
        if self.item is not None:
            return "a list of mappings" if self.item.section else f"a list, each element {self.item.allowed}"
        return _allowed_of(self.holds)


def _allowed_of(kind: Any) -> str:
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        return _one_of([str(choice) for choice in get_args(kind)])
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _one_of([str(choice.value) for choice in kind])
    raise TypeError(f"no words for {kind!r}")


def _one_of(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else f"{', '.join(choices[:-1])} or {choices[-1]}"


def shape_of(annotation: Any, metadata: tuple[object, ...] = ()) -> Shape:
    """Take an annotation apart: Annotated, `… | None` and what is within."""
    kinds, nullable = list(metadata), False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            kinds += more
        elif get_origin(annotation) in {Union, types.UnionType}:
            (annotation,) = (arm for arm in get_args(annotation) if arm is not types.NoneType)
            nullable = True
        else:
            return Shape(annotation, tuple(kinds), nullable)


def field_shape(field: FieldInfo) -> Shape:
    """Return what a field of a section takes."""
    return replace(shape_of(field.annotation, tuple(field.metadata)), required=field.is_required())


def shape_at(path: Path) -> Shape | None:
    """Return what a path in the settings takes; None where no key leads there."""
    shape: Shape | None = shape_of(Settings)
    for part in path:
        if shape is None:
            return None
        if isinstance(part, int):
            shape = shape.item
        else:
            field = shape.section.model_fields.get(part) if shape.section else None
            shape = field_shape(field) if field else None
    return shape


@dataclass(frozen=True, slots=True)
class Key:
    """One key that may be written, with `[]` after those that hold a list of sections."""

    path: str
    shape: Shape
    default: Any
    description: str


def keys(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[Key]:
    """Walk all keys in the order of the classes; a section comes before its own keys."""
    for name, field in section.model_fields.items():
        shape = field_shape(field)
        inner = shape.section
        description = field.description or (inspect.getdoc(inner) if inner else None) or ""
        default = None if field.default is PydanticUndefined else field.default
        yield Key(prefix + name, shape, default, description)
        if inner is not None:
            yield from keys(inner, f"{prefix}{name}.")
        elif shape.item is not None and shape.item.section is not None:
            yield from keys(shape.item.section, f"{prefix}{name}[].")
