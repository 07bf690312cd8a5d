"""Sends datums to CloudWatch and returns what became of them; whatever goes wrong is a result, not an exception.

    accepted    CloudWatch has them
    rejected    something in the request is wrong, and will be the next time
    throttled   too much at once
    denied      no credentials, expired ones, or no permission
    timeout     no answer in time; CloudWatch may have them all the same
    failed      not reached, or a response that shows nothing about the data

Knows nothing of the spool. Importing this module takes half a second for the AWS libraries: import it only to publish.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

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

from exporter.publish.datum import Datum

_log = structlog.get_logger(__name__)

_CONNECT_TIMEOUT = 3.0
_READ_TIMEOUT = 6.0
# The library's own retries are for a hiccup. An outage is the spool's business.
_ATTEMPTS = 3
_MAX_REASON_LENGTH = 500

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html and CommonErrors.html
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


class PutOutcome(StrEnum):
    """What became of a request."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    THROTTLED = "throttled"
    DENIED = "denied"
    TIMEOUT = "timeout"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PutResult:
    """What became of a request, and why."""

    outcome: PutOutcome
    reason: str = ""


class MetricDataClient:
    """An async context manager around the AWS client, which it makes when it is first needed."""

    def __init__(self, namespace: str, *, region: str | None, endpoint_url: str | None, deadline: float) -> None:
        self._namespace = namespace
        self._region = region
        self._endpoint_url = endpoint_url
        self._deadline = deadline
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

    async def put(self, datums: Sequence[Datum]) -> PutResult:
        """Send at most 1,000 datums in one request, within the deadline."""
        try:
            async with asyncio.timeout(self._deadline):
                client = await self._open()
                self._in_flight += 1
                try:
                    members = [datum.request_member() for datum in datums]
                    await client.put_metric_data(Namespace=self._namespace, MetricData=members)
                finally:
                    self._in_flight -= 1
        except TimeoutError:
            return PutResult(PutOutcome.TIMEOUT, f"no response within {self._deadline:g} s")
        except Exception as error:  # noqa: BLE001 - the libraries below let through whatever theirs below raise; `_classify` distinguishes a bug from an outage
            answer = _classify(error)
            # A client holds on to the credentials it found, or to having found none.
            self._stale = self._stale or answer.outcome is PutOutcome.DENIED
            return answer
        return PutResult(PutOutcome.ACCEPTED)

    async def _open(self) -> Any:
        async with self._opening:
            if self._stale and not self._in_flight:
                self._client, self._stale = None, False
                await self._opened.aclose()
            if self._client is None:
                if self._loader is None:
                    self._loader = await asyncio.to_thread(_load_descriptions)
                self._client = await self._opened.enter_async_context(self._make_client(self._loader))
            return self._client

    def _make_client(self, loader: Loader) -> Any:
        session = AioSession()  # type: ignore[no-untyped-call]  # the libraries have no annotations
        session.register_component("data_loader", loader)  # type: ignore[no-untyped-call]  # as above
        config = AioConfig(  # type: ignore[no-untyped-call]  # as above
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        )
        return aioboto3.session.Session(botocore_session=session).client(  # type: ignore[no-untyped-call]  # as above
            "cloudwatch", region_name=self._region, endpoint_url=self._endpoint_url, config=config
        )


def _load_descriptions() -> Loader:
    """Read the descriptions of services that making a client takes: a third of a second if the event loop did it."""
    loader: Loader = create_loader()  # type: ignore[no-untyped-call]  # the libraries have no annotations
    for description in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("cloudwatch", description)
    for data in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(data)  # type: ignore[no-untyped-call]  # as above
    return loader


def _classify(error: Exception) -> PutResult:
    """Return what an exception of the libraries means for the data."""
    reason = f"{type(error).__name__}: {error}"[:_MAX_REASON_LENGTH]
    match error:
        case ClientError():
            return _classify_response(error.response)
        case ParamValidationError():
            return PutResult(PutOutcome.REJECTED, reason)
        case ReadTimeoutError() | ConnectTimeoutError():
            return PutResult(PutOutcome.TIMEOUT, reason)
        case BotoCoreError() if type(error).__name__ in _NO_CREDENTIALS:
            return PutResult(PutOutcome.DENIED, reason)
        case BotoCoreError() | ResponseParserError() | aiohttp.ClientError() | OSError():
            return PutResult(PutOutcome.FAILED, reason)
        case _:
            _log.error("unexpected failure while sending to CloudWatch", exc_info=error)
            return PutResult(PutOutcome.FAILED, reason)


def _classify_response(response: Any) -> PutResult:
    error = response.get("Error", {})
    code, status = str(error.get("Code", "")), response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    reason = f"{code}: {error.get('Message', '')} (HTTP {status})"[:_MAX_REASON_LENGTH]
    if code in _THROTTLED or status == 429:  # noqa: PLR2004 - the code's name is its meaning: Too Many Requests
        return PutResult(PutOutcome.THROTTLED, reason)
    if status < 500 and (code in _REJECTED or status == 413):  # noqa: PLR2004 - server errors; Content Too Large
        return PutResult(PutOutcome.REJECTED, reason)
    if code in _DENIED or status in {401, 403}:
        return PutResult(PutOutcome.DENIED, reason)
    return PutResult(PutOutcome.FAILED, reason)
