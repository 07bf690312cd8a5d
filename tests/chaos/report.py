"""What a run has shown: as JSON, and as a short table."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.facts import Verdicts

KEPT = 20
"""Violations of one invariant that are kept in full."""


@dataclass(frozen=True)
class Violation:
    """One check that failed."""

    invariant: str
    offset: float
    """Seconds since the faults began."""
    replica: str
    what: str
    context: tuple[str, ...] = ()
    """The faults that were on, and the last lines of the log."""


@dataclass
class Report:
    """The figures of a run."""

    seed: int
    minutes: float
    agents: int
    scale: float
    faults: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    """What was measured besides."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Kinds of faults that could not be had, and why."""

    def judge(
        self, invariant: str, verdicts: Verdicts, offset: float, replica: str, context: Callable[[], tuple[str, ...]]
    ) -> None:
        """Count the checks of an invariant, and keep what failed."""
        self.checks[invariant] += 0
        for wrong in verdicts:
            self.checks[invariant] += 1
            if wrong is not None:
                self.failed[invariant] += 1
                if self.failed[invariant] <= KEPT:
                    self.violations.append(Violation(invariant, round(offset, 1), replica, wrong, context()))

    def write(self, file: Path) -> None:
        """Write all of it as JSON."""
        counters = {name: dict(value) for name, value in vars(self).items() if isinstance(value, Counter)}
        violations = [asdict(one) for one in self.violations]
        file.write_text(json.dumps(vars(self) | counters | {"violations": violations}, indent=1))

    def __str__(self) -> str:
        same = f"--seed {self.seed} --minutes {self.minutes:g} --agents {self.agents} --scale {self.scale:g}"
        lines = [f'again: make chaos ARGS="{same}"', ""]
        lines += [f"{'faults':60} {self.faults.total():>9}"]
        lines += [f"  {kind:58} {number:>9}" for kind, number in sorted(self.faults.items())]
        lines += [f"  left out: {kind}, because {why}" for kind, why in sorted(self.left_out.items())]
        lines += ["", f"{'invariant':50} {'checks':>9} {'violated':>9}"]
        lines += [f"  {name:48} {number:>9} {self.failed[name]:>9}" for name, number in sorted(self.checks.items())]
        lines += ["", *(f"{name}: {value}" for name, value in self.figures.items())]
        for one in self.violations:
            lines += ["", f"VIOLATED at {one.offset:.1f} s by {one.replica}: {one.invariant}", f"  {one.what}"]
            lines += [f"    {line}" for line in one.context]
        return "\n".join(lines)
