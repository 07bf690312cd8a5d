"""Fleets and agents as lines for a person. Pure: documents in, text out."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from exporter.client import Status
from exporter.fleet.health import Word
from exporter.status.agents_table import agents_table, needing_attention
from exporter.status.fleets_table import Json, fleets_table, health_of, note
from exporter.terminal import Paper, Style, counted, shortened, visible

_LEAST_URL = 12


def screen(url: str, status: Status, paper: Paper) -> list[str]:
    """Return what there is to see, line by line: the sum first, then the fleets, then the agents in trouble."""
    shown_at = datetime.fromtimestamp(status.time_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    name = shortened(visible(url), max(_LEAST_URL, paper.width - len(shown_at) - 2), paper.ellipsis)
    lines = [f"{paper.paint(name, Style.HEADING)}  {paper.paint(shown_at, Style.FAINT)}"]
    if status.not_ready:
        lines += note("not ready yet", status.not_ready, paper)
    for remark in status.remarks:
        lines += note("note", remark, paper, Style.DOUBTFUL)
    if not status.fleets:
        return [*lines, "", "No fleet was found."]
    needing = needing_attention(status.agents)
    good = not needing and all(health_of(fleet) == Word.OK for fleet in status.fleets)
    summed = paper.paragraph(_sum(status.fleets, len(needing), len(status.agents)), 0)
    lines += [paper.paint(line, Style.GOOD if good else Style.BAD) for line in summed]
    lines += ["", *fleets_table(status.fleets, status.agents, status.time_seconds, paper)]
    if needing:
        lines += ["", *agents_table(needing, paper)]
    return lines


def _sum(fleets: Sequence[Json], needing: int, agents: int) -> str:
    """Return the whole in one line: "2 of 5 fleets down, 1 degraded; 17 of 33 agents need attention"."""
    words = Counter(map(health_of, fleets))
    bad = [f"{words[word]} {word}" for word in Word if word is not Word.OK and words[word]]
    if bad:
        count, _, word = bad[0].partition(" ")
        bad[0] = f"{count} of {counted(len(fleets), 'fleet')} {word}"
    state = ", ".join(bad) or (
        f"{counted(len(fleets), 'fleet')} ok" if words[Word.OK] else counted(len(fleets), "fleet")
    )
    if not needing:
        return f"{state}; none of {counted(agents, 'agent')} needs attention"
    return f"{state}; {needing} of {counted(agents, 'agent')} need{'s' if needing == 1 else ''} attention"
