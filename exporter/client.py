"""Asks a running exporter for its fleets and agents; whatever goes wrong is one sentence with what to do about it."""

import argparse
import ssl
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from getpass import getpass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import hdrs
from yarl import URL

from exporter.config import WebSettings
from exporter.fleet.read_back import read_json

Json = dict[str, Any]

DEFAULT_URL = f"http://127.0.0.1:{WebSettings().listen.port}"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 35.0
"""For a whole answer. The exporter lets go of a reader after 30."""
MAX_BYTES = 256 * 1024 * 1024
"""Ten thousand agents take 10 MB."""
_SHOWN_AS = {
    "fleets": ("namespace", "fleet", "trusted", "agents"),
    "agents": ("namespace", "fleet", "pod", "state", "reason", "needs_attention"),
    "departures": ("namespace", "fleet", "pod", "cause", "ended_time_seconds", "tasks_lost", "reason"),
}
"""What every item of a list has, by which the exporter's answer is known."""


class StatusError(Exception):
    """There is nothing to show; the text is one sentence that states why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How to authenticate. Its secrets are never shown."""

    token: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def headers(self) -> dict[str, str]:
        """Return the header that carries them."""
        if self.token is not None:
            return {hdrs.AUTHORIZATION: f"Bearer {self.token}"}
        if self.user is not None:
            both = b64encode(f"{self.user}:{self.password}".encode()).decode()
            return {hdrs.AUTHORIZATION: f"Basic {both}"}
        return {}

    def tls(self) -> ssl.SSLContext:
        """Return the client's side of TLS. Raises StatusError for files that are no good."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(str(file) for file in (self.ca_file, self.cert_file, self.key_file) if file is not None)
            raise StatusError(f"the certificates in {files} cannot be used: {error.strerror or error}") from None
        return context


@dataclass(frozen=True, slots=True)
class Status:
    """What the exporter answered, all of it within a moment."""

    time_seconds: float
    not_ready: str
    """What is still missing before its figures mean anything; empty once it is ready."""
    fleets: list[Json]
    agents: list[Json]
    ignored_pods: list[Json] = field(default_factory=list)
    """Pods that the selector finds and that are no agents."""
    remarks: list[str] = field(default_factory=list)
    """Remarks about no fleet in particular."""

    def document(self) -> Json:
        """Return the API's two documents as one."""
        return {
            "time_seconds": self.time_seconds,
            "ready": not self.not_ready,
            "not_ready_reason": self.not_ready or None,
            "passed_over": self.ignored_pods,
            "remarks": self.remarks,
            "fleets": self.fleets,
            "agents": self.agents,
        }


