r"""Parses the bytes of a metrics page to the samples of the needed families.

Reads both text formats of agents, Prometheus text 0.0.4 and OpenMetrics, each also with the quoted names of Prometheus
3: `{"agent.tasks","cloud.provider"="AWS"} 3`. A page has some 150 series of which about 20 matter, and a thousand pages
arrive every few seconds. So a line is parsed only if its first bytes match a needed family, and a label set is parsed
once for all pages that repeat it. Anything else, such as `target_info` with the agent's command line, never becomes an
object.

A malformed line is rejected without rejecting the page.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]


class Series:
    """A name and a label set. A series that pages repeat is one shared object.

    Compared by identity, so that comparing the series of two pages is cheap.
    """

    __slots__ = ("labels", "name")

    def __init__(self, name: bytes, labels: Labels) -> None:
        self.name = name
        self.labels = labels


class Sample(NamedTuple):
    """One series of a page. `value` may be NaN or infinite: the caller interprets it."""

    name: bytes
    labels: Labels
    """Sorted by label name, each with underscores for its dots."""
    value: float


@dataclass(frozen=True, slots=True)
class Page:
    """The samples of a page in order, and the number of malformed lines of needed families."""

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


class FamilyFilter:
    """The families to read from a page, by their underscored names. Names are bytes because pages are."""

    __slots__ = ("further_lines", "line", "names", "series")

    def __init__(self, names: Iterable[bytes]) -> None:
        self.names = frozenset(names)
        # Dots are allowed in quotes only. A quoted name may be anywhere between the braces, so the whole line is
        # searched, unless it begins with a name, as with all known servers. An apparent name may be a label's text;
        # parsing decides. Blanks before a name are allowed, so lines that start with one are parsed too.
        plain = [spelling + rb"(?![a-zA-Z0-9_:])" for spelling in _spellings(self.names, b"_")]
        end = rb'"[ \t]*+[,}]'
        search = rb'(?:(?!"[^"\\\n]*+' + end + rb")[^\n]*?)?"
        quoted = rb"\{" + search + rb'"(?:' + b"|".join(_spellings(self.names, b"[._]")) + rb")" + end
        line = rb"((?:" + b"|".join([*plain, quoted]) + rb"|[ \t])[^\n]*)"
        self.line = re.compile(line).match
        """Matches a line that may belong to a needed family."""
        # Finds these lines in one pass in C, in half the time of splitting the page; all but the first.
        self.further_lines = re.compile(rb"\n" + line).findall
        self.series: dict[bytes, Series] = {}
        """Cache of `read`: the text before the value of a plain line, and its series."""


def _spellings(names: Iterable[bytes], separator: bytes) -> list[bytes]:
    """Return regular expressions for the names, one for each first word; `separator` matches what divides words.

    A common prefix occurs once, so that a line is compared with it once.
    """
    by_first: dict[bytes, list[bytes | None]] = {}
    for name in sorted(names):
        first, further, rest = name.partition(b"_")
        by_first.setdefault(first, []).append(rest if further else None)
    spellings = []
    for first, rests in by_first.items():
        longer = _spellings([rest for rest in rests if rest is not None], separator)
        more = separator + (longer[0] if len(longer) == 1 else b"(?:" + b"|".join(longer) + b")") if longer else b""
        # An optional group is slower than an empty alternative.
        spellings.append(re.escape(first) + (b"(?:" + more + b"|)" if longer and None in rests else more))
    return spellings


class _MalformedError(Exception):
    """A line is not a sample."""


# The fields behind the label set: value, then in 0.0.4 a timestamp in milliseconds, in OpenMetrics one in seconds.
_MAX_FIELDS = 2
# A label and its text, or the name of the series, which is quoted and has no text. The expression is unambiguous, so it
# never backtracks.
_ITEM = re.compile(
    rb'\s*+(?:([a-zA-Z_][a-zA-Z0-9_]*+)|"((?:[^"\\]|\\.)*+)")\s*+(?:=\s*+"((?:[^"\\]|\\.)*+)"\s*+)?(?:,|$)'
)
_LABEL_SET_END = re.compile(rb'(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\}')
_ESCAPE = re.compile(r"\\(.)")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}
_MAX_CACHED_LENGTH = 1024
_MAX_CACHED = 8192


def read(page: bytes, families: FamilyFilter) -> Page:
    """Return the samples of `page` that belong to `families`. Never raises for what a page contains."""
    lines: list[bytes] = families.further_lines(page)
    first = families.line(page)
    if first is not None:
        lines.insert(0, first[0])
    return _repeated(lines, families) or _read_closely(lines, families)


def _repeated(lines: list[bytes], families: FamilyFilter) -> Page | None:
    """Read a page of plain lines, `name{…} value`, with known series only; None for any other page.

    That is nearly every page: it differs from the previous one only in its values.
    """
    parts = [line.rpartition(b" ") for line in lines]
    known = families.series
    try:
        series = tuple([known[before] for before, _, _ in parts])
        values = tuple([float(value) for _, _, value in parts])
    except (KeyError, ValueError):
        return None
    # Digits grouped by "_" are a number in Python only.
    if b"_" in b" ".join([value for _, _, value in parts]):
        return None
    return Page(series, values, 0)


def _read_closely(lines: list[bytes], families: FamilyFilter) -> Page:
    series, values = [], []
    rejected = 0
    for line in lines:
        try:
            sample = _sample(line.strip(), families)
        except _MalformedError:
            rejected += 1
        else:
            if sample is not None:
                series.append(_remember(families.series, line.rpartition(b" ")[0], sample))
                values.append(sample.value)
    return Page(tuple(series), tuple(values), rejected)


def _remember(known: dict[bytes, Series], text: bytes, sample: Sample) -> Series:
    """Return the series of a line; cache it if `text`, all before the value, is only its name and label set.

    Bounded like the cache of label sets, for the same reason.
    """
    met = known.get(text)
    if met is not None and (met.name, met.labels) == (sample.name, sample.labels):
        return met
    series = Series(sample.name, sample.labels)
    plain = text == sample.name or (text.startswith((sample.name + b"{", b"{")) and text.endswith(b"}"))
    if plain and b"#" not in text and len(text) <= _MAX_CACHED_LENGTH:
        if len(known) >= _MAX_CACHED:
            known.clear()
        known[text] = series
    return series


def _sample(line: bytes, families: FamilyFilter) -> Sample | None:
    """Return the sample of a line, None if its family is not needed. Raises _MalformedError."""
    brace = line.find(b"{")
    if brace == 0:
        return _sample_of_quoted_name(line, families)
    # `name value # {…} …`: the brace of an exemplar is not the series' own.
    if brace < 0 or b" " in line[:brace].rstrip() or b"\t" in line[:brace].rstrip():
        name, _, rest = line.replace(b"\t", b" ").partition(b" ")
        return Sample(name, (), _value(rest)) if underscored(name) in families.names else None
    name = line[:brace].rstrip()
    if underscored(name) not in families.names:
        return None
    end = _label_set_end(line, brace)
    quoted, labels = _labels(line[brace + 1 : end])
    if quoted is not None:
        raise _MalformedError
    return Sample(name, labels, _value(line[end + 1 :]))


def _sample_of_quoted_name(line: bytes, families: FamilyFilter) -> Sample | None:
    """Return the sample of a line with its name between the braces."""
    if not families.line(line):
        return None
    end = _label_set_end(line, 0)
    name, labels = _labels(line[1:end])
    if name is None or underscored(name) not in families.names:
        return None
    return Sample(name, labels, _value(line[end + 1 :]))


def _label_set_end(line: bytes, brace: int) -> int:
    if b"#" not in line:
        # Only numbers follow the label set, so the last brace ends it, whatever the label values contain.
        end = line.rfind(b"}")
        if end > brace:
            return end
        raise _MalformedError
    found = _LABEL_SET_END.match(line, brace + 1)
    if found is None:
        raise _MalformedError
    return found.end() - 1


def _value(rest: bytes) -> float:
    """Return the value before an optional timestamp and an optional exemplar."""
    numbers = rest.partition(b" # ")[0]
    fields = numbers.split(None, _MAX_FIELDS)
    # Digits grouped by "_" are a number in Python only.
    if len(fields) > _MAX_FIELDS or b"_" in numbers:
        raise _MalformedError
    try:
        value, *_ = map(float, fields)  # no field at all is a ValueError as well
    except ValueError:
        raise _MalformedError from None
    return value


def _labels(text: bytes) -> tuple[bytes | None, Labels]:
    """Return the content of the braces: the name of the series, if present, and the labels as sorted pairs."""
    return _parsed(text) if len(text) <= _MAX_CACHED_LENGTH else _parsed.__wrapped__(text)


# An agent's label sets rarely change, and are mostly the same for all agents. Both bounds are for a hostile page: at
# worst it evicts the cache, but it cannot fill the memory.
@lru_cache(maxsize=_MAX_CACHED)
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
    return name, tuple(sorted([(label.replace(".", "_"), value) for label, value in labels.items()]))


def _text(written: bytes) -> str:
    """Return the unescaped text of a quoted string. Raises _MalformedError."""
    try:
        text = written.decode()
    except UnicodeDecodeError:
        raise _MalformedError from None
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def _unescape(found: re.Match[str]) -> str:
    # An undefined escape is kept as it is, as Prometheus does.
    return _UNESCAPED.get(found[1], found[0])
