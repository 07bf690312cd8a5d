"""The comparison: what each way learns, what it brings, and which is recommended."""

from dataclasses import replace
from datetime import date
from functools import cache
from zoneinfo import ZoneInfo

import pytest
import yaml

from exporter.forecast.forecaster import Forecast
from exporter.plan.assumptions import Assumptions, Today
from exporter.plan.comparison import COSTS_MORE, Alternative, Plan, Setting, chosen, compare
from exporter.plan.night import night
from exporter.plan.report import report
from exporter.plan.screen import screen
from exporter.plan.ways import Ahead, Cron
from exporter.plan.words import assumed, values
from exporter.terminal import Paper
from tests.fakes.hostile_text import OBEYED, SHORT, tags
from tests.plan.samples import DAY_STEPS, MIDNIGHT, STEP, nightly, series

pytestmark = pytest.mark.slow

GIVEN = Assumptions()
UTC = ZoneInfo("UTC")


@cache
def by_the_clock() -> Plan:
    return compare(nightly(8), GIVEN)


def test_the_five_ways_in_their_order() -> None:
    """A program finds each by its name, once."""
    assert [one.name for one in by_the_clock().alternatives] == ["today", "following", "ahead", "fixed", "cron"]
    assert {one.name for one in by_the_clock().variants} == {"following", "ahead"}


def test_work_by_the_clock_is_scaled_ahead_of() -> None:
    """Ahead waits for a fraction of what following waits; the fixed fleet that waits as little costs far more."""
    plan = by_the_clock()
    following, ahead, fixed = plan.named("following"), plan.named("ahead"), plan.named("fixed")
    assert following.waited_task_hours > 1
    assert ahead.waited_task_hours < 0.1 * following.waited_task_hours
    assert ahead.agent_hours < 1.15 * following.agent_hours
    assert fixed.agent_hours > 2 * ahead.agent_hours
    assert plan.recommended.name == "ahead"
    assert plan.withheld == 0.0


def test_an_hpa_on_cpu_does_not_see_what_waits() -> None:
    """It waits longest of all: full agents show no more than 20 tasks each, and it adds one by one."""
    plan = by_the_clock()
    assert plan.named("today").waited_task_hours > 2 * plan.named("following").waited_task_hours


