"""The kinds of value a setting may take: how each is checked, and what is allowed in words.

A kind is metadata inside `Annotated[...]`. Its `allowed` completes the sentence "… is not …", so that error messages
and the table in docs/configuration.md agree. Where a value is refused for a reason that sentence does not show, the
ValueError's message gives it. Where pydantic cannot derive the JSON schema of a kind, the kind supplies it: the schema
accepts all that is allowed, and refuses as much of the rest as JSON Schema and Go's regular expressions can express.
Knows no setting by name.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict
from pydantic_core import CoreSchema, core_schema

from exporter.config.addresses import HostPort, parse_agent_address, parse_listen
from exporter.config.durations import MAX_SECONDS, LeadTime, format_duration, parse_duration, parse_lead_time
from exporter.config.line_pattern import LinePattern
from exporter.config.problems import shown
from exporter.fleet.cloudwatch_catalogue import select
from exporter.fleet.outlets import MetricSet
from exporter.fleet.protection import COST, MARK
from exporter.kube.selector import parse_selector

Flag = Annotated[bool, Strict()]


def _no_flag(given: object) -> object:
    """Refuse true and false, which are 1 and 0 to Python."""
    if isinstance(given, bool):
        raise ValueError("")
    return given


StorageResolution = Annotated[Literal[1, 60], BeforeValidator(_no_flag)]


@runtime_checkable
class ValueKind(Protocol):
    """Metadata that describes which values are accepted."""

    @property
    def allowed(self) -> str:
        """What is allowed, such as "a whole number of at least 1"."""


@dataclass(frozen=True)
class WholeNumber:
    """An integer within bounds; text and booleans are refused."""

    minimum: int
    maximum: int | None = None

    @property
    def allowed(self) -> str:
        """The bounds in words."""
        return f"a whole number {_bounds(str(self.minimum), None if self.maximum is None else str(self.maximum))}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.int_schema(strict=True, ge=self.minimum, le=self.maximum)


@dataclass(frozen=True)
class Number:
    """A finite number within bounds."""

    minimum: float
    maximum: float

    @property
    def allowed(self) -> str:
        """The bounds in words."""
        return f"a number {_bounds(f'{self.minimum:g}', f'{self.maximum:g}')}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.float_schema(strict=True, ge=self.minimum, le=self.maximum, allow_inf_nan=False)


_NUMBER = r"[0-9]+(\.[0-9]+)?"
_DURATION = rf"^ *({_NUMBER}|({_NUMBER}(ms|s|m|h|d))+) *$"


@dataclass(frozen=True)
class Duration:
    """A length of time within bounds, held as seconds."""

    minimum: float
    maximum: float = MAX_SECONDS

    @property
    def allowed(self) -> str:
        """The bounds in words."""
        maximum = None if self.maximum == MAX_SECONDS else format_duration(self.maximum)
        return f"a duration {_bounds(format_duration(self.minimum), maximum)} (such as 250ms, 5s, 2m or 1h30m)"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": ["string", "number"], "pattern": _DURATION, "minimum": self.minimum, "maximum": self.maximum}

    def _read(self, given: object) -> float:
        seconds = parse_duration(given)
        if not self.minimum <= seconds <= self.maximum:
            raise ValueError("")
        return seconds


def _bounds(minimum: str, maximum: str | None) -> str:
    return f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"


@dataclass(frozen=True)
class Matching:
    """Text that matches a pattern as a whole, and does not begin with what is `reserved`."""

    allowed: str
    pattern: str
    max_length: int = 253
    reserved: str | None = None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, core_schema.str_schema(strict=True))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler(schema) | {"maxLength": self.max_length, "pattern": f"^(?:{self.pattern})$"}
        return described if self.reserved is None else described | {"not": {"pattern": f"^{self.reserved}"}}

    def _check(self, given: str) -> str:
        if len(given) > self.max_length:
            raise ValueError(f"it is longer than {self.max_length} characters")
        if not re.fullmatch(self.pattern, given) or (self.reserved is not None and given.startswith(self.reserved)):
            raise ValueError("")
        return given


@dataclass(frozen=True)
class Read:
    """Text that a function reads; what the function raises as ValueError is the reason."""

    allowed: str
    read: Callable[[str], object]
    result: type
    """What `read` returns; a ready value of this type is taken as it is."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._read, serialization=core_schema.to_string_ser_schema()
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}

    def _read(self, given: object) -> object:
        if isinstance(given, self.result) and self.result is not str:
            return given
        if not isinstance(given, str):
            raise ValueError("")
        return self.read(given)


@dataclass(frozen=True)
class OneOrSeveral:
    """One text or a list of texts, held as a tuple; `check` raises ValueError, with the reason, for a wrong one."""

    allowed: str
    check: Callable[[tuple[str, ...]], object]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": ["string", "array"], "minLength": 1, "items": {"type": "string", "minLength": 1}}

    def _read(self, given: object) -> tuple[str, ...]:
        texts = (given,) if isinstance(given, str) else given
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise ValueError("")
        self.check(tuple(texts))
        return tuple(texts)


