"""Reads one agent: tracks which of its endpoints responds, and whether its server supports name filters.

An agent may have either of two endpoints, both, or switch when it is upgraded in place. This state is kept per address.
Independent of schedules and of other agents.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import takewhile
from typing import NamedTuple, Protocol, TypeVar

from yarl import URL

from exporter.config import ScrapeSettings
from exporter.fleet import dialect
from exporter.fleet.model import Dialect, Endpoint, Reading, Target
from exporter.scrape.client import host_port, page_url
from exporter.scrape.outcome import ScrapeError, ScrapeOutcome
from exporter.scrape.pages import Blocks, PageInBlocks
from exporter.scrape.race import Race

# How often what was learned is put to the test: whether an endpoint further up in the list answers by now, and whether
# the filtered page still has all that the whole one has.
_RECHECK_AFTER = 300.0
# An agent that fell back to its second choice may only have been starting, so it is tested sooner at first, then after
# twice that time, and so on.
_FIRST_RECHECK_AFTER = 10.0
_RECHECK_JITTER = 0.2
# Part of the timeout a recheck may take: it comes on top of a scrape, and the next one should still begin in time.
_RECHECK_SHARE = 0.5
# A busy agent may miss one answer: the reading before it is a few seconds old and has the queue, which a page further
# down does not. In the scrape after that they get their turn too, once this part of the timeout is over.
_HUNG_SHARE = 0.5
# An attempt with less than this part of the timeout left shows only that it was too short.
_MIN_SHARE = 0.1
_OPTIONAL = tuple(field.name for field in fields(Reading) if field.default is None)
# How a server that does not know name filters may answer to one. Where it lists no family at all, or stumbles, the
# whole page decides.
_FILTER_FAILED = (
    ScrapeOutcome.HTTP_STATUS,
    ScrapeOutcome.NOT_AN_AGENT,
    ScrapeOutcome.NO_TASK_COUNT,
    ScrapeOutcome.REDIRECT,
)


_T = TypeVar("_T")


class PageSource(Protocol):
    """Fetches pages; the client in service, a script in tests."""

    async def fetch(
        self,
        url: URL,
        *,
        within: float,
        take: Callable[[bytes], _T],
        knows: Callable[[bytes], bool],
        in_blocks: Callable[[], Blocks[_T]],
    ) -> _T:
        """Return what `take` makes of a page, or `in_blocks` of a large one, at most `within` seconds from now.

        `knows` tells of which pages `take` makes it in no time. Raises ScrapeError, and what they raise.
        """


@dataclass(frozen=True, slots=True)
class ScrapedPage:
    """A valid page, and its source."""

    reading: Reading
    rejected_lines: int
    url: str


class _Failure(NamedTuple):
    """A failed attempt. Not the exception itself: with its frames it would keep the page that failed in memory."""

    endpoint: Endpoint
    outcome: ScrapeOutcome
    reason: str


class _Door:
    """One endpoint of one agent: its URLs, made once since making one takes as long as reading a page, and the filter.

    A server that filters may know other names than we do. So the whole page is asked for first, and the filter kept
    only if the filtered page has all that the whole one had.
    """

    __slots__ = ("filter_works", "filtered", "pages", "text", "whole", "whole_reading")

    def __init__(self, address: str, endpoint: Endpoint) -> None:
        self.whole = page_url(address, endpoint, filtered=False)
        self.filtered = page_url(address, endpoint, filtered=True)
        self.text = str(self.whole)
        self.pages = dialect.AgentPages()
        self.forget()

    def forget(self) -> None:
        """Test the filter again."""
        self.whole_reading: Reading | None = None
        self.filter_works: bool | None = None


class AgentReader:
    """The pages of one agent."""

    __slots__ = (
        "_client",
        "_doors",
        "_endpoints",
        "_hung",
        "_monotonic",
        "_place",
        "_random",
        "_recheck_after",
        "_recheck_at",
        "_settings",
        "_winner",
    )

    def __init__(
        self, settings: ScrapeSettings, client: PageSource, monotonic: Callable[[], float], jitter: random.Random
    ) -> None:
        self._settings = settings
        self._client = client
        self._monotonic = monotonic
        self._random = jitter
        self._forget(None)

    def _forget(self, target: Target | None) -> None:
        self._place = _place(target) if target is not None else None
        self._endpoints = _endpoints(target, self._settings.endpoints) if target is not None else ()
        self._doors: dict[Endpoint, _Door] = {}
        self._winner: Endpoint | None = None
        self._hung = False
        self._recheck_after = _FIRST_RECHECK_AFTER
        self._recheck_at = 0.0

    async def read(self, target: Target) -> ScrapedPage:
        """Return a good page of the agent: of the endpoint that answered last, else of the best one that answers.

        Takes no longer than the timeout for all endpoints together. Raises one ScrapeError for all of them.
        """
        if target.off_limits is not None:
            raise ScrapeError(ScrapeOutcome.OFF_LIMITS, target.off_limits)
        if self._place != _place(target):
            self._forget(target)
        deadline = self._monotonic() + self._settings.timeout
        failures: list[_Failure] = []
        others = self._endpoints
        if self._winner is not None and not self._hung:
            try:
                return await self._read(target, self._winner, deadline)
            except ScrapeError as error:
                failures.append(_Failure(self._winner, error.outcome, str(error)))
                if not self._time_left(deadline):
                    self._hung = True
                    raise _combined(target, failures) from None
            others = tuple(endpoint for endpoint in others if endpoint != self._winner)
        race = self._race(target, others, deadline)
        won = await race.run()
        if won is None:
            failures += [_Failure(others[number], error.outcome, str(error)) for number, error in race.failures]
            raise _combined(target, sorted(failures, key=lambda failure: self._endpoints.index(failure.endpoint)))
        number, answer = won
        self._won(others[number])
        return answer

    def _race(self, target: Target, endpoints: Sequence[Endpoint], deadline: float) -> Race[ScrapedPage]:
        attempts = [partial(self._read, target, endpoint, deadline) for endpoint in endpoints]
        if self._hung and self._winner == endpoints[0]:
            # It is the best there is and may only be late, so the others just stand in for it.
            timeout = self._settings.timeout
            return Race(attempts, self._monotonic, head_start=timeout * _HUNG_SHARE, grace=timeout)
        return Race(attempts, self._monotonic)

    def _time_left(self, deadline: float) -> bool:
        return deadline - self._monotonic() > self._settings.timeout * _MIN_SHARE

    def _won(self, endpoint: Endpoint) -> None:
        self._hung = False
        if endpoint != self._winner:
            self._winner = endpoint
            self._recheck_after = _RECHECK_AFTER if endpoint == self._endpoints[0] else _FIRST_RECHECK_AFTER
            self._schedule_recheck()

    # -- what was learned, put to the test ----------------------------------------------------------------------------

    def recheck_due(self) -> bool:
        """Return whether it is time for `recheck`, after a good `read`."""
        return self._monotonic() >= self._recheck_at

    async def recheck(self, target: Target) -> None:
        """Move to an endpoint further up in the list if one answers by now; forget what is known of the filters.

        An agent that does not answer there is none the worse for it: that is how an old image is.
        """
        self._recheck_after = min(_RECHECK_AFTER, self._recheck_after * 2)
        self._schedule_recheck()
        for door in self._doors.values():
            door.forget()
        deadline = self._monotonic() + self._settings.timeout * _RECHECK_SHARE
        better = tuple(takewhile(lambda endpoint: endpoint != self._winner, self._endpoints))
        won = await self._race(target, better, deadline).run()
        if won is not None:
            self._won(better[won[0]])

    def _schedule_recheck(self) -> None:
        early = self._random.uniform(0.0, _RECHECK_JITTER)
        self._recheck_at = self._monotonic() + self._recheck_after * (1.0 - early)

    # -- one endpoint -------------------------------------------------------------------------------------------------

    async def _read(self, target: Target, endpoint: Endpoint, deadline: float) -> ScrapedPage:
        """Return one endpoint's page, filtered if that loses nothing. Raises ScrapeError."""
        door = self._doors.get(endpoint)
        if door is None:
            door = self._doors[endpoint] = _Door(target.address or "", endpoint)
        if not self._settings.filter_names or door.filter_works is False or door.whole_reading is None:
            return await self._whole(door, deadline)
        try:
            answer = await self._page(door.filtered, door, deadline)
        except ScrapeError as error:
            if error.outcome not in _FILTER_FAILED or not self._time_left(deadline):
                raise
        else:
            if door.filter_works or _complete(answer.reading, door.whole_reading):
                door.filter_works = True
                return answer
        answer = await self._whole(door, deadline)
        door.filter_works = False
        return answer

    async def _whole(self, door: _Door, deadline: float) -> ScrapedPage:
        answer = await self._page(door.whole, door, deadline)
        door.whole_reading = answer.reading
        return answer

    async def _page(self, url: URL, door: _Door, deadline: float) -> ScrapedPage:
        within = deadline - self._monotonic()
        try:
            page = await self._client.fetch(
                url, within=within, take=door.pages.read, knows=door.pages.knows, in_blocks=PageInBlocks
            )
        except dialect.NotAnAgentError:
            raise ScrapeError(ScrapeOutcome.NOT_AN_AGENT, "no agent metrics on the page") from None
        except dialect.NoTaskCountError:
            raise ScrapeError(ScrapeOutcome.NO_TASK_COUNT, "no count of running tasks on the page") from None
        except dialect.TooManySeriesError:
            reason = f"more than {dialect.MAX_SERIES} agent series on the page"
            raise ScrapeError(ScrapeOutcome.TOO_LARGE, reason) from None
        return ScrapedPage(page.reading, page.rejected_lines, door.text)


