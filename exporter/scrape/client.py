"""Fetches one metrics page from one agent, and trusts the agent with nothing.

Every way in which a page can fail to come is one `ScrapeError` with an `Outcome` for the counter and a sentence for the
reader. Knows no schedule and no state: which page to fetch when is the poller's business.
"""

import zlib
from enum import StrEnum
from ipaddress import IPv6Address
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from exporter import __version__
from exporter.config import ScrapeSettings
from exporter.fleet.dialect import NAMES
from exporter.fleet.model import Dialect, Endpoint

_ACCEPTED_TYPES = ("text/plain", "application/openmetrics-text")
_FILTER_PARAMETER = {Dialect.OTEL: "name[]", Dialect.LEGACY: "includedNames"}
# A lost SYN is sent again after 1 s (RFC 6298), so half of the usual 3 s allows for one; a pod whose packets are
# dropped then holds its place in the queue half as long as one that answers slowly.
_CONNECT_SHARE = 0.5
# zlib's window size, plus "expect a gzip or zlib header": both are sent under the names gzip and deflate.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class Outcome(StrEnum):
    """How a scrape ended: the values of `scrapes_total{outcome}`."""

    OK = "ok"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    CUT = "cut"
    HTTP_STATUS = "http_status"
    REDIRECT = "redirect"
    CONTENT_TYPE = "content_type"
    ENCODING = "encoding"
    TOO_LARGE = "too_large"
    NOT_AN_AGENT = "not_an_agent"
    NO_TASK_COUNT = "no_task_count"
    INTERNAL = "internal"


class ScrapeError(Exception):
    """One attempt failed; the text says how, without saying where."""

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


def page_url(address: str, endpoint: Endpoint, *, filtered: bool) -> URL:
    """Return where the page of an agent is; `filtered` asks its server for the wanted families only."""
    url = URL.build(scheme="http", host=address, port=endpoint.port, path=endpoint.path, encoded=True)
    if not filtered:
        return url
    names, parameter = NAMES[endpoint.kind], _FILTER_PARAMETER[endpoint.kind]
    if endpoint.kind is Dialect.LEGACY:
        return url.with_query({parameter: ",".join(names)})
    return url.with_query([(parameter, name) for name in names])


def host_port(address: str, port: int) -> str:
    """Return the authority part of a URL: an IPv6 address goes into brackets."""
    try:
        return f"[{IPv6Address(address)}]:{port}"
    except ValueError:
        return f"{address}:{port}"


class PageClient:
    """The one HTTP client of all scrapes: keeps a connection to each agent open between them.

    Does not follow redirects, use proxies, keep cookies or decompress beyond `max_body_bytes`.
    """

    def __init__(self, settings: ScrapeSettings) -> None:
        self._timeout = settings.timeout
        self._connect_timeout = settings.timeout * _CONNECT_SHARE
        self._max_bytes = settings.max_body_bytes
        # Longer than two intervals, or each scrape would open a connection of its own.
        self._keepalive = settings.interval * 2 + settings.timeout

    async def __aenter__(self) -> Self:
        # The poller bounds what runs at once; a second bound here would only hide where the time goes.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=self._keepalive)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=self._timeout, sock_connect=self._connect_timeout),
            headers={
                "Accept": "text/plain;version=0.0.4,application/openmetrics-text;q=0.5",
                # A page is some 30 KB on a pod network: compressing it costs both sides more than sending it.
                "Accept-Encoding": "identity",
                "User-Agent": f"fleet-exporter/{__version__}",
            },
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def fetch(self, url: URL) -> bytes:
        """Return the body of the page at `url`, decompressed. Raises ScrapeError."""
        waiting_for = "an answer"
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                _check_head(response)
                waiting_for = "the rest of the page"
                return await self._body(response)
        except aiohttp.ConnectionTimeoutError:
            reason = f"no connection within {self._connect_timeout:g} s"
            raise ScrapeError(Outcome.TIMEOUT, reason) from None
        except TimeoutError:
            reason = f"waited {self._timeout:g} s for {waiting_for}"
            raise ScrapeError(Outcome.TIMEOUT, reason) from None
        except aiohttp.ClientConnectorError as error:
            raise ScrapeError(Outcome.CONNECT, _connect_reason(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ScrapeError(Outcome.CUT, f"connection lost or not HTTP ({type(error).__name__})") from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        decompress = _decompressor(response.headers.get("Content-Encoding", "identity").strip().lower())
        chunks, size = [], 0
        async for received in response.content.iter_any():
            try:
                # One byte more than allowed is enough to know; what is not asked for is never inflated.
                chunk = decompress.decompress(received, self._max_bytes - size + 1) if decompress else received
            except zlib.error as error:
                raise ScrapeError(Outcome.ENCODING, "compressed data is damaged") from error
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
        if decompress and not decompress.eof:
            raise ScrapeError(Outcome.CUT, "compressed data ends too early")
        return b"".join(chunks)

    def _too_large(self) -> ScrapeError:
        return ScrapeError(Outcome.TOO_LARGE, f"page exceeds scrape.max_body_bytes = {self._max_bytes}")


def _check_head(response: aiohttp.ClientResponse) -> None:
    """Refuse what is not a metrics page before its body is read. Raises ScrapeError."""
    if 300 <= response.status < 400:  # noqa: PLR2004 - the class of HTTP status codes is its own name
        raise ScrapeError(Outcome.REDIRECT, f"redirects are not followed (HTTP {response.status})")
    if response.status != 200:  # noqa: PLR2004 - as above
        raise ScrapeError(Outcome.HTTP_STATUS, f"HTTP {response.status}")
    content_type = response.headers.get("Content-Type", _ACCEPTED_TYPES[0]).partition(";")[0].strip().lower()
    if content_type not in _ACCEPTED_TYPES:
        raise ScrapeError(Outcome.CONTENT_TYPE, f"content type {content_type[:60]!r} is not a metrics page")


def _decompressor(encoding: str) -> "zlib._Decompress | None":
    """Return what undoes `encoding`, None if there is nothing to undo. Raises ScrapeError."""
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(_GZIP_OR_ZLIB)
    raise ScrapeError(Outcome.ENCODING, f"content encoding {encoding[:60]!r} was not asked for")


def _connect_reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error.os_error, ConnectionRefusedError):
        return "connection refused"
    return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
