r"""From the bytes of a metrics page to the samples of the wanted families, and nothing else.

Reads both text formats agents speak: Prometheus text 0.0.4 and OpenMetrics. A page has some 150 series of which about
20 matter, and a thousand pages arrive every few seconds, so a line is looked at closely only when its first bytes say
that it may be wanted, and a label set is taken apart once for all pages that repeat it. What is not wanted, such as
`target_info` with the agent's command line, never becomes an object.

A line that cannot be read loses itself, not the page.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]


class Series:
    """What stands before a value: a name and a label set. A series that pages repeat is one object on all of them.

    Compared by identity, so that the shape of a page, which is its series, is cheap to recognise.
    """

    __slots__ = ("labels", "name")

    def __init__(self, name: bytes, labels: Labels) -> None:
        self.name = name
        self.labels = labels


class Sample(NamedTuple):
    """One series of a page. `value` may be NaN or infinite: what that means is for the reader to say."""

    name: bytes
    labels: Labels
    """Sorted by label name."""
    value: float


@dataclass(frozen=True, slots=True)
class Page:
    """The wanted samples of a page in their order, and how many wanted lines could not be read."""

    series: tuple[Series, ...]
    values: tuple[float, ...]
    """One for each of `series`."""
    rejected_lines: int

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Series and values side by side."""
        return tuple(
            Sample(series.name, series.labels, value) for series, value in zip(self.series, self.values, strict=True)
        )


class Wanted:
    """The families to read from a page. Names are bytes because pages are."""

    __slots__ = ("lines", "names", "prefixes", "series")

    def __init__(self, names: Iterable[bytes]) -> None:
        self.names = frozenset(names)
        # Up to the second "_": few enough to test each line against, telling enough to pass over the rest. Blanks
        # before a name are allowed, so lines that start with one are looked at too.
        stems = {b"_".join(name.split(b"_", 2)[:2]) for name in self.names}
        self.prefixes = (*sorted(stems), b" ", b"\t")
        # Finds the lines that may be of a wanted family in one pass in C, in half the time of splitting the page.
        self.lines = re.compile(rb"\n((?:" + _alternatives(self.names) + rb"|[ \t])[^\n]*)").findall
        self.series: dict[bytes, Series] = {}
        """What plain lines say before their value, as read before: `read` keeps it here."""


def _alternatives(names: Iterable[bytes]) -> bytes:
    """Return a regular expression for any of the names, those with the same first word told apart behind it only."""
    by_stem: dict[bytes, list[bytes]] = {}
    for name in sorted(names):
        first, separator, rest = name.partition(b"_")
        by_stem.setdefault(first + separator, []).append(re.escape(rest))
    return b"|".join(re.escape(stem) + b"(?:" + b"|".join(rests) + b")" for stem, rests in by_stem.items())


class _MalformedError(Exception):
    """A line is not a sample."""


# The fields behind the label set: value, then in 0.0.4 a timestamp in milliseconds, in OpenMetrics one in seconds.
_MOST_FIELDS = 2
_LABEL = re.compile(rb'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*+)"\s*(,|$)')
_LABEL_SET_END = re.compile(rb'(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\}')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_LONGEST_CACHED = 1024
_MOST_CACHED = 8192


def read(page: bytes, wanted: Wanted) -> Page:
    """Return the samples of `page` whose family is `wanted`. Never raises for what a page contains."""
    lines = wanted.lines(b"\n" + page)
    return _repeated(lines, wanted) or _read_closely(lines, wanted)


def _repeated(lines: list[bytes], wanted: Wanted) -> Page | None:
    """Read a page of plain lines, `name{…} value`, with series that were read before; None if it is not one.

    That is nearly every page: one differs from the page before in its values only.
    """
    parts = [line.rpartition(b" ") for line in lines]
    known = wanted.series
    try:
        series = tuple([known[before] for before, _, _ in parts])
        values = tuple([float(value) for _, _, value in parts])
    except (KeyError, ValueError):
        return None
    # Digits grouped by "_" are a number to Python and to nobody else.
    if b"_" in b" ".join([value for _, _, value in parts]):
        return None
    return Page(series, values, 0)


