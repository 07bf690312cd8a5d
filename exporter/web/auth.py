"""Authentication: basic authentication, a bearer token, a client certificate.

If both of the first two are set, either suffices; a client certificate is required in addition. `/healthz` and
`/readyz` stay open: the kubelet has no credentials, and they disclose nothing.
"""

import binascii
import hmac
from base64 import b64decode
from collections.abc import Sequence

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from exporter.config.web_settings import WebSettings
from exporter.serve.reload import Reloaded, read_file, read_token
from exporter.serve.tls import ServerTls
from exporter.web.passwords import PasswordCheck, TooBusyError, parse_users

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_REALM = "fleet-exporter"
_log = structlog.get_logger(__name__)


class Access:
    """Lets requests through or refuses them, by the newest credentials on disk."""

    def __init__(self, settings: WebSettings, tls: ServerTls | None, *, reload_interval: float) -> None:
        self._tls = tls if tls is not None and tls.requests_client_cert else None
        self._passwords: PasswordCheck | None = None
        self._token: bytes | None = None
        self._users_file = settings.basic_auth.users_file if settings.basic_auth is not None else None
        self._token_file = settings.bearer_token_file
        self.files: Sequence[Reloaded] = [
            Reloaded(what, [file], load, reload_interval)
            for what, file, load in (
                ("web.basic_auth", self._users_file, self._load_users),
                ("web.bearer_token_file", self._token_file, self._load_token),
            )
            if file is not None
        ]

    @property
    def middleware(self) -> Middleware:
        """The middleware that refuses what is not allowed in."""

        @web.middleware
        async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.path not in OPEN_PATHS:
                await self._admit(request)
            return await handler(request)

        return access

    async def _admit(self, request: web.Request) -> None:
        """Return if the request may go on; raise the HTTP error that refuses it otherwise."""
        if self._tls is not None and self._tls.client_certificate(request.get_extra_info) is None:
            raise web.HTTPForbidden(text="a client certificate is required")
        if self._users_file is None and self._token_file is None:
            return
        scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        try:
            if scheme.lower() == "basic" and await self._knows(credentials.strip()):
                return
        except TooBusyError:
            message = "too many concurrent password checks; try again"
            raise web.HTTPTooManyRequests(text=message, headers={hdrs.RETRY_AFTER: "1"}) from None
        if scheme.lower() == "bearer" and self._is_token(credentials.strip()):
            return
        raise self._unauthorized(given=bool(scheme))

    async def _knows(self, credentials: str) -> bool:
        if self._passwords is None:
            return False
        try:
            user, colon, password = b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            return False
        return bool(colon) and await self._passwords.accepts(user, password)

    def _is_token(self, token: str) -> bool:
        # Bytes, since compare_digest refuses text that is not ASCII.
        return self._token is not None and hmac.compare_digest(token.encode(errors="surrogateescape"), self._token)

    def _unauthorized(self, *, given: bool) -> web.HTTPUnauthorized:
        message = "the credentials are invalid" if given else "credentials are required"
        refusal = web.HTTPUnauthorized(text=message)
        if self._users_file is not None:
            refusal.headers.add(hdrs.WWW_AUTHENTICATE, f'Basic realm="{_REALM}", charset="UTF-8"')
        if self._token_file is not None:
            refusal.headers.add(hdrs.WWW_AUTHENTICATE, f'Bearer realm="{_REALM}"')
        return refusal

    def _load_users(self) -> None:
        if self._users_file is not None:
            text = read_file(self._users_file, "web.basic_auth.users_file", str(self._users_file))
            users = parse_users(text, str(self._users_file))
            self._passwords = PasswordCheck(users)
            if outdated := [name for name, hashed in users.items() if hashed.outdated]:
                _log.warning(
                    "users file has scrypt hashes, which the next release does not read",
                    file=str(self._users_file),
                    users=outdated,
                    fix="replace their lines by those of `python -m exporter.web.passwords NAME`",
                )

    def _load_token(self) -> None:
        if self._token_file is not None:
            self._token = read_token(self._token_file, "web.bearer_token_file").encode()
