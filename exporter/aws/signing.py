"""Signs requests to AWS APIs that the library has no client for, with the default credentials (Signature Version 4)."""

import asyncio
from typing import Any

from aiobotocore.session import AioSession
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from exporter.aws.client import AwsError, AwsFailure, failure

_CREDENTIALS_SECONDS = 10.0
"""For credentials. Their provider answers within a second."""


class RequestSigner:
    """Signs GET requests to one service in one region."""

    def __init__(self, service: str, region: str) -> None:
        """Take the service's name in signatures, such as `aps`."""
        self._service = service
        self._region = region
        self._credentials: Any = None

    async def headers(self, url: str) -> dict[str, str]:
        """Return the headers that sign a GET of `url`, whose query must be encoded as it is sent. Raises AwsError."""
        try:
            async with asyncio.timeout(_CREDENTIALS_SECONDS):
                if self._credentials is None:
                    self._credentials = await AioSession().get_credentials()  # type: ignore[no-untyped-call]  # the libraries have no annotations
                if self._credentials is None:
                    raise AwsError(AwsFailure.DENIED, "there are no AWS credentials")
                frozen = await self._credentials.get_frozen_credentials()
        except TimeoutError:
            raise AwsError(AwsFailure.TIMEOUT, f"no credentials within {_CREDENTIALS_SECONDS:g} s") from None
        except AwsError:
            raise
        except Exception as error:  # each source of credentials fails in ways of its own
            raise failure(error) from error
        request = AWSRequest(method="GET", url=url)  # type: ignore[no-untyped-call]  # as above
        SigV4Auth(frozen, self._service, self._region).add_auth(request)  # type: ignore[no-untyped-call]  # as above
        return dict(request.headers.items())

    def forget(self) -> None:
        """Look for credentials again with the next request: AWS denied these."""
        self._credentials = None
