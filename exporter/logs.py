"""Logging: one line per event on standard error, as JSON or colored for a terminal.

Log records of libraries (aiohttp, asyncio, kubernetes_asyncio) and Python's warnings have the same format. Values that
look like secrets are masked, and no event can contain a line break or a terminal escape, even if an agent's page does.
"""

import json
import logging
import math
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, Protocol, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_FIRST_KEYS = ("timestamp", "level", "logger", "event")
_MAX_FRAMES = 30
"""Maximum frames of a traceback; an endless recursion has a thousand."""
_DEEPEST = 8
"""Nesting depth from which a value is written as its `repr`; our events are never that deep."""

_LEVEL_STYLES = {
    "debug": "2",
    "warning": "33",
    "error": "1;31",
    "critical": "1;31",
}
"""Parameters of ANSI's "Select Graphic Rendition" (ECMA-48, 8.3.117)."""
_LEVEL_WIDTH = 8
_ITEMS = 3
"""Items of a list that a person is shown; JSON has all."""
_OUR_LOGGERS = "exporter."
_PLACE = ("namespace", "fleet", "pod")
_DATE_LENGTH = len("2026-01-01T")
_SECONDS_LENGTH = len("2026-01-01T02:30:00")

_SECRET_KEY = re.compile(
    r"(?i:authorization|cookie|credential|passw(or)?d|passphrase|secret|token$|(^|[_-])(api|access|private)[_-]?key$)"
)
_SECRET_TEXT = re.compile(r"(?i:(?P<scheme>\b(?:Bearer|Basic)\s+)[A-Za-z0-9+/=._~-]{6,}|(?P<url>://)[^\s/@]+@)")
# Also what separates lines or changes the direction of text, and what is no character and cannot be written.
_REORDERING = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROL = re.compile(rf"[\x00-\x1f\x7f-\x9f{_REORDERING}]")
_CONTROL_BUT_NEWLINE = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_REORDERING}]")


class LogOptions(Protocol):
    """The settings this module needs (`LogSettings` of the configuration)."""

    @property
    def level(self) -> str:
        """Minimum level: debug, info, warning or error."""

    @property
    def format(self) -> str:
        """One of json, console, auto; auto is console on a terminal and JSON otherwise."""


def configure(options: LogOptions, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging; the last call wins. `stream` is standard error if None.

    Libraries log from warning up, with `level: debug` from info up: below that they log whole responses.
    """
    stream = sys.stderr if stream is None else stream
    level = _LEVELS[options.level]
    as_json = writes_json(options, stream)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_json_renderers() if as_json else _console_renderers(stream)),
            ],
        )
    )
    logging.basicConfig(
        handlers=[handler], level=max(level, logging.WARNING) if level > logging.DEBUG else logging.INFO, force=True
    )
    logging.getLogger("exporter").setLevel(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def writes_json(options: LogOptions, stream: TextIO) -> bool:
    """Return whether the log is written to the stream as JSON."""
    return options.format == "json" or (options.format == "auto" and not stream.isatty())


def _json_renderers() -> list[Processor]:
    # Local variables would carry headers and tokens into the log.
    exceptions = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=_MAX_FRAMES)
    return [
        structlog.processors.ExceptionRenderer(exceptions),
        mask_secrets,
        _order_keys,
        structlog.processors.JSONRenderer(serializer=json.dumps),
    ]


def _console_renderers(stream: TextIO) -> list[Processor]:
    colors = stream.isatty() and not os.environ.get("NO_COLOR")
    return [
        structlog.processors.format_exc_info,
        mask_secrets,
        _escape_control_characters,
        ConsoleLine(colours=colors, dated=not stream.isatty()),
    ]


class ConsoleLine:
    """Renders an event for a person: `02:30:00 warning  agent is unreachable: matillion/etl/agent-1: refused`."""

    def __init__(self, *, colours: bool, dated: bool) -> None:
        """Write colours, and the date as well as the time (UTC), if so wished."""
        self._colours = colours
        self._dated = dated

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Return the line; only the traceback of a bug has lines of its own, below it."""
        rest = dict(event)
        level, exception, stack = (str(rest.pop(key, "")) for key in ("level", "exception", "stack"))
        logger = str(rest.pop("logger", ""))
        what = str(rest.pop("event", ""))
        if logger and not logger.startswith(_OUR_LOGGERS):
            what = f"{logger}: {what}"
        line = f"{self._time(str(rest.pop('timestamp', '')))} {self._painted(level)} {_told(what, rest)}"
        return "\n".join(part.rstrip() for part in (line, stack, exception) if part)

    def _time(self, timestamp: str) -> str:
        if self._dated:
            return f"{timestamp[:_SECONDS_LENGTH].replace('T', ' ')}Z"
        return timestamp[_DATE_LENGTH:_SECONDS_LENGTH]

    def _painted(self, level: str) -> str:
        style, padded = _LEVEL_STYLES.get(level), level.ljust(_LEVEL_WIDTH)
        return padded if style is None or not self._colours else f"\x1b[{style}m{padded}\x1b[0m"


def _told(what: str, facts: dict[str, Any]) -> str:
    place = "/".join(str(facts.pop(key)) for key in _PLACE if facts.get(key) is not None)
    reason = facts.pop("reason", None)
    parts = [what, place, "" if reason is None else str(reason)]
    listed = " ".join(f"{key}={_value(value)}" for key, value in facts.items() if value is not None)
    told = ": ".join(part for part in parts if part)
    return f"{told}  {listed}" if listed else told


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        more = [f"and {len(value) - _ITEMS} more"] if len(value) > _ITEMS else []
        return f"[{', '.join([*(_escaped(str(one)) for one in value[:_ITEMS]), *more])}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_escaped(str(key))}: {_value(inner)}" for key, inner in value.items()) + "}"
    text = _escaped(str(value))
    return f"'{text}'" if not text or " " in text else text


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask values that look like secrets by key (`authorization`, `token`, …) or form (`Bearer …`, `//user:pw@`).

    NaN and infinity become text, since JSON has no such numbers.
    """
    return {key: MASK if _is_secret(key) else _masked(value, 0) for key, value in event.items()}


def _is_secret(key: object) -> bool:
    return isinstance(key, str) and not key.endswith(("_file", "_path")) and bool(_SECRET_KEY.search(key))


def _masked(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _SECRET_TEXT.sub(
            lambda match: f"{match['scheme'] or match['url']}{MASK}{'@' if match['url'] else ''}", value
        )
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _DEEPEST and isinstance(value, dict):
        return {str(key): MASK if _is_secret(key) else _masked(inner, depth + 1) for key, inner in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [_masked(inner, depth + 1) for inner in value]
    return _masked(str(value), depth)


def _order_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: event[key] for key in (*(key for key in _FIRST_KEYS if key in event), *event)}


def _escape_control_characters(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {
        key: _escaped(value, _CONTROL_BUT_NEWLINE if key == "exception" else _CONTROL)
        if isinstance(value, str)
        else value
        for key, value in event.items()
    }


def _escaped(text: str, controls: re.Pattern[str] = _CONTROL) -> str:
    return controls.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)
