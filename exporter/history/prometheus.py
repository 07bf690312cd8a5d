"""Reads the past of the fleets from a Prometheus by `query_range`, a day at a time.

Works with what has Prometheus' HTTP API: Thanos, Mimir, VictoriaMetrics, Amazon Managed Prometheus (whose requests are
signed). The server is not trusted: its answers are bounded, and an answer that may be incomplete is not used.
https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import hdrs
from yarl import URL

from exporter import __version__
from exporter.aws.endpoints import managed_prometheus_region
from exporter.config import ForecastSettings
from exporter.fleet.outlets import PREFIX
from exporter.fleet.read_back import read_json
from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History
from exporter.history.periodic import Found, PeriodicPast, SourceError, Span, known_tasks
from exporter.kube.fields import line, mapping, sequence, text
from exporter.serve.errors import ServeError
from exporter.serve.reload import read_token
from exporter.store.restarts import FleetKey

if TYPE_CHECKING:
    from exporter.aws.signing import RequestSigner

SETTLE = 90.0
"""Seconds until the last sample of a slot can be read: a scrape a minute, and a remote write."""
MAX_BYTES = 32 * 1024 * 1024
"""Of one answer: a day of 2,000 fleets takes 17 MB."""
MAX_FLEETS = 2000
_MAX_ERROR_BYTES = 64 * 1024
_MAX_REASON_LENGTH = 300
_MAX_NUMBER_LENGTH = 64
_MAX_TIME = 1e11
_NO_POINT = "a point is not a time and a number"
_ASKED = 0.001
"""Seconds before the end of a slot at which it is asked for: an instant that is on the boundary is in the next one."""
_SLACK = 1.0
"""Seconds before the end of a slot that a server may shift this to; some align it to the step."""
_DEADLINE = aiohttp.ClientTimeout(total=60, connect=10)
_AWS_SERVICE = "aps"
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404


def query(matchers: str) -> str:
    """Return the PromQL for each fleet's maximum in five minutes; several replicas of the exporter count once."""
    return f"max by (namespace, fleet) (max_over_time({PREFIX}demand_tasks{{{matchers}}}[{SLOT_SECONDS}s]))"


def from_prometheus(settings: ForecastSettings, *, wall: Callable[[], float] = time.time) -> PeriodicPast:
    """Return the past of all fleets that the Prometheus of the settings has."""
    return PeriodicPast(PrometheusReader(settings), days=settings.days, settle=SETTLE, wall=wall)


class PrometheusReader:
    """A `PastReader`, an async context manager. Give settings with a `prometheus_url`."""

    name = "Prometheus"

    def __init__(self, settings: ForecastSettings) -> None:
        if settings.prometheus_url is None:
            raise ValueError("forecast.prometheus_url is not set")
        self._url = f"{settings.prometheus_url.rstrip('/')}/api/v1/query_range"
        self._query = query(settings.prometheus_matchers)
        self._token_file = settings.prometheus_token_file
        self._region = managed_prometheus_region(self._url)
        self._signer: RequestSigner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Return the reader; nothing is connected yet."""
        # Bodies are taken as they are sent: what a compressed one expands to has no bound.
        self._session = aiohttp.ClientSession(
            timeout=_DEADLINE,
            trust_env=True,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={hdrs.ACCEPT_ENCODING: "identity", hdrs.USER_AGENT: f"matillion-fleet-exporter/{__version__}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def read(self, spans: Sequence[Span], fleets: Collection[FleetKey] | None) -> Found:
        """Return the demand within these spans, of some fleets or (None) of all there are. Raises SourceError."""
        histories: dict[FleetKey, History] = {}
        left_out = 0
        for day in (day for span in spans for day in span.cut(SLOTS)):
            body = await self._get(self._range(day))
            # A day of a hundred fleets takes 50 ms, which the event loop has no time for.
            left_out += await asyncio.to_thread(_take, body, day, histories)
        if fleets is not None:
            histories = {key: history for key, history in histories.items() if key in fleets}
        return Found(histories, left_out)

    def _range(self, span: Span) -> str:
        """Return the URL for the slots of a span, each at its end."""
        first, last = (f"{slot * SLOT_SECONDS + SLOT_SECONDS - _ASKED:.3f}" for slot in (span.first, span.end - 1))
        parameters = {
            "query": self._query,
            "start": first,
            "end": last,
            "step": str(SLOT_SECONDS),
            # Thanos: no answer rather than one without the stores that are out of reach.
            "partial_response": "false",
        }
        # Encoded as a signature needs it.
        return f"{self._url}?{urlencode(parameters, quote_via=quote, safe='')}"

    async def _get(self, url: str) -> bytes:
        if self._session is None:
            raise RuntimeError("the reader is not entered")
        headers = await self._authorization(url)
        try:
            async with self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
                if response.status != 200:  # noqa: PLR2004 - OK
                    raise self._refused(response, await _body(response, _MAX_ERROR_BYTES))
                return await _body(response, MAX_BYTES)
        except TimeoutError:
            raise self._unreachable(f"no response within {_DEADLINE.total:g} s", "timeout") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unreachable(str(error) or type(error).__name__, "unreachable") from error

    async def _authorization(self, url: str) -> Mapping[str, str]:
        """Return the headers that authenticate a request. The token is read each time, as it may be replaced."""
        if self._region is not None:
            return await self._signature(url, self._region)
        if self._token_file is None:
            return {}
        setting = "forecast.prometheus_token_file"
        try:
            token = await asyncio.to_thread(read_token, self._token_file, setting)
        except ServeError as error:
            raise SourceError(str(error), f"check {setting}", "token") from None
        if not (token.isascii() and token.isprintable()):
            raise SourceError(f"{setting}: the file does not contain a token", f"check {setting}", "token")
        return {hdrs.AUTHORIZATION: f"Bearer {token}"}

    async def _signature(self, url: str, region: str) -> Mapping[str, str]:
        from exporter.aws.client import AwsError  # noqa: PLC0415 - half a second: only for AWS
        from exporter.aws.signing import RequestSigner  # noqa: PLC0415 - the same

        if self._signer is None:
            self._signer = RequestSigner(_AWS_SERVICE, region)
        try:
            return await self._signer.headers(url)
        except AwsError as error:
            self._signer.forget()
            raise SourceError(f"no AWS credentials: {error.reason}", self._permission(), "credentials") from None

    def _refused(self, response: aiohttp.ClientResponse, body: bytes) -> SourceError:
        status, kind = response.status, f"HTTP {response.status}"
        reason = f"HTTP {status}{_error_text(body)}"
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            if self._signer is not None:
                self._signer.forget()
            return SourceError(reason, self._permission(), kind)
        if 300 <= status < 400:  # noqa: PLR2004 - redirection
            to = line(response.headers.get(hdrs.LOCATION), _MAX_REASON_LENGTH)
            return SourceError(
                f"{reason}: a redirect to {to or 'nowhere'}, which is not followed",
                "set forecast.prometheus_url to the address that answers itself",
                kind,
            )
        if status == _NOT_FOUND:
            return SourceError(reason, "forecast.prometheus_url must be what comes before /api/v1/query_range", kind)
        return SourceError(reason, "check forecast.prometheus_matchers and the log of the Prometheus", kind)

    def _permission(self) -> str:
        if self._region is not None:
            return "give the pod's role aps:QueryMetrics on the workspace (documentation: forecast)"
        return "check the token in forecast.prometheus_token_file and what it permits"

    def _unreachable(self, reason: str, kind: str) -> SourceError:
        fix = "check forecast.prometheus_url and the network path to it (DNS, NetworkPolicy, TLS)"
        return SourceError(line(reason, _MAX_REASON_LENGTH), fix, kind)


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the body. Raises SourceError for one that is too large or encoded."""
    encoding = response.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise _invalid(f"its answer is encoded ({line(encoding, 30)}), which was not asked for")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise SourceError(
                f"its answer is larger than {max_bytes // 1024} KiB",
                "select the series of this cluster with forecast.prometheus_matchers",
                "too large",
            )
    return bytes(body)


