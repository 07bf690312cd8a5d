"""The doctor's report: for a person, or as a JSON document. It must not know how anything was checked."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from exporter import __version__
from exporter.doctor.check import Examined, Finding, Outcome
from exporter.terminal import Paper, Style, shortened, visible

_STYLES = {
    Outcome.OK: Style.GOOD,
    Outcome.WARNING: Style.DOUBTFUL,
    Outcome.FAILED: Style.BAD,
    Outcome.NOT_CHECKED: Style.FAINT,
}
_MARKS = max(len(outcome) for outcome in Outcome)
_BEFORE_NAME = 2 + _MARKS + 2
_MAX_NAME_LENGTH = 34
_LEAST_ROOM = 40
"""Columns for what was found, beside its name; where there are fewer it stands below."""
_FIX = "fix: "


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found."""

    examined: Sequence[Examined]

    @property
    def counts(self) -> Counter[Outcome]:
        """How many findings of each outcome there are."""
        return Counter(finding.outcome for one in self.examined for finding in one.findings)

    @property
    def good(self) -> bool:
        """Whether nothing failed."""
        return not self.counts[Outcome.FAILED]


def document(report: Report) -> dict[str, Any]:
    """Return the report as JSON; keys are only ever added."""
    return {
        "version": __version__,
        "good": report.good,
        "counts": {outcome.value.replace(" ", "_"): report.counts[outcome] for outcome in Outcome},
        "checks": [
            {
                "subject": one.check.subject,
                "name": finding.name,
                "outcome": finding.outcome.value.replace(" ", "_"),
                "found": finding.found,
                "fix": finding.fix or None,
                "seconds": round(one.took, 3),
            }
            for one in report.examined
            for finding in one.findings
        ],
    }


def text(report: Report, paper: Paper) -> str:
    """Return the report as lines for a person."""
    by_subject = [
        (subject, [finding for one in group for finding in one.findings])
        for subject, group in groupby(report.examined, key=lambda one: one.check.subject)
    ]
    names = [len(visible(finding.name)) for _, findings in by_subject for finding in findings]
    longest = min(_MAX_NAME_LENGTH, max(names, default=0))
    lines: list[str] = []
    for subject, findings in by_subject:
        lines += [paper.paint(subject[:1].upper() + subject[1:], Style.HEADING)]
        for finding in findings:
            lines += _lines(finding, longest, paper)
        lines.append("")
    return "\n".join([*lines, _summary(report, paper), ""])


def _lines(finding: Finding, longest: int, paper: Paper) -> Iterator[str]:
    mark = paper.paint(finding.outcome.value.ljust(_MARKS), _STYLES[finding.outcome])
    name = shortened(visible(finding.name), paper.width - _BEFORE_NAME, paper.ellipsis)
    indent = 2 + _MARKS + 2 + longest + 2
    own_line = len(name) > longest
    if paper.width - indent < _LEAST_ROOM:
        own_line, indent = True, 6
    first, *rest = paper.paragraph(finding.found, indent)
    if own_line:
        yield f"  {mark}  {name}"
        yield " " * indent + first
    else:
        yield f"  {mark}  {name.ljust(longest)}  {first}"
    yield from rest
    if finding.fix:
        # Below the name: commands are long, and one that is broken over lines cannot be copied.
        indent = min(indent, _BEFORE_NAME)
        first, *rest = paper.paragraph(finding.fix, indent + len(_FIX))
        yield " " * indent + paper.paint(_FIX, Style.HEADING) + first
        yield from rest


def _summary(report: Report, paper: Paper) -> str:
    counts = [(outcome, report.counts[outcome]) for outcome in Outcome if report.counts[outcome]]
    said = [f"{count} {_plural(outcome, count)}" for outcome, count in counts]
    parts = [paper.paint(text, _STYLES[outcome]) for text, (outcome, _) in zip(said, counts, strict=True)]
    verdict = "Nothing failed" if report.good else "Something failed"
    between = "\n  " if len(f"{verdict}: {', '.join(said)}.") > paper.width else " "
    return f"{paper.paint(verdict, Style.GOOD if report.good else Style.BAD)}:{between}{', '.join(parts)}."


def _plural(outcome: Outcome, count: int) -> str:
    return "warnings" if outcome is Outcome.WARNING and count != 1 else outcome.value