def _place(target: Target) -> tuple[object, ...]:
    """Return what an agent's pages depend on: what was learned of them is true as long as this is the same."""
    return target.address, target.endpoint, target.endpoints


def _endpoints(target: Target, usual: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
    """Return the endpoints, best first: those the pod declares, then the defaults, each port and path once.

    A legacy page that is declared goes last all the same: every chart declares one, and where the agent has the other
    page too, that one has more.
    """
    if target.endpoint is not None:
        return (target.endpoint,)
    declared = [endpoint for endpoint in target.endpoints if endpoint.kind is Dialect.OTEL]
    legacy = [endpoint for endpoint in target.endpoints if endpoint.kind is Dialect.LEGACY]
    places: dict[tuple[int, str], Endpoint] = {}
    for endpoint in (*declared, *usual, *legacy):
        places.setdefault((endpoint.port, endpoint.path), endpoint)
    return tuple(places.values())


def _complete(filtered: Reading, whole: Reading) -> bool:
    return all(getattr(filtered, name) is not None or getattr(whole, name) is None for name in _OPTIONAL)


def _combined(target: Target, failures: Sequence[_Failure]) -> ScrapeError:
    """Return one error for all endpoints: "connection refused on 10.0.3.7:9464 and :8080"."""
    ports: dict[str, list[int]] = {}
    for failure in failures:
        ports.setdefault(failure.reason, []).append(failure.endpoint.port)
    parts = []
    for reason, (first, *others) in ports.items():
        where = " and ".join([host_port(target.address or "", first), *(f":{port}" for port in others)])
        parts.append(f"{reason} on {where}")
    # A refused connection on one of the ports is the least informative: count any other failure instead.
    outcomes = [failure.outcome for failure in failures]
    outcome = next((outcome for outcome in outcomes if outcome is not ScrapeOutcome.CONNECT), outcomes[0])
    return ScrapeError(outcome, "; ".join(parts))
