"""What the JSON routes answer, over real sockets."""

import json
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import aiohttp
import pytest

from exporter.fleet.departure import Departure
from exporter.fleet.model import AgentState, Dialect, IgnoredPod
from exporter.web.about import About
from tests.factories import (
    NOW,
    WALL_NOW,
    make_facts,
    make_fleet,
    make_outlook,
    make_reading,
    make_scaler,
    make_snapshot,
)
from tests.forecast.generated import recorded
from tests.web.serving import StaticView, serve

UNTRUSTED = make_fleet(
    [make_snapshot("a", age=90, error="connection refused on 127.0.10.1:9464"), make_snapshot("b", never_read=True)],
    name="dark",
)
MIXED = make_fleet(
    [
        make_snapshot("a", tasks_active=23),
        make_snapshot("b", reading=make_reading(3, dialect=Dialect.LEGACY), facts=make_facts(restarts=2)),
        make_snapshot("c", facts=make_facts(draining_time=WALL_NOW - 960), tasks_active=7),
        make_snapshot("d", age=42, error="connection refused on 127.0.10.1:9464"),
    ]
)


PAST = recorded(lambda _day, hour: None if hour < 23.8 else 12.0, [date(2025, 12, 31), date(2026, 1, 1)])
"""The last two slots of two days."""


@pytest.fixture
def view() -> StaticView:
    return StaticView([UNTRUSTED, MIXED])


@pytest.fixture
async def url(view: StaticView) -> AsyncIterator[str]:
    async with serve(view, past={("matillion", "etl"): PAST}.get) as base:
        yield base


@pytest.fixture
async def client(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url) as session:
        yield session


async def get(client: aiohttp.ClientSession, path: str, status: int = 200) -> dict[str, Any]:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    async with client.get(path) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        answer = json.loads(await response.text(), parse_constant=no_constant)
        assert isinstance(answer, dict)
        return answer


async def test_fleets_lists_every_fleet_with_its_trust(client: aiohttp.ClientSession) -> None:
    """Each fleet comes with its figures and how far they can be trusted; what a scaler may not use is null."""
    answer = await get(client, "/api/v1/fleets")
    assert answer["time_seconds"] == WALL_NOW
    dark, mixed = answer["fleets"]
    assert (dark["fleet"], dark["trusted"], dark["coverage"]) == ("dark", False, 0.0)
    assert dark["untrusted_reason"] == "only 0 of 2 agents respond, 50% are required"
    assert [dark[name] for name in ("demand_tasks", "desired_agents", "tasks_active", "tasks_queued")] == [None] * 4
    assert (mixed["fleet"], mixed["trusted"], mixed["untrusted_reason"]) == ("etl", True, None)
    assert mixed["agents"] == {
        "total": 4,
        "draining": 1,
        "starting": 0,
        "unreachable": 1,
        "stopped": 0,
        "disconnected": 0,
        "serving": 2,
    }
    assert (mixed["capacity_tasks"], mixed["tasks_active"], mixed["tasks_draining"]) == (40, 26.0, 7.0)
    assert (mixed["held_tasks"], mixed["demand_tasks"], mixed["desired_agents"]) == (12.0, 38.0, 3)


async def test_one_fleet_is_the_same_document(client: aiohttp.ClientSession) -> None:
    """A fleet asked for by name is what the list shows of it."""
    listed = (await get(client, "/api/v1/fleets"))["fleets"][1]
    assert await get(client, "/api/v1/fleets/matillion/etl") == {"time_seconds": WALL_NOW} | listed


async def test_demand_is_what_a_scaler_reads(client: aiohttp.ClientSession) -> None:
    """The demand of a trusted fleet comes with its target, coverage and the age of its oldest reading."""
    answer = await get(client, "/api/v1/fleets/matillion/etl/demand")
    assert answer == {"value": 38.0, "target": 16, "coverage": pytest.approx(2 / 3), "age_seconds": 1.0}


async def test_the_age_of_a_demand_is_that_of_the_moment_of_asking(
    client: aiohttp.ClientSession, view: StaticView
) -> None:
    """The fleet may have been computed a moment ago; its oldest reading has grown older since."""
    view.instant = NOW + 0.75
    assert (await get(client, "/api/v1/fleets/matillion/etl/demand"))["age_seconds"] == 1.75


