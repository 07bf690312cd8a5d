"""Fetches one metrics page from one agent, and trusts the agent with nothing.

Every way in which a page can fail to come is one `ScrapeError` with an `Outcome` for the counter and a sentence for the
reader. Knows no schedule and no state: which page to fetch when is the poller's business.
"""

import asyncio
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

_TEXT, _OPENMETRICS = "text/plain", "application/openmetrics-text"
# OpenMetrics 1.0: "Expositions MUST end with EOF"; the line feed behind it is the writer's choice.
_OPENMETRICS_ENDS = (b"# EOF\n", b"# EOF", b"# EOF\r\n")
_FILTER_PARAMETER = {Dialect.OTEL: "name[]", Dialect.LEGACY: "includedNames"}
# A lost SYN is sent again after 1 s (RFC 6298), so half of the usual 3 s allows for one; a pod whose packets are
# dropped then leaves the other half of the scrape to its second endpoint.
_CONNECT_SHARE = 0.5
# zlib's window size, plus "expect a gzip or zlib header": both are sent under the names gzip and deflate.
_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


class Outcome(StrEnum):
    """How a scrape ended: the values of `scrapes_total{outcome}`."""

    OK = "ok"
    CONNECT = "connect"
    TIMEOUT = "timeout"
    CUT = "cut"
    NOT_HTTP = "not_http"
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
    authority = host_port(address, endpoint.port)
    url = URL.build(scheme="http", authority=authority, path=endpoint.path, encoded=True)
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


class _Response(aiohttp.ClientResponse):
    """A response that is never taken from what a server said before it was asked."""

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        """Read the head of the response, unless the connection already holds one.

        A server that sends more than was asked for would from then on be one answer ahead: every page would be as old
        as the scrape before. Raises ServerDisconnectedError, on which aiohttp tries once more with a new connection.
        """
        protocol = connection.protocol
        if protocol is None or protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        return await super().start(connection)


class PageClient:
    """The one HTTP client of all scrapes: keeps a connection to each agent open between them.

    Does not follow redirects, use proxies, keep cookies or decompress beyond `max_body_bytes`.
    """

    def __init__(self, settings: ScrapeSettings) -> None:
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
            response_class=_Response,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout),
            headers={
                "Accept": f"{_TEXT};version=0.0.4,{_OPENMETRICS};q=0.5",
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

    async def fetch(self, url: URL, *, within: float) -> bytes:
        """Return the whole body of the page at `url`, decompressed, at most `within` seconds from now.

        Raises ScrapeError.
        """
        waiting_for = "an answer"
        try:
            async with asyncio.timeout(within), self._session.get(url, allow_redirects=False) as response:
                content_type = _checked_content_type(response)
                waiting_for = "the rest of the page"
                body = await self._body(response)
        except aiohttp.ConnectionTimeoutError:
            raise ScrapeError(Outcome.TIMEOUT, f"no connection within {self._connect_timeout:g} s") from None
        except TimeoutError:
            raise ScrapeError(Outcome.TIMEOUT, f"waited {round(within, 1):g} s for {waiting_for}") from None
        except aiohttp.ClientConnectorError as error:
            raise ScrapeError(Outcome.CONNECT, _connect_reason(error)) from error
        except aiohttp.ClientPayloadError as error:
            raise ScrapeError(Outcome.CUT, "connection lost in the middle of the page") from error
        except aiohttp.ClientResponseError as error:
            raise ScrapeError(Outcome.NOT_HTTP, "the answer is not HTTP") from error
        except (aiohttp.ClientError, OSError) as error:
            raise ScrapeError(Outcome.CUT, f"connection lost while waiting for {waiting_for}") from error
        _check_end(content_type, body)
        return body

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()
        decompress = _decompressor(response.headers.get("Content-Encoding", "identity").strip().lower())
        body, received = bytearray(), 0
        async for chunk in response.content.iter_any():
            received += len(chunk)
            # One byte more than allowed is enough to know; what is not asked for is never inflated.
            body += _inflated(decompress, chunk, self._max_bytes - len(body) + 1) if decompress else chunk
            # Compressed data may also be endless and say nothing.
            if max(len(body), received) > self._max_bytes:
                raise self._too_large()
        if decompress and not decompress.eof:
            raise ScrapeError(Outcome.CUT, "compressed data ends too early")
        return bytes(body)

    def _too_large(self) -> ScrapeError:
        return ScrapeError(Outcome.TOO_LARGE, f"page exceeds scrape.max_body_bytes = {self._max_bytes}")


def _checked_content_type(response: aiohttp.ClientResponse) -> str:
    """Return the content type of a metrics page; refuse anything else before its body is read. Raises ScrapeError."""
    if 300 <= response.status < 400:  # noqa: PLR2004 - the class of HTTP status codes is its own name
        raise ScrapeError(Outcome.REDIRECT, f"redirects are not followed (HTTP {response.status})")
    if response.status != 200:  # noqa: PLR2004 - as above
        raise ScrapeError(Outcome.HTTP_STATUS, f"HTTP {response.status}")
    content_type = response.headers.get("Content-Type", _TEXT).partition(";")[0].strip().lower()
    if content_type not in (_TEXT, _OPENMETRICS):
        raise ScrapeError(Outcome.CONTENT_TYPE, f"content type {content_type[:60]!r} is not a metrics page")
    return content_type


def _check_end(content_type: str, body: bytes) -> None:
    """Refuse a page that was cut where HTTP cannot tell. Raises ScrapeError.

    A wrong Content-Length and a body that ends with its connection both look complete, and `… 17` cut to `… 1` is a
    count. Both formats end their last line, so a page that does not is not whole.
    """
    if not body:
        return
    if not body.endswith((b"\n", b"# EOF")):
        raise ScrapeError(Outcome.CUT, "the page ends in the middle of a line")
    if content_type == _OPENMETRICS and not body.endswith(_OPENMETRICS_ENDS):
        raise ScrapeError(Outcome.CUT, "the OpenMetrics page has no # EOF at its end")


def _decompressor(encoding: str) -> "zlib._Decompress | None":
    """Return what undoes `encoding`, None if there is nothing to undo. Raises ScrapeError."""
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(_GZIP_OR_ZLIB)
    raise ScrapeError(Outcome.ENCODING, f"content encoding {encoding[:60]!r} was not asked for")


def _inflated(decompress: "zlib._Decompress", chunk: bytes, most: int) -> bytes:
    """Return the next `most` bytes at most of what `chunk` expands to. Raises ScrapeError.

    gzip may hold several members (RFC 1952, section 2.2). No HTTP server sends a page so, and one that ends early must
    not be taken for a whole one: what follows the first member is damage.
    """
    try:
        inflated = decompress.decompress(chunk, most)
    except zlib.error as error:
        raise ScrapeError(Outcome.ENCODING, "compressed data is damaged") from error
    if decompress.unused_data:
        raise ScrapeError(Outcome.ENCODING, "something follows the end of the compressed data")
    return inflated


def _connect_reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error.os_error, ConnectionRefusedError):
        return "connection refused"
    return f"cannot connect: {error.os_error.strerror or type(error.os_error).__name__}"
