"""What the log looks like: one masked line an event, for machines or for a person."""

import io
import json
import logging
import re
import warnings
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import LogSettings
from exporter.logs import MASK, configure, mask_secrets

pytestmark = pytest.mark.usefixtures("restore_logging")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def start(stream: io.StringIO | None = None, **options: Any) -> io.StringIO:
    """Configure the log and return where it goes."""
    stream = io.StringIO() if stream is None else stream
    configure(LogSettings(**options), stream)
    return stream


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read a log of JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_event_is_one_line_with_the_usual_keys_first() -> None:
    """Time in UTC, level, logger and the sentence, then what belongs to the event."""
    stream = start(format="json")
    structlog.get_logger("exporter.scrape").info("agent is unreachable", pod="a", tasks=3)
    (event,) = events(stream)
    assert list(event) == ["timestamp", "level", "logger", "event", "pod", "tasks"]
    assert datetime.fromisoformat(event.pop("timestamp")).utcoffset() == timedelta(0)
    assert event == {
        "level": "info",
        "logger": "exporter.scrape",
        "event": "agent is unreachable",
        "pod": "a",
        "tasks": 3,
    }


def test_auto_is_json_unless_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person gets colours, a file does not."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        start(stream)
        structlog.get_logger("exporter").error("hello")
    assert events(file)[0]["event"] == "hello"
    assert "\x1b[" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")


def test_colours_can_be_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the convention of https://no-color.org, and by not being a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    for stream in (start(Terminal()), start(format="console")):
        configure(LogSettings(format="console"), stream)
        structlog.get_logger("exporter").error("hello")
        assert "hello" in stream.getvalue()
        assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "own", "libraries"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["info", "warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_the_level_is_ours_and_libraries_are_quieter(level: str, own: list[str], libraries: list[str]) -> None:
    """Libraries write whole responses at debug level, which may hold secrets: that is never on."""
    stream = start(format="json", level=level)
    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("exporter.web"), name)("x")
        getattr(logging.getLogger("kubernetes_asyncio.client.rest"), name)("x")
    written = [(event["logger"].partition(".")[0], event["level"]) for event in events(stream)]
    assert [level for logger, level in written if logger == "exporter"] == own
    assert [level for logger, level in written if logger == "kubernetes_asyncio"] == libraries


def test_the_standard_librarys_logging_goes_the_same_way() -> None:
    """Arguments filled in, extras kept and masked."""
    stream = start(format="json")
    logging.getLogger("aiohttp.server").error("cannot serve %s", "x", extra={"token": "t0p", "remote": "10.0.0.1"})
    (event,) = events(stream)
    assert (event["event"], event["token"], event["remote"]) == ("cannot serve x", MASK, "10.0.0.1")


