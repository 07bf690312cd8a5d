"""`docs/http.md` shows what the server answers: its examples are compared with real answers, key by key."""

import json
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from exporter.fleet.scaler import Condition
from tests.factories import make_facts, make_fleet, make_scaler, make_snapshot
from tests.web.serving import StaticView, serve

DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"
SECTION = re.compile(
    r"^## `(?P<route>/api/[^`]*)`\n(?:(?!^## ).)*?^```json\n(?P<example>.*?)^```", re.MULTILINE | re.DOTALL
)
EXAMPLES = {match["route"]: json.loads(match["example"]) for match in SECTION.finditer(DOCUMENT.read_text())}


async def test_the_example_of_a_scaler_is_what_the_server_answers() -> None:
    """The second example of the fleets is one of their `scalers`."""
    scaler = make_scaler(
        current_agents=12,
        desired_agents=12,
        active=Condition(True, "ValidMetricFound", "the HPA was able to successfully calculate a replica count"),
        limited=Condition(True, "TooManyReplicas", "the desired replica count is more than the maximum replica count"),
    )
    view = StaticView([make_fleet(scalers=[scaler])])
    async with serve(view) as url, aiohttp.ClientSession(url) as client, client.get("/api/v1/fleets") as response:
        answer: dict[str, Any] = await response.json()
    example = re.findall(r"^```json\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)[1]
    assert json.dumps(answer["fleets"][0]["scalers"]) == json.dumps([json.loads(example)])


@pytest.mark.parametrize(
    "route",
    ["/api/v1/fleets", "/api/v1/fleets/{namespace}/{fleet}/demand", "/api/v1/agents", "/api/v1/history"],
)
async def test_examples_are_what_the_server_answers(route: str) -> None:
    """The example of every route is, word for word, the answer about one healthy agent."""
    view = StaticView([make_fleet([make_snapshot(facts=make_facts())])])
    path = route.format(namespace="matillion", fleet="etl")
    async with serve(view) as url, aiohttp.ClientSession(url) as client, client.get(path) as response:
        answer: dict[str, Any] = await response.json()
    assert answer == EXAMPLES[route]
    assert json.dumps(answer) == json.dumps(EXAMPLES[route])
