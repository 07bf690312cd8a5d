"""The status page at `/`: its document, and the files it loads from `/static/`.

The files are the package's own and read once. A script draws what the API returns; without one, the document itself has
one line per fleet.
"""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

from aiohttp import web
from aiohttp.typedefs import Handler

from exporter import __version__
from exporter.fleet.health import health
from exporter.fleet.model import AgentState, Fleet

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Content-Security-Policy of the page: its own files and server, nothing inline, no text that becomes markup."""

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LINKS = (
    ("metrics", "Prometheus metrics"),
    ("api/v1/fleets", "fleets as JSON"),
    ("api/v1/agents", "agents as JSON, with the reason of every state"),
    ("api/v1/history", "the last hours as JSON"),
    ("api/v1/exporter", "this exporter as JSON"),
    ("runbooks/", "runbooks, one for each alert"),
    ("readyz", "readiness"),
    ("healthz", "health"),
)


_STATIC = files("exporter.web") / "static"
_PAGE = Template((_STATIC / "page.html").read_text(encoding="utf-8"))


def routes() -> Sequence[web.RouteDef]:
    """Return the routes of the files that the page loads."""
    return [
        web.get(f"/static/{file.name}", _sender(file)) for file in _STATIC.iterdir() if _kind(file.name) is not None
    ]


def _kind(name: str) -> str | None:
    return _TYPES.get(name[name.rfind(".") :])


def _sender(file: Traversable) -> Handler:
    text, kind = file.read_text(encoding="utf-8"), _kind(file.name)

    async def send(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=kind)

    return send


def render(fleets: Sequence[Fleet], not_ready_reason: str | None, remarks: Sequence[str]) -> str:
    """Return the page as HTML; `remarks` are about no fleet in particular."""
    lines = [_line(fleet) for fleet in fleets] or ["No fleet was found."]
    return _PAGE.substitute(
        notice="" if not_ready_reason is None else f"<p>Not ready yet: {escape(not_ready_reason)}</p>",
        lines="".join(f"<li>{line}</li>" for line in (*lines, *map(escape, remarks))),
        links="".join(f'<li><a href="{path}">{text}</a></li>' for path, text in _LINKS),
        version=escape(__version__),
    )


def _line(fleet: Fleet) -> str:
    states = ", ".join(f"{fleet.states[state]} {state}" for state in AgentState if fleet.states[state]) or "no agents"
    active = "an unknown number" if fleet.tasks_active is None else f"{fleet.tasks_active:.0f}"
    queued = "" if fleet.tasks_queued is None else f", {fleet.tasks_queued:.0f} queued"
    state = health(fleet)
    problems = "".join(f"; {problem}" for problem in state.problems)
    return (
        f"<strong>{escape(f'{fleet.namespace}/{fleet.name}')}</strong>, {state.word}: {states}; "
        f"{active} of {fleet.capacity_tasks} tasks running{queued}{escape(problems)}"
    )
