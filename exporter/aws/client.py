"""A client of one AWS service.

Whatever goes wrong with a request is an AwsError of one of these kinds:

    rejected    the service says that something in the request is wrong, as it will be the next time
    too_large   the service, or something on the way, takes no request of this size
    throttled   too much at once
    denied      no credentials, expired ones, or no permission
    timeout     no answer in time; the service may have acted all the same
    failed      not reached, or a response that shows nothing about the request

Only the service's own response counts, in success too: a proxy's page with HTTP 200 is a failure. Whatever else
answers in its place (a page of HTML with 400, 404, 411, 414, 431, 5xx) shows something about the way and nothing about
what was sent.

Independent of what is requested.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Self, TypeVar

import aioboto3.session
import aiohttp
import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp

_log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT = 3.0
_READ_TIMEOUT = 6.0
# The library's own retries are for a hiccup. An outage is the caller's business.
_ATTEMPTS = 3
_MAX_REASON_LENGTH = 500
_XML_HEAD_BYTES = 4096
"""Within these the root of a document begins."""
_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?<(?:[A-Za-z0-9]+:)?([A-Za-z0-9]+)[\s/>]")
"""Only an XML declaration may stand before it: AWS sends no more. The library parses the document in full."""
_ERRORS_FROM = 300
"""Lowest HTTP status that the library takes for an error."""

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html, API_GetMetricData.html and
# CommonErrors.html
_REJECTED = {
    "InvalidParameterValue",
    "InvalidParameterCombination",
    "MissingParameter",
    "MissingRequiredParameter",
    "ValidationError",
    "ValidationException",
    "InvalidFormat",
}
_BAD_REQUEST = 400
"""Status of each of them."""
_TOO_LARGE = {"RequestEntityTooLarge", "RequestEntityTooLargeException"}
_CONTENT_TOO_LARGE = 413
_THROTTLED = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequestsException",
    "LimitExceeded",
    "LimitExceededException",
    "SlowDown",
}
_DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
# What the library itself raises when it cannot sign.
_NO_CREDENTIALS = {
    "CredentialRetrievalError",
    "MetadataRetrievalError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
}


_T = TypeVar("_T")


class AwsFailure(StrEnum):
    """What kind of failure it is."""

    REJECTED = "rejected"
    TOO_LARGE = "too_large"
    THROTTLED = "throttled"
    DENIED = "denied"
    TIMEOUT = "timeout"
    FAILED = "failed"


class AwsError(Exception):
    """A request to AWS failed."""

    def __init__(self, kind: AwsFailure, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        """AWS's or the library's words, shortened."""


class WithdrawnError(Exception):
    """A request is not sent, or not sent again, because its sender may no longer do so."""


class ForeignAnswerError(Exception):
    """A response with a status of success is not the service's."""

    def __init__(self, status: int, found: str) -> None:
        super().__init__(f"HTTP {status} with {found} is not from AWS; does a proxy answer in its place?")


