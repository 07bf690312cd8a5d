"""How long a server's certificate is still good, and for which names, as a client would find it."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_EXPIRED, _NOT_YET_VALID = 10, 9
"""OpenSSL's verify codes X509_V_ERR_CERT_HAS_EXPIRED and X509_V_ERR_CERT_NOT_YET_VALID."""


class CertificateError(Exception):
    """No client would accept the certificate; the text states why."""


@dataclass(frozen=True, slots=True)
class Validity:
    """What a certificate states of itself."""

    until: float
    """Unix time."""
    names: tuple[str, ...]


def validity(cert_file: Path, key_file: Path) -> Validity:
    """Read a certificate by a handshake with itself, in memory: Python has no other way to look into one.

    Its issuer does not matter here. Raises CertificateError, and OSError or ssl.SSLError for files that are no good.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert_file, key_file)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert_file)
    try:
        shown = _shown(server, client)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            raise CertificateError("the certificate has expired") from None
        if error.verify_code == _NOT_YET_VALID:
            raise CertificateError("the certificate is not valid yet; check the clocks") from None
        raise CertificateError(f"the certificate cannot be used: {error.verify_message}") from None
    names = tuple(value for _, value in shown.get("subjectAltName", ()))
    return Validity(ssl.cert_time_to_seconds(shown["notAfter"]), names)


def _shown(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """Let a client of `client` meet a server of `server`; return the certificate that it was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    asking = client.wrap_bio(to_client, to_server)
    waiting = [asking, serving]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return asking.getpeercert() or {}
