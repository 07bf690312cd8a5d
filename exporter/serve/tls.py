"""HTTPS with certificates that are replaced while connections go on.

The listening socket keeps one SSL context for life. Each handshake is handed over to the newest one, made whole from
the files and only if they are good together: a certificate that was replaced before its key is never half in use, and
a CA that was removed is no longer trusted. Open connections stay as they are, but a client's certificate counts only
as long as every CA that may have signed it is still trusted.
"""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from exporter.serve.errors import ServeError
from exporter.serve.reload import INTERVAL, Reloaded, read_file

Certificate = Mapping[str, Any]
"""A verified certificate as `ssl.SSLSocket.getpeercert` describes it."""
ExtraInfo = Callable[[str], Any]
"""`get_extra_info` of a transport or a request."""

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


class ServerTls:
    """The server's side of TLS; `context` may be used once `files.start()` has loaded it."""

    def __init__(
        self,
        setting: str,
        cert_file: Path,
        key_file: Path,
        *,
        client_ca_file: Path | None = None,
        requests_client_cert: bool = False,
        reload_interval: float = INTERVAL,
    ) -> None:
        """Take the files as named by the keys below `setting`.

        A client certificate is requested if there is a `client_ca_file`, or if `requests_client_cert` announces CAs
        that `trust` will add. It is optional (the kubelet's probes have none); one that does not verify ends the
        handshake.
        """
        self._setting = setting
        self._cert_file = cert_file
        self._key_file = key_file
        self._client_ca_file = client_ca_file
        self.requests_client_cert = requests_client_cert or client_ca_file is not None
        """Whether clients are asked for a certificate."""
        self._trusted = ""
        self._newest: ssl.SSLContext | None = None
        self._listening: ssl.SSLContext | None = None
        self._cas: WeakKeyDictionary[ssl.SSLContext, frozenset[str]] = WeakKeyDictionary()
        self.files = Reloaded(
            setting,
            [file for file in (cert_file, key_file, client_ca_file) if file is not None],
            self._load,
            reload_interval,
        )

    @property
    def context(self) -> ssl.SSLContext:
        """The context to listen with."""
        if self._listening is None:
            raise RuntimeError("the certificate is not loaded yet")
        return self._listening

    async def trust(self, cas: str) -> None:
        """Verify clients' certificates by these CAs (PEM) from now on. Raises ServeError, and changes nothing.

        It takes the server's own files as well; while those are half replaced, it fails and may be tried again.
        """
        before, self._trusted = self._trusted, cas
        try:
            await self.files.load_now()
        except ServeError:
            self._trusted = before
            raise

    def client_certificate(self, extra_info: ExtraInfo) -> Certificate | None:
        """Return the certificate the client of a connection has shown, if it counts; None where it has shown none.

        It does not count when a CA that was trusted when the connection was made is no longer trusted, nor when the
        TLS session was resumed: OpenSSL then takes the certificate of the session before and verifies nothing.
        """
        connection = extra_info("ssl_object")
        certificate: Certificate | None = extra_info("peercert")
        if not certificate or connection is None or connection.session_reused or self.outdated(extra_info):
            return None
        return certificate

    def outdated(self, extra_info: ExtraInfo) -> bool:
        """Return whether a connection was made when a CA was trusted that no longer is."""
        connection = extra_info("ssl_object")
        if connection is None or self._newest is None:
            return False
        then, now = self._cas.get(connection.context), self._cas[self._newest]
        return then is None or not then <= now

    def _load(self) -> None:
        newest, cas = self._context()
        if self._listening is None:
            # A context of its own: one that hands over to itself would be a cycle no collector sees into.
            self._listening, _ = self._context()
            self._listening.sni_callback = self._hand_over
        self._cas[newest] = cas
        self._newest = newest

    def _hand_over(self, connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        """Continue a handshake with the newest certificate; called for every one, with or without a server name."""
        if self._newest is not None:
            connection.context = self._newest

    def _context(self) -> tuple[ssl.SSLContext, frozenset[str]]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A resumed session skips the certificates; connections here live long, so a full handshake each costs nothing.
        # TLS 1.2 can resume by session ID all the same: `client_certificate` does not take it for one.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        self._load_own_certificate(context)
        cas = self._load_cas(context)
        if self.requests_client_cert:
            # Not CERT_REQUIRED: the kubelet's probes come without one. The server refuses all else without one.
            context.verify_mode = ssl.CERT_OPTIONAL
        return context, cas

    def _load_own_certificate(self, context: ssl.SSLContext) -> None:
        setting, cert_file, key_file = self._setting, self._cert_file, self._key_file
        for key, path in (("cert_file", cert_file), ("key_file", key_file)):
            _must_be_readable(f"{setting}.{key}", path)
        try:
            context.load_cert_chain(cert_file, key_file, password=_refuse_to_ask)
        except _EncryptedKeyError:
            raise ServeError(
                f"{setting}.key_file: the key in {key_file} is encrypted; store it without a password"
            ) from None
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                reason = f"the key in {key_file} does not belong to the certificate in {cert_file}"
            else:
                reason = f"{cert_file} and {key_file} must hold a certificate and its key in PEM form"
            raise ServeError(f"{setting}: {reason}") from None

    def _load_cas(self, context: ssl.SSLContext) -> frozenset[str]:
        if self._client_ca_file is not None:
            setting, source = f"{self._setting}.client_ca_file", str(self._client_ca_file)
            text = read_file(self._client_ca_file, setting, source)
        elif self._trusted:
            setting, source, text = self._setting, "the CA that verifies clients", self._trusted
        else:
            return frozenset()
        try:
            context.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError):  # ValueError: text that is not ASCII, or none at all
            raise ServeError(f"{setting}: {source} holds no certificate in PEM form") from None
        # Every CA in the file is trusted, also an intermediate one without its root: as Kubernetes' own servers do.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        blocks = (block.partition(_END) for block in text.split(_BEGIN)[1:])
        return frozenset("".join(body.split()) for body, end, _ in blocks if end)


class _EncryptedKeyError(Exception):
    """OpenSSL asks for a password for the key."""


def _refuse_to_ask() -> str:
    """Stand in for OpenSSL's own way to get a password, which is to stop and ask on the terminal."""
    raise _EncryptedKeyError


def _must_be_readable(setting: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ServeError(f"{setting}: cannot read {path}: {error.strerror or error}") from None