def _take(body: bytes, span: Span, histories: dict[FleetKey, History]) -> int:
    """Record the points of an answer; return how many are no demand. Raises SourceError."""
    try:
        document = mapping(read_json(body))
    except ValueError:
        raise _invalid("its answer is not JSON") from None
    if document.get("status") != "success":
        raise _invalid(f"its answer has no status success{_error_of(document)}")
    if warnings := sequence(document.get("warnings")):
        fix = "check what the Prometheus reads from; an answer that may be incomplete is not used"
        raise SourceError(f"its answer has a warning: {line(warnings[0], _MAX_REASON_LENGTH)}", fix, "warning")
    data = mapping(document.get("data"))
    series = data.get("result")
    if data.get("resultType") != "matrix" or not isinstance(series, list):
        raise _invalid("its answer is no matrix")
    if len(series) > MAX_FLEETS:
        raise SourceError(
            f"it has {len(series)} fleets, at most {MAX_FLEETS} are read",
            "select the series of this cluster with forecast.prometheus_matchers",
            "too many",
        )
    return sum(_take_series(one, span, histories) for one in series)


def _take_series(series: object, span: Span, histories: dict[FleetKey, History]) -> int:
    labels, values = mapping(mapping(series).get("metric")), mapping(series).get("values")
    if not isinstance(values, list):
        raise _invalid("a series has no list of values")
    namespace, fleet = text(labels.get("namespace")), text(labels.get("fleet"))
    if namespace is None or fleet is None:
        return 0  # no fleet of an exporter
    tasks, left_out = [GAP] * span.count, 0
    for value in values:
        slot, number = _point(value)
        if not span.first <= slot < span.end:
            continue
        known = known_tasks(number)
        if known is None:
            left_out += 1
        else:
            tasks[slot - span.first] = max(tasks[slot - span.first], known)
    histories[namespace, fleet] = (histories.get((namespace, fleet)) or History()).with_slots(span.first, tasks)
    return left_out


def _point(value: object) -> tuple[int, float]:
    """Return the slot that a point is the maximum of, and its number."""
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - a pair
        raise _invalid(_NO_POINT)
    at, number = value
    if not isinstance(at, float | int) or not isinstance(number, str) or len(number) > _MAX_NUMBER_LENGTH:
        raise _invalid(_NO_POINT)
    if not abs(at) < _MAX_TIME:
        raise _invalid(_NO_POINT)
    end = ceil(at / SLOT_SECONDS)
    if end * SLOT_SECONDS - at > _SLACK:
        raise _invalid("a point is not at the end of five minutes")
    try:
        return end - 1, float(number)
    except ValueError:
        raise _invalid(_NO_POINT) from None


def _error_text(body: bytes) -> str:
    try:
        return _error_of(mapping(read_json(body)))
    except ValueError:
        return ""


def _error_of(document: Mapping[str, Any]) -> str:
    found = [line(document.get(key), _MAX_REASON_LENGTH) for key in ("errorType", "error", "message")]
    return "".join(f": {part}" for part in found if part)


def _invalid(reason: str) -> SourceError:
    return SourceError(reason, "check that forecast.prometheus_url is that of a Prometheus", "invalid")
