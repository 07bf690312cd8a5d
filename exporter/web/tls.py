"""HTTPS with certificates that are replaced while connections go on.

The listening socket keeps one SSL context for life. Each handshake is handed over to the newest one, made whole from
the files and only if they are good together: a certificate that was replaced before its key is never half in use, an
authority taken out of the file is out, and open connections stay as they are.
"""

import ssl
from pathlib import Path

from exporter.config.settings import TlsSettings
from exporter.web.errors import WebError
from exporter.web.reload import Reloaded


class ServerTls:
    """The server's side of TLS; `context` may be used once `files.start()` has loaded it."""

    def __init__(self, settings: TlsSettings, reload_interval: float) -> None:
        self._settings = settings
        self._newest: ssl.SSLContext | None = None
        self._listening: ssl.SSLContext | None = None
        files = [settings.cert_file, settings.key_file]
        if settings.client_ca_file is not None:
            files.append(settings.client_ca_file)
        self.files = Reloaded("web.tls", files, self._load, reload_interval)

    @property
    def context(self) -> ssl.SSLContext:
        """The context to listen with."""
        if self._listening is None:
            raise RuntimeError("the certificate is not loaded yet")
        return self._listening

    @property
    def client_certificates(self) -> bool:
        """Whether clients must show a certificate (all pages but the health checks; the kubelet has none to show)."""
        return self._settings.client_ca_file is not None

    def _load(self) -> None:
        self._newest = _context(self._settings)
        if self._listening is None:
            # A context of its own: one that hands over to itself would be a cycle no collector sees into.
            self._listening = _context(self._settings)
            self._listening.sni_callback = self._hand_over

    def _hand_over(self, connection: ssl.SSLObject, _server_name: str | None, _context: ssl.SSLContext) -> None:
        """Continue a handshake with the newest certificate; called for every one, with or without a server name."""
        if self._newest is not None:
            connection.context = self._newest


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A resumed session skips the certificates; connections here live long, so a full handshake each costs nothing.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    for setting, path in (("web.tls.cert_file", settings.cert_file), ("web.tls.key_file", settings.key_file)):
        _must_be_readable(setting, path)
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file, password=_refuse_to_ask)
    except _EncryptedKeyError:
        raise WebError(
            f"web.tls.key_file: the key in {settings.key_file} is encrypted; store it without a password"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"the key in {settings.key_file} does not belong to the certificate in {settings.cert_file}"
        else:
            reason = f"{settings.cert_file} and {settings.key_file} must hold a certificate and its key in PEM form"
        raise WebError(f"web.tls: {reason}") from None
    if settings.client_ca_file is not None:
        _must_be_readable("web.tls.client_ca_file", settings.client_ca_file)
        try:
            context.load_verify_locations(settings.client_ca_file)
        except ssl.SSLError:
            raise WebError(
                f"web.tls.client_ca_file: {settings.client_ca_file} holds no certificate in PEM form"
            ) from None
        # Not CERT_REQUIRED: the kubelet's probes come without one. `access` refuses everything else that does.
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class _EncryptedKeyError(Exception):
    """OpenSSL wants a password for the key."""


def _refuse_to_ask() -> str:
    """Stand in for OpenSSL's own way to get a password, which is to stop and ask on the terminal."""
    raise _EncryptedKeyError


def _must_be_readable(setting: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise WebError(f"{setting}: cannot read {path}: {error.strerror or error}") from None
