"""CloudWatch: region, endpoint, clock, credentials, and the permission to publish, without publishing anything.

The AWS libraries take half a second to import, so this module does so only when its checks run. What is secret in
credentials is never read here, but for the libraries' own signing of requests.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import aiohttp

from exporter.doctor import spool
from exporter.doctor.check import (
    Check,
    CheckFailedError,
    Finding,
    NotPossibleError,
    Once,
    failed,
    not_checked,
    ok,
    warning,
)
from exporter.doctor.environment import Environment
from exporter.fleet.explain import duration

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

SUBJECT = "CloudWatch"

ENDPOINT_SECONDS = 6.0
"""For the endpoint's first answer: as long as the exporter itself waits for one."""
CREDENTIALS_SECONDS = 10.0
"""For credentials. Their provider answers within a second; the libraries would wait a minute for one that does not."""
PUT_SECONDS = 15.0
TOGETHER_SECONDS = CREDENTIALS_SECONDS + PUT_SECONDS + 5.0
"""For a check that takes both."""
SKEW_WARNING, SKEW_FAILURE = 60.0, 300.0
"""Seconds. AWS refuses a signature that is more than five minutes off (IAM User Guide, "Signature Version 4")."""

_KINDS = {
    "assume-role-with-web-identity": "IRSA (web identity)",
    "container-role": "EKS Pod Identity or a container role",
    "iam-role": "the node's role (instance metadata)",
    "env": "environment variables",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the AWS config file",
    "assume-role": "an assumed role of the AWS config file",
    "sso": "single sign-on",
}
"""What the libraries' names for the sources of credentials mean."""
_MAX_REASON_LENGTH = 300
_LASTING = ("env", "shared-credentials-file", "config-file")
_POLICY = (
    "give the role cloudwatch:PutMetricData for this namespace (documentation: cloudwatch, Permissions); its trust "
    "policy must allow this service account, and the policy's cloudwatch:namespace condition must match"
)


def checks(env: Environment) -> list[Check]:
    """Return the checks of this subject."""
    if not env.settings.cloudwatch.enabled:
        return [Check(SUBJECT, "publishing", _off)]
    aws = _Aws(env)
    return [
        Check(SUBJECT, "region", aws.region),
        Check(SUBJECT, "endpoint", aws.reachable),
        Check(SUBJECT, "credentials", aws.credentials, TOGETHER_SECONDS),
        Check(SUBJECT, "permission to publish", aws.right, TOGETHER_SECONDS),
        Check(SUBJECT, "spool", lambda: spool.examine(env.settings.cloudwatch.spool, in_pod=env.in_pod)),
    ]


async def _off() -> Sequence[Finding]:
    raise NotPossibleError("cloudwatch.enabled is false")


