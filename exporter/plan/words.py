"""The plan in words, and in the values of the chart: the recommendation, its reason, and what was assumed."""

from collections.abc import Sequence
from datetime import datetime

import yaml

from exporter.plan.comparison import AS_LITTLE, COSTS_MORE, ROOM, Alternative, Plan
from exporter.terminal import counted

MONTH_DAYS = 30
SAME = "the same"
_FEW, _TINY = 10, 0.05


def number(value: float) -> str:
    """Return a number as a reader wants it: `0`, `0.1`, `8.4`, `1,893`."""
    if value >= _FEW - _TINY:
        return f"{value:,.0f}"
    return "0" if value == 0 else f"{max(value, _TINY):.1f}"


def money(value: float) -> str:
    """Return dollars: `$0.38`, `$1,204`."""
    return f"${value:,.0f}" if value >= _FEW else f"${value:.2f}"


def share(value: float) -> str:
    """Return a share in percent, with a digit where it is small: `0%`, `0.03%`, `0.8%`, `11%`."""
    value *= 100
    if value == 0 or value >= _FEW:
        return f"{value:.0f}%"
    return f"{value:.1f}%" if value >= _TINY else f"{max(value, 0.01):.2f}%"


def title(one: Alternative, plan: Plan) -> str:
    """Return what a row of the table is called."""
    today = plan.given.today
    match one.name:
        case "today":
            fixed = today.agents is not None
            return f"today: {counted(one.setting.least, 'agent')}" if fixed else "today (assumed): HPA on CPU"
        case "fixed":
            return f"fixed size: {counted(one.setting.least, 'agent')}"
        case "cron":
            return f"cron by hand: {counted(plan.cron.blocks, 'trigger')}"
        case "ahead":
            return "ahead of demand"
        case _:
            return "following demand"


def bounds(one: Alternative) -> str:
    """Return the bounds and the target of a row: `2–35, 16 each`."""
    setting = one.setting
    if setting.least == setting.most:
        return f"{setting.least}"
    return f"{setting.least}–{setting.most}, {setting.target} each"


def change(value: float, base: float, less: str = "less", more: str = "more") -> str:
    """Return how a value compares with another: `99% less`, `6% more`, `the same`."""
    if base <= 0:
        return SAME if value <= 0 else more
    ratio = value / base - 1
    if abs(ratio) < 0.005:  # noqa: PLR2004 - what rounds to 0%
        return SAME
    # "100% less" would mean nothing is left.
    shown = min(99, round(-ratio * 100)) if ratio < 0 < value else round(abs(ratio) * 100)
    return f"{shown}% {less if ratio < 0 else more}"


def headline(plan: Plan) -> str:
    """Return the recommendation in one sentence, with waiting and money."""
    best, today = plan.recommended, plan.named("today")
    setting, monthly = best.setting, MONTH_DAYS / plan.scored_days
    how = "Scale ahead of demand" if best.name == "ahead" else "Follow the demand"
    now = "today" if plan.given.today.agents is not None else "with an HPA on CPU"
    waiting = change(best.waited_task_hours, today.waited_task_hours)
    waits = f"as long as {now}" if waiting == SAME else f"{waiting} than {now}"
    return (
        f"{how} with {setting.least} to {setting.most} agents and a target of {setting.target} tasks each: "
        f"tasks wait {waits} ({number(best.waited_task_hours * monthly)} instead of "
        f"{number(today.waited_task_hours * monthly)} task-hours a month), "
        f"for {money(best.cost * monthly)} instead of {money(today.cost * monthly)} a month."
    )


def reasons(plan: Plan) -> Sequence[str]:
    """Return why it is recommended, a sentence each: the rule, and what it was preferred to."""
    best, base = plan.recommended, plan.named("following")
    fixed, cron = plan.named("fixed"), plan.named("cron")
    hours = change(best.agent_hours, base.agent_hours, "fewer", "more")
    rule = (
        f"The rule: of what takes at most {COSTS_MORE:.0%} more agent-hours than following the demand "
        f"({bounds(base)}), and waits no more than {AS_LITTLE:.0%} of its waiting beyond the best, the cheapest."
    )
    preferred = (
        f"In the scored {plan.scored_days:.0f} days, following the demand ({bounds(base)}) waits "
        f"{number(base.waited_task_hours)} task-hours, and this {number(best.waited_task_hours)} "
        f"with {'as many' if hours == SAME else hours} agent-hours."
    )
    others = (
        f"A fixed size of {counted(fixed.setting.least, 'agent')} waits {number(fixed.waited_task_hours)} task-hours "
        f"for {fixed.agent_hours / best.agent_hours:.1f} times the money; {counted(plan.cron.blocks, 'cron trigger')}, "
        f"to be written and kept up by hand, {number(cron.waited_task_hours)} for "
        f"{cron.agent_hours / best.agent_hours:.1f} times."
    )
    found = [rule, others] if best is base else [rule, preferred, others]
    if plan.withheld:
        found.append(
            f"The forecast was withheld for {share(plan.withheld)} of the time, and the demand followed instead: "
            f"{plan.withheld_reason}."
        )
    return found