async def test_the_demand_ahead_contains_the_forecast(client: aiohttp.ClientSession, view: StaticView) -> None:
    """A scaler gets the greater of both, the demand without a forecast, and the refusal of the demand's."""
    path = "/api/v1/fleets/matillion/etl/demand-ahead"
    assert (await get(client, path))["value"] == 38.0
    expected = await get(client, "/api/v1/fleets/matillion/dark/demand", 503)
    assert await get(client, "/api/v1/fleets/matillion/dark/demand-ahead", 503) == expected
    view.shown = [make_fleet(outlook=make_outlook(48))]
    assert await get(client, path) == {"value": 48.0, "target": 16, "coverage": 1.0, "age_seconds": 1.0}


async def test_the_past_is_what_the_forecast_is_made_from(client: aiohttp.ClientSession) -> None:
    """The highest demand of each five minutes from the first that is known to the last; a gap is null."""
    answer = await get(client, "/api/v1/fleets/matillion/etl/past")
    assert (answer["interval_seconds"], answer["start_time_seconds"]) == (300, 1767225000)
    assert answer["demand_tasks"] == [12, 12, *[None] * 286, 12, 12]
    missing = (await get(client, "/api/v1/fleets/matillion/dark/past", 404))["error"]
    assert missing == (
        "no past of a fleet 'dark' in namespace 'matillion': it is recorded while forecast.enabled is true, and may "
        "not have been read yet"
    )


async def test_untrusted_demand_is_refused_with_the_reason(client: aiohttp.ClientSession) -> None:
    """A fleet that cannot be seen gives 503 and why, and nothing a scaler could read as a number."""
    answer = await get(client, "/api/v1/fleets/matillion/dark/demand", 503)
    assert answer == {
        "error": "the demand of matillion/dark is not trusted: only 0 of 2 agents respond, 50% are required"
    }


async def test_the_demand_of_agents_that_are_gone_is_refused(client: aiohttp.ClientSession, view: StaticView) -> None:
    """A 0 would shrink a fleet whose pods are missing."""
    view.shown = [make_fleet([], scalers=[make_scaler()])]
    assert await get(client, "/api/v1/fleets/matillion/etl/demand", 503) == {
        "error": "the demand of matillion/etl is not trusted: it has no agents, and it is unknown whether it needs any"
    }


async def test_unknown_fleet_is_not_found(client: aiohttp.ClientSession) -> None:
    """A fleet nobody knows is 404 with the place that lists the known ones, and no value."""
    for path in ("/api/v1/fleets/matillion/none", "/api/v1/fleets/matillion/none/demand"):
        answer = await get(client, path, 404)
        assert answer == {"error": "no fleet 'none' in namespace 'matillion'; /api/v1/fleets lists all fleets"}


async def test_before_the_first_round_there_is_no_demand(client: aiohttp.ClientSession, view: StaticView) -> None:
    """As long as the exporter is not ready, a fleet that is not there may still come, and none has a demand."""
    view.reason = "the first scrape round is not over"
    expected = {"error": "not ready yet: the first scrape round is not over"}
    assert await get(client, "/api/v1/fleets/matillion/etl/demand", 503) == expected
    assert await get(client, "/api/v1/fleets/matillion/none", 503) == expected
    assert (await get(client, "/api/v1/fleets/matillion/etl"))["fleet"] == "etl"


async def test_agents_have_state_reason_and_everything_known(client: aiohttp.ClientSession) -> None:
    """An agent's document says what it does, why, from where and how old the reading is."""
    answer = await get(client, "/api/v1/agents?fleet=etl&namespace=matillion")
    by_pod = {agent["pod"]: agent for agent in answer["agents"]}
    assert {pod: agent["reason"] for pod, agent in by_pod.items()} == {
        "a": "serving 23 tasks",
        "b": "serving 3 tasks",
        "c": "draining since 02:14 UTC, 7 tasks left",
        "d": "not scraped for 42 s: connection refused on 127.0.10.1:9464",
    }
    legacy = by_pod["b"]
    assert (legacy["dialect"], legacy["tasks_active"], legacy["tasks_queued"]) == ("legacy", 3, None)
    assert legacy["endpoint_url"] == "http://127.0.10.1:9464/metrics"
    assert legacy["reading_age_seconds"] == 1.0
    assert legacy["kubernetes"]["restarts"] == 2
    assert legacy["kubernetes"]["ready_for_seconds"] == 3600.0
    assert by_pod["a"]["kubernetes"] is None
    assert by_pod["d"]["fresh"] is False