@dataclass(frozen=True)
class AnnotationMap:
    """A mapping of annotations, by Kubernetes' rules: apimachinery, pkg/api/validation, ValidateAnnotations."""

    reserved: frozenset[str]
    """Keys that the exporter writes itself."""

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        return 'one or more annotations, such as {karpenter.sh/do-not-disrupt: "true"}'

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        pattern = f"^(?:{_ANNOTATION_KEY})$"
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": pattern, "not": {"enum": sorted(self.reserved)}},
            "additionalProperties": {"type": "string"},
        }

    def _read(self, given: object) -> Mapping[str, str]:
        if not isinstance(given, dict) or not given:
            raise ValueError("")
        for key, value in given.items():
            prefix = key.partition("/")[0] if isinstance(key, str) else ""
            if not isinstance(key, str) or not re.fullmatch(_ANNOTATION_KEY, key) or len(prefix) > _MAX_PREFIX:
                raise ValueError(f"the key {shown(key)} is not a Kubernetes annotation key")
            if key in self.reserved:
                raise ValueError(f"{key} is written by the exporter itself")
            if not isinstance(value, str):
                raise ValueError(f"the value of {key} must be text: put it in quotes")
        if sum(len(text.encode()) for pair in given.items() for text in pair) > _MAX_ANNOTATIONS:
            raise ValueError("together they are longer than the 256 KiB that Kubernetes allows")
        return dict(given)


@dataclass(frozen=True)
class BuiltFrom:
    """A value of the core that stands in the file as a mapping: checked as `model`, then made by `build`."""

    model: type[BaseModel]
    build: Callable[[Any], object]
    result: type

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        built = core_schema.no_info_after_validator_function(self.build, handler.generate_schema(self.model))
        return core_schema.no_info_wrap_validator_function(
            lambda given, read: given if isinstance(given, self.result) else read(given), built
        )


def _read_path(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise ValueError("")
    return Path(text)


def _read_regular_expression(text: str) -> str:
    LinePattern(text)
    return text


def _read_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in {"http", "https"} or not url.hostname or re.search(r"\s", text):
        raise ValueError("")
    if "@" in url.netloc:
        raise ValueError("it must not contain a user or password; AWS credentials come from the pod's role")
    if url.query or url.fragment:
        raise ValueError("it must end with the host or a path")
    return text


def time_zone(text: str) -> ZoneInfo:
    """Return an IANA time zone. Raises ValueError for any other name."""
    if text not in available_timezones():
        raise ValueError("")
    return ZoneInfo(text)


def _read_label_selector(text: str) -> str:
    if not parse_selector(text).requirements:
        raise ValueError("an empty one would match every pod")
    return text


def _read_pod_name(text: str) -> str:
    if len(text) > _MAX_NAME_LENGTH:
        raise ValueError(f"it is longer than {_MAX_NAME_LENGTH} characters")
    if not text or not text.isprintable() or set(text) & set(" /"):
        raise ValueError("")
    return text


def _read_agent_address(text: str) -> str:
    parse_agent_address(text)
    return text


FileName = Annotated[Path, Read("the name of a file", _read_path, Path)]
Listen = Annotated[
    HostPort, Read("host:port, such as 0.0.0.0:9850, 127.0.0.1:9850 or [::]:9850", parse_listen, HostPort)
]
AgentAddress = Annotated[
    str, Read("the address of an agent: host, host:port, an IPv6 address, or [IPv6]:port", _read_agent_address, str)
]
RegularExpression = Annotated[str, Read("a regular expression", _read_regular_expression, str)]
HttpUrl = Annotated[str, Read("a URL with http:// or https:// and a host", _read_url, str)]
LeadTimeSetting = Annotated[LeadTime, Read("auto or a duration (such as 90s or 3m)", parse_lead_time, LeadTime)]
TimeZone = Annotated[ZoneInfo, Read("an IANA time zone, such as Europe/Berlin", time_zone, ZoneInfo)]
UrlPath = Annotated[
    str, Matching("a path that begins with / and has no query", r"/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*", max_length=2048)
]
HostName = Annotated[
    str,
    Matching(
        "a host name without scheme and port, such as fleets.example.com, or *",
        r"\*|[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?",
    ),
]

# Kubernetes' own rules for names and labels (apimachinery validation): https://kubernetes.io/docs/concepts/overview/working-with-objects/
_LABEL_VALUE = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
# The prefix of an annotation's key may have upper case, unlike that of a label.
_DNS_LABEL_ANY_CASE = r"[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"(?:{_DNS_LABEL}(?:\.{_DNS_LABEL})*/)?{_LABEL_VALUE}"
_ANNOTATION_KEY = rf"(?:{_DNS_LABEL_ANY_CASE}(?:\.{_DNS_LABEL_ANY_CASE})*/)?{_LABEL_VALUE}"
_MAX_PREFIX = 253
_MAX_NAME_LENGTH = 253
_MAX_ANNOTATIONS = 256 * 1024

NamespaceName = Annotated[str, Matching("the name of a Kubernetes namespace (lower case, digits and -)", _DNS_LABEL)]
ObjectName = Annotated[
    str, Matching("a Kubernetes object name (lower case, digits, - and .)", rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*")
]
LabelKey = Annotated[str, Matching("a label name, such as app.kubernetes.io/instance", _LABEL_KEY, max_length=317)]
Annotations = Annotated[Mapping[str, str], AnnotationMap(frozenset({COST, MARK}))]
LabelValue = Annotated[
    str,
    Matching("a name of 1 to 63 letters, digits, -, _ and . that begin and end with a letter or digit", _LABEL_VALUE),
]
LabelSelector = Annotated[
    str, Read("a label selector, such as app.kubernetes.io/name=matillion-runner", _read_label_selector, str)
]
PodName = Annotated[str, Read("a name without spaces, / and invisible characters", _read_pod_name, str)]
# CloudWatch's limits for a dimension's value: 1,024 ASCII characters, not all blank, no leading colon.
ClusterName = Annotated[
    str, Matching("a name of 1 to 1024 printable ASCII characters", r"[!-9;-~](?:[ -~]*[!-~])?", max_length=1024)
]
CloudWatchMetrics = Annotated[
    tuple[str, ...],
    OneOrSeveral(f"{', '.join(MetricSet)}, the name of a metric in docs/cloudwatch.md, or a list of those", select),
]
