"""Label selectors: parsed from text, and matched against labels.

Pure, and the only selector grammar in this project. It is that of Kubernetes (kubernetes.io, "Labels and Selectors";
the API server's own reader is k8s.io/apimachinery, pkg/labels): requirements joined by commas, each of `key=value`,
`key==value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key`, `!key`. Space is allowed between any two of these
words and signs, and needed only between two words. A label that is not there satisfies `!=` and `notin`. `key>1` and
`key<1` are refused, though an API server reads them: that page does not offer them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

MAX_LENGTH = 4096
"""Characters. Far more than any real selector; bounds the cost of a hostile one."""

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DNS = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_KEY = re.compile(rf"(?:(?=[^/]{{1,253}}/){_DNS}(?:\.{_DNS})*/)?{_NAME}", re.ASCII)
_VALUE = re.compile(rf"(?:{_NAME})?", re.ASCII)
_SPACE = " \t\r\n"
"""The API server accepts no other white space either."""
_TOKEN = re.compile(rf"[{_SPACE}]*(==|=|!=|!|\(|\)|,|<|>|[^{_SPACE}=!(),<>]+)")
_LONGEST_SHOWN = 80
_SPECIAL = frozenset({"=", "==", "!=", "!", "(", ")", ","})


class SelectorError(ValueError):
    """The text is not a label selector; the message states where."""


class _Test(Enum):
    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class _Requirement:
    key: str
    test: _Test
    values: frozenset[str] = frozenset()

    def met_by(self, labels: Mapping[str, str]) -> bool:
        match self.test:
            case _Test.IN:
                return labels.get(self.key) in self.values
            case _Test.NOT_IN:
                return labels.get(self.key) not in self.values
            case _Test.EXISTS:
                return self.key in labels
            case _Test.ABSENT:
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements on a set of labels; without any it matches everything."""

    requirements: tuple[_Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether the labels meet every requirement."""
        return all(requirement.met_by(labels) for requirement in self.requirements)

    def allowed(self, key: str) -> frozenset[str] | None:
        """Return the only values that a label may have to match, to look at no others; None if it is not that bound."""
        named = [one.values for one in self.requirements if one.key == key and one.test is _Test.IN]
        return frozenset.intersection(*named) if named else None


def parse_selector(text: str) -> Selector:
    """Parse a selector; empty text selects everything. Raises SelectorError."""
    if len(text) > MAX_LENGTH:
        raise SelectorError(f"it is longer than {MAX_LENGTH} characters")
    if not text.strip(_SPACE):
        return Selector(())
    return Selector(tuple(_requirements(_Tokens(text))))


class _Tokens:
    """The words and signs of a text, one after the other."""

    def __init__(self, text: str) -> None:
        self._tokens: Sequence[str] = tuple(_split(text))
        self._next = 0

    def peek(self) -> str | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def take(self) -> str | None:
        token = self.peek()
        self._next += 1
        return token

    def take_if(self, *needed: str) -> str | None:
        return self.take() if self.peek() in needed else None

    def word(self, pattern: re.Pattern[str], what: str) -> str:
        token = self.take()
        if token is None or token in _SPECIAL or not pattern.fullmatch(token):
            raise SelectorError(f"expected {what}, found {_shown(token)}")
        return token

    def value(self) -> str:
        """Take a value, which may be empty."""
        return "" if self.peek() in {None, ",", ")"} else self.word(_VALUE, "a label value")


def _split(text: str) -> Iterator[str]:
    for token in _TOKEN.finditer(text.rstrip(_SPACE)):
        if token[1] in {"<", ">"}:
            raise SelectorError(f"{token[1]} is not supported; =, !=, in, notin, a key alone and !key are")
        yield token[1]


def _requirements(tokens: _Tokens) -> Iterator[_Requirement]:
    while True:
        yield _requirement(tokens)
        sign = tokens.take()
        if sign is None:
            return
        if sign != ",":
            raise SelectorError(f"expected a comma or the end, found {_shown(sign)}")


def _requirement(tokens: _Tokens) -> _Requirement:
    if tokens.take_if("!"):
        return _Requirement(tokens.word(_KEY, "a label key"), _Test.ABSENT)
    key = tokens.word(_KEY, "a label key")
    if tokens.take_if("=", "=="):
        return _Requirement(key, _Test.IN, frozenset({tokens.value()}))
    if tokens.take_if("!="):
        return _Requirement(key, _Test.NOT_IN, frozenset({tokens.value()}))
    if (test := tokens.take_if("in", "notin")) is not None:
        return _Requirement(key, _Test(test), _set(tokens))
    return _Requirement(key, _Test.EXISTS)


def _set(tokens: _Tokens) -> frozenset[str]:
    if (sign := tokens.take()) != "(":
        raise SelectorError(f"expected an opening bracket, found {_shown(sign)}")
    values, commas_at_end = {tokens.value()}, 0
    while (sign := tokens.take()) == ",":
        value = tokens.value()
        values.add(value)
        commas_at_end = 0 if value else commas_at_end + 1
    if sign != ")":
        raise SelectorError(f"expected a comma or a closing bracket, found {_shown(sign)}")
    if commas_at_end and commas_at_end % 2 == 0:
        # The API server reads a pair of commas as one empty value, and then expects another one.
        raise SelectorError("expected a label value, found a trailing comma in a list")
    return frozenset(values)


def _shown(token: str | None) -> str:
    if token is None:
        return "the end"
    return repr(token if len(token) <= _LONGEST_SHOWN else f"{token[:_LONGEST_SHOWN]}…")
