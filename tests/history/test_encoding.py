"""The past as text: what is written can be read, additions, sizes, and what anybody might have written there."""

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from math import exp, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.fleet.starts import KEPT_STARTS
from exporter.forecast.history import GAP, SLOT_SECONDS, SLOTS, History
from exporter.history.encoding import MAX_ENTRIES, MAX_TASKS, STARTS, Decoded, decode, updated
from exporter.store.start_times import AgentStart
from tests.factories import WALL_NOW

DAYS = 28
TODAY = int(WALL_NOW // 86400)
DAY = "2026-01-01"
"""Today."""
FLAT = f"3*{SLOTS}"

starts = st.lists(
    st.builds(
        AgentStart,
        st.integers(0, 2_000_000_000).map(float),
        st.text("0123456789abcdef", min_size=8, max_size=8),
        st.integers(0, 36_000).map(lambda tenths: tenths / 10),
    ),
    max_size=5,
)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw some of the latest days, each with runs of random length."""
    history = History()
    for day in draw(st.sets(st.integers(TODAY - 3, TODAY), max_size=3)):
        tasks = st.one_of(st.just(GAP), st.integers(0, 40), st.integers(0, MAX_TASKS))
        runs = draw(st.lists(st.tuples(tasks, st.integers(1, 60)), min_size=1, max_size=12))
        slots = [value for value, count in runs for _ in range(count)]
        history.merge_day(day, (slots + [GAP] * SLOTS)[:SLOTS])
    return history


def added(entries: Mapping[str, str], history: History, new: list[AgentStart] | None = None) -> Mapping[str, str]:
    return updated(entries, history, new or [], now=WALL_NOW, days=DAYS)


def read(entries: Mapping[str, object], before: Decoded | None = None) -> Decoded:
    return decode(entries, WALL_NOW, DAYS, before)


def slots(history: History) -> dict[int, list[int]]:
    return {day: list(history.slots(day * SLOTS, SLOTS)) for day in history.days()}


@settings(max_examples=40)
@given(histories())
def test_what_is_written_can_be_read(history: History) -> None:
    found = read(added({}, history))
    assert slots(found.history) == slots(history)
    assert not found.refused


def test_a_day_is_legible() -> None:
    """Values from midnight on, runs and gaps shortened."""
    history = History()
    for slot, demand in ((24, 12), (25, 15), (26, 15), (27, 0), (28, 0), (29, 0)):
        history.record((TODAY * SLOTS + slot) * SLOT_SECONDS, demand)
    assert added({}, history) == {DAY: f"-*24 12 15 15 0*3 -*{SLOTS - 30}"}


@settings(max_examples=40)
@given(histories(), histories(), starts, starts)
def test_additions_are_maxima(one: History, other: History, some: list[AgentStart], more: list[AgentStart]) -> None:
    """Whatever their order, and however often they are made."""
    both = added(added({}, one, some), other, more)
    assert both == added(added({}, other, more), one, some)
    assert both == added(added(both, one, some), other, more)
    expected = slots(one)
    for day, theirs in slots(other).items():
        expected[day] = [max(pair) for pair in zip(theirs, expected.get(day, [GAP] * SLOTS), strict=True)]
    found = read(both)
    assert slots(found.history) == expected
    assert {start.uid for start in found.starts} == {start.uid for start in (*some, *more)}


@settings(max_examples=40)
@given(histories(), histories())
def test_what_has_not_changed_is_not_read_again(one: History, other: History) -> None:
    """With the same result as without the earlier one."""
    first = added({}, one)
    second = added(first, other)
    assert slots(read(second, read(first)).history) == slots(read(second).history)
    another = replace(read(first), history=History())
    same = first.keys() & {key for key in second if second[key] == first.get(key)}
    assert len(read(second, another).history.days()) == len(second) - len(same)


def test_how_far_the_past_is_known() -> None:
    """To the end of the last five minutes of which something is known."""
    history = History()
    assert read({}).known_until == 0
    history.record(WALL_NOW, 0)
    history.record(WALL_NOW - 90_000, 8)
    assert read(added({}, history)).known_until == WALL_NOW - WALL_NOW % SLOT_SECONDS + SLOT_SECONDS


def test_old_days_are_left_out() -> None:
    """By the same rule as in memory; what is not ours stays."""
    entries = {"2025-11-15": FLAT, "2025-10-31": FLAT, "2025-12-20": FLAT, "2030-01-01": FLAT, "note": "mine"}
    assert set(added(entries, History())) == {"2025-10-31", "2025-12-20", "note"}
    assert set(read(entries).refused) == {"2030-01-01"}
    assert len(read(entries).history.days()) == 2


def test_an_addition_of_no_kept_day_is_left_out() -> None:
    """As from a clock that was wrong."""
    history = History()
    history.record(0.0, 5)
    history.record(1e12, 5)
    assert added({}, history) == {}


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        (DAY, "", "'' is no number of tasks"),
        (DAY, f"3*{SLOTS - 1}", f"not {SLOTS} values"),
        (DAY, f"3*{SLOTS + 1}", f"not {SLOTS} values"),
        (DAY, "3*999 " * 300, f"not {SLOTS} values"),
        (DAY, "3*0", f"not {SLOTS} values"),
        (DAY, f"3*-{SLOTS}", "no number of tasks"),
        (DAY, f"-1*{SLOTS}", "no number of tasks"),
        (DAY, f"nan*{SLOTS}", "no number of tasks"),
        (DAY, f"1e3*{SLOTS}", "no number of tasks"),
        (DAY, f"1_0*{SLOTS}", "no number of tasks"),
        (DAY, f"\N{ARABIC-INDIC DIGIT THREE}*{SLOTS}", "no number of tasks"),
        (DAY, f"3*{SLOTS}\n", "no number of tasks"),
        (DAY, f"9999999*{SLOTS}", f"more than {MAX_TASKS}"),
        (DAY, f"{'9' * 1000}*{SLOTS}", "no number of tasks"),
        (DAY, "3 " * 1_000_000, "longer than"),
        (DAY, [1] * SLOTS, "not text"),
        (DAY, None, "not text"),
        (DAY, json.loads("[" * 500 + "]" * 500), "not text"),
        ("2026-02-30", FLAT, None),
        ("2026-01-03", FLAT, "in the future"),
        ("9999-12-31", FLAT, "in the future"),
        (STARTS, "1 2.0", "no start of an agent"),
        (STARTS, "1 nan a", "no start of an agent"),
        (STARTS, "1 -2.0 a", "no start of an agent"),
        (STARTS, "1 99999.0 a", "no start of an agent"),
        (STARTS, "1 2.0 a, " * 1_000_000, "longer than"),
        (STARTS, 5, "not text"),
    ],
)
def test_one_broken_entry(key: str, text: object, reason: str | None) -> None:
    """It is refused with its reason, alone; an addition on the same day replaces it."""
    found = read({"2025-12-31": FLAT, STARTS: "5 45.3 a"} | {key: text})
    assert [start.seconds for start in found.starts] == ([] if key == STARTS else [45.3])
    assert found.history.days() == [TODAY - 1]
    assert list(found.refused) == ([key] if reason else [])
    assert reason is None or reason in found.refused[key]
    addition = History()
    addition.record(WALL_NOW, 7)
    if isinstance(text, str):
        after = read(added({"2025-12-31": FLAT, key: text}, addition, [AgentStart(6, "b", 1)]))
        assert (after.history.highest(), after.history.days()) == (7, [TODAY - 1, TODAY])
        assert after.starts == (AgentStart(6, "b", 1),)


@given(
    st.dictionaries(st.sampled_from([DAY, "2025-12-31", STARTS, "note"]), st.text("0123456789-* ,.abn", max_size=40))
)
def test_no_text_raises(entries: dict[str, str]) -> None:
    """Nor does the addition to it."""
    assert read(entries).history.days() == []
    addition = History()
    addition.record(WALL_NOW, 7)
    assert read(added(entries, addition)).history.highest() == 7


def test_ancient_days_take_no_memory() -> None:
    """The days between them would."""
    assert read({"0001-01-01": FLAT, "1969-12-31": FLAT}).history.days() == []


def test_too_many_entries() -> None:
    """What is read is bounded."""
    entries = {f"note-{number}": "" for number in range(MAX_ENTRIES)} | {DAY: FLAT}
    assert read(entries).history.days() == []


def test_the_latest_starts_are_kept() -> None:
    """Ordered by their pods' creation; a pod that two replicas saw counts once, as the first of them saw it."""
    many = [AgentStart(float(number), f"{number:08d}-more-of-it", number / 10) for number in range(150)]
    entries = added(added({}, History(), many[:120]), History(), [AgentStart(149.9, "00000149", 3.0), *many[90:]])
    found = read(entries).starts
    assert [start.created for start in found] == [float(number) for number in range(50, 150)]
    assert found[-1].seconds == 3.0
    assert len(found) == KEPT_STARTS
    assert len(entries[STARTS]) < 2500


def test_a_start_that_could_not_be_read_is_not_written() -> None:
    strange = [AgentStart(1, "a b", 2), AgentStart(1, "", 2), AgentStart(1, "a", float("nan")), AgentStart(-1, "a", 2)]
    assert added({}, History(), strange) == {}


def test_size_of_a_week() -> None:
    """A few KB: work by the hour with its peaks, and tasks that come at random in between."""
    chance = random.Random(1)  # noqa: S311 - a workload
    history = History()
    for slot in range((TODAY - 7) * SLOTS, TODAY * SLOTS):
        hour = slot % SLOTS / 12
        usual = 60 * exp(-(((hour - 13) / 4) ** 2)) + (25 if slot % 12 < 2 else 4) + (150 if 2 <= hour < 3 else 0)
        history.record(slot * SLOT_SECONDS, max(0.0, chance.gauss(usual, sqrt(usual))))
    assert 4500 < sum(map(len, added({}, history).values())) < 6000


@pytest.mark.parametrize(("highest", "size"), [(20, 5_200), (200, 7_200), (20_000, 11_200), (MAX_TASKS, 14_200)])
def test_size_of_a_week_of_noise(highest: int, size: int) -> None:
    """The worst there is: no value like the one before it."""
    chance = random.Random(1)  # noqa: S311 - noise
    history = History()
    for day in range(TODAY - 7, TODAY):
        history.merge_day(day, [chance.randint(0, highest) for _ in range(SLOTS)])
    assert 0.9 * size < sum(map(len, added({}, history).values())) < size