def assumed(plan: Plan) -> Sequence[str]:
    """Return what the figures rest on, a sentence each."""
    given, minutes = plan.given, plan.past.step // 60
    past = (
        f"The past: {plan.past.days:.0f} days of demand until {_date(plan.past.end, plan)}, the highest of every "
        f"{minutes} min, known for {share(plan.past.known)} of the time. What is before {_date(plan.split, plan)} was "
        f"learned from; the {plan.scored_days:.0f} days from then on were scored."
    )
    known = {
        "given": "as given",
        "measured": "as measured: nine of ten starts took no longer; --start-time sets another",
        "assumed": "assumed; --start-time sets it",
    }
    start = (
        f"An agent takes tasks {given.start_seconds:.0f} s after the HPA asked for it ({known[given.start_source]})."
    )
    tasks = (
        f"A task runs {plan.task_seconds / 60:.1f} min on average, or less where the demand falls (--task-time). New "
        f"tasks come evenly within each {minutes} min: work that comes at once waits longer than shown."
    )
    source = "as given" if given.price_given else "a third of an m5.xlarge at $140 a month, as in the vendor's guide"
    agents = (
        f"An agent runs {given.tasks_per_agent} tasks at once and costs ${given.price:g} an hour ({source}; --price); "
        f"{given.agents_per_node} fit on a node (--agents-per-node)."
    )
    ways = (
        "Following and ahead have the chart's fast pace. The fixed size is the smallest that would have waited as "
        "little in the first half as ahead did in the second. The cron holds for each hour, weekdays apart from "
        f"weekends, what {given.quantile:.0%} of such days in the first half needed, and follows the demand beyond."
    )
    waited = "Recorded demand includes tasks that waited: where the fleet was too small, they count as running longer."
    found = [past, _today(plan), start, tasks, agents, ways, waited]
    if plan.past.known < 1:
        found.append("Where the demand is unknown, it is assumed to stay at the lower of the values beside.")
    return found


def _today(plan: Plan) -> str:
    today, setting = plan.given.today, plan.named("today").setting
    if today.agents is not None:
        return f"Today: a fixed size of {counted(today.agents, 'agent')}, as given."
    most = f"{setting.most} agents"
    if today.most is None:
        most += f", {ROOM:g} times what was needed, which favors it (--today-max)"
    return (
        "How the fleet is scaled today is not in the past. Assumed is an HPA on CPU, 70% as in the vendor's guide and "
        f"at the pace of the vendor's chart, where 16 tasks are exactly 70%, from {setting.least} to {most}; "
        "--today-agents sets a fixed size instead."
    )


def _date(at: float, plan: Plan) -> str:
    return datetime.fromtimestamp(at, plan.given.zone).strftime("%Y-%m-%d %H:%M %Z")


def values(plan: Plan) -> str:
    """Return the recommendation as a block for the values of the chart."""
    best, given = plan.recommended, plan.given
    namespace, name = given.fleet
    ahead = best.name == "ahead"
    fleet = {
        "name": name,
        "namespace": namespace,
        "min": best.setting.least,
        "max": best.setting.most,
        "target": best.setting.target,
    }
    document = {
        "config": {
            "forecast": {"enabled": ahead, **({"timezone": given.zone.key} if ahead else {})},
            "external_metrics": {"enabled": True},
        },
        "autoscaling": {"mode": "externalMetrics", "ahead": ahead, "fleets": [fleet]},
    }
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=False)
    notes = ["# Without KEDA; with it: mode: kedaMetricsApi, and no external_metrics."]
    if not given.named:
        notes.append("# Set name and namespace to your fleet's.")
    return "\n".join([*notes, text])