def _read_closely(lines: list[bytes], wanted: Wanted) -> Page:
    series, values = [], []
    rejected = 0
    for line in lines:
        try:
            sample = _sample(line.strip(), wanted.names)
        except _MalformedError:
            rejected += 1
        else:
            if sample is not None:
                series.append(_remember(wanted.series, line.rpartition(b" ")[0], sample))
                values.append(sample.value)
    return Page(tuple(series), tuple(values), rejected)


def _remember(known: dict[bytes, Series], text: bytes, sample: Sample) -> Series:
    """Return the series of a line; keep it, if `text`, all before the value, is nothing but its name and label set.

    Bounded like the cache of label sets, and for the same reason.
    """
    met = known.get(text)
    if met is not None and (met.name, met.labels) == (sample.name, sample.labels):
        return met
    series = Series(sample.name, sample.labels)
    plain = text == sample.name or (text.startswith(sample.name + b"{") and text.endswith(b"}"))
    if plain and b"#" not in text and len(text) <= _LONGEST_CACHED:
        if len(known) >= _MOST_CACHED:
            known.clear()
        known[text] = series
    return series


def _sample(line: bytes, names: frozenset[bytes]) -> Sample | None:
    """Return the sample of a line, None if its family is not wanted. Raises _MalformedError."""
    brace = line.find(b"{")
    # `name value # {…} …`: the brace of an exemplar is not the series' own.
    if brace < 0 or b" " in line[:brace].rstrip() or b"\t" in line[:brace].rstrip():
        name, _, rest = line.replace(b"\t", b" ").partition(b" ")
        return Sample(name, (), _value(rest)) if name in names else None
    name = line[:brace].rstrip()
    if name not in names:
        return None
    end = _label_set_end(line, brace)
    return Sample(name, _labels(line[brace + 1 : end]), _value(line[end + 1 :]))


def _label_set_end(line: bytes, brace: int) -> int:
    if b"#" not in line:
        # Behind the label set stand only numbers, so the last brace is its own, whatever the label values hold.
        end = line.rfind(b"}")
        if end > brace:
            return end
        raise _MalformedError
    found = _LABEL_SET_END.match(line, brace + 1)
    if found is None:
        raise _MalformedError
    return found.end() - 1


def _value(rest: bytes) -> float:
    """Return the value in front of an optional timestamp and an optional exemplar."""
    numbers = rest.partition(b" # ")[0]
    fields = numbers.split(None, _MOST_FIELDS)
    # Digits grouped by "_" are a number to Python and to nobody else.
    if len(fields) > _MOST_FIELDS or b"_" in numbers:
        raise _MalformedError
    try:
        value, *_ = map(float, fields)  # no field at all is a ValueError as well
    except ValueError:
        raise _MalformedError from None
    return value


def _labels(text: bytes) -> Labels:
    """Return what stands between the braces as sorted pairs."""
    return _parsed(text) if len(text) <= _LONGEST_CACHED else _parsed.__wrapped__(text)


# An agent's label sets stay the same from page to page, and are mostly the same from agent to agent. Both bounds are
# for a hostile page: it may at worst empty the cache, not fill the memory.
@lru_cache(maxsize=_MOST_CACHED)
def _parsed(text: bytes) -> Labels:
    """Read a label set. A comma after the last pair is allowed. Raises _MalformedError, which is not cached."""
    labels: dict[str, str] = {}
    text = text.strip()
    position = 0
    while position < len(text):
        found = _LABEL.match(text, position)
        if found is None:
            raise _MalformedError
        try:
            name, value = found[1].decode("ascii"), found[2].decode()
        except UnicodeDecodeError:
            raise _MalformedError from None
        if name in labels:
            raise _MalformedError
        labels[name] = _ESCAPE.sub(_unescape, value) if "\\" in value else value
        position = found.end()
    return tuple(sorted(labels.items()))


def _unescape(found: re.Match[str]) -> str:
    # An escape the formats do not define stands for itself, as Prometheus reads it.
    return _UNESCAPED.get(found[1], found[0])
