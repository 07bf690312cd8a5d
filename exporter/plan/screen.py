"""The plan for a terminal: the recommendation, one night, the table, and what was assumed."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from exporter.forecast.history import GAP
from exporter.plan.comparison import Alternative, Plan
from exporter.plan.night import Night, night
from exporter.plan.words import assumed, headline, money, number, reasons, share, title, values
from exporter.terminal import Paper, Style, columns, counted

_HEADERS = (
    ("", "agents", "p95", "task-h", "late", "", "", "peak"),
    ("", "× tasks", "wait", "waited", "> 1 min", "agent-h", "cost", "nodes"),
)
"""Two lines: the table fits into 80 columns."""
_RIGHT = (False, False, True, True, True, True, True, True)
_NIGHT_LABEL = 18


def screen(plan: Plan, paper: Paper) -> list[str]:
    """Return the lines."""
    best = plan.recommended
    lines = [paper.paint(line, Style.HEADING) for line in paper.paragraph(headline(plan), 0)]
    lines += ["", *_past(plan, paper), "", *_night(night(plan), plan, paper), ""]
    rows = [*plan.alternatives, *plan.variants]
    cells = columns([*_HEADERS, *(_cells(one, plan, best) for one in rows)], _RIGHT)
    lines += [paper.paint("".join(header), Style.FAINT) for header in cells[: len(_HEADERS)]]
    for one, row in zip(rows, cells[len(_HEADERS) :], strict=True):
        if one is plan.variants[0]:
            lines.append(paper.paint("other settings", Style.FAINT))
        lines.append(paper.paint("".join(row).rstrip(), Style.GOOD if one is best else None))
    lines += ["", *(line for reason in reasons(plan) for line in paper.paragraph(reason, 0))]
    lines += ["", paper.paint("Values for the chart (autoscaling.ahead follows the forecast):", Style.HEADING)]
    lines += [f"  {line}" for line in values(plan).splitlines()]
    lines += ["", paper.paint("What this rests on:", Style.HEADING)]
    for sentence in assumed(plan):
        first, *rest = paper.paragraph(sentence, 2)
        lines += [f"- {first}", *rest]
    return lines


def _cells(one: Alternative, plan: Plan, best: Alternative) -> Sequence[str]:
    least, most = one.setting.least, one.setting.most
    return (
        ("* " if one is best else "  ") + _name(one, plan),
        f"{least}" if least == most else f"{least}–{most} × {one.setting.target}",
        f"{one.p95_wait_seconds:.0f} s",
        number(one.waited_task_hours),
        share(one.late_share),
        number(one.agent_hours),
        money(one.cost),
        str(one.peak_nodes),
    )


def _name(one: Alternative, plan: Plan) -> str:
    """Return what a row is called: shorter than its title, what the other columns have is not in it."""
    match one.name:
        case "today":
            return "today" if plan.given.today.agents is not None else "today (assumed)"
        case "fixed":
            return "fixed size"
        case "cron":
            return f"cron, {counted(plan.cron.blocks, 'trigger')}"
        case _:
            return title(one, plan)


def _past(plan: Plan, paper: Paper) -> Iterator[str]:
    """Draw the whole past in a line, the highest demand of each part of it."""
    label, top = "demand", max(plan.past.values)
    room = max(20, min(paper.width - len(label) - 20, 120))
    size = -(-len(plan.past.values) // room)
    parts = [plan.past.values[index : index + size] for index in range(0, len(plan.past.values), size)]
    drawn = paper.sparkline([max(part) if max(part) != GAP else None for part in parts], top)
    begin, end = (
        datetime.fromtimestamp(at, plan.given.zone).strftime("%Y-%m-%d") for at in (plan.past.begin, plan.past.end)
    )
    yield f"{label}  {drawn}  up to {top} tasks"
    yield paper.paint(f"{' ' * len(label)}  {begin}{end.rjust(max(0, len(parts) - len(begin)))}", Style.FAINT)


def _night(shown: Night, plan: Plan, paper: Paper) -> Iterator[str]:
    room = max(20, min(paper.width - _NIGHT_LABEL - 2, 96))
    begin, end = (datetime.fromtimestamp(at, plan.given.zone) for at in (shown.begin, shown.end))
    yield from paper.paragraph(
        f"{begin:%A %Y-%m-%d, %H:%M} to {end:%H:%M}: the hours in which tasks wait longest when demand is followed", 0
    )
    for name, values_, style in (
        ("demand", shown.demand, None),
        ("slots, following", shown.following, Style.DOUBTFUL),
        ("slots, ahead", shown.ahead, Style.GOOD),
    ):
        drawn = paper.sparkline(_thinned(values_, room), shown.highest)
        yield f"  {name:{_NIGHT_LABEL}}{paper.paint(drawn, style)}"


def _thinned(values_: Sequence[float], room: int) -> list[float | None]:
    size = -(-len(values_) // room)
    return [max(values_[index : index + size]) for index in range(0, len(values_), size)]
