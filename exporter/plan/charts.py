"""The charts of the report, as SVG that stands in the page: its styles color them, light and dark.

Pure: numbers in, markup out. Text that comes from outside is escaped here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from math import ceil, floor, log10

from exporter.forecast.history import GAP
from exporter.plan.comparison import Alternative, Plan
from exporter.plan.night import Night
from exporter.plan.words import MONTH_DAYS, money, title

WIDTH = 860
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 16, 30
_BARS = 420
"""Points of the whole past: two pixels each."""
_DECADE_STEPS = (1, 2, 5, 10)
_LABEL = 7.2
"""Pixels that a character of a label takes, about."""
_LINE = 15
"""And its line."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where values lie on the paper."""

    height: int
    left: float
    right: float
    top: float
    """Values at the edges: left and right, and the highest; the lowest is 0."""

    def x(self, value: float) -> float:
        return _LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return self.height - _BOTTOM - value / self.top * (self.height - _TOP - _BOTTOM)

    def svg(self, label: str, parts: Iterable[str]) -> str:
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
        )

    def rules(self, unit: str) -> Iterable[str]:
        """Draw a line and a number for each round value, and what they count."""
        step = round_step(self.top / 4)
        for count in range(floor(self.top / step) + 1):
            value = count * step
            y = self.y(value)
            yield f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _text(_LEFT - 8, y + 4, f"{value:,g}", "end")
        yield _text(_LEFT, _TOP - 5, unit, "start")

    def steps(self, values: Sequence[float], every: float) -> str:
        """Return the path of values that hold until the next, `every` apart on the horizontal scale."""
        found = [f"M{self.x(self.left):.1f} {self.y(values[0]):.1f}"]
        for index, value in enumerate(values):
            if index and value != values[index - 1]:
                found.append(f"H{self.x(self.left + index * every):.1f}V{self.y(value):.1f}")
        found.append(f"H{self.x(self.left + len(values) * every):.1f}")
        return "".join(found)

    def filled(self, values: Sequence[float], every: float, floor_values: Sequence[float]) -> str:
        """Return the area between values and those below them."""
        points = [(self.left + index * every, value) for index, value in enumerate(values)]
        below = [(at, value) for (at, _), value in zip(points, floor_values, strict=True)]
        return (
            "M" + "L".join(f"{self.x(at):.1f} {self.y(value):.1f}" for at, value in (*points, *reversed(below))) + "Z"
        )


def night_chart(shown: Night, plan: Plan) -> str:
    """Return the hours that wait longest: the demand, and the slots of following and ahead."""
    frame = _Frame(320, shown.begin, shown.end, shown.highest * 1.05)
    every = (shown.end - shown.begin) / len(shown.demand)
    floor_values = [0.0] * len(shown.demand)
    capped = [min(tasks, slots) for tasks, slots in zip(shown.demand, shown.following, strict=True)]
    parts = [
        *frame.rules("tasks"),
        *_hours(frame, plan),
        f'<path class="demand" d="{frame.filled(shown.demand, every, floor_values)}"/>',
        f'<path class="missing" d="{frame.filled(shown.demand, every, capped)}"/>',
        f'<path class="line following" d="{frame.steps(shown.following, every)}"/>',
        f'<path class="line ahead" d="{frame.steps(shown.ahead, every)}"/>',
    ]
    return frame.svg("Demand, and the slots of agents that follow it or are ahead of it", parts)


def past_chart(plan: Plan) -> str:
    """Return the whole past: what was learned from, and what was scored."""
    past = plan.past
    size = ceil(len(past.values) / _BARS)
    highest = [max(past.values[index : index + size]) for index in range(0, len(past.values), size)]
    frame = _Frame(190, past.begin, past.end, max(highest) * 1.05)
    every = size * past.step
    values = [0.0 if value == GAP else float(value) for value in highest]
    split = frame.x(plan.split)
    parts = [
        (
            f'<rect class="learned" x="{_LEFT}" y="{_TOP}" width="{split - _LEFT:.1f}" '
            f'height="{frame.height - _TOP - _BOTTOM}"/>'
        ),
        *frame.rules("tasks"),
        *_days(frame, plan),
        f'<path class="demand strong" d="{frame.filled(values, every, [0.0] * len(values))}"/>',
        f'<line class="split" x1="{split:.1f}" x2="{split:.1f}" y1="{_TOP}" y2="{frame.height - _BOTTOM}"/>',
        _text(split - 6, _TOP + 11, "learned from", "end"),
        _text(split + 6, _TOP + 11, "scored", "start"),
    ]
    return frame.svg("The demand of the whole past", parts)


