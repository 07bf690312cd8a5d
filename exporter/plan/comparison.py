"""Compares the ways to scale a fleet: each learns from the first half of the past, and is scored on the second.

Pure: progress is reported to whom asks for it. It must not know where the past came from or how the result is shown.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from statistics import median

from exporter.plan.assumptions import Assumptions
from exporter.plan.series import Series, usable
from exporter.plan.ways import Ahead, Cron, Metric, following, highest, in_units
from exporter.plan.work import Work, work
from exporter.simulation.cpu import CPU_PER_TASK, cpu
from exporter.simulation.hpa import FAST, VENDOR, Spec
from exporter.simulation.replay import Outcome, replay

ROOM = 1.5
"""The maximum of agents, unless given: so many times what the highest demand of the first half takes."""
TARGETS = (0.7, 0.9)
"""Other targets that are tried, as shares of the tasks that an agent runs at once."""
COSTS_MORE = 0.15
"""Share of agent-hours that a recommendation may cost beyond following the demand."""
AS_LITTLE = 0.1
"""Of what following waits: ways that wait so little more than the best one are as good; the cheapest is taken."""

NEAR = 0.01
"""Of the agent-hours of following: ways that differ by so little cost the same."""

Progress = Callable[[int, int], None]
"""Told how many replays of how many are done."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Bounds and target of a scaler; a fixed size has one bound for both."""

    least: int
    most: int
    target: int


