"""One datum for CloudWatch: its value, CloudWatch's limits on it, and how it is written to the spool and to a request.

Pure. The limits are those of PutMetricData:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

from exporter.fleet.read_back import is_count, is_unix_time, read_json

MAX_DATUMS = 1000
"""Datums in one request."""
MAX_VALUES = 150
"""Different values in one datum."""
MAX_BYTES = 900_000
"""Size of one request. CloudWatch takes 1 MB; the rest is for what stands around the datums."""
OLDEST = 336 * 3600.0
"""Seconds that a timestamp may lie back: two weeks."""
MAX_AHEAD = 2 * 3600.0
"""Seconds that a timestamp may lie ahead."""
_LARGEST_VALUE = 2.0**360
# A positive number this small is refused as well; no figure of ours is one unless an agent is hostile.
_SMALLEST_VALUE = 2.0**-360
_MAX_NAME_LENGTH = 255
_MAX_DIMENSION_VALUE_LENGTH = 1024
_MAX_DIMENSIONS = 30
_MAX_UNIT_LENGTH = 32
"""CloudWatch's longest is 16 characters (MetricDatum, Unit)."""
_RESOLUTIONS = (1, 60)


@dataclass(frozen=True, slots=True)
class DatumSeries:
    """What CloudWatch takes for one metric, and bills as one."""

    metric: str
    unit: str
    dimensions: tuple[tuple[str, str], ...]
    storage_resolution: int = 60
    """Seconds CloudWatch keeps apart: 60 or 1."""

    def __str__(self) -> str:
        """Return the series as a person writes it."""
        return f"{self.metric}{{{', '.join(f'{name}={value}' for name, value in self.dimensions)}}}"

    def problems(self) -> Iterator[str]:
        """Yield why CloudWatch would refuse every datum of the series."""
        if not _is_text(self.metric, _MAX_NAME_LENGTH) or self.metric.startswith(":"):
            yield "the metric's name is not 1 to 255 printable ASCII characters"
        if not _is_text(self.unit, _MAX_UNIT_LENGTH) or self.storage_resolution not in _RESOLUTIONS:
            yield "its unit or storage resolution is none of CloudWatch's"
        if len(self.dimensions) > _MAX_DIMENSIONS:
            yield "it has more than 30 dimensions"
        for name, value in self.dimensions:
            if not _is_text(name, _MAX_NAME_LENGTH) or name.startswith(":"):
                yield f"the dimension {name!r} is not 1 to 255 printable ASCII characters"
            if not _is_text(value, _MAX_DIMENSION_VALUE_LENGTH):
                yield f"the value of {name} is not 1 to 1024 printable ASCII characters"


@dataclass(frozen=True, slots=True)
class Datum:
    """One number, or several with how often each occurred, at one time."""

    series: DatumSeries
    time: int
    """Unix seconds."""
    values: tuple[float, ...]
    counts: tuple[int, ...] = (1,)
    """How often each of `values` occurred."""

    def problem(self) -> str | None:
        """Return why CloudWatch would refuse the datum whatever else stands in the request; None if it would not."""
        return next(self._problems(), None)

    def _problems(self) -> Iterator[str]:
        yield from self.series.problems()
        if not is_unix_time(self.time):
            yield "its time has no date"
        if not 1 <= len(self.values) <= MAX_VALUES or len(self.counts) != len(self.values):
            yield "it does not have 1 to 150 values with a count each"
        if not all(_is_value(value) for value in self.values):
            yield "a value is not a finite number between -2^360 and 2^360"
        if not all(is_count(count, 1) for count in self.counts):
            yield "a value did not occur once or more often"

    def request_member(self) -> dict[str, Any]:
        """Return the datum as boto takes it."""
        series = self.series
        member: dict[str, Any] = {
            "MetricName": series.metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in series.dimensions],
            "Timestamp": datetime.fromtimestamp(self.time, UTC),
            "Unit": series.unit,
            "StorageResolution": series.storage_resolution,
        }
        if self.counts == (1,):
            return member | {"Value": self.values[0]}
        return member | {"Values": list(self.values), "Counts": list(map(float, self.counts))}

    def wire_bytes(self) -> int:
        """Return at least the bytes the datum takes in a request, uncompressed, in the wordy query protocol."""
        # "&MetricData.member.1000." and the longest member's name after it, "Dimensions.member.30.Value=", is 51 bytes.
        one = 52
        dimensions = sum(2 * one + len(quote_plus(name + value)) for name, value in self.series.dimensions)
        # A number is at most "-1.7976931348623157e+308", its sign and plus escaped.
        values = len(self.values) * (one + 26) + len(self.counts) * (one + 26)
        return dimensions + values + 4 * one + len(quote_plus(self.series.metric + self.series.unit)) + 40

    def to_json(self) -> str:
        """Return the datum as the spool keeps it."""
        series = self.series
        row = [series.metric, series.unit, series.storage_resolution, series.dimensions, self.values, self.counts]
        return json.dumps(row, separators=(",", ":"))

    @classmethod
    def from_json(cls, time: int, text: str) -> "Datum":
        """Read what `to_json` wrote. Raises ValueError for anything else, and for what CloudWatch would refuse."""
        match read_json(text):
            case [str(metric), str(unit), int(resolution), [*dimensions], [*values], [*counts]] if (
                is_count(resolution) and all(map(_is_pair, dimensions)) and all(map(_is_value, values))
            ):
                series = DatumSeries(metric, unit, tuple((name, value) for name, value in dimensions), resolution)
                datum = cls(series, time, tuple(map(float, values)), tuple(counts))
                if problem := datum.problem():
                    raise ValueError(problem)
                return datum
        raise ValueError("it is not a datum")


def _is_text(text: str, max_length: int) -> bool:
    return 1 <= len(text) <= max_length and text.isascii() and text.isprintable() and not text.isspace()


def _is_pair(given: object) -> bool:
    return isinstance(given, list) and len(given) == 2 and all(isinstance(one, str) for one in given)  # noqa: PLR2004


def _is_value(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    # In this order: a whole number may be too long for a float.
    return value == 0 or _SMALLEST_VALUE <= abs(value) <= _LARGEST_VALUE


def distribution(series: DatumSeries, time: int, values: Iterable[float]) -> Iterator[Datum]:
    """Yield the datums that hold all of `values`, each rounded to a whole number.

    That is one, or as many as 150 different values each take: CloudWatch adds datums of the same period up, so that
    nothing is lost and nothing counts twice.
    """
    counted: dict[float, int] = {}
    for value in values:
        whole = float(round(value))
        counted[whole] = counted.get(whole, 0) + 1
    ordered = sorted(counted.items())
    for start in range(0, len(ordered), MAX_VALUES):
        some = ordered[start : start + MAX_VALUES]
        yield Datum(series, time, tuple(value for value, _ in some), tuple(count for _, count in some))


def batches(sizes: Sequence[int]) -> Iterator[slice]:
    """Cut a list of datums, given by their `wire_bytes`, into the fewest requests in order that keep to the limits."""
    start = size = 0
    for index, one in enumerate(sizes):
        if index > start and (index - start == MAX_DATUMS or size + one > MAX_BYTES):
            yield slice(start, index)
            start, size = index, 0
        size += one
    if sizes:
        yield slice(start, len(sizes))
