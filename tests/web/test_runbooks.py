"""The runbooks that the exporter serves: every page, the reader's names in its commands, and no more of a query."""

import re
from html import unescape
from pathlib import Path

import aiohttp
import pytest

from alerts.runbook_pages import EXPORTER_URL, FORWARD, OUTPUT, RUNBOOKS, html
from exporter.config.settings import WebSettings
from exporter.web.runbooks import PLACEHOLDERS, Installation, chosen
from tests.alerts.test_prometheus_rules import ALERTS
from tests.factories import make_facts, make_fleet, make_scaler, make_snapshot
from tests.fakes.chromium import Page
from tests.web.axe import VIOLATIONS, axe
from tests.web.reading import CONTRAST, NEEDS_BROWSER
from tests.web.serving import StaticView, serve, write

NAMES = {"namespace": "etl-prod", "fleet": "Night.1", "pod": "night-1-7d9c-x2x"}
STATIC = Path("exporter/web/static")


async def shown(page: str, names: dict[str, str] | None = None, **given: object) -> str:
    """Return a page as HTML."""
    async with (
        serve(**given) as url,  # type: ignore[arg-type]
        aiohttp.ClientSession(url) as client,
        client.get(f"/runbooks/{page}", params=names or {}) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.content_type == "text/html"
        assert "script-src" not in response.headers["Content-Security-Policy"]
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
        return await response.text()


def plain(page: str) -> str:
    """Return what a reader sees, without the fields of the form."""
    return unescape(re.sub(r"<[^>]+>", "", re.sub(r"<form.*?</form>", "", page, flags=re.DOTALL)))


async def test_each_alert_has_its_page_and_the_index_leads_there() -> None:
    """What the alerts link to is served, and what the index lists is what the alerts link to."""
    async with serve() as url, aiohttp.ClientSession(url) as client:
        async with client.get("/runbooks") as response:
            index = await response.text()
            assert response.url.path == "/runbooks/"
        linked = re.findall(r'<a href="(\w+)">', index)
        assert sorted(linked) == sorted({rule["alert"] for rule in ALERTS})
        for name in linked:
            async with client.get(f"/runbooks/{name}") as response:
                text = await response.text()
            assert response.status == 200
            assert f"<h1>{name}</h1>" in text
            assert '<span class="badge ' in text
        for unknown in ("Nothing", "MatillionAgentOOMKilled.md", "..%2fpage.html"):
            async with client.get(f"/runbooks/{unknown}") as response:
                assert response.status == 404
                assert "/runbooks/ lists them" in await response.text() or unknown.startswith("..")


async def test_commands_have_the_names_of_the_alert() -> None:
    """Nothing is left to replace of what the alert said; the links keep it."""
    text = await shown("MatillionAgentOOMKilled", NAMES)
    assert f"kubectl -n {NAMES['namespace']}" in plain(text)
    assert NAMES["pod"] in plain(text)
    for name in NAMES:
        assert PLACEHOLDERS[name] not in plain(text)
    query = "?namespace=etl-prod&amp;fleet=Night.1&amp;pod=night-1-7d9c-x2x"
    assert f'<a href="MatillionTasksLost{query}">' in text
    assert f'<input name="pod" value="{NAMES["pod"]}"' in text
    bare = plain(await shown("MatillionAgentOOMKilled"))
    assert "kubectl -n NAMESPACE" in bare


async def test_the_fleet_gives_the_names_that_the_alert_does_not_have() -> None:
    """Its HPA and Deployment, and the node of the pod; of two HPAs, none."""
    agent = make_snapshot("etl-1", facts=make_facts(node="ip-10-0-0-1.eu-west-1.compute.internal"))
    alone = StaticView([make_fleet([agent], scalers=[make_scaler()])])
    names = {"namespace": "matillion", "fleet": "etl", "pod": "etl-1"}
    scaler = make_scaler()
    text = plain(await shown("MatillionFleetSaturated", names, view=alone))
    assert f"describe hpa {scaler.name}" in text
    assert f"scale deploy/{scaler.target}" in text
    text = plain(await shown("MatillionAgentCrashLooping", names, view=alone))
    assert "ip-10-0-0-1.eu-west-1.compute.internal" in text
    two = StaticView([make_fleet([agent], scalers=[scaler, make_scaler(name="other")])])
    assert "describe hpa HPA" in plain(await shown("MatillionFleetSaturated", names, view=two))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>", "a;reboot", "$(reboot)", "`reboot`", "a b", "a\nb", "a'b", 'a"b', "a|b", "a&b",
        "-rf", "--all", "../x", "ä", "", "x" * 64, "a>b", "*", "{a,b}", "~", "#a",
    ],
)  # fmt: skip
async def test_what_is_no_name_stays_out(text: str) -> None:
    """Neither HTML nor a shell gets to see what cannot be a name in Kubernetes; the placeholder stays."""
    assert chosen(dict.fromkeys(("namespace", "fleet"), text)) == {}
    if len(text) <= 63:
        assert chosen(dict.fromkeys(PLACEHOLDERS, text)) == {}


