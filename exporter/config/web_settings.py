"""The section `web` of the settings."""

from typing import Any

from pydantic import model_validator

from exporter.config.addresses import HostPort
from exporter.config.section import Section
from exporter.config.values import FileName, HostName, HttpUrl, Listen

ANY_HOST = "*"
"""The entry of `web.hosts` that stands for every name."""


class TlsSettings(Section):
    """HTTPS; the files are PEM."""

    cert_file: FileName
    """The server's certificate, followed by the intermediate certificates."""
    key_file: FileName
    """The private key of the certificate."""
    client_ca_file: FileName | None = None
    """If set, clients must present a certificate signed by one of these CAs."""


class BasicAuthSettings(Section):
    """User name and password for every path except the health checks."""

    users_file: FileName
    """The users and their hashed passwords."""


class WebSettings(Section):
    """The HTTP server: metrics, JSON API, status page, health checks."""

    listen: Listen = HostPort("0.0.0.0", 9850)  # noqa: S104 - a pod is reached only at its own address
    """Address and port to listen on; port 0 selects a free one."""
    external_url: HttpUrl | None = None
    """Where people reach this server, such as an ingress; links from alerts and dashboards lead there. Without it they
    lead to the Service, which resolves only within the cluster."""
    hosts: tuple[HostName, ...] = ()
    """Further names under which browsers and scrapers reach this server. Over plain HTTP and without credentials, other
    names that somebody may own are refused: a web page could otherwise read this port from its visitor's browser (DNS
    rebinding). `"*"` serves every name."""
    grafana_url: HttpUrl | None = None
    """Where people reach the Grafana with the dashboards; the runbooks link to them there."""
    history_file: FileName | None = None
    """File in which the history of the status page's charts outlives a restart. Null by default: no folder is writable
    everywhere, and without the file only a page that is open keeps its charts. One process uses it."""
    tls: TlsSettings | None = None
    basic_auth: BasicAuthSettings | None = None
    bearer_token_file: FileName | None = None
    """A file with the token that clients must send; the token itself is never in the settings."""

    @model_validator(mode="before")
    @classmethod
    def _sections_of_nulls_are_off(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            key: None if key in {"tls", "basic_auth"} and _only_nulls(value) else value for key, value in given.items()
        }


def _only_nulls(value: object) -> bool:
    return isinstance(value, dict) and all(inner is None for inner in value.values())