def test_warnings_go_the_same_way() -> None:
    """A deprecated call of a library is an event, not a stray line."""
    stream = start(format="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Within catch_warnings the hook of captureWarnings is put aside, so it is set anew.
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    (event,) = events(stream)
    assert event["level"] == "warning"
    assert "DeprecationWarning: old" in event["event"]


def fail_with_secrets() -> None:
    """Raise an error whose message has credentials in it, from a frame that has one in a variable."""
    password = "local-hunter2"
    raise ValueError(f"no answer from https://me:hunter2@host/{len(password)}")


def test_an_exception_is_structured_and_on_one_line() -> None:
    """With its frames, without their variables, and with masked credentials."""
    stream = start(format="json")
    try:
        fail_with_secrets()
    except ValueError:
        structlog.get_logger("exporter").exception("a part failed")
    (event,) = events(stream)
    (error,) = event["exception"]
    assert error["exc_type"] == "ValueError"
    assert error["exc_value"] == f"no answer from https://{MASK}@host/13"
    assert [frame["name"] for frame in error["frames"]][-1] == "fail_with_secrets"
    assert "hunter2" not in stream.getvalue()


def test_an_exception_on_a_console_is_a_traceback_without_secrets() -> None:
    """Over several lines, as a person reads it."""
    stream = start(format="console")
    try:
        raise ValueError("no answer from https://me:hunter2@host/\x1b[2J")
    except ValueError:
        structlog.get_logger("exporter").exception("a part failed")
    assert "Traceback (most recent call last):\n" in stream.getvalue()
    assert f"https://{MASK}@host/\\x1b[2J" in stream.getvalue()


def on_console(*, terminal: bool = False, logger: str = "exporter.state", **facts: Any) -> str:
    """Write one warning and return what a person reads of it."""
    stream = start(Terminal() if terminal else None, format="console")
    structlog.get_logger(logger).warning("agent is unreachable", **facts)
    return stream.getvalue()


AGENT = {"namespace": "matillion", "fleet": "etl", "pod": "agent-1", "reason": "connection refused"}


def test_an_event_on_a_console_is_one_line_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time, how bad it is, what happened to which agent and why; what else there is, where it is known."""
    monkeypatch.setenv("NO_COLOR", "1")
    facts = {"was": None, "parts": ["a", "b c", 1, 2], "by": {"x": 1}, "tasks": 3, "why": "two words"}
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d warning  agent is unreachable: matillion/etl/agent-1: connection refused  "
        r"parts=\[a, b c, 1, and 1 more\] by=\{x: 1\} tasks=3 why='two words'\n",
        on_console(terminal=True, **AGENT, **facts),
    )
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ warning  agent is unreachable: etl\n", on_console(fleet="etl")
    ), "in a file the date is worth its place"
    assert "warning  aiohttp.server: agent is unreachable\n" in on_console(logger="aiohttp.server")


def test_the_level_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a warning is found among a hundred lines."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[33mwarning \x1b[0m agent is unreachable\n" in on_console(terminal=True)


@pytest.mark.parametrize(
    "key",
    ["authorization", "Authorization", "proxy_authorization", "token", "bearer_token", "accessToken", "password",
     "db_passwd", "client_secret", "set-cookie", "api_key", "x-api-key", "private_key", "aws_credentials"],
)  # fmt: skip
def test_values_of_secret_keys_are_masked_at_any_depth(key: str) -> None:
    """In the event itself and in mappings and lists within it."""
    event = mask_secrets(None, "info", {key: "hunter2", "request": [{"headers": {key: "hunter2"}}]})
    assert event == {key: MASK, "request": [{"headers": {key: MASK}}]}


def test_what_only_sounds_secret_stays() -> None:
    """Names of files with secrets, and counts of tokens."""
    event = {"bearer_token_file": "/etc/token", "tokens": 5, "key": "interval", "author": "x"}
    assert mask_secrets(None, "info", dict(event)) == event


def test_secrets_are_masked_in_running_text() -> None:
    """Credentials in URLs and in authorization headers."""
    text = "GET http://me:hunter2@host/x with Bearer abc.def-123 or basic aHVudGVyMg=="
    masked = mask_secrets(None, "info", {"event": text})["event"]
    assert masked == f"GET http://{MASK}@host/x with Bearer {MASK} or basic {MASK}"


def test_no_text_of_an_agent_can_forge_a_line_or_move_the_cursor() -> None:
    """Neither in JSON nor on a console."""
    text = 'bad\n{"level":"info"}\r\x1b[2J\x9b1m\u2028'
    for format_ in ("json", "console"):
        stream = start(format=format_)
        structlog.get_logger("exporter").warning("line rejected", line=text, lines=[text])
        written = stream.getvalue()
        assert written.count("\n") == 1
        assert not set(written[:-1]) & set("\n\r\x1b\x9b\u2028")


def test_infinities_become_text() -> None:
    """JSON has no numbers for them."""
    stream = start(format="json")
    structlog.get_logger("exporter").info("odd", value=float("inf"), values=[float("nan"), 1.5])
    (event,) = events(stream)
    assert (event["value"], event["values"]) == ("inf", ["nan", 1.5])


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(object),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(min_size=1).filter(str.isidentifier), _values, max_size=4))
def test_every_value_makes_one_line_of_json(context: dict[str, Any]) -> None:
    """Whatever an event carries, its line can be parsed by a strict reader."""
    context = {key: value for key, value in context.items() if key not in {"event", "exc_info", "stack_info"}}
    stream = start(format="json")
    structlog.get_logger("exporter").bind(**context).info("any")
    (line,) = stream.getvalue().splitlines()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