class AwsClient:
    """An async context manager around the library's client, which it makes when it is first needed.

    Entered at the start of a process, it has read by then what would stall the event loop later.
    """

    def __init__(
        self,
        service: str,
        *,
        region: str | None,
        endpoint_url: str | None,
        deadline: float,
        read_timeout: float = _READ_TIMEOUT,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take the service's name in the library, such as `cloudwatch`.

        A request may take `deadline` seconds; after `read_timeout` without anything it is sent again. `may_send` is
        asked immediately before each time that a request is sent.
        """
        self._service = service
        self._region = region
        self._endpoint_url = endpoint_url
        self._deadline = deadline
        self._read_timeout = read_timeout
        self._may_send = may_send
        self._client: Any = None
        self._opened = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._in_flight = 0
        self._stale = False

    async def __aenter__(self) -> Self:
        """Read the library's descriptions of the service; nothing is connected yet."""
        await asyncio.to_thread(load_descriptions, self._service)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        self._client = None
        await self._opened.aclose()

    async def call(self, request: Callable[[Any], Awaitable[_T]]) -> _T:
        """Return what `request` gets from the library's client within the deadline. Raises AwsError."""
        try:
            async with asyncio.timeout(self._deadline):
                client = await self._open()
                self._in_flight += 1
                try:
                    return await request(client)
                finally:
                    self._in_flight -= 1
        except TimeoutError:
            raise AwsError(AwsFailure.TIMEOUT, f"no response within {self._deadline:g} s") from None
        except Exception as error:
            # The libraries let through whatever theirs below raise; `failure` distinguishes a bug from an outage.
            failed = failure(error)
            # A client holds on to the credentials it found, or to having found none.
            self._stale = self._stale or failed.kind is AwsFailure.DENIED
            raise failed from error

    async def _open(self) -> Any:
        async with self._opening:
            if self._stale and not self._in_flight:
                self._client, self._stale = None, False
                await self._opened.aclose()
            if self._client is None:
                client = await self._opened.enter_async_context(self._make_client())
                client.meta.events.register("before-send", self._before_send)
                client.meta.events.register("before-parse", _must_be_named)
                client.meta.events.register("after-call", _must_have_request_id)
                self._client = client
            return self._client

    async def _before_send(self, **_: object) -> None:
        # Making a request of 1,000 datums takes as long as making the first connection, 40 ms: not in one piece.
        await asyncio.sleep(0)
        if not self._may_send():
            raise WithdrawnError("it was not sent, because this process may no longer do so")

    def _make_client(self) -> Any:
        session = AioSession()  # type: ignore[no-untyped-call]  # the libraries have no annotations
        session.register_component("data_loader", load_descriptions(self._service))  # type: ignore[no-untyped-call]  # as above
        parsers = session.get_component("response_parser_factory")  # type: ignore[no-untyped-call]  # as above
        parsers.set_parser_defaults(timestamp_parser=_timestamp)
        config = AioConfig(  # type: ignore[no-untyped-call]  # as above
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=self._read_timeout,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return aioboto3.session.Session(botocore_session=session).client(  # type: ignore[no-untyped-call]  # as above
            self._service, region_name=self._region, endpoint_url=self._endpoint_url, config=config
        )


@cache
def load_descriptions(service: str) -> Loader:
    """Read what making a client of a service takes: a megabyte of JSON, once.

    It holds the interpreter's lock for 50 ms, also in a thread.
    """
    loader: Loader = create_loader()  # type: ignore[no-untyped-call]  # the libraries have no annotations
    for description in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model(service, description)
    for data in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(data)  # type: ignore[no-untyped-call]  # as above
    return loader


def _must_be_named(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """Check that a successful response is the operation's. Raises ForeignAnswerError.

    In the query protocol it is XML whose root is named after the operation (smithy.io, "AWS query protocol").
    """
    if response_dict["status_code"] >= _ERRORS_FROM or operation_model.service_model.resolved_protocol != "query":
        return
    root = _root(response_dict["body"])
    if root != f"{operation_model.name}Response":
        kind = response_dict["headers"].get("Content-Type", "no content type")
        found = f"an element {root}" if root else f"{len(response_dict['body'])} bytes that are not XML"
        raise ForeignAnswerError(response_dict["status_code"], f"{found} ({kind})")


def _root(body: bytes) -> str:
    """Return the name of an XML document's root, without its namespace; empty if the body does not begin with one."""
    found = _ROOT.match(body[:_XML_HEAD_BYTES])
    return "" if found is None else found[1].decode()


def _must_have_request_id(http_response: Any, parsed: Any, **_: Any) -> None:
    """Check that a successful response has the number that AWS gives each request. Raises ForeignAnswerError."""
    if http_response.status_code < _ERRORS_FROM and not parsed.get("ResponseMetadata", {}).get("RequestId"):
        raise ForeignAnswerError(http_response.status_code, "no RequestId")


def _timestamp(text: str) -> datetime:
    """Return a time in ISO 8601, as AWS sends it, in a hundredth of the 100 µs that the library's own reader takes."""
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError):
        found: datetime = parse_timestamp(text)  # type: ignore[no-untyped-call]  # the libraries have no annotations
        return found


def failure(error: Exception) -> AwsError:
    """Return what an exception of the libraries means."""
    reason = f"{type(error).__name__}: {error}"[:_MAX_REASON_LENGTH]
    match error:
        case ClientError():
            return _of_response(error.response)
        case ParamValidationError():
            return AwsError(AwsFailure.REJECTED, reason)
        case ReadTimeoutError() | ConnectTimeoutError():
            return AwsError(AwsFailure.TIMEOUT, reason)
        case BotoCoreError() if type(error).__name__ in _NO_CREDENTIALS:
            return AwsError(AwsFailure.DENIED, reason)
        case (
            WithdrawnError()
            | ForeignAnswerError()
            | BotoCoreError()
            | ResponseParserError()
            | aiohttp.ClientError()
            | OSError()
            | ValueError()
        ):
            return AwsError(AwsFailure.FAILED, reason)
        case _:
            _log.error("unexpected failure of a request to AWS", exc_info=error)
            return AwsError(AwsFailure.FAILED, reason)


def _of_response(response: Any) -> AwsError:
    error = response.get("Error", {})
    code, status = str(error.get("Code", "")), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = f"{code}: {error.get('Message', '')} (HTTP {status})"[:_MAX_REASON_LENGTH]
    if code in _THROTTLED or status == 429:  # noqa: PLR2004 - the code's name is its meaning: Too Many Requests
        return AwsError(AwsFailure.THROTTLED, reason)
    if status == _CONTENT_TOO_LARGE or code in _TOO_LARGE:
        return AwsError(AwsFailure.TOO_LARGE, reason)
    if status == _BAD_REQUEST and code in _REJECTED:
        return AwsError(AwsFailure.REJECTED, reason)
    if code in _DENIED or status in {401, 403}:
        return AwsError(AwsFailure.DENIED, reason)
    return AwsError(AwsFailure.FAILED, reason)