class StatusClient:
    """An async context manager: a connection to one exporter."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        """Take the exporter's base URL. Raises StatusError if it is none."""
        try:
            self._url = URL(url)
        except ValueError as error:
            raise StatusError(f"{url!r} is not a URL ({error}), such as {DEFAULT_URL}") from None
        if self._url.scheme not in {"http", "https"} or not self._url.host:
            raise StatusError(f"{url!r} is not the URL of an exporter, such as {DEFAULT_URL}")
        if self._url.user is not None or self._url.password is not None:
            raise StatusError(
                "credentials in a URL are visible to every user of this machine; use --user or --bearer-token-file"
            )
        self._credentials = credentials

    async def __aenter__(self) -> Self:
        secure = self._url.scheme == "https"
        connector = aiohttp.TCPConnector(ssl=self._credentials.tls() if secure else False)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._credentials.headers(),
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._session.close()

    async def read(self) -> Status:
        """Return what the exporter knows now. Raises StatusError."""
        fleets = await self._list("fleets")
        agents = await self._list("agents")
        status, text = await self._get("readyz")
        if status not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
            raise self._foreign()
        not_ready = "" if status == HTTPStatus.OK else text.decode(errors="replace").strip()
        return Status(
            float(agents["time_seconds"]),
            not_ready,
            fleets["fleets"],
            agents["agents"],
            # An exporter of another version may not have these.
            fleets.get("passed_over", []),
            fleets.get("remarks", []),
        )

    async def departures(self, query: Mapping[str, str]) -> Json:
        """Return the document of the agents that left. Raises StatusError."""
        return await self._list("departures", query)

    async def agents(self) -> Sequence[Json]:
        """Return the agents as they are now. Raises StatusError."""
        agents: Sequence[Json] = (await self._list("agents"))["agents"]
        return agents

    async def fleets(self) -> Sequence[Json]:
        """Return the fleets as they are now. Raises StatusError."""
        fleets: Sequence[Json] = (await self._list("fleets"))["fleets"]
        return fleets

    async def past(self, namespace: str, fleet: str) -> Json:
        """Return the document of a fleet's past. Raises StatusError."""
        document = await self._document(f"fleets/{namespace}/{fleet}/past")
        whole = ("interval_seconds", "start_time_seconds")
        if not isinstance(document, dict) or not all(isinstance(document.get(key), int) for key in whole):
            raise self._foreign()
        if not isinstance(document.get("demand_tasks"), list):
            raise self._foreign()
        return document

    async def _list(self, what: str, query: Mapping[str, str] = {}) -> Json:
        document = await self._document(what, query)
        if not _is_list_of(document, what):
            raise self._foreign()
        found: Json = document
        return found

    async def _document(self, path: str, query: Mapping[str, str] = {}) -> Any:
        status, body = await self._get(f"api/v1/{path}", query)
        try:
            document = read_json(body)
        except ValueError:
            document = None
        if status != HTTPStatus.OK:
            message = document.get("error") if isinstance(document, dict) else None
            if message is None:
                raise self._foreign()
            raise StatusError(f"{self._url} answers: {message}")
        return document

    async def _get(self, path: str, query: Mapping[str, str] = {}) -> tuple[int, bytes]:
        url = (self._url / path).with_query(query)
        try:
            async with self._session.get(url, allow_redirects=False) as answer:
                if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                    raise self._refused(answer)
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise self._foreign()
                return answer.status, bytes(body)
        except aiohttp.ClientConnectorCertificateError as error:
            reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            message = f"{self._url} presents a certificate that is not trusted ({reason}); pass --ca-file with its CA"
            raise StatusError(message) from None
        except TimeoutError:
            raise StatusError(f"{self._url} did not respond in time; is it the exporter, and is it healthy?") from None
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error) from None
        except (aiohttp.ClientError, OSError) as error:
            hint = "; if it uses TLS, its URL begins with https" if self._url.scheme == "http" else ""
            raise StatusError(
                f"{self._url} closed the connection without a response ({_reason(error)}){hint}"
            ) from None

    def _refused(self, answer: aiohttp.ClientResponse) -> StatusError:
        if answer.status == HTTPStatus.FORBIDDEN:
            return StatusError(f"{self._url} requires a client certificate; pass --cert-file and --key-file")
        schemes = [value.split(" ")[0].lower() for value in answer.headers.getall(hdrs.WWW_AUTHENTICATE, [])]
        options_by_scheme = {"bearer": "--bearer-token-file FILE", "basic": "--user NAME"}
        how = " or ".join(option for scheme, option in options_by_scheme.items() if scheme in schemes) or " or ".join(
            options_by_scheme.values()
        )
        if self._credentials.headers():
            return StatusError(f"{self._url} rejects these credentials; check {how}")
        return StatusError(f"{self._url} requires credentials; pass {how}")

    def _unreachable(self, error: aiohttp.ClientConnectorError) -> StatusError:
        forward = "kubectl -n NAMESPACE port-forward service/matillion-fleet-exporter 9850"
        return StatusError(
            f"{self._url} cannot be reached ({_reason(error.os_error)}); is the exporter running? "
            f"For one in a cluster: {forward}"
        )

    def _foreign(self) -> StatusError:
        return StatusError(f"{self._url} responds, but is not an exporter; check the URL")


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has that reads a running exporter."""
    credentials = parser.add_argument_group("if the exporter requires credentials")
    credentials.add_argument("--bearer-token-file", type=Path, metavar="FILE", help="file with the token")
    credentials.add_argument("--user", metavar="NAME", help="user name; the password is prompted for")
    credentials.add_argument("--password-file", type=Path, metavar="FILE", help="file with the user's password")
    credentials.add_argument("--ca-file", type=Path, metavar="FILE", help="CA of the server's certificate (PEM)")
    credentials.add_argument("--cert-file", type=Path, metavar="FILE", help="client certificate (PEM)")
    credentials.add_argument("--key-file", type=Path, metavar="FILE", help="its private key (PEM)")


def credentials_of(options: argparse.Namespace) -> Credentials:
    """Gather the credentials that the options name. Raises StatusError."""
    if options.user is not None and options.bearer_token_file is not None:
        raise StatusError("--user and --bearer-token-file are mutually exclusive; pass one")
    password = ""
    if options.user is not None and ":" in options.user:
        raise StatusError("a user name has no colon; the password is prompted for, or read from --password-file")
    if options.user is not None:
        if options.password_file is not None:
            password = _secret(options.password_file, "--password-file")
        elif sys.stdin.isatty():
            password = getpass(f"Password of {options.user}: ")
        else:
            raise StatusError("no terminal to prompt for the password; pass --password-file FILE")
    elif options.password_file is not None:
        raise StatusError("--password-file needs --user NAME")
    if options.key_file is not None and options.cert_file is None:
        raise StatusError("--key-file needs --cert-file FILE")
    return Credentials(
        token=None if options.bearer_token_file is None else _secret(options.bearer_token_file, "--bearer-token-file"),
        user=options.user,
        password=password,
        ca_file=options.ca_file,
        cert_file=options.cert_file,
        key_file=options.key_file,
    )


def _secret(file: Path, option: str) -> str:
    # The file is not named: a secret pasted in its place must not reach a log.
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StatusError(f"the file of {option} cannot be read ({type(error).__name__})") from None
    if not secret or "\n" in secret:
        raise StatusError(f"the file of {option} must contain exactly one line")
    return secret


def _is_list_of(document: object, what: str) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("time_seconds"), int | float):
        return False
    items = document.get(what)
    return isinstance(items, list) and all(
        isinstance(item, dict) and all(key in item for key in _SHOWN_AS[what]) for item in items
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
