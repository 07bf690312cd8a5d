"""Whatever stands in the ConfigMap of the last readings: a new leader starts, counts, and writes its own over it."""

import asyncio
import json
from dataclasses import asdict
from functools import partial

import looptime
import pytest
from hypothesis import example, given
from structlog.testing import capture_logs

from tests.factories import WALL_NOW
from tests.fakes.any_json import texts
from tests.publish.test_last_readings import SCOPE, SHOWN, Replica, World

pytestmark = pytest.mark.slow

SOUND = {
    "time": WALL_NOW,
    "scope": SCOPE,
    "gone": [["matillion", "etl", "kubernetes", ["etl-prod"], True, WALL_NOW]],
    "agents": [["x", "matillion", "etl", "x", 7.0, 1, 0, None, None], ["y", "matillion", "f", "y", 3, 1, 2, 1.5, 2]],
}


@given(texts(SOUND))
@example(json.dumps(SOUND))
@example(json.dumps(SOUND | {"time": float("nan")}))
@example(json.dumps(SOUND | {"time": 10**400}))
@example(json.dumps(SOUND | {"gone": [["matillion", "\ud800", "kubernetes", [], True, WALL_NOW]]}))
@example(json.dumps(SOUND | {"gone": [["matillion", "etl", "kubernetes", [], True, float("inf")]]}))
@example(json.dumps(SOUND | {"gone": [["matillion", "etl", "kubernetes", [], True, 10**400]]}))
@example(json.dumps(SOUND | {"agents": [["x", "n", "f", "p", 10**400, 1, 0, None, None]]}))
@example(json.dumps(SOUND | {"agents": [["x", "n", "f", "p", 1, 1, 10**400, float("nan"), 1e300]]}))
def test_whatever_stands_in_the_note(text: str) -> None:
    """Nothing of it ends a task, and nothing that was counted from it is beyond what can be shown."""

    async def lead() -> None:
        world = World()
        world.server.lease = {"metadata": {"resourceVersion": "1"}, "data": {"readings": text}}
        replica = Replica(world)
        with capture_logs():
            async with replica.running(), replica.lead():
                await asyncio.sleep(SHOWN)
        assert 0 <= replica.lost < 1e17
        json.dumps([asdict(one) for one in replica.store.departures.latest()], allow_nan=False)
        for fleet in replica.store.fleets():
            f"{fleet.namespace}/{fleet.name}".encode()
        assert world.note == {"a": 7, "b": 3}

    with asyncio.Runner(loop_factory=partial(looptime.new_event_loop, noop_cycles=0)) as runner:
        runner.run(lead())
