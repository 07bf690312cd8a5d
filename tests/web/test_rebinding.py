"""DNS rebinding, in a real browser that is told the attacker's name is here."""

from pathlib import Path

from tests.factories import make_fleet, make_snapshot
from tests.fakes.chromium import browser
from tests.web.reading import NEEDS_BROWSER
from tests.web.serving import StaticView, make_server, running

pytestmark = NEEDS_BROWSER


async def test_a_page_reads_nothing_by_rebinding_its_name(tmp_path: Path) -> None:
    """The browser asks for the attacker's name, and gets no figure; for ours, it gets them."""
    view = StaticView([make_fleet([make_snapshot("agent-1")])])
    flag = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    async with running(make_server(view)) as address, browser(tmp_path / "profile", flag) as page:
        port = address.rpartition(":")[2]
        shown = {}
        for host in ("evil.example", "localhost"):
            await page.goto(f"http://{host}:{port}/api/v1/agents")
            shown[host] = await page.evaluate("document.body.innerText")
    assert "agent-1" in shown["localhost"]
    assert "agent-1" not in shown["evil.example"]
    assert "evil.example is not a known name of this exporter" in shown["evil.example"]
