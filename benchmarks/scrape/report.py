"""What was measured, as a table with verdicts: on the terminal, and in docs/benchmarks.md between its two marks."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.scrape import agents
from benchmarks.scrape.figures import Row, Spread, Verdict, judge_stalls, percentile, verdict
from benchmarks.scrape.stages import Comparison, OneCore, Plan, Window

_CPU_RATIO = 0.30
_MEMORY_RATIO = 0.25
_STALL = 0.050
_LATE = 0.5
_PAGE = 0.250
# The rate is counted between two pages that take a second each to make, so a hundredth is within the error.
_KEEPS_UP = 0.99
_MIB = 1024 * 1024

BEGIN = "<!-- measured: begin; `make bench` writes what stands here -->"
END = "<!-- measured: end -->"
_HEAD = ("", "exporter", "Prometheus", "ratio", "target", "")


def comparison_rows(result: Comparison, plan: Plan) -> list[Row]:
    """Return the lines on one scraper beside the other."""
    pairs = list(zip(result.exporter, result.prometheus, strict=True))
    cpu = Spread.of(ours.cpu_per_scrape / theirs.cpu_per_scrape for ours, theirs in pairs)
    memory = Spread.of(ours.memory.resident / theirs.memory.resident for ours, theirs in pairs)
    last_ours, last_theirs = pairs[-1]
    return [
        Row(
            what="CPU per scrape, ms",
            exporter=Spread.of(ours.cpu_per_scrape for ours, _ in pairs).text(1e3, 3),
            prometheus=Spread.of(theirs.cpu_per_scrape for _, theirs in pairs).text(1e3, 3),
            ratio=cpu.text(),
            target=f"≤ {_CPU_RATIO:.2f} (median)",
            verdict=verdict(good=cpu.middle <= _CPU_RATIO),
        ),
        Row(
            what="resident memory, MiB",
            exporter=Spread.of(ours.memory.resident for ours, _ in pairs).text(1 / _MIB, 0),
            prometheus=Spread.of(theirs.memory.resident for _, theirs in pairs).text(1 / _MIB, 0),
            ratio=memory.text(),
            target=f"≤ {_MEMORY_RATIO:.2f} (greatest)",
            verdict=verdict(good=memory.high <= _MEMORY_RATIO),
        ),
        Row(
            what="its peak / proportional share at the end, MiB",
            exporter=_memory(last_ours),
            prometheus=_memory(last_theirs),
            ratio=f"{last_ours.memory.peak / last_theirs.memory.peak:.2f} /"
            f" {last_ours.memory.proportional / last_theirs.memory.proportional:.2f}",
        ),
        Row(
            what="CPU, share of a core",
            exporter=Spread.of(ours.cpu_seconds / ours.seconds for ours, _ in pairs).text(100, 1) + " %",
            prometheus=Spread.of(theirs.cpu_seconds / theirs.seconds for _, theirs in pairs).text(100, 1) + " %",
        ),
        Row(
            what="scrapes that failed",
            exporter=f"{sum(ours.failed for ours, _ in pairs):.0f} of {sum(ours.scrapes for ours, _ in pairs):.0f}",
            target="0",
            verdict=verdict(good=not any(ours.failed for ours, _ in pairs)),
        ),
        _stall_row(result),
        _age_row(f"p99 age of a reading, s ({plan.interval} s interval)", result.ages, plan.interval),
    ]


def _stall_row(result: Comparison) -> Row:
    judged, passed_over = judge_stalls(result.stalls, result.idle_stalls, _STALL)
    note = f"; {passed_over} of {len(result.stalls)} minutes do not count" if passed_over else ""
    return Row(
        what="longest event-loop stall of a minute, ms",
        exporter=Spread.of(result.stalls).text(1e3, 0),
        prometheus=f"(an idle loop: {Spread.of(result.idle_stalls).text(1e3, 0)})",
        target=f"< {_STALL * 1e3:.0f}{note}",
        verdict=judged,
    )


def _age_row(what: str, ages: Sequence[float], interval: float) -> Row:
    age = percentile(ages, 0.99)
    limit = interval + _LATE
    return Row(what=what, exporter=f"{age:.2f}", target=f"≤ {limit:.1f}", verdict=verdict(good=age <= limit))


def page_rows(result: Comparison) -> list[Row]:
    """Return the lines on `/metrics` under load."""
    rows = []
    for name, latencies in result.latencies.items():
        slowest = percentile(latencies, 0.99)
        rows.append(
            Row(
                what=f"/metrics, {name}, {result.sizes[name] / 1024:.0f} KiB: p50 / p99 of {len(latencies)}, ms",
                exporter=f"{percentile(latencies, 0.5) * 1e3:.0f} / {slowest * 1e3:.0f}",
                target=f"p99 < {_PAGE * 1e3:.0f}",
                verdict=verdict(good=slowest < _PAGE),
            )
        )
    return rows


def one_core_rows(result: OneCore, plan: Plan) -> list[Row]:
    """Return the lines on many agents."""
    due = plan.many_agents / plan.many_interval
    rate = Spread.of(window.scrapes / window.seconds for window in result.windows)
    failed = sum(window.failed for window in result.windows)
    return [
        Row(
            what="scrapes a second",
            exporter=rate.text(digits=0),
            target=f"{due:.0f}",
            verdict=verdict(good=rate.middle >= due * _KEEPS_UP and not failed),
        ),
        _age_row(
            f"p99 age of a reading when asked for, s ({plan.many_interval} s interval)", result.ages, plan.many_interval
        ),
        Row(
            what="share of the core",
            exporter=Spread.of(window.cpu_seconds / window.seconds for window in result.windows).text(100, 0) + " %",
        ),
        Row(
            what="CPU per scrape, ms",
            exporter=Spread.of(window.cpu_per_scrape for window in result.windows).text(1e3, 3),
        ),
        Row(what="resident memory at the end, MiB", exporter=f"{result.windows[-1].memory.resident / _MIB:.0f}"),
        Row(what="longest event-loop stall of the last minute, ms", exporter=f"{result.stall * 1e3:.0f}"),
        Row(what="one /metrics page, s", exporter=f"{result.page_seconds:.2f}"),
    ]


def missed(rows: Sequence[Row]) -> list[Row]:
    """Return the lines whose target was not shown to be met."""
    return [row for row in rows if row.verdict in (Verdict.FAIL, Verdict.UNJUDGED)]


def text(compared: Comparison, many: OneCore, plan: Plan) -> tuple[str, list[Row]]:
    """Return the report in Markdown, and the lines whose target was missed."""
    body, sample_count = agents.page()
    beside, pages, alone = comparison_rows(compared, plan), page_rows(compared), one_core_rows(many, plan)
    machine = f"{os.cpu_count()} cores, kernel {platform.release().split('-')[0]}, Python {platform.python_version()}"
    conditions = (
        f"Measured on {datetime.now(UTC).date()}: {machine}. A page has {len(body) / 1024:.0f} KiB and"
        f" {sample_count} samples. Three figures are least – median – greatest over the windows."
    )
    window = compared.exporter[0].seconds
    side_by_side = (
        f"**{plan.agents:,} agents every {plan.interval} s**, {len(compared.exporter)} windows of {window:.0f} s,"
        f" beside Prometheus, which stored {compared.samples_per_scrape:.0f} samples a scrape:"
    )
    on_one_core = (
        f"**{plan.many_agents:,} agents every {plan.many_interval} s, the exporter on one core**,"
        f" {len(many.windows)} windows of {many.windows[0].seconds:.0f} s:"
    )
    parts = [conditions, side_by_side, table(beside + pages), on_one_core, table(alone)]
    return "\n\n".join(parts) + "\n", missed([*beside, *pages, *alone])


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table that is also fit to read as it is; columns nobody uses are left out."""
    lines = [
        _HEAD,
        *((row.what, row.exporter, row.prometheus, row.ratio, row.target, str(row.verdict)) for row in rows),
    ]
    used = [number for number in range(len(_HEAD)) if any(line[number] for line in lines[1:])]
    widths = {number: max(3, *(len(line[number]) for line in lines)) for number in used}
    drawn = ["| " + " | ".join(line[number].ljust(widths[number]) for number in used) + " |" for line in lines]
    drawn.insert(1, "|" + "|".join("-" * (widths[number] + 2) for number in used) + "|")
    return "\n".join(drawn)


def write(report: str, document: Path) -> None:
    """Put the report between the marks of a document. Raises ValueError when a mark is missing."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document.name} has no place for the report: it needs the lines {BEGIN!r} and {END!r}")
    document.write_text(f"{before}{BEGIN}\n{report}{END}{after}", encoding="utf-8")


def _memory(window: Window) -> str:
    return f"{window.memory.peak / _MIB:.0f} / {window.memory.proportional / _MIB:.0f}"