def tradeoff_chart(plan: Plan) -> str:
    """Return what each way costs and how long tasks wait with it, a month each; waiting in steps of ten times."""
    monthly = MONTH_DAYS / plan.scored_days
    ways = list(plan.alternatives)
    if plan.recommended not in ways:
        ways.append(plan.recommended)
    waits = [one.waited_task_hours * monthly for one in ways]
    lowest = floor(log10(max(0.1, min(waits))))
    highest = max(lowest + 1, ceil(log10(max(1.0, *waits))))
    frame = _Frame(340, 0.0, max(one.cost for one in ways) * monthly * 1.12, float(highest - lowest))
    parts: list[str] = []
    for decade in range(lowest, highest + 1):
        y = frame.y(decade - lowest)
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{10.0**decade:,g}", "end"))
    parts.append(_text(_LEFT, _TOP - 5, "task-hours waited a month", "start"))
    step = round_step(frame.right / 6)
    parts += [
        _text(frame.x(count * step), frame.height - 10, money(count * step) if count else "$0", "middle")
        for count in range(floor(frame.right / step) + 1)
    ]
    places = [
        (frame.x(one.cost * monthly), frame.y(log10(max(wait, 10.0**lowest)) - lowest))
        for one, wait in zip(ways, waits, strict=True)
    ]
    taken = [(x - 6, x + 6, y + 4) for x, y in places]
    pairs = zip(ways, places, strict=True)
    for one, (x, y) in sorted(pairs, key=lambda pair: pair[0] is not plan.recommended):
        best = one is plan.recommended
        parts.append(f'<circle class="point {one.name}" cx="{x:.1f}" cy="{y:.1f}" r="{8 if best else 5}"/>')
        parts.append(_label(x, y, f"{title(one, plan)}{', recommended' if best else ''}", taken, strong=best))
    return frame.svg("Money and waiting of each way", parts)


def share_bar(value: float, top: float, kind: str) -> str:
    """Return a bar as long as a value's share of the highest of its column."""
    width = 0.0 if top <= 0 else 100 * value / top
    return (
        f'<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{kind}" width="{width:.1f}" height="6"/></svg>'
    )


def round_step(least: float) -> float:
    """Return the lowest of 1, 2, 5 times a power of ten that is no lower."""
    decade = 10.0 ** floor(log10(max(least, 1e-6)))
    return next(step * decade for step in _DECADE_STEPS if step * decade >= least * (1 - 1e-9))


def _label(x: float, y: float, text: str, taken: list[tuple[float, float, float]], *, strong: bool) -> str:
    """Return a label beside a point, moved down or up until it is over no other."""
    width = len(text) * _LABEL
    left = x + 14 if x + 14 + width < WIDTH - _RIGHT else x - 14 - width
    for shift in (0, 16, -16, 32, -32, 48, -48):
        place = y + 4 + shift
        if place > _TOP + 4 and all(
            abs(place - other) >= _LINE or left + width < begin or end < left for begin, end, other in taken
        ):
            break
    else:
        place = y + 4
    taken.append((left, left + width, place))
    return _text(left, place, text, "start", "label strong" if strong else "label")


def _hours(frame: _Frame, plan: Plan) -> Iterable[str]:
    return _ticks(frame, plan, 3600, lambda local: local.minute == 0, "%H:%M")


def _days(frame: _Frame, plan: Plan) -> Iterable[str]:
    every = max(1, ceil(plan.past.days / 10))
    first = datetime.fromtimestamp(frame.left, plan.given.zone).date()
    return _ticks(
        frame,
        plan,
        3600,
        lambda local: local.hour == 0 and (local.date() - first) % timedelta(days=every) == timedelta(0),
        "%b %d",
    )


def _ticks(frame: _Frame, plan: Plan, every: int, wanted: Callable[[datetime], bool], form: str) -> Iterable[str]:
    at = frame.left - frame.left % -every
    while at <= frame.right:
        local = datetime.fromtimestamp(at, plan.given.zone)
        x = frame.x(at)
        if wanted(local) and x < WIDTH - _RIGHT - 8:
            low = frame.height - _BOTTOM
            yield f'<line class="rule" x1="{x:.1f}" x2="{x:.1f}" y1="{low}" y2="{low + 5}"/>'
            yield _text(x, frame.height - 10, f"{local:{form}}", "middle")
        at += every


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def worst(ways: Sequence[Alternative], of: Callable[[Alternative], float]) -> float:
    """Return the highest value of a column."""
    return max(of(one) for one in ways)