class _Aws:
    """The checks, and the session they share."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._settings = env.settings.cloudwatch
        self._session = Once(self._make_session)
        self._found = Once(self._find_credentials)

    # -- region --------------------------------------------------------------------------------------------------------

    async def region(self) -> Sequence[Finding]:
        """Check that there is a region, and where it comes from."""
        if self._settings.region is not None:
            return [ok("region", f"{self._settings.region} (cloudwatch.region)")]
        region = await self._region()
        if region is None:
            raise CheckFailedError("no region in the settings or the environment", "set cloudwatch.region")
        return [ok("region", f"{region} (from the environment)")]

    async def _region(self) -> str | None:
        session = await self._session.get()
        found = self._settings.region or session.get_config_variable("region")  # type: ignore[no-untyped-call]  # the libraries have no annotations
        return str(found) if found else None

    async def _known_region(self) -> str:
        region = await self._region()
        if region is None:
            raise NotPossibleError("there is no region")
        return region

    async def _make_session(self) -> "AioSession":
        return await asyncio.to_thread(_new_session)

    # -- endpoint and clock --------------------------------------------------------------------------------------------

    async def reachable(self) -> Sequence[Finding]:
        """Check that the endpoint answers, and by its date that this machine's clock is right."""
        url = self._settings.endpoint_url or await self._endpoint()
        try:
            answered, date, took = await _ask(url)
        except (aiohttp.ClientError, OSError) as error:
            reason = str(error) or type(error).__name__
            late = f"no response within {ENDPOINT_SECONDS:g} s" if isinstance(error, TimeoutError) else reason
            raise CheckFailedError(
                f"{url} cannot be reached: {late}",
                "check the egress path: NAT, or a VPC endpoint for monitoring and its security group; DNS; the "
                "NetworkPolicy's awsCidrs",
            ) from None
        return [ok("endpoint", f"{url} answers in {took * 1000:.0f} ms"), _clock(date, answered)]

    async def _endpoint(self) -> str:
        async with await self._client("cloudwatch", await self._known_region()) as client:
            return str(client.meta.endpoint_url)

    async def _client(self, service: str, region: str) -> Any:
        import aioboto3.session  # noqa: PLC0415 - half a second: only for checks of AWS
        from aiobotocore.config import AioConfig  # noqa: PLC0415 - the same

        config = AioConfig(connect_timeout=3, read_timeout=6, retries={"mode": "standard", "total_max_attempts": 2})  # type: ignore[no-untyped-call]  # the libraries have no annotations
        session = aioboto3.session.Session(botocore_session=await self._session.get())  # type: ignore[no-untyped-call]  # as above
        return session.client(service, region_name=region, config=config)

    # -- credentials ---------------------------------------------------------------------------------------------------

    async def credentials(self) -> Sequence[Finding]:
        """Check that there are credentials, where they come from, and to which principal they belong."""
        method = await self._found.get()
        kind = _KINDS.get(method, method)
        findings = [ok("credentials", f"found: {kind}")]
        if self._env.in_pod and method == "iam-role":
            fix = "give the service account its own IAM role (documentation: cloudwatch, Permissions)"
            findings = [warning("credentials", f"found: {kind}, which every pod on the node shares", fix)]
        elif self._env.in_pod and method in _LASTING:
            fix = "use IRSA or EKS Pod Identity (documentation: cloudwatch, Permissions)"
            findings = [warning("credentials", f"found: {kind}; long-lived keys can leak", fix)]
        return [*findings, await self._identity()]

    async def _find_credentials(self) -> str:
        """Return the libraries' name for where the credentials come from, once those are really there."""
        session = await self._session.get()
        try:
            async with asyncio.timeout(CREDENTIALS_SECONDS):
                found = await session.get_credentials()  # type: ignore[no-untyped-call]  # the libraries have no annotations
                if found is not None:
                    await found.get_frozen_credentials()
        except TimeoutError:
            raise CheckFailedError(
                f"no credentials within {CREDENTIALS_SECONDS:g} s",
                "check that the credentials endpoint is reachable: for IRSA sts.REGION.amazonaws.com (NAT, or a "
                "VPC endpoint "
                "for sts), for EKS Pod Identity its agent on the node (169.254.170.23)",
            ) from None
        except Exception as error:  # noqa: BLE001 - each source of credentials fails in ways of its own
            raise CheckFailedError(f"cannot load credentials: {_reason(error)}", _POLICY) from None
        if found is None:
            raise CheckFailedError(
                "none found: no IAM role on the service account, no environment variables, no shared file",
                "annotate the service account with eks.amazonaws.com/role-arn (chart: serviceAccount.roleArn), "
                "or create "
                "an EKS Pod Identity association",
            )
        return str(found.method)

    async def _identity(self) -> Finding:
        """Return the principal of the credentials; needs no permission (AWS STS API reference, GetCallerIdentity)."""
        name = "identity"
        try:
            async with asyncio.timeout(PUT_SECONDS), await self._client("sts", await self._known_region()) as client:
                answer = await client.get_caller_identity()
        except NotPossibleError as error:
            return not_checked(name, str(error))
        except Exception as error:  # noqa: BLE001 - the libraries let through whatever theirs below raise
            if _is_refusal(error):
                return failed(name, f"AWS rejects the credentials: {_reason(error)}", _POLICY)
            return not_checked(name, f"STS GetCallerIdentity failed: {_reason(error)}")
        return ok(name, str(answer["Arn"]))

    # -- the permission to publish -------------------------------------------------------------------------------------

    async def right(self) -> Sequence[Finding]:
        """Check the permission to publish with a request that has nothing in it to publish.

        CloudWatch has no dry run. A PutMetricData without data cannot leave anything behind: one without the right
        gets AccessDenied, one with it MissingParameter ("The parameter MetricData is required"; awslabs/
        cloudwatch-fluent-metrics issue 13). AWS does not document that the right is looked at first, so that the last
        proof is accepted data; what is denied is denied for sure.
        """
        from exporter.publish.put_metric_data import MetricDataClient, PutOutcome  # noqa: PLC0415 - imports the AWS libraries

        name, settings = "permission to publish", self._settings
        region = await self._known_region()
        try:
            await self._found.get()
        except CheckFailedError:
            raise NotPossibleError("no credentials") from None
        async with MetricDataClient(
            settings.namespace, region=region, endpoint_url=settings.endpoint_url, deadline=PUT_SECONDS
        ) as client:
            answer = await client.put([])
        reason = _first_line(answer.reason)
        match answer.outcome:
            case PutOutcome.ACCEPTED | PutOutcome.REJECTED:
                found = f"a request without data to {settings.namespace} was not denied; nothing was published"
                return [ok(name, found)]
            case PutOutcome.DENIED:
                return [failed(name, f"PutMetricData is denied: {reason}", _POLICY)]
            case PutOutcome.THROTTLED:
                return [
                    warning(
                        name,
                        f"CloudWatch throttles requests: {reason}",
                        "find out what else publishes to CloudWatch from this account",
                    )
                ]
            case _:
                return [failed(name, f"unexpected response from CloudWatch: {reason}")]