async def test_a_hostile_query_changes_nothing() -> None:
    """The page is that of an empty query, byte for byte."""
    hostile = dict.fromkeys((*PLACEHOLDERS, "own_namespace", "exporter", "forward"), "x'><img src=x onerror=alert(1)>")
    assert await shown("MatillionAgentOOMKilled", hostile) == await shown("MatillionAgentOOMKilled")
    assert await shown("", hostile) == await shown("")


async def test_the_first_command_leads_to_the_exporter() -> None:
    """From a laptop: through the Service of this installation, or to the address that people have."""
    page = "MatillionFleetSaturated"
    other = Installation(namespace="monitoring", name="fleets")
    text = plain(await shown(page, installation=other))
    assert "kubectl -n monitoring port-forward service/fleets 9850:web &" in text
    assert "-n monitoring exec deploy/fleets -- fleet-exporter doctor" in text
    assert f"'{EXPORTER_URL}/api/v1/fleets" in text
    stale = plain(await shown("MatillionExporterStale", installation=other))
    assert "--as=system:serviceaccount:monitoring:fleets" in stale
    assert "app.kubernetes.io/name=matillion-fleet-exporter" in stale, "the chart's name, not the release's"
    text = plain(await shown(page, installation=other, external_url="https://fleets.test/eks/"))
    assert "curl -sS 'https://fleets.test/eks/readyz'" in text
    assert "'https://fleets.test/eks/api/v1/fleets" in text
    assert "port-forward" not in text
    assert "localhost" not in text


async def test_dashboards_are_links_where_there_is_a_grafana() -> None:
    """With the names that are known, and without those that are not."""
    page = "MatillionAgentDisconnected"
    names = {"namespace": "matillion", "fleet": "etl"}
    text = await shown(page, names, grafana_url="https://grafana.test/")
    assert '<a href="https://grafana.test/d/matillion-agents?var-namespace=matillion&amp;var-fleet=etl"><code' in text
    assert '<a href="https://grafana.test/d/matillion-agents"><code' in await shown(
        page, grafana_url="https://grafana.test"
    )
    assert "https://" not in await shown(page, names)


async def test_credentials_are_asked_for_and_told(tmp_path: Path) -> None:
    """The runbooks are no more open than the page, and say what their commands need."""
    token = tmp_path / "token"
    write(token, "secret")
    async with serve(bearer_token_file=token) as url, aiohttp.ClientSession(url) as client:
        for path in ("/runbooks/", "/runbooks/MatillionFleetSaturated"):
            async with client.get(path) as response:
                assert response.status == 401
        async with client.get(
            "/runbooks/MatillionFleetSaturated", headers={"Authorization": "Bearer secret"}
        ) as response:
            assert 'add -H "Authorization: Bearer $TOKEN" to curl' in plain(await response.text())


