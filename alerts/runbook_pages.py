"""Writes the runbooks as HTML for the exporter to serve: one file, `exporter/web/runbooks.json`.

Rendered here and not in the exporter, so the image needs no Markdown library. The names in commands (`NAMESPACE`, `POD`
and so on), the exporter's own, and its address are marked with `<var>`: the exporter fills them in for each reader.
"""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from alerts.prometheus.rules import Alert
from exporter.web.runbooks import FILE, PLACEHOLDERS
from tools.generated import ROOT

RUNBOOKS = Path(__file__).parent / "runbooks"
OUTPUT = ROOT / "exporter" / "web" / FILE

EXPORTER_URL = "http://localhost:9850"
FORWARD = "kubectl -n matillion port-forward service/matillion-fleet-exporter 9850:web &"
"""The first line of each page: after it, `EXPORTER_URL` works from a laptop."""

_NAMES = {word: name for name, word in PLACEHOLDERS.items()}
_MARKED = re.compile(
    rf"(?P<forward>{re.escape(escape(FORWARD))})"
    rf"|(?P<exporter>{re.escape(EXPORTER_URL)})"
    r"|(?P<own_namespace>(?<=-n |nt:)matillion\b)"
    r"|(?P<own_name>(?<=[/\s:])matillion-fleet-exporter(?=[\s'\"]|$))"
    rf"|\b(?P<name>{'|'.join(_NAMES)})\b"
)


def written(alerts: Iterable[Alert]) -> str:
    """Return the file: for each alert what it fires on, by severity, and its page as lines of HTML.

    Raises FileNotFoundError for an alert without a page.
    """
    fires: dict[str, list[tuple[str, str]]] = {}
    for alert in alerts:
        fires.setdefault(alert.name, []).append((alert.severity, html(alert.when).strip()))
    pages = {
        name: {"fires": when, "html": html((RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")).splitlines()}
        for name, when in fires.items()
    }
    return json.dumps(pages, indent=1, ensure_ascii=False) + "\n"


def html(text: str) -> str:
    """Return a page's Markdown as HTML with its names marked; markup in the text itself is escaped."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.add_render_rule("code_inline", _code)
    markdown.add_render_rule("fence", _block)
    tokens = markdown.parse(text)
    for before, inline in itertools.pairwise(tokens):
        if before.type == "heading_open" and before.tag == "h2":
            before.attrSet("id", inline.content.lower().replace(" ", "-"))
        if inline.children:
            inline.children = _within_the_exporter(inline.children)
    return str(markdown.renderer.render(tokens, markdown.options, {}))


def _within_the_exporter(tokens: Sequence[Token]) -> list[Token]:
    """Return inline text with its links as they are in the exporter: a file of the project becomes its name."""
    kept: list[Token] = []
    outside: str | None = None
    for token in tokens:
        if token.type == "link_open":
            target = str(token.attrGet("href"))
            if (RUNBOOKS / target).parent == RUNBOOKS and (RUNBOOKS / target).is_file():
                token.attrSet("href", target.removesuffix(".md"))
            elif "://" not in target:
                outside = f"docs/{Path(target).name}"
                continue
        if token.type == "link_close" and outside is not None:
            kept += [Token("text", "", 0, content=" ("), Token("code_inline", "code", 0, content=outside)]
            kept.append(Token("text", "", 0, content=")"))
            outside = None
            continue
        kept.append(token)
    return kept


def _code(_renderer: object, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    content = tokens[index].content
    # The path of a dashboard, which becomes a link with the setting web.grafana_url.
    mark = ' class="dashboard"' if content.startswith("/d/") else ""
    return f"<code{mark}>{_marked(content)}</code>"


def _block(_renderer: object, tokens: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
    # A line of its own for each command: where it is wrapped, the next one is still told from it.
    lines = _marked(tokens[index].content).removesuffix("\n").split("\n")
    return "<pre><code>" + "\n".join(f"<span>{line}</span>" for line in lines) + "</code></pre>\n"


def _marked(code: str) -> str:
    """Return code as HTML in which every name that a reader's own replaces is a `<var>` of that class."""
    return _MARKED.sub(_variable, escape(code, quote=False))


def _variable(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    return f'<var class="{_NAMES[match[0]] if kind == "name" else kind}">{match[0]}</var>'
