"""The documentation's site: built strictly, reached where the alerts lead, and complete without another host."""

import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import yaml

from alerts.settings import RUNBOOK_BASE_URL
from tests.fakes.chromium import browser, program
from tools.generated import ROOT
from tools.site import loads_from_elsewhere, main

pytestmark = pytest.mark.slow  # a site takes two seconds to build

NEEDED = (
    "*.md", "LICENSE", "mkdocs.yml", "pyproject.toml", "chart/README.md", "deploy", "docs", "tools",
    "alerts/runbooks", "alerts/cloudwatch", "exporter/web/static",
)  # fmt: skip
"""What a site is made of, besides the packages."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the site."""
    folder = tmp_path_factory.mktemp("site")
    assert main([str(folder)]) == 0
    return folder


class Quiet(SimpleHTTPRequestHandler):
    """Serves files as any host of static files does, without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has
        """Log nothing."""


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[str]:
    """Serve the site below a path of its own, as a project's site on a shared host is."""
    root = site.parent / "root"
    root.mkdir()
    (root / "fleet").symlink_to(site)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/fleet/"
        server.shutdown()
        thread.join()


def test_each_alert_leads_to_its_runbook(served: str) -> None:
    """The `runbook_url` of the rule file, with the site's address in place of the exporter's."""
    groups = yaml.safe_load((ROOT / "alerts" / "prometheus" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    alerts = {rule["alert"]: rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]}
    assert len(alerts) > 20
    for alert, url in alerts.items():
        place = url.removeprefix(RUNBOOK_BASE_URL).partition("?")[0]
        with urlopen(f"{served}runbooks/{place}") as page:  # noqa: S310 - http, and ours
            assert f'<h1 id="{alert.lower()}"' in page.read().decode()


def test_pages_keep_their_places(site: Path) -> None:
    """A link between two pages is the same in the repository and in the site."""
    for page in ("docs/install", "docs/alerts", "chart", "SECURITY", "CONTRIBUTING", "CHANGELOG"):
        assert (site / page / "index.html").is_file(), page
    assert (site / "alerts" / "cloudwatch" / "matillion-fleet.yaml").is_file(), "what a page links to comes along"
    assert "matillion-fleet-exporter" in (site / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what a site is made of, to spoil it."""
    for pattern in NEEDED:
        for source in ROOT.glob(pattern):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
    return tmp_path


def built(copy: Path) -> tuple[int, str]:
    """Build the site of a copy; return the exit code and what is said."""
    command = [sys.executable, "-m", "tools.site", str(copy / "built")]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, env={"PYTHONPATH": str(copy)}, check=False)
    return done.returncode, done.stderr


def test_what_leads_nowhere_is_named(copy: Path) -> None:
    """All at once: a link, an anchor, and a page that is in no menu and that nobody would find."""
    page = copy / "docs" / "alerts.md"
    spoiled = "[gone](no-such-page.md) and [gone](metrics.md#no-such-heading)"
    page.write_text(f"{page.read_text(encoding='utf-8')}\n{spoiled}\n", encoding="utf-8")
    (copy / "docs" / "forgotten.md").write_text("# Forgotten\n", encoding="utf-8")
    code, errors = built(copy)
    assert code == 1
    assert "3 warnings in strict mode" in errors
    for name in ("no-such-page.md", "no-such-heading", "docs/forgotten.md"):
        assert name in errors


def test_an_image_of_another_host_is_named(copy: Path) -> None:
    """A badge would tell its host of every reader."""
    page = copy / "docs" / "alerts.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text + '\n<img src="https://elsewhere.test/badge.svg">\n', encoding="utf-8")
    code, errors = built(copy)
    assert code == 1
    assert errors.startswith("loaded from another host: docs/alerts/index.html: <img")


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("a.html", '<script src="//cdn.test/x.js"></script>', True),
        ("a.html", "<link rel=stylesheet href=https://fonts.test/css>", True),
        ("a.html", '<link rel="preconnect" href="https://fonts.test">', True),
        ("a.html", '<link rel="canonical" href="https://docs.test/">', False),
        ("a.html", '<a href="https://kubernetes.io/">Kubernetes</a><img src="own.png">', False),
        ("a.css", "@import 'https://fonts.test/css';", True),
        ("a.css", "a { background: url(//img.test/a.png) }", True),
        ("a.css", "a { background: url(data:image/png;base64,AA==) }", False),
    ],
)
def test_loads_from_elsewhere(tmp_path: Path, file: str, text: str, found: bool) -> None:
    """What a browser fetches unasked; a link that a reader follows is none of it."""
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert bool(list(loads_from_elsewhere(tmp_path))) is found


@pytest.mark.skipif(program() is None, reason="no chromium is installed here")
@pytest.mark.parametrize("page", ["", "docs/scaling/", "runbooks/MatillionFleetSaturated"])
async def test_a_browser_needs_no_other_host(served: str, tmp_path: Path, page: str) -> None:
    """Everything comes from the site, under a policy that forbids all else, and its search works."""
    async with browser(tmp_path) as tab:
        await tab.goto(served + page)
        await tab.evaluate("document.querySelector('.md-search__input').focus()")
        await tab.evaluate(
            "(() => { const field = document.querySelector('.md-search__input'); field.value = 'coverage';"
            " field.dispatchEvent(new Event('keyup', {bubbles: true})); })()"
        )
        await tab.until("document.querySelectorAll('.md-search-result__item').length > 3")
        hosts = await tab.evaluate("performance.getEntriesByType('resource').map(entry => new URL(entry.name).host)")
        assert set(hosts) == {urlsplit(served).netloc}
        assert len(hosts) > 3
        assert tab.complaints == []


def test_policy_is_on_every_page(site: Path) -> None:
    """Before anything that could load something."""
    for file in site.rglob("*.html"):
        head = file.read_text(encoding="utf-8").partition("</head>")[0]
        policy = re.search(r'http-equiv="?Content-Security-Policy"?\s+content="default-src \'none\'', head)
        assert policy is not None, file
        assert policy.start() < min(head.find("<script"), head.find("<link"))
