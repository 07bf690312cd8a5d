"""Reads the past from a CSV file, line by line: a file of a year is no burden, and one without an end is refused."""

import csv
import itertools
import sys
from collections.abc import Iterator
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import TextIO

from exporter.plan.errors import PlanError
from exporter.plan.series import Series, gathered
from exporter.terminal import visible

MAX_BYTES = 64 * 1024 * 1024
"""A reading every 15 seconds for a quarter takes 16 MB."""
MAX_LINE = 4096
"""Characters of a line."""
MAX_DEMAND = 1_000_000
"""Tasks. More is no demand of a fleet, but a number of something else."""
LATEST = 32_503_680_000
"""The year 3000 in Unix seconds: more are milliseconds."""
_SHOWN = 40
_EXAMPLE = "time,demand / 2026-06-01T02:00:00Z,120"


def read(file: Path) -> Series:
    """Return the demand in a CSV file; `-` is the standard input. Raises PlanError, with the line."""
    if str(file) == "-":
        return parsed(sys.stdin, "the standard input")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return parsed(stream, str(file))
    except OSError as error:
        raise PlanError(f"{file} cannot be read: {error.strerror or error}") from None


def parsed(stream: TextIO, name: str) -> Series:
    """Return the demand in the lines of a CSV. Raises PlanError."""
    try:
        rows = csv.reader(_lines(stream, name))
        header = [visible(cell).strip().strip("\ufeff").lower() for cell in next(rows, [])]
        for column in ("time", "demand"):
            if header.count(column) != 1:
                raise PlanError(_no_column(name, column, header))
        columns = (header.index("time"), header.index("demand"))
        readings = [
            reading for row in rows if row for reading in _reading(row, columns, f"{name}, line {rows.line_num}")
        ]
        _check_order(readings, name)
    except UnicodeDecodeError:
        raise PlanError(f"{name} is no text in UTF-8; export it as CSV") from None
    except csv.Error as error:
        raise PlanError(f"{name} is no CSV: {error}") from None
    if not readings:
        raise PlanError(f"{name} has no readings below its header; a reading is a line such as {_EXAMPLE!r}")
    return gathered([(at, demand) for _, at, demand in readings])


def _lines(stream: TextIO, name: str) -> Iterator[str]:
    size = 0
    while line := stream.readline(MAX_LINE + 1):
        size += len(line)
        if len(line) > MAX_LINE:
            raise PlanError(f"{name} has a line of more than {MAX_LINE} characters: it is no CSV of time and demand")
        if size > MAX_BYTES:
            raise PlanError(
                f"{name} has more than {MAX_BYTES // 1024 // 1024} MB; "
                "export the last two months, a value every minute or five"
            )
        yield line


def _no_column(name: str, column: str, header: list[str]) -> str:
    if header.count(column) > 1:
        return f"{name} has the column {column!r} more than once in its first line; keep one"
    if len(header) == 1 and any(sign in header[0] for sign in ";\t"):
        return f"{name} is separated by {'semicolons' if ';' in header[0] else 'tabs'}; a CSV with commas is needed"
    shown = ", ".join(cell[:_SHOWN] for cell in header[:8]) or "nothing"
    return (
        f"{name} has no column {column!r}: its first line must name the columns time and demand, in any order, "
        f"and is {shown!r}"
    )


def _reading(row: list[str], columns: tuple[int, int], where: str) -> list[tuple[int, float, float]]:
    """Return the reading of a row, with its line; none where its demand is empty, which is unknown."""
    if len(row) <= max(columns):
        raise PlanError(f"{where}: it has {len(row)} of the columns that the first line names")
    time, demand = (row[column].strip() for column in columns)
    at = _time(time, where)
    if not demand:
        return []
    line = int(where.rpartition(" ")[2])
    return [(line, at, _demand(demand, where))]


def _time(text: str, where: str) -> float:
    shown = visible(text[:_SHOWN])
    try:
        at = float(text)
    except ValueError:
        at = _date(text, shown, where)
    if not isfinite(at) or at < 0:
        raise PlanError(
            f"{where}: {shown!r} is not a time; write Unix seconds, or RFC 3339 such as 2026-06-01T02:00:00Z"
        )
    if at > LATEST:
        raise PlanError(f"{where}: {shown!r} is after the year 3000; Unix time is needed in seconds, not milliseconds")
    return at


def _date(text: str, shown: str, where: str) -> float:
    try:
        found = datetime.fromisoformat(text[:_SHOWN])
    except ValueError:
        raise PlanError(
            f"{where}: {shown!r} is not a time; write Unix seconds, or RFC 3339 such as 2026-06-01T02:00:00Z"
        ) from None
    if found.tzinfo is None:
        raise PlanError(f"{where}: {shown!r} has no time zone; end it with Z for UTC, or with an offset such as +02:00")
    return found.timestamp()


def _demand(text: str, where: str) -> float:
    shown = visible(text[:_SHOWN])
    try:
        demand = float(text)
    except ValueError:
        raise PlanError(
            f"{where}: {shown!r} is not a demand; a number of tasks is needed, or nothing if it is unknown"
        ) from None
    if not isfinite(demand):
        raise PlanError(f"{where}: a demand of {shown} is unknown; leave the field empty, and it is treated as a gap")
    if demand < 0:
        raise PlanError(f"{where}: a demand of {shown} tasks is impossible; leave the field empty if it is unknown")
    if demand > MAX_DEMAND:
        raise PlanError(f"{where}: a demand of {shown} tasks is more than any fleet has; is it another column?")
    return demand


def _check_order(readings: list[tuple[int, float, float]], name: str) -> None:
    for (_, before, _), (line, at, _) in itertools.pairwise(readings):
        if at == before:
            raise PlanError(
                f"{name}, line {line}: this time was there before; one line for each time is needed. "
                "Of several fleets, export one"
            )
        if at < before:
            raise PlanError(f"{name}, line {line}: it is earlier than the line before; sort the file by time")
