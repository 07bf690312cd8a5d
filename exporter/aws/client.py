"""A client of one AWS service.

Whatever goes wrong with a request is an AwsError of one of these kinds:

    rejected    something in the request is wrong, and will be the next time
    throttled   too much at once
    denied      no credentials, expired ones, or no permission
    timeout     no answer in time; the service may have acted all the same
    failed      not reached, or a response that shows nothing about the request

Independent of what is requested.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from enum import StrEnum
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
    "MalformedQueryString",
    "RequestEntityTooLarge",
    "RequestEntityTooLargeException",
}
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


class AwsClient:
    """An async context manager around the library's client, which it makes when it is first needed."""

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
        self._loader: Loader | None = None
        self._client: Any = None
        self._opened = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._in_flight = 0
        self._stale = False

    async def __aenter__(self) -> Self:
        """Return the client; nothing is connected yet."""
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
                if self._loader is None:
                    self._loader = await asyncio.to_thread(_load_descriptions, self._service)
                self._client = await self._opened.enter_async_context(self._make_client(self._loader))
                self._client.meta.events.register("before-send", self._before_send)
            return self._client

    def _before_send(self, **_: object) -> None:
        if not self._may_send():
            raise WithdrawnError("it was not sent, because this process may no longer do so")

    def _make_client(self, loader: Loader) -> Any:
        session = AioSession()  # type: ignore[no-untyped-call]  # the libraries have no annotations
        session.register_component("data_loader", loader)  # type: ignore[no-untyped-call]  # as above
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


def _load_descriptions(service: str) -> Loader:
    """Read the descriptions of services that making a client takes: a third of a second if the event loop did it."""
    loader: Loader = create_loader()  # type: ignore[no-untyped-call]  # the libraries have no annotations
    for description in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model(service, description)
    for data in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(data)  # type: ignore[no-untyped-call]  # as above
    return loader


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
    if status < 500 and (code in _REJECTED or status == 413):  # noqa: PLR2004 - server errors; Content Too Large
        return AwsError(AwsFailure.REJECTED, reason)
    if code in _DENIED or status in {401, 403}:
        return AwsError(AwsFailure.DENIED, reason)
    return AwsError(AwsFailure.FAILED, reason)
