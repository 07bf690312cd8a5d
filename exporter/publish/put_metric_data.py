"""Sends datums to CloudWatch and returns what became of them; whatever goes wrong is a result, not an exception.

Knows nothing of the spool. Importing this module takes half a second for the AWS libraries: import it only to publish.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from exporter.aws.client import AwsClient, AwsError
from exporter.publish.datum import Datum


class PutOutcome(StrEnum):
    """What became of a request: CloudWatch has the data, or a failure (`exporter.aws.client`)."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    TOO_LARGE = "too_large"
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
    """An async context manager; it connects when it is first needed."""

    def __init__(
        self,
        namespace: str,
        *,
        region: str | None,
        endpoint_url: str | None,
        deadline: float,
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        """Take where to send; `may_send` is asked before each request, and each repetition of it."""
        self._namespace = namespace
        self._aws = AwsClient(
            "cloudwatch", region=region, endpoint_url=endpoint_url, deadline=deadline, may_send=may_send
        )

    async def __aenter__(self) -> Self:
        """Prepare for the first request; nothing is connected yet."""
        await self._aws.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close its connections."""
        await self._aws.__aexit__()

    async def put(self, datums: Sequence[Datum]) -> PutResult:
        """Send at most 1,000 datums in one request, within the deadline."""
        members = [datum.request_member() for datum in datums]
        try:
            await self._aws.call(lambda client: client.put_metric_data(Namespace=self._namespace, MetricData=members))
        except AwsError as error:
            return PutResult(PutOutcome(error.kind.value), error.reason)
        return PutResult(PutOutcome.ACCEPTED)