def test_the_exporter_is_told_by_its_url() -> None:
    """The address for people, or else the Service."""
    assert Installation().service_url(WebSettings()) == "http://matillion-fleet-exporter.matillion.svc:9850"
    given = WebSettings.model_validate({"external_url": "https://fleets.test/eks/"})
    assert Installation().service_url(given) == "https://fleets.test/eks"


def test_markdown_becomes_html_with_marks() -> None:
    """Names are marked in code only, markup in the text is escaped, and links are those of the exporter."""
    page = html(
        "# Title\n\nThe HPA of <b>`NAMESPACE`</b>, see [one](MatillionTasksLost.md) and [two](../../docs/x.md).\n\n"
        f"```sh\n{FORWARD}\ncurl -s '{EXPORTER_URL}/x' > NODE\n```\n"
    )
    assert '<p>The HPA of &lt;b&gt;<code><var class="namespace">NAMESPACE</var></code>&lt;/b&gt;' in page
    assert 'see <a href="MatillionTasksLost">one</a> and two (<code>docs/x.md</code>).' in page
    assert '<pre><code><span><var class="forward">kubectl -n matillion port-forward' in page
    assert 'curl -s \'<var class="exporter">http://localhost:9850</var>/x\' &gt; <var class="node">NODE</var>' in page


def test_pages_are_in_step_with_their_source() -> None:
    """One copy is written by hand; every name that is marked is one that is filled in."""
    text = OUTPUT.read_text(encoding="utf-8")
    marks = set(re.findall(r'<var class=\\"(\w+)\\">', text))
    assert {"namespace", "fleet", "pod"} <= marks
    assert marks <= {*PLACEHOLDERS, "own_namespace", "own_name", "exporter", "forward"}
    assert len(list(RUNBOOKS.glob("*.md"))) == text.count("<h1>")


def test_colors_are_those_of_the_page() -> None:
    """The runbooks have no palette of their own."""
    own = (STATIC / "runbook.css").read_text(encoding="utf-8")
    defined = set(re.findall(r"(--[\w-]+):", "".join(p.read_text() for p in STATIC.glob("*.css"))))
    assert set(re.findall(r"var\((--[\w-]+)\)", own)) <= defined
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb", own)


async def test_an_agent_of_the_page_leads_to_its_runbook() -> None:
    """With names in the form of the links of the status page."""
    assert "b-9" in plain(await shown("MatillionAgentDrainCutShort?namespace=matillion&fleet=busy&pod=b-9"))


class TestInABrowser:
    pytestmark = NEEDS_BROWSER

    @pytest.mark.parametrize("dark", [False, True])
    async def test_a_page_is_read_on_a_phone(self, page: Page, dark: bool) -> None:
        """Nothing is wider than the window, what is asked for is legible in light and dark, nothing is refused."""
        async with serve() as url:
            await page.look(width=390, height=844, dark=dark)
            await page.goto(f"{url}/runbooks/MatillionAgentDisconnected?namespace=matillion&fleet=etl")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 390
            for selector in ("pre var", "pre b", "pre code", ".fires", "h2"):
                assert await page.evaluate(CONTRAST % f"'{selector}'") >= 4.5, selector
            assert page.complaints == []

    @pytest.mark.parametrize("path", ["", "MatillionTasksLost?namespace=matillion"])
    async def test_axe_finds_nothing(self, page: Page, path: str) -> None:
        """In light and dark, on a phone: the index, and a page with a table."""
        script = axe()
        await page.send("Page.setBypassCSP", enabled=True)
        async with serve() as url:
            for dark in (False, True):
                await page.look(width=390, height=844, dark=dark)
                await page.goto(f"{url}/runbooks/{path}")
                await page.evaluate(f"{script}; 1")
                assert await page.evaluate(VIOLATIONS) == []
