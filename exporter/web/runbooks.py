"""The runbooks at `/runbooks/`: what to do about each alert, with the reader's own names in the commands.

The pages are the package's own (`alerts/runbook_pages.py` makes them). Names come from the query, and what they lead to
from the fleets: the Deployment of a fleet, the node of a pod. Only what Kubernetes allows in a name is filled in, so
neither the page nor a shell can take it for anything else; for all else the placeholder stays.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from importlib.resources import files
from string import Template
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web

from exporter import __version__
from exporter.config.web_settings import WebSettings
from exporter.fleet.model import Fleet
from exporter.store.snapshots import SnapshotStore

FILE = "runbooks.json"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
"""Content-Security-Policy of the pages: no script at all."""

PLACEHOLDERS = {
    "namespace": "NAMESPACE",
    "fleet": "FLEET",
    "pod": "POD",
    "deployment": "DEPLOYMENT",
    "scaler": "HPA",
    "node": "NODE",
    "instance": "INSTANCE",
}
"""What a name is called in the query (as in the alerts' labels), and the word that stands for it in the commands."""

# Kubernetes' own rules for names and label values; none of these characters means anything to a shell or to HTML.
_DNS_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_DNS_LABEL}(?:\.{_DNS_LABEL})*")
_ALLOWED = dict.fromkeys(PLACEHOLDERS, _DNS_NAME) | {
    "namespace": re.compile(_DNS_LABEL),
    "fleet": re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"),
    "instance": re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.:]{0,251}[A-Za-z0-9])?"),
}