def test_work_without_a_pattern_is_followed() -> None:
    """The forecast withholds itself, so that ahead is the same as following, and the simpler is recommended."""
    plan = compare(series(10, lambda step: 150 if hash((step // 6, 7)) % 11 == 0 else 10), GIVEN)
    following, ahead = plan.named("following"), plan.named("ahead")
    assert replace(ahead, name="following", trace=None) == replace(following, trace=None)
    assert plan.recommended.name == "following"
    assert plan.withheld == 1.0
    assert "avoided enough waiting" in plan.withheld_reason


def test_the_scored_half_teaches_nobody() -> None:
    """With another second half the cron is the same, and each forecast is made from the days before it alone."""
    past = nightly(14)
    moved = replace(past, values=[*past.values[: 4 * DAY_STEPS], *nightly(4, hour=9).values])
    assert compare(moved, GIVEN).cron.agents == by_the_clock().cron.agents
    full, cut = past.history(), past.part(past.begin, MIDNIGHT + 10 * 86400).history()
    for hour in range(24):
        at = MIDNIGHT + 10 * 86400 + hour * 3600
        assert Ahead(full, GIVEN).expected(at) == Ahead(cut, GIVEN).expected(at)


def test_a_cron_holds_what_most_days_need() -> None:
    """By hour, weekdays apart from weekends, in the zone of the schedule, from an agent's start before it."""
    cron = Cron.written_for(nightly(14, base=0), GIVEN)
    assert {key: agents for key, agents in cron.agents.items() if agents} == {(False, 2): 10, (True, 2): 10}
    assert cron.blocks == 2
    two = MIDNIGHT + 2 * 3600
    assert [cron(two + offset, 7.0) for offset in (-106, -104, 3599, 3601)] == [7.0, 160.0, 160.0, 7.0]
    assert cron(two, 500.0) == 500.0
    berlin = Cron.written_for(nightly(14, base=0), Assumptions(zone=ZoneInfo("Europe/Berlin")))
    assert berlin.agents[(False, 4)] == 10


def test_what_the_options_give_is_what_is_compared() -> None:
    """Bounds, target, price and nodes; and a fixed size for today."""
    given = Assumptions(least=3, most=9, target=10, price=2.0, agents_per_node=2, today=Today(agents=5))
    plan = compare(nightly(6), given)
    assert plan.named("today").setting == Setting(5, 5, 10)
    assert plan.named("today").peak_agents >= 5
    assert plan.named("following").setting == Setting(3, 9, 10)
    for one in (*plan.alternatives, *plan.variants):
        assert one.cost == one.agent_hours * 2.0
        assert one.peak_nodes == -(-one.peak_agents // 2)
    hpa = compare(nightly(4), Assumptions(today=Today(least=4, most=6))).named("today")
    assert (hpa.setting.least, hpa.setting.most) == (4, 6)


def test_the_night_that_is_drawn_is_the_worst() -> None:
    """Four hours around the batch, a point each minute, with what ahead had up before it."""
    seen = night(by_the_clock())
    assert (seen.end - seen.begin, len(seen.demand)) == (4 * 3600, 240)
    assert max(seen.demand) >= 160
    rise = next(index for index, tasks in enumerate(seen.demand) if tasks > 100)
    assert seen.ahead[rise] > seen.following[rise]


def alternative(name: str, waited: float, hours: float, most: int = 9) -> Alternative:
    return Alternative(name, Setting(2, most, 16), waited, 0.0, 0.0, hours, hours, 3, 1)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([("ahead", 1.0, 110.0)], ("ahead", 110.0)),
        ([("ahead", 1.0, 100.0 * (1 + COSTS_MORE) + 1)], ("following", 100.0)),  # beyond the budget
        ([("ahead", 1.0, 114.0), ("ahead", 10.0, 90.0)], ("ahead", 90.0)),  # as good, and cheaper
        ([("ahead", 1.0, 114.0), ("ahead", 30.0, 90.0)], ("ahead", 114.0)),
        ([("ahead", 100.0, 100.0)], ("following", 100.0)),  # no better, so the simpler
    ],
)
def test_the_rule_of_the_recommendation(others: list[tuple[str, float, float]], expected: tuple[str, float]) -> None:
    """The cheapest of those that wait as little as any within the budget."""
    base = alternative("following", 100.0, 100.0)
    best = chosen([base, *(alternative(*other) for other in others)], base)
    assert (best.name, best.agent_hours) == expected


def test_a_fleet_may_grow_where_that_costs_nothing() -> None:
    """A maximum that the past just needed saves next to nothing."""
    base = alternative("following", 100.0, 100.0)
    roomy, tight = alternative("ahead", 5.0, 104.0, 20), alternative("ahead", 5.0, 103.9, 12)
    assert chosen([base, roomy, tight], base) is roomy


def test_progress_ends_where_it_was_said_to_end() -> None:
    """It never goes back, and the last call completes it."""
    calls: list[tuple[int, int]] = []
    compare(nightly(4), GIVEN, lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1]
    assert len({everything for _, everything in calls}) == 1


def test_ahead_asks_by_the_target() -> None:
    """Agents that are filled to half have room for more tasks than they are asked for."""
    hourly = series(8, lambda step: 100 if step % 12 < 2 else 0).history()
    asked = [Ahead(hourly, Assumptions(target=target)).expected(MIDNIGHT + 7 * DAY_STEPS * STEP) for target in (16, 10)]
    assert [one.tasks for one in asked if isinstance(one, Forecast)] == [84, 56]


def test_it_fits_into_eighty_columns() -> None:
    """A terminal's usual width, down to the table and the lines of a night."""
    lines = screen(by_the_clock(), Paper(80, colours=False))
    assert [line for line in lines if len(line) > 80] == []
    assert any(line.startswith("* ahead of demand  ") for line in lines)


def test_it_says_where_the_time_of_a_start_comes_from() -> None:
    """Assumed, given, or measured by the exporter."""
    plan = by_the_clock()
    for source, said in (("assumed", "assumed;"), ("given", "as given"), ("measured", "as measured: nine of ten")):
        found = assumed(replace(plan, given=replace(plan.given, start_source=source)))
        assert any(f"90 s after the HPA asked for it ({said}" in sentence for sentence in found)


def test_a_clock_change_in_the_past_is_no_trouble() -> None:
    """The schedule follows the clock on the wall, and the forecast with it."""
    zone = ZoneInfo("Europe/Berlin")
    begin = float(int((date(2026, 3, 20) - date(1970, 1, 1)).days) * 86400 - 3600)
    change = begin + 9 * 86400 + 3600

    def demand(step: int) -> int:
        at = begin + step * STEP
        local = (at - begin + (3600 if at >= change else 0)) % 86400
        return 160 if 2 * 3600 + 3600 <= local < 4 * 3600 else 8

    past = replace(series(16, demand), begin=begin)
    ahead = Ahead(past.history(), Assumptions(zone=zone))
    found = ahead.expected(begin + 14 * 86400 + 2 * 3600)
    assert isinstance(found, Forecast)
    assert found.tasks == 160


@pytest.mark.parametrize("text", SHORT.values(), ids=SHORT)
def test_a_hostile_name_is_obeyed_nowhere(text: str) -> None:
    """Neither by a terminal, nor by a browser, nor by what reads the values."""

    def named(name: str) -> Plan:
        return replace(by_the_clock(), given=replace(GIVEN, fleet=(name, name), named=True))

    assert not OBEYED & set("".join(screen(named(text), Paper(80, colours=False))))
    assert tags(report(named(text))) == tags(report(named("harmless")))
    (fleet,) = yaml.safe_load(values(named(text)))["autoscaling"]["fleets"]
    assert fleet["namespace"] == text
