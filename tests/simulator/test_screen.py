"""The demo's picture, drawn from JSON documents as the exporter's own API makes them."""

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from exporter.fleet.capacity import aggregate
from exporter.fleet.model import AgentSnapshot, Dialect, Fleet, Reading, Target
from exporter.fleet.policy import Policy
from exporter.simulator.agent_rows import agent_rows
from exporter.simulator.screen import Chart, CloudWatchView, Point, View, clock, line, picture
from exporter.web.documents import agent_document, fleet_document

NOW = 1000.0


def snapshot(number: int, read_at: float | None = NOW, **reading: Any) -> AgentSnapshot:
    given: dict[str, Any] = {"dialect": Dialect.OTEL, "tasks_active": 10.0, "status": 1, "connected": True} | reading
    pod = f"production-{number}"
    return AgentSnapshot(
        target=Target(uid=pod, namespace="matillion", fleet="production", pod=pod, address=f"127.20.0.{number}"),
        reading=Reading(**given) if read_at is not None else None,
        read_at=read_at,
    )


def fleet(*snapshots: AgentSnapshot) -> Fleet:
    return aggregate("matillion", "production", snapshots, Policy(), NOW, wall_now=0.0, sync_age=1.0)


def view(*snapshots: AgentSnapshot, **given: Any) -> View:
    made = fleet(*snapshots)
    agents = [agent_document(agent, NOW, 0.0) for agent in made.agents]
    return View(name="production", fleet=fleet_document(made), agents=agents, **given)


def draw(shown: View, width: int = 130, height: int = 40, *, colours: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as capture:
        console.print(picture(shown, width, height, colours=colours))
    return capture.get()


BUSY = (
    snapshot(1, tasks_active=20.0, tasks_queued=3.0, heap_used_bytes=1e9, heap_limit_bytes=2e9, version="11.142.0"),
    snapshot(2, tasks_active=12.0, connected=False),
    snapshot(3, tasks_active=4.0, status=2),
    snapshot(4, read_at=NOW - 100.0, tasks_active=7.0),
)


def test_the_figures_are_the_exporters() -> None:
    """Running, queued, free, held, demanded and wanted, as the JSON has them."""
    drawn = draw(view(*BUSY, replicas=4))
    document = fleet_document(fleet(*BUSY))
    assert f"{document['tasks_active']:g}" in drawn
    assert f"{document['free_slots']:g} of {document['capacity_tasks']}" in drawn
    assert f"{document['demand_tasks']:g}" in drawn
    assert f"{document['desired_agents']} (4 now)" in drawn
    for state in ("1 serving", "1 disconnected", "1 stopped", "1 unreachable"):
        assert state in drawn


def test_each_agent_has_its_row() -> None:
    """A mark per task, the heap as a share, and why it is in its state."""
    drawn = draw(view(*BUSY))
    [first] = [row for row in drawn.splitlines() if row.startswith(" production-1")]
    assert "▪" * 20 + " 20" in first
    assert "50%" in first
    assert "serving 20 tasks, 3 queued" in first


def test_what_is_withheld_is_a_dash() -> None:
    """An untrusted fleet has no demand; the reason is shown instead of a 0."""
    drawn = draw(view(snapshot(1, read_at=None), snapshot(2, read_at=None)))
    assert "withheld from the autoscaler: only 0 of 2 agents respond, 50% are required" in drawn
    assert "– (– now)" in drawn


def test_a_count_above_the_cap_is_shown_as_it_is() -> None:
    """The bar ends at 20, the number does not."""
    assert "▪" * 20 + " 23" in draw(view(snapshot(1, tasks_active=23.0)))


def test_before_the_first_reading_it_shows_what_it_waits_for() -> None:
    """No invented figures."""
    shown = View(name="production")
    assert "waiting for the exporter's first readings" in draw(shown)
    assert "waiting for the exporter's first readings" in line(shown)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (130, 44), (220, 70), (40, 10)])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    """No line is too long, and beyond the smallest screens none is too many."""
    agents = [snapshot(number, tasks_active=float(number)) for number in range(1, 18)]
    places = (("status page", "http://127.0.0.1:9850/"), ("Prometheus", "http://127.0.0.1:9850/metrics"))
    events = tuple(f"event {number} " + "x" * 300 for number in range(10))
    history = tuple(Point(float(number), 5.0, 200.0) for number in range(500))
    shown = view(*agents, history=history, places=places, events=events, scaler="y" * 300, cloudwatch=CLOUDWATCH)
    shown = replace(shown, nodes=tuple(f"node {number} " + "z" * 300 for number in range(3)))
    drawn = draw(shown, width, height)
    lines = drawn.splitlines()
    assert max(map(len, lines)) <= width
    if height >= 24:
        assert len(lines) <= height
        assert "production-1 " in drawn
    if height == 24:
        assert "more" in drawn


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("colours", [True, False])
def test_agents_in_trouble_come_first(width: int, *, colours: bool) -> None:
    """With the reason in rows of its own; no figure is cut, on the smallest screen either."""
    agents = [snapshot(number, tasks_active=float(number)) for number in range(1, 18)]
    silent = snapshot(90, read_at=NOW - 100.0, tasks_active=19.0)
    lost = snapshot(91, tasks_active=12.0, connected=False)
    shown = view(*agents, silent, lost, replicas=19, cloudwatch=CLOUDWATCH)
    lines = draw(shown, width, 24, colours=colours).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 24
    at = next(at for at, line in enumerate(lines) if line.startswith(" agent"))
    assert lines[at + 1].split()[:3] == ["production-90", "●", "unreachable"]
    assert lines[at + 2].strip() == "not scraped for 100 s"
    assert lines[at + 3].split()[:3] == ["production-91", "●", "disconnected"]
    assert lines[at + 4].strip() == "not connected to the control plane, 12 tasks active"
    assert lines[at + 5].split()[0] == "production-1"
    text = "\n".join(lines)
    document = fleet_document(fleet(*agents, silent, lost))
    for figure in ("free_slots", "held_tasks", "demand_tasks"):
        assert re.search(rf"(?<![\d.…]){document[figure]:g}(?![\d.…])", text), figure
    assert "104 datums" in text
    assert "17 serving" in text


