"""The plan as one page for people who decide: self-contained, without a script, light and dark, to show or print."""

from datetime import datetime
from html import escape

from exporter import __version__
from exporter.plan.charts import night_chart, past_chart, share_bar, tradeoff_chart, worst
from exporter.plan.comparison import Alternative, Plan
from exporter.plan.night import night
from exporter.plan.style import PRINT, STYLE
from exporter.plan.words import (
    MONTH_DAYS,
    assumed,
    bounds,
    change,
    headline,
    money,
    number,
    reasons,
    share,
    title,
    values,
)

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Nothing is loaded, and nothing is run."""


def report(plan: Plan) -> str:
    """Return the page."""
    fleet = "/".join(plan.given.fleet) if plan.given.named else "a fleet"
    name = escape(fleet)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>Plan for {name}</title>
<link rel="icon" href="data:,">
<style>{STYLE}{PRINT}</style>
</head>
<body>
<main>
<header>
<p class="kicker">Plan for {name}</p>
<h1>{escape(headline(plan))}</h1>
{_tiles(plan)}
</header>
{_night(plan)}
<section>
<h2>Money and waiting</h2>
<p class="lead">Lower is less waiting, further left is less money. Each step down is ten times less.</p>
<div class="figure">{tradeoff_chart(plan)}</div>
</section>
<section>
<h2>Compared on {plan.scored_days:.0f} days</h2>
{_table(plan)}
<ul class="reasons">{"".join(f"<li>{escape(reason)}</li>" for reason in reasons(plan))}</ul>
</section>
<section>
<h2>Settings to use</h2>
<p class="lead">For the values of the chart <code>matillion-fleet-exporter</code>:</p>
<pre>{escape(values(plan))}</pre>
</section>
<section>
<h2>What this rests on</h2>
<div class="figure">{past_chart(plan)}</div>
<ul>{"".join(f"<li>{escape(one)}</li>" for one in assumed(plan))}</ul>
</section>
<footer>Made by <code>fleet-exporter plan</code> {escape(__version__)}. A replay is a model, not a promise.</footer>
</main>
</body>
</html>
"""


def _tiles(plan: Plan) -> str:
    best, today, monthly = plan.recommended, plan.named("today"), MONTH_DAYS / plan.scored_days
    now = "today" if plan.given.today.agents is not None else "an HPA on CPU"
    tiles = (
        (
            "waiting a month",
            f"{number(best.waited_task_hours * monthly)} task-hours",
            f"{change(best.waited_task_hours, today.waited_task_hours)} than {now}",
        ),
        (
            "tasks late by more than a minute",
            share(best.late_share),
            f"{share(today.late_share)} with {now}",
        ),
        (
            "money a month",
            money(best.cost * monthly),
            f"{money(today.cost * monthly)} with {now}",
        ),
        (
            "nodes at the peak",
            str(best.peak_nodes),
            f"{today.peak_nodes} with {now}",
        ),
    )
    return (
        '<div class="tiles">'
        + "".join(
            f"<div><p>{escape(what)}</p><strong>{escape(value)}</strong><p>{escape(beside)}</p></div>"
            for what, value, beside in tiles
        )
        + "</div>"
    )


def _night(plan: Plan) -> str:
    shown = night(plan)
    begin = datetime.fromtimestamp(shown.begin, plan.given.zone)
    if plan.named("following").waited_task_hours < 0.1:  # noqa: PLR2004 - there is nothing to see
        lead = "Hardly any task waits, whichever way."
    elif plan.withheld >= 1:
        lead = "The work follows no pattern, so the forecast was withheld: ahead is the same as following."
    else:
        lead = (
            "The hours in which tasks wait longest when demand is followed: agents come after the work. Ahead of "
            "demand, they are there when it comes."
        )
    return f"""<section>
<h2>{begin:%A, %B} {begin.day}</h2>
<p class="lead">{escape(lead)}</p>
<p class="legend"><span class="key demand"></span>demand <span class="key missing"></span>waits when demand is followed
<span class="key following"></span>slots, following <span class="key ahead"></span>slots, ahead</p>
<div class="figure">{night_chart(shown, plan)}</div>
</section>
"""


def _table(plan: Plan) -> str:
    ways = [*plan.alternatives, *plan.variants]
    waited, cost = worst(ways, lambda one: one.waited_task_hours), worst(ways, lambda one: one.cost)

    def row(one: Alternative) -> str:
        best = one is plan.recommended
        mark = ' <span class="mark">recommended</span>' if best else ""
        return (
            f'<tr{" class=best" if best else ""}><th scope="row">{escape(title(one, plan))}{mark}</th>'
            f"<td>{escape(bounds(one))}</td>"
            f"<td>{one.p95_wait_seconds:.0f} s</td>"
            f"<td>{number(one.waited_task_hours)}{share_bar(one.waited_task_hours, waited, 'missing')}</td>"
            f"<td>{share(one.late_share)}</td>"
            f"<td>{number(one.agent_hours)}</td>"
            f"<td>{money(one.cost)}{share_bar(one.cost, cost, 'following')}</td>"
            f"<td>{one.peak_nodes}</td></tr>"
        )

    return f"""<div class="figure"><table>
<thead><tr><th scope="col">way to scale</th><th scope="col">agents, tasks each</th><th scope="col">p95 wait</th>
<th scope="col">task-hours waited</th><th scope="col">late &gt; 1 min</th><th scope="col">agent-hours</th>
<th scope="col">cost</th><th scope="col">nodes at peak</th></tr></thead>
<tbody>{"".join(row(one) for one in plan.alternatives)}</tbody>
<tbody><tr class="part"><th colspan="8" scope="rowgroup">other settings</th></tr>
{"".join(row(one) for one in plan.variants)}</tbody>
</table></div>"""
