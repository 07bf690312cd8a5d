"""Those that follow the exporter over HTTP: one watches, one scales by its demand, one counts what it has published.

None has another way to the exporter than a Prometheus, a KEDA or a person has.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

import aiohttp

from exporter.fleet.exposition import FamilyFilter, read
from exporter.simulation.hpa import SYNC_SECONDS, TOLERANCE, Autoscaler, Decision, Spec, external
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


async def scale(session: aiohttp.ClientSession, fleets: SimulatedFleets, story: Story, spec: Spec) -> None:
    """Scale the fleet by the exporter's demand, until cancelled. Without a demand nothing is changed, as by the HPA."""
    value, target = 0.0, 1.0
    autoscaler = Autoscaler(spec, [lambda replicas: external(value, target, replicas)])
    path = f"/api/v1/fleets/{NAMESPACE}/{story.name}/demand"
    while True:
        replicas = fleets.replicas(story.name)
        try:
            demand = await get_json(session, path)
        except NoAnswerError as reason:
            story.scaler = f"leaves the fleet as it is: {reason}"
            story.scaler_trouble = str(reason)
        else:
            value, target = demand["value"], demand["target"]
            decision = autoscaler.decide(fleets.now(), replicas)
            story.scaler = in_words(decision, spec, replicas, value, target)
            story.desired, story.scaler_trouble = decision.replicas, None
            if decision.replicas != replicas:
                story.notify(f"autoscaler: {replicas} → {decision.replicas} agents ({story.scaler})")
                fleets.scale(story.name, decision.replicas)
        await asyncio.sleep(max(MIN_PAUSE, SYNC_SECONDS / story.speed))


def in_words(decision: Decision, spec: Spec, replicas: int, demand: float, target: float) -> str:
    """Return why the HPA decided so about `replicas` agents: the proposal, then each limit that changed it."""
    bounds = f"stays between {spec.least} and {spec.most}"
    if decision.proposed is None:
        return bounds
    if abs(demand / (target * replicas) - 1) <= TOLERANCE:
        reason = f"{demand:g} tasks on {replicas} agents are within {TOLERANCE:.0%} of {target:g} each"
    else:
        reason = f"{demand:g} tasks at {target:g} each take {decision.proposed} agents"
    if decision.stable > decision.proposed:
        reason += f"; {decision.stable} were desired within the last {spec.down.window:g} s"
    if not spec.least <= decision.stable <= spec.most and decision.replicas in {spec.least, spec.most}:
        reason += f"; {bounds}"
    elif decision.replicas != decision.stable:
        more, rules = ("more", spec.up) if decision.stable > replicas else ("fewer", spec.down)
        paces = (f"{one.value}{'%' * (one.kind == 'Percent')} {more} per {one.seconds:g} s" for one in rules.policies)
        reason += f"; {' or '.join(paces)}"
    return reason


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