@dataclass(frozen=True, slots=True)
class Trace:
    """What a replay did at each look of the HPA, SYNC_SECONDS apart."""

    begin: float
    demand: Sequence[int]
    """Tasks, running and waiting."""
    slots: Sequence[int]
    """Tasks that the agents which are up can run."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to scale the fleet, and what it brought."""

    name: str
    """`today`, `following`, `ahead`, `fixed` or `cron`."""
    setting: Setting
    waited_task_hours: float
    late_share: float
    """Share of the tasks that waited for more than a minute, 0 to 1."""
    p95_wait_seconds: float
    agent_hours: float
    cost: float
    peak_agents: int
    peak_nodes: int
    trace: Trace | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The result."""

    given: Assumptions
    past: Series
    split: float
    """Unix seconds: what is before was learned from, what comes after was scored."""
    task_seconds: float
    """How long a task runs, as it was taken."""
    alternatives: Sequence[Alternative]
    """Today, following, ahead, fixed and cron, in this order."""
    variants: Sequence[Alternative]
    """Following and ahead with the other settings that were tried."""
    recommended: Alternative
    cron: Cron
    withheld: float
    """Share of the scored time in which the forecast was withheld."""
    withheld_reason: str

    def named(self, name: str) -> Alternative:
        """Return the alternative of a name."""
        return next(one for one in self.alternatives if one.name == name)

    @property
    def scored_days(self) -> float:
        """How many days were scored."""
        return (self.past.end - self.split) / 86400


def compare(series: Series, given: Assumptions, progress: Progress = lambda _done, _all: None) -> Plan:
    """Return the plan for a past. Raises PlanError if it is too short, or known for too little of its time."""
    return _Comparison(usable(series, given.min_days), given, progress).plan()


class _Comparison:
    def __init__(self, series: Series, given: Assumptions, progress: Progress) -> None:
        self._series, self._given, self._progress = series, given, progress
        self._split = series.middle(given.zone)
        self._learned = series.part(series.begin, self._split)
        scored = series.part(self._split, series.end)
        self._first = work(self._learned, given.task_seconds, given.tasks_per_agent)
        self._second = work(scored, given.task_seconds, given.tasks_per_agent)
        self._peak = highest(self._learned)
        self._history = series.history()
        self._ahead = Ahead(self._history, given)
        self._done, self._all = 0, 1

    def plan(self) -> Plan:
        given = self._given
        usual = Setting(given.least, self._roomy(), given.target)
        others = self._others(usual)
        self._all = 5 + len(others) + self._fixed_bounds()[1].bit_length()
        ahead = self._ahead
        cron = Cron.written_for(self._learned, given)
        by_demand = self._scored("following", usual, following, traced=True)
        by_forecast = self._scored("ahead", usual, ahead, traced=True)
        alternatives = [
            self._today(usual),
            by_demand,
            by_forecast,
            self._fixed(by_forecast),
            self._scored("cron", usual, cron),
        ]
        variants = [self._scored(name, other, metric) for name, other, metric in others]
        self._progress(self._all, self._all)
        recommended = chosen([by_demand, by_forecast, *variants], by_demand)
        return Plan(
            given,
            self._series,
            self._split,
            self._second.task_seconds,
            alternatives,
            variants,
            recommended,
            cron,
            ahead.withheld,
            ahead.reason,
        )

    def _roomy(self) -> int:
        given = self._given
        return max(given.most or ceil(ROOM * self._peak / given.target), given.least, 2)

    def _others(self, usual: Setting) -> list[tuple[str, Setting, Metric]]:
        """Return what else is tried: other targets, the usual load as minimum, the highest demand as maximum."""
        given = self._given
        targets = [min(max(1, round(share * given.tasks_per_agent)), given.highest_target) for share in TARGETS]
        by_target = [replace(usual, target=target) for target in dict.fromkeys(targets) if target != usual.target]
        quiet = ceil(median(value for _, value in self._learned.points()) / given.target)
        tight = max(usual.least, ceil(self._peak / given.target))
        bounds = [replace(usual, least=min(max(usual.least, quiet), usual.most)), replace(usual, most=tight)]
        by_bounds = [one for one in dict.fromkeys(bounds) if one != usual and one.most <= usual.most]
        return [
            *(("following", one, following) for one in by_target),
            *(("ahead", one, Ahead(self._history, replace(given, target=one.target))) for one in by_target),
            *(("ahead", one, self._ahead) for one in by_bounds),
        ]

    def _today(self, usual: Setting) -> Alternative:
        today = self._given.today
        if today.agents is not None:
            return self._scored("today", Setting(today.agents, today.agents, usual.target), following)
        most = max(today.most or usual.most, today.least)
        return self._scored("today", Setting(today.least, most, usual.target), None, spec=VENDOR)

    def _fixed(self, ahead: Alternative) -> Alternative:
        """Return the smallest size that would have waited as little in the first half as ahead does in the second."""
        tasks = sum(1 for _ in self._second.units) * self._second.grain
        allowed = ahead.waited_task_hours / tasks
        low, high = self._fixed_bounds()
        while low < high:
            middle = (low + high) // 2
            size = Setting(middle, middle, self._given.target)
            outcome = self._replayed(self._first, self._learned, size, following)
            if outcome.waited() / len(outcome.waits) <= allowed:
                high = middle
            else:
                low = middle + 1
        return self._scored("fixed", Setting(low, low, self._given.target), following)

    def _fixed_bounds(self) -> tuple[int, int]:
        """Return sizes that are surely not too large, and surely large enough, for the first half."""
        given = self._given
        mean = sum(seconds for _, seconds in self._first.units) * self._first.grain
        least = mean / (self._learned.end - self._learned.begin) / given.tasks_per_agent
        return max(1, int(least)), max(1, ceil((self._peak + self._first.grain) / given.tasks_per_agent))

    def _scored(
        self, name: str, setting: Setting, metric: Metric | None, *, spec: Spec = FAST, traced: bool = False
    ) -> Alternative:
        given, grain = self._given, self._second.grain
        demand, ready = array("l"), array("l")

        def watch(tasks: int, agents: int) -> None:
            demand.append(tasks * grain)
            ready.append(agents * given.tasks_per_agent)

        outcome = self._replayed(
            self._second,
            self._series.part(self._split, self._series.end),
            setting,
            metric,
            spec=spec,
            watch=watch if traced else None,
        )
        return Alternative(
            name,
            setting,
            outcome.waited() * grain,
            outcome.late,
            outcome.p95,
            outcome.agent_hours,
            outcome.agent_hours * given.price,
            outcome.peak_agents,
            ceil(outcome.peak_agents / given.agents_per_node),
            Trace(self._split, demand, ready) if traced else None,
        )

    def _replayed(
        self,
        tasks: Work,
        series: Series,
        setting: Setting,
        metric: Metric | None,
        *,
        spec: Spec = FAST,
        watch: Callable[[int, int], None] | None = None,
    ) -> Outcome:
        """Replay once; without a metric an HPA follows the agents' CPU."""
        given, grain = self._given, tasks.grain
        slots = given.tasks_per_agent // grain
        outcome = replay(
            tasks.units,
            series.begin,
            series.end,
            given.start_seconds,
            None if metric is None else in_units(metric, grain),
            pod_metric=cpu(slots, CPU_PER_TASK * grain) if metric is None else None,
            spec=replace(spec, least=setting.least, most=setting.most),
            target=setting.target / grain,
            tasks_per_agent=slots,
            agents=ceil(next(iter(series.bridged())) / setting.target),
            watch=watch,
        )
        self._done = min(self._done + 1, self._all)
        self._progress(self._done, self._all)
        return outcome


def chosen(candidates: Sequence[Alternative], base: Alternative) -> Alternative:
    """Return the recommendation: the cheapest of those that wait as little as any within the budget.

    Of those that cost about the same, the simpler is taken, then the one with the higher maximum. The budget is
    COSTS_MORE beyond the agent-hours of following the demand, the `base`.
    """
    affordable = [one for one in candidates if one.agent_hours <= (1 + COSTS_MORE) * base.agent_hours]
    least = min(one.waited_task_hours for one in affordable)
    good = [one for one in affordable if one.waited_task_hours <= least + AS_LITTLE * base.waited_task_hours]
    cheapest = min(one.agent_hours for one in good)
    equal = [one for one in good if one.agent_hours <= cheapest + NEAR * base.agent_hours]
    # A maximum that the past just needed is no cheaper, and in the way of a fleet that grows.
    return min(equal, key=lambda one: (one.name != "following", -one.setting.most, one.agent_hours))
