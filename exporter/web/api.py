"""`/api/v1`: the fleets, their agents and their history as JSON, and the one number a scaler asks for.

Every answer is of one instant. What a scaler may not act on is refused with its reason, never answered with a 0.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from math import isfinite
from typing import TypeAlias

from aiohttp import web

from exporter.fleet.model import Agent, AgentState, Fleet
from exporter.forecast.history import History as Past
from exporter.store.snapshots import SnapshotStore
from exporter.web.about import About
from exporter.web.answers import json_answer, json_list
from exporter.web.documents import (
    Document,
    agent_document,
    demand_document,
    departure_document,
    departures_head,
    exporter_document,
    fleet_document,
    ignored_document,
    past_document,
)
from exporter.web.history import History

PastOf: TypeAlias = Callable[[tuple[str, str]], Past | None]
"""Returns the past of a fleet by namespace and name; None if nothing is known of it."""

PREFIX = "/api/v1"
_LATEST_DIGITS = 6
_STATES = tuple(state.value for state in AgentState)


class Api:
    """The JSON routes over a view of the fleets."""

    def __init__(
        self, view: SnapshotStore, history: History, past: PastOf, about: About, wall_clock: Callable[[], float]
    ) -> None:
        self._view = view
        self._history = history
        self._past = past
        self._about = about
        self._wall_clock = wall_clock

    def routes(self) -> Sequence[web.RouteDef]:
        """Return the routes to mount; each also answers HEAD."""
        fleet = f"{PREFIX}/fleets/{{namespace}}/{{fleet}}"
        return [
            web.get(f"{PREFIX}/fleets", self.fleets),
            web.get(fleet, self.fleet),
            web.get(f"{fleet}/demand", self.demand),
            web.get(f"{fleet}/demand-ahead", self.demand_ahead),
            web.get(f"{fleet}/past", self.past),
            web.get(f"{PREFIX}/agents", self.agents),
            web.get(f"{PREFIX}/departures", self.departures),
            web.get(f"{PREFIX}/history", self.history),
            web.get(f"{PREFIX}/exporter", self.exporter),
        ]

    async def fleets(self, request: web.Request) -> web.StreamResponse:
        """Answer with every fleet, and with what was found beside the agents."""
        _query(request, ())
        head = self._head() | ignored_document(self._view.ignored_pods())
        return await json_list(request, head, "fleets", map(fleet_document, self._view.fleets()))

    async def fleet(self, request: web.Request) -> web.StreamResponse:
        """Answer with one fleet."""
        _query(request, ())
        return json_answer(request, self._head() | fleet_document(self._find(request)))

    async def demand(self, request: web.Request) -> web.StreamResponse:
        """Answer with the demand a scaler may act on, or with 503 and why there is none."""
        return self._for_scaler(request, lambda fleet: fleet.demand_tasks)

    async def demand_ahead(self, request: web.Request) -> web.StreamResponse:
        """Answer with the greater of demand and forecast, exactly when there is a demand."""
        return self._for_scaler(request, lambda fleet: fleet.demand_ahead_tasks)

    def _for_scaler(self, request: web.Request, read: Callable[[Fleet], float | None]) -> web.Response:
        _query(request, ())
        reason = self._view.not_ready_reason()
        if reason is not None:
            raise web.HTTPServiceUnavailable(text=f"not ready yet: {reason}")
        fleet = self._find(request)
        value = read(fleet)
        if value is None or not isfinite(value):
            reason = fleet.withheld_reason or "the demand is unknown"
            raise web.HTTPServiceUnavailable(text=f"the demand of {_named(fleet)} is not trusted: {reason}")
        return json_answer(request, demand_document(fleet, value, self._view.now()))

    async def past(self, request: web.Request) -> web.StreamResponse:
        """Answer with the demand of the past that the forecast is made from."""
        _query(request, ())
        namespace, name = request.match_info["namespace"], request.match_info["fleet"]
        past = self._past((namespace, name))
        if past is None:
            raise web.HTTPNotFound(
                text=f"no past of a fleet {name!r} in namespace {namespace!r}: it is recorded while forecast.enabled "
                "is true, and may not have been read yet"
            )
        return json_answer(request, self._head() | past_document(past))

    async def agents(self, request: web.Request) -> web.StreamResponse:
        """Answer with the agents of every fleet, or of those the query chooses."""
        query = _query(request, ("namespace", "fleet", "state"))
        state = query.get("state")
        if state is not None and state not in _STATES:
            raise web.HTTPBadRequest(text=f"unknown state {state!r}; the states are {', '.join(_STATES)}")
        now, wall_now = self._view.now(), self._wall_clock()
        chosen = _chosen(self._view.fleets(), query.get("namespace"), query.get("fleet"), state)
        documents = (agent_document(agent, now, wall_now) for agent in chosen)
        return await json_list(request, self._head(), "agents", documents)

    async def departures(self, request: web.Request) -> web.StreamResponse:
        """Answer with the agents that left, of every fleet or of those the query chooses."""
        query = _query(request, ("namespace", "fleet", "latest"))
        departures = [
            departure
            for departure in self._view.departures.latest()
            if query.get("namespace") in (None, departure.namespace) and query.get("fleet") in (None, departure.fleet)
        ]
        chosen = map(departure_document, departures[-_latest(query.get("latest")) :])
        head = self._head() | departures_head(departures, self._view.departures.since, self._wall_clock())
        return await json_list(request, head, "departures", chosen)

    async def history(self, request: web.Request) -> web.StreamResponse:
        """Answer with the points of the last hours, of every fleet or of those the query chooses."""
        query = _query(request, ("namespace", "fleet", "since"))
        documents = self._history.documents(
            namespace=query.get("namespace"), fleet=query.get("fleet"), since=_since(query.get("since"))
        )
        head = self._head() | {"interval_seconds": self._history.interval}
        return await json_list(request, head, "history", documents)

    async def exporter(self, request: web.Request) -> web.StreamResponse:
        """Answer with what this exporter is, and how its other work goes."""
        _query(request, ())
        head = self._head() | {"not_ready_reason": self._view.not_ready_reason()}
        return json_answer(request, head | exporter_document(self._about))

    def _head(self) -> Document:
        return {"time_seconds": round(self._wall_clock(), 3)}

    def _find(self, request: web.Request) -> Fleet:
        namespace, name = request.match_info["namespace"], request.match_info["fleet"]
        fleet = self._view.fleet((namespace, name))
        if fleet is not None:
            return fleet
        reason = self._view.not_ready_reason()
        if reason is not None:
            raise web.HTTPServiceUnavailable(text=f"not ready yet: {reason}")
        raise web.HTTPNotFound(text=f"no fleet {name!r} in namespace {namespace!r}; {PREFIX}/fleets lists all fleets")


def _query(request: web.Request, allowed: Collection[str]) -> dict[str, str]:
    """Return the query's parameters; a name that is not known, given twice or empty is an error, not all agents."""
    for name in request.query:
        if name not in allowed:
            known = f"it takes {', '.join(allowed)}" if allowed else "it takes none"
            raise web.HTTPBadRequest(text=f"{request.path} does not support the parameter {name!r}; {known}")
        if len(request.query.getall(name)) > 1:
            raise web.HTTPBadRequest(text=f"the parameter {name!r} may appear only once")
        if not request.query[name]:
            raise web.HTTPBadRequest(text=f"the parameter {name!r} is empty; pass a value or omit it")
    return dict(request.query)


def _chosen(
    fleets: Sequence[Fleet], namespace: str | None, fleet_name: str | None, state: str | None
) -> Iterator[Agent]:
    for fleet in fleets:
        if namespace in (None, fleet.namespace) and fleet_name in (None, fleet.name):
            yield from (agent for agent in fleet.agents if state in (None, agent.state))


def _latest(given: str | None) -> int:
    """Return how many departures to return at most; 0 for all, which a slice from there on is."""
    if given is None:
        return 0
    if not (given.isascii() and given.isdecimal() and len(given) <= _LATEST_DIGITS and int(given)):
        raise web.HTTPBadRequest(text=f"latest={given!r} is not a whole number from 1 to {10**_LATEST_DIGITS - 1}")
    return int(given)


def _since(given: str | None) -> float | None:
    if given is None:
        return None
    try:
        since = float(given)
    except ValueError:
        since = float("nan")
    if not isfinite(since):
        raise web.HTTPBadRequest(text=f"since={given!r} is not a number; it takes Unix seconds, such as 1767234600")
    return since


def _named(fleet: Fleet) -> str:
    return f"{fleet.namespace}/{fleet.name}"
