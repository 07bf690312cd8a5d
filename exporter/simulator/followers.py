"""Those that follow the exporter over HTTP: one watches, one scales by its demand, one counts what it has published.

None has another way to the exporter than a Prometheus, a KEDA or a person has.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp

from exporter.fleet.exposition import FamilyFilter, read
from exporter.simulator.autoscaler import Autoscaler, ScalingPolicy
from exporter.simulator.fleet import NAMESPACE, SimulatedFleets
from exporter.simulator.story import Story

WATCH_SECONDS = 0.5
"""How often, in real time, the picture is brought up to date."""
MIN_PAUSE = 0.1
"""However fast time runs, the autoscaler's loop sleeps this long."""
ANSWER_SECONDS = 2.0
COUNT_SECONDS = 1.0
"""How often, in real time, the published datums are counted."""
DATUMS = b"matillion_fleet_exporter_cloudwatch_datums_total"
WAITING = b"matillion_fleet_exporter_cloudwatch_spool_datums"


class NoAnswerError(Exception):
    """The exporter gave no figure; the text states why."""


async def get_json(session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    """Return the JSON document at `path` of the exporter. Raises NoAnswerError, with the exporter's own reason."""
    try:
        document: dict[str, Any] = json.loads(await _page(session, path))
    except ValueError as error:
        raise NoAnswerError(f"{type(error).__name__}: {error}") from error
    return document


async def _page(session: aiohttp.ClientSession, path: str) -> bytes:
    try:
        async with asyncio.timeout(ANSWER_SECONDS), session.get(path) as response:
            if not response.ok:
                raise NoAnswerError(f"HTTP {response.status}, {' '.join((await response.text()).split())}")
            return await response.read()
    except TimeoutError:
        raise NoAnswerError(f"no response within {ANSWER_SECONDS:g} s") from None
    except aiohttp.ClientError as error:
        raise NoAnswerError(f"{type(error).__name__}: {error}") from error


async def watch(session: aiohttp.ClientSession, fleets: SimulatedFleets, story: Story) -> None:
    """Keep the story's figures those of the exporter, until cancelled."""
    path = f"/api/v1/fleets/{NAMESPACE}/{story.name}"
    while True:
        try:
            fleet = await get_json(session, path)
            agents = await get_json(session, f"/api/v1/agents?namespace={NAMESPACE}&fleet={story.name}")
        except NoAnswerError as reason:
            # Before the first reading this is how it should be; later it is news.
            if story.fleet is not None:
                story.notify(f"the exporter does not report the fleet: {reason}")
        else:
            story.observed(fleet, agents["agents"], fleets.replicas(story.name))
        story.nodes_gone(fleets.gone_nodes(story.name))
        await asyncio.sleep(WATCH_SECONDS)


async def scale(session: aiohttp.ClientSession, fleets: SimulatedFleets, story: Story, policy: ScalingPolicy) -> None:
    """Scale the fleet by the exporter's demand, until cancelled. Without a demand nothing is changed, as by the HPA."""
    autoscaler = Autoscaler(policy)
    path = f"/api/v1/fleets/{NAMESPACE}/{story.name}/demand"
    while True:
        replicas = fleets.replicas(story.name)
        try:
            demand = await get_json(session, path)
        except NoAnswerError as reason:
            story.scaler = f"leaves the fleet as it is: {reason}"
            story.scaler_trouble = str(reason)
        else:
            decision = autoscaler.decide(fleets.now(), replicas, demand["value"], demand["target"])
            story.scaler, story.desired, story.scaler_trouble = decision.reason, decision.replicas, None
            if decision.replicas != replicas:
                story.notify(f"autoscaler: {replicas} → {decision.replicas} agents ({decision.reason})")
                fleets.scale(story.name, decision.replicas)
        await asyncio.sleep(max(MIN_PAUSE, policy.sync_interval / story.speed))


async def count(session: aiohttp.ClientSession, story: Story) -> None:
    """Keep the story's count of datums that of the exporter's own metrics, until cancelled."""
    families = FamilyFilter([DATUMS, WAITING])
    while True:
        # An exporter that gives no answer is the watcher's news; the count stays as it was.
        with suppress(NoAnswerError):
            samples = read(await _page(session, "/metrics"), families).samples
            taken = [one.value for one in samples if one.name == DATUMS and ("outcome", "accepted") in one.labels]
            waiting = [one.value for one in samples if one.name == WAITING]
            if taken and waiting:
                story.published(int(taken[0]), int(waiting[0]))
        await asyncio.sleep(COUNT_SECONDS)
