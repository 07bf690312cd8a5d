r"""From the bytes of a metrics page to the samples of the wanted families, and nothing else.

Reads both text formats agents speak, Prometheus text 0.0.4 and OpenMetrics, each also with the quoted names that
Prometheus 3 brought: `{"agent.tasks","cloud.provider"="AWS"} 3`. A page has some 150 series of which about
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
    """Sorted by label name, each with underscores for its dots."""
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


def underscored(name: bytes) -> bytes:
    """Return a name as it is without the UTF-8 form: OpenTelemetry's names have dots, which Prometheus long forbade."""
    return name.replace(b".", b"_")


class Wanted:
    """The families to read from a page, by their underscored names. Names are bytes because pages are."""

    __slots__ = ("further_lines", "line", "names", "series")

    def __init__(self, names: Iterable[bytes]) -> None:
        self.names = frozenset(names)
        # Dots are allowed in quotes only. A quoted name may stand anywhere between the braces, so all of a line is
        # searched, unless it begins with a name, as all known servers write it. What looks like a name may be a label's
        # text: parsing will tell. Blanks before a name are allowed, so lines that start with one are looked at too.
        plain = [way + rb"(?![a-zA-Z0-9_:])" for way in _ways(self.names, b"_")]
        end = rb'"[ \t]*+[,}]'
        search = rb'(?:(?!"[^"\\\n]*+' + end + rb")[^\n]*?)?"
        quoted = rb"\{" + search + rb'"(?:' + b"|".join(_ways(self.names, b"[._]")) + rb")" + end
        line = rb"((?:" + b"|".join([*plain, quoted]) + rb"|[ \t])[^\n]*)"
        self.line = re.compile(line).match
        """Matches a line that may be of a wanted family."""
        # Finds these lines in one pass in C, in half the time of splitting the page; all but the first.
        self.further_lines = re.compile(rb"\n" + line).findall
        self.series: dict[bytes, Series] = {}
        """What plain lines say before their value, as read before: `read` keeps it here."""


def _ways(names: Iterable[bytes], separator: bytes) -> list[bytes]:
    """Return regular expressions for the names, one for each first word; `separator` is one for what divides words.

    What names begin with stands there once, so that a line is compared with it once.
    """
    by_first: dict[bytes, list[bytes | None]] = {}
    for name in sorted(names):
        first, further, rest = name.partition(b"_")
        by_first.setdefault(first, []).append(rest if further else None)
    ways = []
    for first, rests in by_first.items():
        longer = _ways([rest for rest in rests if rest is not None], separator)
        more = separator + (longer[0] if len(longer) == 1 else b"(?:" + b"|".join(longer) + b")") if longer else b""
        # An optional group would take longer than an empty alternative.
        ways.append(re.escape(first) + (b"(?:" + more + b"|)" if longer and None in rests else more))
    return ways


class _MalformedError(Exception):
    """A line is not a sample."""


# The fields behind the label set: value, then in 0.0.4 a timestamp in milliseconds, in OpenMetrics one in seconds.
_MOST_FIELDS = 2
# A label and its text, or the name of the series, which is quoted and has no text. Nothing in it can be read in two
# ways, so nothing is tried twice.
_ITEM = re.compile(
    rb'\s*+(?:([a-zA-Z_][a-zA-Z0-9_]*+)|"((?:[^"\\]|\\.)*+)")\s*+(?:=\s*+"((?:[^"\\]|\\.)*+)"\s*+)?(?:,|$)'
)
_LABEL_SET_END = re.compile(rb'(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\}')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_LONGEST_CACHED = 1024
_MOST_CACHED = 8192


def read(page: bytes, wanted: Wanted) -> Page:
    """Return the samples of `page` whose family is `wanted`. Never raises for what a page contains."""
    lines: list[bytes] = wanted.further_lines(page)
    first = wanted.line(page)
    if first is not None:
        lines.insert(0, first[0])
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
            sample = _sample(line.strip(), wanted)
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
    plain = text == sample.name or (text.startswith((sample.name + b"{", b"{")) and text.endswith(b"}"))
    if plain and b"#" not in text and len(text) <= _LONGEST_CACHED:
        if len(known) >= _MOST_CACHED:
            known.clear()
        known[text] = series
    return series


def _sample(line: bytes, wanted: Wanted) -> Sample | None:
    """Return the sample of a line, None if its family is not wanted. Raises _MalformedError."""
    brace = line.find(b"{")
    if brace == 0:
        return _sample_of_quoted_name(line, wanted)
    # `name value # {…} …`: the brace of an exemplar is not the series' own.
    if brace < 0 or b" " in line[:brace].rstrip() or b"\t" in line[:brace].rstrip():
        name, _, rest = line.replace(b"\t", b" ").partition(b" ")
        return Sample(name, (), _value(rest)) if underscored(name) in wanted.names else None
    name = line[:brace].rstrip()
    if underscored(name) not in wanted.names:
        return None
    end = _label_set_end(line, brace)
    quoted, labels = _labels(line[brace + 1 : end])
    if quoted is not None:
        raise _MalformedError
    return Sample(name, labels, _value(line[end + 1 :]))


def _sample_of_quoted_name(line: bytes, wanted: Wanted) -> Sample | None:
    """Return the sample of a line that has its name between the braces."""
    if not wanted.line(line):
        return None
    end = _label_set_end(line, 0)
    name, labels = _labels(line[1:end])
    if name is None or underscored(name) not in wanted.names:
        return None
    return Sample(name, labels, _value(line[end + 1 :]))


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


def _labels(text: bytes) -> tuple[bytes | None, Labels]:
    """Return what stands between the braces: the name of the series, if it is there, and the labels as sorted pairs."""
    return _parsed(text) if len(text) <= _LONGEST_CACHED else _parsed.__wrapped__(text)


# An agent's label sets stay the same from page to page, and are mostly the same from agent to agent. Both bounds are
# for a hostile page: it may at worst empty the cache, not fill the memory.
@lru_cache(maxsize=_MOST_CACHED)
def _parsed(text: bytes) -> tuple[bytes | None, Labels]:
    """Read a label set. A comma after the last pair is allowed. Raises _MalformedError, which is not cached."""
    name: bytes | None = None
    labels: dict[str, str] = {}
    text = text.strip()
    position = 0
    while position < len(text):
        found = _ITEM.match(text, position)
        if found is None:
            raise _MalformedError
        plain, quoted, value = found.groups()
        if value is not None:
            label = _text(quoted) if plain is None else plain.decode()
            if not label or label in labels:
                raise _MalformedError
            labels[label] = _text(value)
        elif quoted is not None and name is None:
            name = _text(quoted).encode()
        else:
            raise _MalformedError
        position = found.end()
    return name, tuple(sorted([(label.replace(".", "_"), said) for label, said in labels.items()]))


def _text(written: bytes) -> str:
    """Return what is meant by the inside of quotes. Raises _MalformedError."""
    try:
        text = written.decode()
    except UnicodeDecodeError:
        raise _MalformedError from None
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(found: re.Match[str]) -> str:
    # An escape the formats do not define stands for itself, as Prometheus reads it.
    return _UNESCAPED.get(found[1], found[0])
