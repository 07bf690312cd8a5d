"""Durations, addresses and annotations as they are written in settings."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.config.addresses import HostPort, parse_agent_address, parse_listen
from exporter.config.durations import MAX_SECONDS, format_duration, parse_duration
from exporter.config.problems import ConfigError, Problem, shown
from exporter.config.settings import ProtectionSettings
from exporter.fleet.protection import COST, MARK


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25), ("5s", 5.0), ("2m", 120.0), ("336h", 1209600.0), ("1h30m", 5400.0), ("1d", 86400.0),
        ("1d2h3m4s5ms", 93784.005), ("1.5h", 5400.0), ("0s", 0.0), (" 5s ", 5.0), ("5", 5.0), (5, 5.0), (0.25, 0.25),
    ],
)  # fmt: skip
def test_durations_become_seconds(text: object, seconds: float) -> None:
    """Units from days to milliseconds, largest first; a bare number is seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "given_value",
    ["", " ", "s", "5 s", "5x", "-5s", "5s5s", "30m1h", "5S", "1:30", "\u0665s", "1e3s", "5,5s", "inf", "nan", "9999d",
     "5s\n3m", True, None, [], {}, -1, float("inf"), float("nan"), 1e300, 10**400],
)  # fmt: skip
def test_what_is_no_duration_is_refused(given_value: object) -> None:
    """With a ValueError, which the settings turn into a report."""
    with pytest.raises(ValueError, match=r"^(it must not be negative|the longest is 3650d|)$"):
        parse_duration(given_value)


@given(st.floats(0, MAX_SECONDS, allow_subnormal=False).map(lambda seconds: round(seconds, 12)))
def test_a_duration_that_is_written_is_read_back_exactly(seconds: float) -> None:
    """Nothing is lost between `format_duration` and `parse_duration`."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text() | st.from_regex(r"[0-9.]{0,40}(d|h|m|s|ms){1,3}[0-9.]{0,3}(ms|s)?"))
def test_no_text_breaks_the_duration_parser(text: str) -> None:
    """A number within bounds, or a ValueError."""
    with contextlib.suppress(ValueError):
        assert 0 <= parse_duration(text) <= MAX_SECONDS


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1", "10.0.0.1", None), ("agent", "agent", None), ("agent.example.org.", "agent.example.org.", None),
        ("::1", "::1", None), ("[::1]", "::1", None), ("fd00:0:0::7", "fd00::7", None),
        ("10.0.0.1:9464", "10.0.0.1", 9464),
        ("[::1]:8080", "::1", 8080), ("agent:1", "agent", 1), ("fe80::1%eth0", "fe80::1%eth0", None),
    ],
)  # fmt: skip
def test_addresses_of_agents_are_taken_apart(text: str, host: str, port: int | None) -> None:
    """The host comes without brackets, an absent port as None."""
    assert parse_agent_address(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it names no host"),
        (":9464", "it names no host"),
        ("agent:", "the port must be a number from 1 to 65535"),
        ("agent:0", "the port must be a number from 1 to 65535"),
        ("agent:65536", "the port must be a number from 1 to 65535"),
        ("agent:http", "the port must be a number from 1 to 65535"),
        ("agent:\u0668", "the port must be a number from 1 to 65535"),
        ("[::1", 'the "[" is not closed'),
        ("[::1]9464", 'after the "]" there may only be ":" and a port'),
        ("[10.0.0.1]:1", "what has several colons or brackets must be an IPv6 address, in brackets before a port"),
        ("::1:9464:x", "what has several colons or brackets must be an IPv6 address, in brackets before a port"),
        ("10.0.0.256", "the host looks like an IPv4 address but is not one"),
        ("10.0.1", "the host looks like an IPv4 address but is not one"),
        ("http://agent", "the port must be a number from 1 to 65535"),
        ("a b", "the host is neither an IP address nor a host name"),
        ("-a", "the host is neither an IP address nor a host name"),
        ("a" * 64, "the host is neither an IP address nor a host name"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    """The reason is what a person needs to put it right."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_agent_address(text)

    assert str(caught.value) == reason


@given(st.text() | st.from_regex(r"\[?[0-9a-f:.]{0,20}\]?(:[0-9]{0,6})?") | st.ip_addresses().map(str))
def test_no_text_breaks_the_address_parser(text: str) -> None:
    """A host and a port, or a ValueError; what is accepted is accepted again when written in full."""
    try:
        host, port = parse_agent_address(text)
    except ValueError:
        return
    if port is not None:
        assert parse_agent_address(str(HostPort(host, port))) == (host, port)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_ip_address_can_be_listened_on(address: object, port: int) -> None:
    """Written as `HostPort` writes it, it is read back."""
    written = HostPort(str(address), port)
    assert parse_listen(str(written)) == written


@given(st.text(max_size=200) | st.floats() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_what_was_given_is_shown_on_one_short_line(value: object) -> None:
    """Whatever it is."""
    line = shown(value)
    assert len(line) <= 80
    assert "\n" not in line


@pytest.mark.parametrize(
    "given_value",
    [
        {"a": "b"},
        {"karpenter.sh/do-not-disrupt": "true"},
        {"Example.ORG/Name_1.x-y": "any text\nat all"},
        {"a" * 63: ""},
        {".".join(["a" * 62] * 4) + "/x": "y"},
    ],
)
def test_annotations_that_kubernetes_takes(given_value: object) -> None:
    """Keys are qualified names whose prefix may have upper case; values are any text."""
    assert ProtectionSettings(annotations=given_value).annotations == given_value


@pytest.mark.parametrize(
    ("given_value", "reason"),
    [
        ({}, "Value error"),
        (None, "Value error"),
        (["a"], "Value error"),
        ({"a b": "c"}, 'the key "a b" is not'),
        ({1: "c"}, "the key 1 is not"),
        ({"": "c"}, 'the key "" is not'),
        ({"a/b/c": "d"}, "is not a Kubernetes annotation key"),
        ({"a" * 64: "b"}, "is not a Kubernetes annotation key"),
        ({".".join(["a" * 63] * 4) + "/x": "y"}, "is not a Kubernetes annotation key"),
        ({"a": True}, "the value of a must be text: put it in quotes"),
        ({COST: "5"}, f"{COST} is written by the exporter itself"),
        ({MARK: "x"}, f"{MARK} is written by the exporter itself"),
        ({"a": "x" * 262144}, "256 KiB"),
    ],
)
def test_annotations_that_kubernetes_refuses(given_value: object, reason: str) -> None:
    """None at all, what is no key, what is no text, what is too long, and what the exporter writes itself."""
    with pytest.raises(ValidationError, match=re.escape(reason)):
        ProtectionSettings(annotations=given_value)


@pytest.mark.parametrize("unit", ["x", "user:secret@", "\n", "é", "/"])
def test_a_problem_is_readable_however_long_what_was_given_is(unit: str) -> None:
    """Its key, its value and what a library says about it are cut; nothing secret is left of it."""
    long = unit * 50_000
    problem = Problem(("discovery", long, 3), f"{shown(long)} is not allowed; {long}")
    assert len(shown(long)) <= 80
    assert len(str(problem)) <= 1200
    assert "secret" not in shown(long)


def test_of_very_many_problems_the_first_are_shown() -> None:
    """With the number of the others."""
    error = ConfigError("targets.yaml", [Problem((number,), "wrong") for number in range(10_000)])
    lines = str(error).split("\n")
    assert lines[0] == "targets.yaml: 10000 problems"
    assert lines[1:3] == ["  [0]: wrong", "  [1]: wrong"]
    assert lines[-1] == "  and 9800 more"
    assert len(lines) == 202