async def test_agents_are_chosen_by_fleet_namespace_and_state(client: aiohttp.ClientSession) -> None:
    """Filters narrow the list together; one that matches nothing gives an empty list, not an error."""
    for query, pods in {
        "": ["a", "b", "a", "b", "c", "d"],
        "?fleet=dark": ["a", "b"],
        "?state=unreachable": ["a", "b", "d"],
        "?state=unreachable&fleet=etl": ["d"],
        "?namespace=elsewhere": [],
    }.items():
        assert [agent["pod"] for agent in (await get(client, f"/api/v1/agents{query}"))["agents"]] == pods


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (
            "/api/v1/agents?state=asleep",
            ("unknown state 'asleep'; the states are draining, starting, unreachable, stopped, disconnected, serving"),
        ),
        (
            "/api/v1/agents?stat=serving",
            "/api/v1/agents does not support the parameter 'stat'; it takes namespace, fleet, state",
        ),
        ("/api/v1/agents?fleet=a&fleet=b", "the parameter 'fleet' may appear only once"),
        ("/api/v1/agents?fleet=", "the parameter 'fleet' is empty; pass a value or omit it"),
        ("/api/v1/fleets?state=serving", "/api/v1/fleets does not support the parameter 'state'; it takes none"),
        ("/api/v1/history?since=noon", "since='noon' is not a number; it takes Unix seconds, such as 1767234600"),
        ("/api/v1/history?since=nan", "since='nan' is not a number; it takes Unix seconds, such as 1767234600"),
    ],
)
async def test_a_query_that_is_not_understood_is_an_error(
    client: aiohttp.ClientSession, query: str, error: str
) -> None:
    """A filter with a slip in it must not answer as if it were not there; the answer names what is allowed."""
    assert await get(client, query, 400) == {"error": error}


async def test_history_holds_what_was_sampled(client: aiohttp.ClientSession) -> None:
    """The first point is taken at the start; columns have equal lengths and unknown values are null."""
    answer = await get(client, "/api/v1/history?fleet=dark")
    (dark,) = answer["history"]
    assert (dark["namespace"], dark["fleet"], dark["time_seconds"]) == ("matillion", "dark", [WALL_NOW])
    assert (dark["demand_tasks"], dark["tasks_active"], dark["coverage"]) == ([None], [None], [0.0])
    assert all(dark[f"agents_{state}"] == [2.0 if state == "unreachable" else 0.0] for state in AgentState)
    assert answer["interval_seconds"] == 15.0
    later = await get(client, f"/api/v1/history?since={WALL_NOW}")
    assert [fleet["time_seconds"] for fleet in later["history"]] == [[], []]


async def test_history_shows_what_is_coming(client: aiohttp.ClientSession, view: StaticView) -> None:
    """A fleet with a forecast has the coming slots beside its points; the others have null there."""
    (fleet,) = (await get(client, "/api/v1/history?fleet=etl"))["history"]
    assert fleet["ahead"] is None
    view.shown = [make_fleet(outlook=make_outlook(48))]
    (fleet,) = (await get(client, "/api/v1/history?fleet=etl"))["history"]
    assert fleet["ahead"] == {
        "interval_seconds": 300,
        "start_time_seconds": WALL_NOW - WALL_NOW % 300,
        "lead_time_seconds": 180.0,
        "demand_tasks": [12, 48, 48, 20],
    }


async def test_numbers_json_does_not_have_become_null(client: aiohttp.ClientSession, view: StaticView) -> None:
    """An infinite age (never synced) and a NaN reading are not known: null, never `Infinity` or `NaN`."""
    odd = make_snapshot(reading=make_reading(1, busyness_score=float("nan"), heap_limit_bytes=float("inf")))
    view.shown = [make_fleet([odd], sync_age=float("inf"))]
    (fleet,) = (await get(client, "/api/v1/fleets"))["fleets"]
    (agent,) = (await get(client, "/api/v1/agents"))["agents"]
    assert fleet["sync_age_seconds"] is None
    assert (agent["busyness_score"], agent["heap_limit_bytes"]) == (None, None)


