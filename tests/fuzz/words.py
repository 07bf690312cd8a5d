"""What people and Kubernetes write: settings, selectors, numbers, log lines."""

import math
import os
from pathlib import Path
from tempfile import gettempdir

from exporter.config import ConfigError, load, load_targets
from exporter.config.addresses import HostPort, parse_agent_address, parse_listen
from exporter.config.durations import MAX_SECONDS, format_duration, parse_duration, parse_lead_time
from exporter.config.line_pattern import LinePattern
from exporter.kube.json_text import parse_json
from exporter.kube.quantity import MAX_MILLI, format_quantity, parse_quantity
from exporter.kube.selector import SelectorError, parse_selector
from exporter.kube.times import go_duration, unix_time
from exporter.podhealth.log_lines import MAX_SEARCHED_BYTES, LineBudget, LineParser, LinesSeen
from tests.fuzz.checks import is_short, or_none, text_of

_MAX_REPORT = 300_000
"""Characters of a report of what is wrong: 200 problems, each with a place and a message of at most 1,000."""


def selectors(data: bytes) -> None:
    """Parse a label selector, and match labels with it."""
    text = text_of(data)
    try:
        selector = parse_selector(text)
    except SelectorError as error:
        is_short(error)
        return
    assert parse_selector(f" {text} ") == selector
    words = dict.fromkeys(text.replace(",", " ").replace("=", " ").split()[:20], "a")
    for labels in ({}, words):
        assert selector.matches(labels) in {True, False}
    assert len(selector.requirements) <= len(text) + 1


def quantities(data: bytes) -> None:
    """Read a number as Kubernetes writes it, and write it again; and times, durations and addresses."""
    text = text_of(data)
    quantity = parse_quantity(text)
    if quantity is not None:
        assert math.isfinite(quantity)
        if abs(quantity) <= MAX_MILLI:
            again = parse_quantity(format_quantity(quantity))
            assert again is not None
            assert abs(again - quantity) <= max(0.000501, abs(quantity) * 1e-12)
    for moment in (go_duration(text), unix_time(text)):
        assert moment is None or math.isfinite(moment)
    seconds = or_none(parse_duration, text)
    if seconds is not None:
        assert 0 <= seconds <= MAX_SECONDS
        assert parse_duration(format_duration(seconds)) == seconds
    lead = or_none(parse_lead_time, text)
    assert lead is None or parse_lead_time(str(lead)) == lead
    address = or_none(parse_agent_address, text)
    if address is not None:
        host, port = address
        assert host
        assert port is None or parse_agent_address(str(HostPort(host, port))) == (host, port)
    listen = or_none(parse_listen, text)
    assert listen is None or 0 <= listen.port <= 65535
    or_none(parse_json, data)


_FILE = Path(gettempdir()) / f"fuzzed-{os.getpid()}.yaml"


def settings(data: bytes) -> None:
    """Read a file of settings, or the environment variable that its first line names."""
    name, newline, rest = data.partition(b"\n")
    environ = {}
    if newline and name.startswith(b"FLEET_EXPORTER__"):
        environ, data = {text_of(name).replace("\0", ""): text_of(rest).replace("\0", "")}, b"{}"
    _FILE.write_bytes(data)
    try:
        load(_FILE, environ)
    except ConfigError as error:
        is_short(error, _MAX_REPORT)
    finally:
        _FILE.unlink()


def targets(data: bytes) -> None:
    """Read a file of static targets."""
    _FILE.write_bytes(data)
    try:
        found = load_targets(_FILE)
    except ConfigError as error:
        is_short(error, _MAX_REPORT)
    else:
        assert len(found) <= len(data)
        assert len({target.identity for target in found}) == len(found)
        for target in found:
            parse_agent_address(target.address)
    finally:
        _FILE.unlink()


def log_lines(data: bytes) -> None:
    """Search the lines of a log for the pattern on its first line."""
    first, *lines = data.split(b"\n")
    pattern = or_none(LinePattern, first.decode("utf-8", "surrogateescape"))
    for raw in lines[:10] if pattern is not None else ():
        assert pattern.found_in(raw[:MAX_SEARCHED_BYTES]) in {True, False}
    parser, budget, seen, new = LineParser(), LineBudget(10), LinesSeen(0, 20), 0
    for raw in lines:
        line = parser.parse(raw)
        if line is not None:
            assert len(line.text) < len(raw)
            assert line == LineParser().parse(raw)
            new += seen.is_new(line)
            assert not seen.is_new(line)
            assert budget.take(line.nanoseconds) in {True, False}
            assert len(seen._recent) <= 20
            assert seen.since
    assert new <= len(lines)