def _new_session() -> "AioSession":
    from aiobotocore.session import AioSession  # noqa: PLC0415 - half a second: only for checks of AWS

    return AioSession()  # type: ignore[no-untyped-call]  # the libraries have no annotations


async def _ask(url: str) -> tuple[float, str | None, float]:
    """Send a request that means nothing; return when it was answered (Unix time), the answer's date, how long it took.

    Without credentials and without following redirects: any answer shows that the way there is open.
    """
    from botocore.httpsession import get_cert_path  # noqa: PLC0415 - as above

    cas = ssl.create_default_context(cafile=get_cert_path(True))  # type: ignore[no-untyped-call]  # the libraries have no annotations
    deadline = aiohttp.ClientTimeout(total=ENDPOINT_SECONDS)
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with (
        aiohttp.ClientSession(timeout=deadline, trust_env=True) as session,
        session.head(url, allow_redirects=False, ssl=cas) as answer,
    ):
        return time.time(), answer.headers.get("Date"), loop.time() - started


def _clock(date: str | None, answered: float) -> Finding:
    """Compare this machine's clock with AWS's; HTTP dates are whole seconds."""
    name = "clock"
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return not_checked(name, "the endpoint's response has no Date header to compare with")
    skew = answered - theirs
    size, way = abs(skew), "ahead of" if skew > 0 else "behind"
    fix = "check that the node's clock is synchronized (chrony; EKS images use the Amazon Time Sync Service)"
    if size > SKEW_FAILURE:
        return failed(name, f"it is {duration(size)} {way} AWS's, and AWS rejects signatures more than 5 min off", fix)
    if size > SKEW_WARNING:
        return warning(name, f"it is {duration(size)} {way} AWS's", fix)
    return ok(name, f"within {max(2.0, size):.0f} s of AWS's")


def _is_refusal(error: Exception) -> bool:
    from botocore.exceptions import ClientError  # noqa: PLC0415 - imports the AWS libraries

    return isinstance(error, ClientError)


def _reason(error: Exception) -> str:
    return _first_line(f"{type(error).__name__}: {error}".rstrip(": "))


def _first_line(reason: str) -> str:
    """Return AWS's message without what it quotes: a refused request, headers with tokens and all, comes below."""
    return reason.partition("\n")[0][:_MAX_REASON_LENGTH]