def test_a_long_reason_has_two_rows() -> None:
    """What is beyond is left out, visibly."""
    error = "connection refused on 127.20.0.9:9464 and :8080 " * 4
    gone = replace(snapshot(90, read_at=NOW - 100.0), error=error)
    lines = draw(view(snapshot(1), gone), 80, 24).splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith(" production-90"))
    assert lines[at + 2].endswith(" …")
    assert lines[at + 3].startswith(" production-1 ")


@pytest.mark.parametrize("rows", range(2, 30))
def test_no_rows_are_left_empty_for_want_of_room(rows: int) -> None:
    """Where a reason's second row has no room, its first one has; all agents are shown or counted."""
    error = "connection refused on 127.20.0.9:9464 and :8080 " * 4
    gone = [replace(snapshot(number, read_at=NOW - 100.0), error=error) for number in range(1, 9)]
    drawn = [row.plain for row in agent_rows(view(*gone).agents, rows, 80)]
    assert len(drawn) in {min(rows, 25), rows - 1}
    shown = sum(row.startswith(" production-") for row in drawn)
    assert (f" and {8 - shown} more" in drawn) is (shown < 8)


def test_long_names_lose_their_middle() -> None:
    """So that the figures beside them stay."""
    pod = "production-of-a-company-6d5f7c9b8d-x2k4q"
    long = replace(snapshot(1), target=replace(snapshot(1).target, pod=pod))
    [row] = [line for line in draw(view(long), 80, 24).splitlines() if "x2k4q" in line]
    assert row.startswith(" product")
    assert "▪▪▪▪▪▪▪▪▪▪·········· 10" in row
    assert "of-a-company" not in row


CLOUDWATCH = CloudWatchView(
    url="http://127.0.0.1:40000",
    namespace="Matillion/AgentFleet",
    taken=104,
    command=(
        "aws cloudwatch list-metrics --no-sign-request --region us-east-1",
        "--endpoint-url http://127.0.0.1:40000",
    ),
)


def test_cloudwatch_is_shown_with_what_it_took() -> None:
    """Where it is, that it is none of AWS, how many datums it has and how many wait; a dash while nobody knows."""
    drawn = draw(view(*BUSY, cloudwatch=CLOUDWATCH))
    assert "http://127.0.0.1:40000  on, moto not AWS: 104 datums taken in Matillion/AgentFleet" in drawn
    assert "104 datums taken, 13 wait" in draw(view(*BUSY, cloudwatch=replace(CLOUDWATCH, waiting=13)))
    assert "– datums taken" in draw(view(*BUSY, cloudwatch=replace(CLOUDWATCH, taken=None)))
    assert line(view(*BUSY, cloudwatch=CLOUDWATCH)).endswith(" | CloudWatch took 104 datums")
    assert "CloudWatch" not in line(view(*BUSY, cloudwatch=replace(CLOUDWATCH, taken=None)))


