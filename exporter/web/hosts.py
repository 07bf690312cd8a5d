"""Which host names a request may be for: what keeps a foreign web page from reading this port by DNS rebinding.

A page may read only what its own host serves. Whoever owns that host's name can point it, for a second answer, at an
address that only the visitor reaches: `localhost`, where a port-forward listens, or the Service. The browser then sends
the page's requests there, with the page's name in the `Host` header, which no script can change. So a name that an
attacker may own is refused; one that nobody can own, or that the settings list, is served. A request that a browser
did not send is not held up by this: it may say whatever it likes, and gets what its credentials allow.

With TLS, a browser does not take this server's certificate for the attacker's name; with a password or a token, it has
none for that name. Then nothing is checked.
"""

import ipaddress
import re
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from exporter.config.web_settings import ANY_HOST, WebSettings
from exporter.web.auth import OPEN_PATHS
from exporter.web.runbooks import Installation

_log = structlog.get_logger(__name__)

_NOBODYS = ("localhost", "svc", "svc.cluster.local", "internal")
"""Names below these have no owner: RFC 6761, 6.3; Kubernetes ("DNS for Services and Pods"); ICANN, 2024-07-29."""
_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9_.-]{1,253}))(?::[0-9]{0,5})?")
_LOGGED = 10
"""Refused names that are logged: enough for those of an operator, and no flood by those of an attacker."""


class Hosts:
    """Lets requests through or refuses them, by the names they are for."""

    def __init__(self, settings: WebSettings, installation: Installation) -> None:
        self._open = settings.tls is None and settings.basic_auth is None and settings.bearer_token_file is None
        external = urlsplit(settings.external_url or "").hostname
        self._known = {_canonical(name) for name in (*settings.hosts, *([external] if external else []))}
        self._known.add(f"{installation.name}.{installation.namespace}")
        self._refused: set[str] = set()

    @property
    def middleware(self) -> Middleware:
        """The middleware that refuses names an attacker may own."""

        @web.middleware
        async def hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
            if self._open and ANY_HOST not in self._known and request.path not in OPEN_PATHS:
                for host in request.headers.getall(hdrs.HOST, ()):
                    self._admit(host)
            return await handler(request)

        return hosts

    def _admit(self, host: str) -> None:
        """Return if requests for this host are served; raise the HTTP error that refuses it otherwise.

        An empty one, as one that is missing (HTTP/1.0), is of no browser.
        """
        if not host:
            return
        parts = _HOST.fullmatch(host)
        if parts is None:
            raise web.HTTPBadRequest(text="the Host header is not a host name or an address")
        name = _canonical(parts["name"] or "")
        if parts["ipv6"] or is_nobodys(name) or name in self._known:
            return
        fix = "set web.external_url to the URL that people open, or list the name in web.hosts"
        if name not in self._refused and len(self._refused) < _LOGGED:
            self._refused.add(name)
            _log.warning("request for an unknown host is refused", host=name, fix=fix)
        raise web.HTTPMisdirectedRequest(text=f"{name} is not a known name of this exporter: {fix}")


def is_nobodys(name: str) -> bool:
    """Return whether nobody can own a host name (canonical): an address, a name without a dot or of the cluster."""
    if "." not in name or name.endswith(tuple(f".{domain}" for domain in _NOBODYS)):
        return True
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _canonical(name: str) -> str:
    """Return a host name in lower case, without the dot of the root."""
    return name.lower().removesuffix(".")
