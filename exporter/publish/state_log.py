"""Logs what changed: one line when an agent or a fleet changes its state, none while it stays the same."""

import asyncio
from itertools import takewhile

import structlog

from exporter.fleet.departure import Departure
from exporter.fleet.explain import explain
from exporter.fleet.health import Word, health
from exporter.fleet.model import Agent, AgentState, Fleet
from exporter.store import in_turn
from exporter.store.snapshots import SnapshotStore

_log = structlog.get_logger(__name__)

# A person reads the log, and what came and went in between is noise. A look has the fleets added up, which at a
# thousand agents costs as much as ten scrapes.
_CHECK_EVERY = 2.0
# States that may need action.
_TROUBLE = (AgentState.UNREACHABLE, AgentState.STOPPED, AgentState.DISCONNECTED)


class StateLog:
    """Compares the fleets with what they were a moment ago."""

    def __init__(self, source: SnapshotStore) -> None:
        self._source = source
        self._agents: dict[str, Agent] = {}
        self._fleets: dict[tuple[str, str], Fleet] = {}
        self._last_departure: Departure | None = None

    async def run(self) -> None:
        """Look at the fleets now and then, until cancelled. What is not complete yet after a start is no news."""
        while True:
            if self._source.not_ready_reason() is None:
                await in_turn.compute(self._source)
                self.check()
            await asyncio.sleep(_CHECK_EVERY)

    def check(self) -> None:
        """Log what changed since the last look."""
        fleets = {(fleet.namespace, fleet.name): fleet for fleet in self._source.fleets()}
        agents = {agent.snapshot.target.uid: agent for fleet in fleets.values() for agent in fleet.agents}
        self._log_losses()
        for key, fleet in fleets.items():
            self._compare_fleet(self._fleets.get(key), fleet)
        for key in self._fleets.keys() - fleets.keys():
            _log.info("fleet is forgotten", namespace=key[0], fleet=key[1])
        for uid, agent in agents.items():
            self._compare_agent(self._agents.get(uid), agent)
        for uid in self._agents.keys() - agents.keys():
            _log.info("agent is gone", **_names(self._agents[uid]), was=self._agents[uid].state.value)
        self._fleets, self._agents = fleets, agents

    def _log_losses(self) -> None:
        """Log the agents that have ended with tasks since the last call."""
        ended = [departure for departure in self._source.departures.latest() if departure.ended_time is not None]
        for departure in takewhile(lambda one: one is not self._last_departure, reversed(ended)):
            if departure.tasks_lost == 0:
                continue
            names = {"namespace": departure.namespace, "fleet": departure.fleet, "pod": departure.pod}
            if departure.tasks_lost is None:
                _log.warning("agent ended; whether tasks were lost is unknown", **names, reason=departure.reason)
            else:
                lost, node = departure.tasks_lost, departure.node
                _log.warning("running tasks were lost", **names, tasks=lost, reason=departure.reason, node=node)
        self._last_departure = ended[-1] if ended else None

    def _compare_fleet(self, before: Fleet | None, fleet: Fleet) -> None:
        names = {"namespace": fleet.namespace, "fleet": fleet.name}
        if before is None:
            _log.info("fleet found", **names, agents=len(fleet.agents))
        elif before.agents and not fleet.agents:
            _log.log(30 if health(fleet).word is Word.DOWN else 20, "fleet has no agents left", **names)
        elif fleet.agents and not before.agents:
            _log.info("fleet has agents again", **names, agents=len(fleet.agents))
        was_trusted = before is None or before.trusted
        if was_trusted and not fleet.trusted:
            _log.warning("fleet is not trusted, its demand is withheld", **names, reason=fleet.untrusted_reason)
        elif not was_trusted and fleet.trusted:
            _log.info("fleet is trusted again", **names, coverage=round(fleet.coverage, 3), demand_tasks=fleet.demand)

    def _compare_agent(self, before: Agent | None, agent: Agent) -> None:
        if before is not None and before.state is agent.state:
            return
        _log.log(
            # The levels of the standard library: 30 warning, 20 info.
            30 if agent.state in _TROUBLE else 20,
            "agent is " + agent.state.value,
            **_names(agent),
            was=before.state.value if before is not None else None,
            reason=explain(agent, self._source.now(), self._source.wall_now()),
        )


def _names(agent: Agent) -> dict[str, str]:
    target = agent.snapshot.target
    return {"namespace": target.namespace, "fleet": target.fleet, "pod": target.pod}