def test_the_command_can_be_copied() -> None:
    """Whole in one row, or continued in the next as a shell takes it; not at all where rows are few."""
    assert " ".join(CLOUDWATCH.command) in draw(view(*BUSY, cloudwatch=CLOUDWATCH))
    narrow = draw(view(*BUSY, cloudwatch=CLOUDWATCH), 100, 30)
    assert re.search(r"us-east-1 \\\n +--endpoint-url http://127.0.0.1:40000\n", narrow)
    assert "list-metrics" not in draw(view(*BUSY, cloudwatch=CLOUDWATCH), 80, 24)


def test_without_cloudwatch_it_shows_the_reason() -> None:
    """And nothing where nobody asked for one."""
    drawn = draw(view(*BUSY, cloudwatch="it needs moto"))
    assert re.search(r"^CloudWatch +off: it needs moto$", drawn, re.MULTILINE)
    assert "CloudWatch" not in draw(view(*BUSY))


def test_places_share_a_row_where_they_fit() -> None:
    """So that small screens have more rows for agents."""
    shown = view(*BUSY, places=(("status page", "http://a/"), ("Prometheus", "http://a/metrics")))
    assert re.search(r"status page +http://a/   Prometheus +http://a/metrics", draw(shown))
    assert re.search(r"status page +http://a/\nPrometheus +http://a/metrics", draw(shown, 50))


def test_nodes_that_went_away_stay_on_the_screen() -> None:
    """The latest two, whatever else happens."""
    drawn = draw(view(*BUSY, nodes=("node a was removed", "node b was lost", "node c is being removed")))
    assert "node a" not in drawn
    assert "node b was lost" in drawn
    assert "node c is being removed" in drawn


def test_the_newest_events_are_shown() -> None:
    """The last few, oldest first."""
    drawn = draw(view(*BUSY, events=tuple(f"event {number}" for number in range(9))))
    assert "event 8" in drawn
    assert "event 4" not in drawn


def chart(*points: Point, rows: int = 4, colours: bool = True) -> list[str]:
    console = Console(file=io.StringIO(), width=5 + len(points))
    with console.capture() as capture:
        console.print(Chart(points, rows, colours=colours), end="")
    return [row[5:].rstrip("\n") for row in capture.get().splitlines()]


def test_the_chart_stacks_the_queue_on_the_running_tasks() -> None:
    """Ten a row: twenty running fill two rows, ten queued the third, the line of the slots is in the fourth."""
    assert chart(Point(20.0, 10.0, 40.0)) == ["─", "█", "█", "█"]
    assert chart(Point(5.0, None, 40.0)) == ["─", " ", " ", "▄"]


def test_without_colours_the_queue_has_a_mark_of_its_own() -> None:
    """In the chart and in its legend; a row with both has the mark of what there is more of."""
    assert chart(Point(20.0, 10.0, 40.0), colours=False) == ["─", "▒", "█", "█"]
    assert chart(Point(2.0, 8.0, 40.0), colours=False) == ["─", " ", " ", "▒"]
    assert chart(Point(8.0, 2.0, 40.0), colours=False) == ["─", " ", " ", "▆"]
    assert "█ running  ▒ queued" in draw(view(*BUSY), colours=False)
    assert "█ running  █ queued" in draw(view(*BUSY))


def test_the_chart_draws_nothing_for_what_is_not_known() -> None:
    """A gap, not a zero line."""
    assert chart(Point(None, None, None), Point(40.0, 0.0, 40.0)) == [" █"] * 4


def test_the_chart_without_a_past_is_empty() -> None:
    """The first moment."""
    assert chart() == [""] * 4


def test_a_line_has_the_same() -> None:
    """For where there is no terminal."""
    shown = view(*BUSY, simulated_seconds=400.0)
    assert line(shown).startswith("00:06:40  production: 1 serving, 1 unreachable, 1 disconnected, 1 stopped | ")
    assert "not trusted: only 0 of 1 agents respond" in line(view(snapshot(1, read_at=None)))


def test_clock() -> None:
    """Hours go on above a day."""
    assert clock(90_061.9) == "25:01:01"
