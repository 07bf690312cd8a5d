"""Network addresses as they stand in a configuration: where to listen, and where an agent is.

Pure: nothing is resolved or connected to.
"""

import ipaddress
import re
from typing import NamedTuple

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_MAX_HOST_NAME_LENGTH = 253  # RFC 1035 in text form
_PORT = re.compile(r"[0-9]{1,5}")
_HIGHEST_PORT = 65535
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - it is where is listened on, and reached at loopback


class HostPort(NamedTuple):
    """A host (IP address or name, without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as in a URL: an IPv6 address stands in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def from_here(self) -> "HostPort":
        """Where this machine reaches what listens there: the loopback address for all addresses."""
        return HostPort(_LOOPBACK.get(self.host, self.host), self.port)


def parse_listen(text: str) -> HostPort:
    """Read `host:port` to listen on; port 0 lets the system choose. Raises ValueError with what is wrong."""
    host, port = parse_agent_address(text, lowest_port=0)
    if port is None:
        raise ValueError("it has no port")
    return HostPort(host, port)


def parse_agent_address(text: str, lowest_port: int = 1) -> tuple[str, int | None]:
    """Read `host`, `host:port`, `::1`, `[::1]` or `[::1]:port`; the host comes back without brackets.

    Raises ValueError with what is wrong.
    """
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError('the "[" is not closed')
        if rest and not rest.startswith(":"):
            raise ValueError('after the "]" there may only be ":" and a port')
        host, port = _ipv6(inside), rest[1:] if rest else None
    elif text.count(":") > 1:
        host, port = _ipv6(text), None
    else:
        name, colon, after = text.partition(":")
        host, port = _host(name), after if colon else None
    return host, None if port is None else _port(port, lowest_port)


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError(
            "what has several colons or brackets must be an IPv6 address, in brackets before a port"
        ) from None


def _host(text: str) -> str:
    if not text:
        raise ValueError("it names no host")
    if re.fullmatch(r"[0-9.]+", text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError("the host looks like an IPv4 address but is not one") from None
    if len(text) > _MAX_HOST_NAME_LENGTH or not _HOST_NAME.fullmatch(text):
        raise ValueError("the host is neither an IP address nor a host name")
    return text


def _port(text: str, lowest: int) -> int:
    if not _PORT.fullmatch(text) or not lowest <= int(text) <= _HIGHEST_PORT:
        raise ValueError(f"the port must be a number from {lowest} to {_HIGHEST_PORT}")
    return int(text)
