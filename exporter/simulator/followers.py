"""Those that follow the exporter over its HTTP API: one who watches, and one who scales the fleet by its demand.

Neither has another way to the exporter than a Prometheus, a KEDA or a person has.
"""

import asyncio
from typing import Any

import aiohttp

from exporter.simulator.autoscaler import Autoscaler, ScalingPolicy
from exporter.simulator.fleet import NAMESPACE, SimulatedFleets
from exporter.simulator.story import Story

WATCH_SECONDS = 0.5
"""How often, in real time, the picture is brought up to date."""
SHORTEST_LOOK = 0.1
"""However fast time runs, the autoscaler's loop sleeps this long."""
ANSWER_SECONDS = 2.0


class NoAnswerError(Exception):
    """The exporter gave no figure; the text says why."""


async def ask(session: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    """Return the JSON document at `path` of the exporter. Raises NoAnswerError, with the exporter's own reason."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS), session.get(path) as response:
            if not response.ok:
                raise NoAnswerError(f"HTTP {response.status}, {' '.join((await response.text()).split())}")
            document: dict[str, Any] = await response.json()
            return document
    except TimeoutError:
        raise NoAnswerError(f"no answer within {ANSWER_SECONDS:g} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise NoAnswerError(f"{type(error).__name__}: {error}") from error


async def watch(session: aiohttp.ClientSession, fleets: SimulatedFleets, story: Story) -> None:
    """Keep the story's figures those of the exporter, until cancelled."""
    path = f"/api/v1/fleets/{NAMESPACE}/{story.name}"
    while True:
        try:
            fleet = await ask(session, path)
            agents = await ask(session, f"/api/v1/agents?namespace={NAMESPACE}&fleet={story.name}")
        except NoAnswerError as reason:
            # Before the first reading this is how it should be; later it is news.
            if story.fleet is not None:
                story.tell(f"the exporter does not say how the fleet is: {reason}")
        else:
            story.observed(fleet, agents["agents"], fleets.replicas(story.name))
        await asyncio.sleep(WATCH_SECONDS)


async def scale(session: aiohttp.ClientSession, fleets: SimulatedFleets, story: Story, policy: ScalingPolicy) -> None:
    """Scale the fleet by the exporter's demand, until cancelled. Without a demand nothing is changed, as by the HPA."""
    autoscaler = Autoscaler(policy)
    path = f"/api/v1/fleets/{NAMESPACE}/{story.name}/demand"
    while True:
        replicas = fleets.replicas(story.name)
        try:
            demand = await ask(session, path)
        except NoAnswerError as reason:
            story.scaler = f"leaves the fleet as it is: {reason}"
        else:
            decision = autoscaler.decide(fleets.now(), replicas, demand["value"], demand["target"])
            story.scaler = decision.reason
            if decision.replicas != replicas:
                story.tell(f"autoscaler: {replicas} → {decision.replicas} agents ({decision.reason})")
                fleets.scale(story.name, decision.replicas)
        await asyncio.sleep(max(SHORTEST_LOOK, policy.sync_interval / story.speed))