async def test_names_are_decoded_and_kept_apart(client: aiohttp.ClientSession, view: StaticView) -> None:
    """A fleet's name may need escaping in a URL; the same name in two namespaces is two fleets."""
    view.shown = [make_fleet(name="a b+c", namespace="one"), make_fleet(name="a b+c", namespace="two")]
    assert (await get(client, "/api/v1/fleets/two/a%20b%2Bc"))["namespace"] == "two"


async def test_a_reading_from_the_future_is_not_negative_in_age(
    client: aiohttp.ClientSession, view: StaticView
) -> None:
    """The view's snapshots may be newer than the instant asked for by a hair; an age is never below zero."""
    view.shown, view.instant = [make_fleet([make_snapshot(age=0.0)])], NOW - 0.5
    assert (await get(client, "/api/v1/agents"))["agents"][0]["reading_age_seconds"] == 0.0


async def test_pods_that_are_no_agents_are_listed_with_their_reasons() -> None:
    """Bounded, since a selector may find a whole cluster; the sentence has all of them."""
    view = StaticView(others=[IgnoredPod("matillion", f"job-{n:03}", "it belongs to a Job") for n in range(250)])
    async with serve(view) as url, aiohttp.ClientSession(url) as client:
        answer = await get(client, "/api/v1/fleets")
    assert answer["passed_over"][0] == {"namespace": "matillion", "pod": "job-000", "reason": "it belongs to a Job"}
    assert len(answer["passed_over"]) == 100
    assert answer["remarks"] == [
        (
            "250 pods match the selector but are not agents: matillion/job-000, matillion/job-001, matillion/job-002 "
            "and 247 more (it belongs to a Job)"
        )
    ]
    assert answer["fleets"] == []


async def test_lost_tasks_of_a_day(client: aiohttp.ClientSession, view: StaticView) -> None:
    """They are added up by fleet, from all departures, however few of them are asked for."""
    times = (WALL_NOW - 60, WALL_NOW - 80_000, WALL_NOW - 90_000)
    view.departures.gone = [
        Departure(uid=str(time), namespace="matillion", fleet="etl", pod="p", ended_time=time, tasks_lost=3.0)
        for time in times
    ]
    answer = await get(client, "/api/v1/departures?latest=1")
    assert answer["lost_in_a_day"] == [{"namespace": "matillion", "fleet": "etl", "tasks_lost": 6.0}]
    assert len(answer["departures"]) == 1


async def test_the_exporter_itself() -> None:
    """What is not set up is null; what is has its figures."""
    figures: dict[str, dict[str, float]] = {"leader": {"": 0.0}, "external_metrics_requests_total": {"200": 7.0}}
    about = About(cluster="prod", other_leader=lambda: "exporter-1_ab", figures=lambda: figures)
    async with serve(about=about) as url, aiohttp.ClientSession(url) as client:
        answer = await get(client, "/api/v1/exporter")
        assert (answer["cluster"], answer["leads"], answer["other_leader"]) == ("prod", False, "exporter-1_ab")
        assert answer["external_metrics"] == {"requests": {"200": 7}}
        assert (answer["cloudwatch"], answer["targets"]) == (None, None)
        figures |= {
            "cloudwatch_spool_datums": {"": 3.0},
            "cloudwatch_spool_oldest_age_seconds": {"": 61.0},
            "cloudwatch_spool_durable": {"": 1.0},
            "cloudwatch_requests_total": {"accepted": 2.0, "denied": 1.0},
        }
        del figures["external_metrics_requests_total"], figures["leader"]
        answer = await get(client, "/api/v1/exporter")
        assert (answer["leads"], answer["external_metrics"]) == (None, None)
        assert answer["cloudwatch"] == {
            "spool_datums": 3.0,
            "spool_oldest_age_seconds": 61.0,
            "spool_durable": True,
            "estimated_monthly_cost_dollars": None,
            "requests": {"accepted": 2, "denied": 1},
        }