_VARIABLE = re.compile(r'<var class="(\w+)">([^<]*)</var>')
_DASHBOARD = re.compile(r'<code class="dashboard">(.*?)</code>')
_TAG = re.compile(r"<[^>]+>")
_LINK = re.compile(r'<a href="(\w+)">')
_PAGE = Template((files("exporter.web") / "static" / "runbook.html").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Installation:
    """What this exporter is called in its cluster: its Deployment and Service, and their namespace."""

    namespace: str = "matillion"
    name: str = "matillion-fleet-exporter"

    def service_url(self, settings: WebSettings) -> str:
        """Return where people find the web server: `web.external_url`, or else the Service within the cluster."""
        if settings.external_url is not None:
            return settings.external_url.rstrip("/")
        scheme = "http" if settings.tls is None else "https"
        return f"{scheme}://{self.name}.{self.namespace}.svc:{settings.listen.port}"


UNNAMED = Installation()
"""Outside a cluster: the names that the chart gives."""


class Runbooks:
    """Answers with the runbooks."""

    def __init__(self, view: SnapshotStore, settings: WebSettings, installation: Installation) -> None:
        self._view = view
        text = (files("exporter.web") / FILE).read_text(encoding="utf-8")
        self._pages: Mapping[str, Mapping[str, Any]] = json.loads(text)
        self._own = {"own_namespace": installation.namespace, "own_name": installation.name}
        self._notes = tuple(_notes(settings))
        self._grafana = None if settings.grafana_url is None else settings.grafana_url.rstrip("/")
        if settings.external_url is not None:
            self._own["exporter"] = settings.external_url.rstrip("/")
            self._own["forward"] = f"curl -sS '{self._own['exporter']}/readyz'"
        else:
            self._own["exporter"] = f"{'http' if settings.tls is None else 'https'}://localhost:9850"
            to = f"service/{installation.name}"
            self._own["forward"] = f"kubectl -n {installation.namespace} port-forward {to} 9850:web &"

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes of the pages and of their index."""
        return [
            web.get("/runbooks", self._to_the_index),
            web.get("/runbooks/", self._index),
            web.get("/runbooks/{name}", self._page),
        ]

    async def _to_the_index(self, _request: web.Request) -> web.Response:
        return web.Response(status=HTTPStatus.PERMANENT_REDIRECT, headers={hdrs.LOCATION: "runbooks/"})

    async def _index(self, request: web.Request) -> web.Response:
        names = chosen(request.query)
        entries = "".join(
            f'<li><a href="{escape(name)}{escape(_query(names))}">{escape(name)}</a>{_fires(page)}</li>'
            for name, page in self._pages.items()
        )
        body = f'<h1>Runbooks</h1><p class="faint">One for each alert.</p><ul class="runbooks">{entries}</ul>'
        return _answer("Runbooks", body)

    async def _page(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        page = self._pages.get(name)
        if page is None:
            raise web.HTTPNotFound(text="there is no runbook of that name; /runbooks/ lists them")
        names = chosen(request.query)
        html = "\n".join(page["html"])
        title, heading_end, rest = html.partition("</h1>")
        body = "".join((title, heading_end, _fires(page), self._form(html, names), *self._notes, rest))
        known = {**self._led_to(names), **names}
        link = f'<a href="\\1{escape(_query(names))}">'
        return _answer(name, _DASHBOARD.sub(self._dashboard, _LINK.sub(link, self._filled(body, known))))

    def _filled(self, html: str, names: Mapping[str, str]) -> str:
        """Return the page with every name that is known in place of its placeholder."""
        known = {**names, **self._own}

        def value(match: re.Match[str]) -> str:
            name = known.get(match[1])
            if name is None:
                return match[0]
            return escape(name) if match[1] in self._own else f"<b>{escape(name)}</b>"

        return _VARIABLE.sub(value, html)

    def _dashboard(self, match: re.Match[str]) -> str:
        """Return the path of a dashboard as a link, with the names that are known; as it is without a Grafana."""
        if self._grafana is None:
            return match[0]
        path, _, query = match[1].partition("?")
        chosen_values = [_TAG.sub("", part) for part in query.split("&amp;") if "<var" not in part]
        target = "?".join(filter(None, (path, "&amp;".join(chosen_values))))
        return f'<a href="{escape(self._grafana)}{target}">{match[0]}</a>'

    def _led_to(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return the Deployment and the HPA of the fleet, and the node of the pod, as far as they are known."""
        place = (names.get("namespace"), names.get("fleet"))
        for fleet in self._view.fleets():
            if (fleet.namespace, fleet.name) == place:
                return chosen({**_of_scaler(fleet), **_of_pod(fleet, names.get("pod"))})
        return {}

    def _form(self, html: str, names: Mapping[str, str]) -> str:
        """Return the fields for the names that the page has a place for."""
        used = {match[1] for match in _VARIABLE.finditer(html)}
        fields = "".join(
            f'<label>{word.capitalize()} <input name="{name}" value="{escape(names.get(name, ""))}" '
            'autocomplete="off" autocapitalize="off" spellcheck="false"></label>'
            for name, word in PLACEHOLDERS.items()
            if name in used and name in ("namespace", "fleet", "pod")
        )
        if not fields:
            return ""
        return f'<form class="names" method="get">{fields}<button>Fill in</button></form>'


def _of_scaler(fleet: Fleet) -> dict[str, str]:
    """Return the names of a fleet's HPA and its Deployment; of two HPAs, neither is the one to look at."""
    if fleet.scalers is None or len(fleet.scalers) != 1:
        return {}
    [scaler] = fleet.scalers
    found = {"scaler": scaler.name}
    return found | {"deployment": scaler.target} if scaler.target_kind.startswith("Deployment") else found


def _of_pod(fleet: Fleet, pod: str | None) -> dict[str, str]:
    """Return the name of the node of an agent's pod."""
    targets = (agent.snapshot.target for agent in fleet.agents)
    facts = next((one.facts for one in targets if one.pod == pod), None)
    return {} if facts is None or facts.node is None else {"node": facts.node}


def chosen(query: Mapping[str, str]) -> dict[str, str]:
    """Return the names of a query that can be names in Kubernetes; whatever else it has is left out."""
    given = {name: query[name] for name in PLACEHOLDERS if name in query}
    return {name: text for name, text in given.items() if _ALLOWED[name].fullmatch(text)}


def _query(names: Mapping[str, str]) -> str:
    return f"?{urlencode(names, quote_via=quote)}" if names else ""


def _fires(page: Mapping[str, Any]) -> str:
    """Return when the alert fires, by severity."""
    return "".join(
        f'<div class="fires"><span class="badge {escape(severity)}">{escape(severity)}</span>{when}</div>'
        for severity, when in page["fires"]
    )


def _notes(settings: WebSettings) -> Iterator[str]:
    """Yield what the commands need where the web server is protected."""
    if settings.basic_auth is not None:
        yield '<p class="faint">The exporter requires a password: add <code>-u USER</code> to <code>curl</code>.</p>'
    elif settings.bearer_token_file is not None:
        header = '<code>-H "Authorization: Bearer $TOKEN"</code>'
        yield f'<p class="faint">The exporter requires a token: add {header} to <code>curl</code>.</p>'
    if settings.tls is not None and settings.external_url is None:
        yield (
            '<p class="faint">The certificate is not one for <code>localhost</code>: add <code>-k</code> to '
            "<code>curl</code>.</p>"
        )


def _answer(title: str, body: str) -> web.Response:
    html = _PAGE.substitute(title=escape(title), body=body, version=escape(__version__))
    return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": POLICY})
