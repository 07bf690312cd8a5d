r"""Parses the bytes of a metrics page to the samples of the needed families.

Reads both text formats of agents, Prometheus text 0.0.4 and OpenMetrics, each also with the quoted names of Prometheus
3: `{"agent.tasks","cloud.provider"="AWS"} 3`. A page has some 150 series of which about 20 matter, and a thousand pages
arrive every few seconds. So a line is parsed only if its first bytes match a needed family, and not at all on a page
that differs from the one before in its values only (`outline`). Anything else, such as `target_info` with the agent's
command line, never becomes an object.

Nothing is kept from one page to the next. A malformed line is rejected without rejecting the page.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One series of a page. `value` may be NaN or infinite: the caller interprets it."""

    name: bytes
    labels: Labels
    """Sorted by label name, each with underscores for its dots."""
    value: float


@dataclass(frozen=True, slots=True)
class Page:
    """The samples of a page in order, and the number of malformed lines of needed families."""

    samples: tuple[Sample, ...]
    rejected_lines: int


class Outline(NamedTuple):
    """A page of plain lines, `name{…} value`: what its series are, as one hash, and their values in order.

    Two pages with one hash have the same series in the same order. It has 64 bits and a key that each process draws
    (`PYTHONHASHSEED`), so two pages of one agent have it by no accident that will ever happen, nor by intent.
    """

    hash: int
    values: tuple[float, ...]


def underscored(name: bytes) -> bytes:
    """Return a name as it is without the UTF-8 form: OpenTelemetry's names have dots, which Prometheus long forbade."""
    return name.replace(b".", b"_")


class FamilyFilter:
    """The families to read from a page, by their underscored names. Names are bytes because pages are."""

    __slots__ = ("further_lines", "line", "names")

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

    def lines(self, page: bytes) -> list[bytes]:
        """Return the lines of a page that may belong to a needed family."""
        lines: list[bytes] = self.further_lines(page)
        first = self.line(page)
        if first is not None:
            lines.insert(0, first[0])
        return lines


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
_DIGEST_BYTES = 16
"""Of a hash that nobody can make collide: an agent cannot pass one series off as another."""


def digest(text: bytes) -> bytes:
    """Return what stands for a text of any length wherever texts are only compared."""
    return blake2b(text, digest_size=_DIGEST_BYTES).digest()


def outline(lines: Iterable[bytes]) -> Outline | None:
    """Return the outline of the lines of a page; None if a value is none, and the lines have to be read closely.

    That the lines are plain is not tested: their hash is of use only if `plain` was true of a page that has it.
    """
    parts = [line.rpartition(b" ") for line in lines]
    try:
        values = tuple([float(value) for _, _, value in parts])
    except ValueError:
        return None
    # Digits grouped by "_" are a number in Python only.
    if b"_" in b" ".join([value for _, _, value in parts]):
        return None
    return Outline(hash(b"\n".join([before for before, _, _ in parts])), values)


def plain(lines: Sequence[bytes], page: Page) -> bool:
    """Return whether each of the lines gave one sample of the page, and is nothing but its series and its value."""
    return len(lines) == len(page.samples) and all(
        _plain(line.rpartition(b" ")[0], sample.name) for line, sample in zip(lines, page.samples, strict=True)
    )


def _plain(before: bytes, name: bytes) -> bool:
    alone = before == name or (before.startswith((name + b"{", b"{")) and before.endswith(b"}"))
    return alone and b"#" not in before


def read(page: bytes, families: FamilyFilter) -> Page:
    """Return the samples of `page` that belong to `families`. Never raises for what a page contains."""
    return samples_of(families.lines(page), families)


def samples_of(lines: Iterable[bytes], families: FamilyFilter) -> Page:
    """Return the samples on these lines."""
    samples = []
    rejected = 0
    for line in lines:
        try:
            sample = _sample(line.strip(), families)
        except _MalformedError:
            rejected += 1
        else:
            if sample is not None:
                samples.append(sample)
    return Page(tuple(samples), rejected)


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
    """Return the content of the braces: the name of the series, if present, and the labels as sorted pairs.

    A comma after the last pair is allowed. Raises _MalformedError.
    """
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
