"""The plain page at `/`: where everything is, and one line per fleet. No script; it is complete as it arrives."""

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from exporter import __version__
from exporter.fleet.model import AgentState, Fleet

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
ul { padding-left: 1.2rem; }
.notice { border-left: .25rem solid #b45309; padding-left: .75rem; }
""".strip()

POLICY = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
"""Content-Security-Policy of the page: its own style, by its hash, and nothing else."""

_LINKS = (
    ("/metrics", "Prometheus metrics"),
    ("/api/v1/fleets", "every fleet, JSON"),
    ("/api/v1/agents", "every agent with the reason of its state, JSON"),
    ("/api/v1/history", "the last hours, JSON"),
    ("/readyz", "readiness"),
    ("/healthz", "health"),
)


def render(fleets: Sequence[Fleet], not_ready_reason: str | None) -> str:
    """Return the page as HTML."""
    notice = "" if not_ready_reason is None else f'<p class="notice">Not ready yet: {escape(not_ready_reason)}</p>'
    lines = "".join(f"<li>{_line(fleet)}</li>" for fleet in fleets) or "<li>No fleet was found.</li>"
    links = "".join(f'<li><a href="{path}">{path}</a> {text}</li>' for path, text in _LINKS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Matillion fleets</title><style>{_STYLE}</style></head>"
        f"<body><h1>Matillion fleets</h1>{notice}<ul>{lines}</ul>"
        f"<h2>Where to look</h2><ul>{links}</ul><p>fleet-exporter {escape(__version__)}</p></body></html>\n"
    )


def _line(fleet: Fleet) -> str:
    states = ", ".join(f"{fleet.states[state]} {state}" for state in AgentState if fleet.states[state]) or "no agents"
    active = "an unknown number" if fleet.tasks_active is None else f"{fleet.tasks_active:.0f}"
    queued = "" if fleet.tasks_queued is None else f", {fleet.tasks_queued:.0f} queued"
    trust = "" if fleet.untrusted_reason is None else f" — not to be trusted: {fleet.untrusted_reason}"
    return (
        f"<strong>{escape(f'{fleet.namespace}/{fleet.name}')}</strong>: {states}; "
        f"{active} of {fleet.capacity_tasks} tasks running{queued}{escape(trust)}"
    )
