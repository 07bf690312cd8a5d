"""The invariants of the processes hold for what is right, and are violated by what is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos import processes
from tests.chaos.faults import BOTH, Happened, Kind
from tests.chaos.pulse import Beat
from tests.chaos.replicas import Boot
from tests.chaos.seen import Use
from tests.chaos.test_invariants import BOOT, BOOTED, MADE, facts, wrong

BEAT = Beat("one", BOOTED, MADE, MADE + 0.35, 200, waited=0.1, control=0.2)
MIB = 1024**2


def test_an_answer_is_required_of_a_process_that_runs() -> None:
    """Another status, or none, is seen; a process that starts, is stopped or ends soon need not answer."""
    assert wrong(processes.alive(BEAT, facts())) == []
    for status in (503, None):
        dead = replace(BEAT, status=status)
        [sentence] = wrong(processes.alive(dead, facts()))
        assert sentence == f"answers {status or 'nothing'} on /healthz while it runs"
        for boot in (
            replace(BOOT, answered=None),
            replace(BOOT, answered=MADE + 1),
            replace(BOOT, pauses=[(MADE - 0.5, None)]),
            replace(BOOT, told=MADE + 1),
            replace(BOOT, ended=MADE + 1),
        ):
            assert list(processes.alive(dead, facts(boot=boot))) == []


def test_a_stall_is_what_neither_the_machine_nor_a_pause_takes() -> None:
    """A tenth of a second beyond what the machine was late by is seen."""
    assert wrong(processes.no_stall(BEAT, facts())) == []
    [sentence] = wrong(processes.no_stall(replace(BEAT, answered=MADE + 0.45), facts()))
    assert sentence == "answers after 150 ms (and 300 ms are the machine's)"
    stopped = replace(BOOT, pauses=[(MADE + 0.1, MADE + 0.4)])
    assert list(processes.no_stall(replace(BEAT, answered=MADE + 0.45), facts(boot=stopped))) == []


def use(minute: float, rss: float, descriptors: int = 200) -> Use:
    """Return what a process takes when it is so many minutes old."""
    return Use("one", BOOTED, BOOTED + 60 * minute, int(rss * MIB), descriptors)


def test_memory_above_the_limit_is_seen() -> None:
    """A process at the chart's limit would be killed."""
    assert wrong(processes.within_memory(use(1, 511), facts())) == []
    assert wrong(processes.within_memory(use(1, 512), facts())) == ["takes 512 MiB"]


def life(
    take: Callable[[float], float], minutes: float = 20, descriptors: Callable[[float], int] = lambda _: 200
) -> list[Use]:
    """Return what a process takes by its age in minutes, looked at every four seconds."""
    ages = [second / 60 for second in range(0, int(minutes * 60), 4)]
    return [use(age, take(age), descriptors(age)) for age in ages]


def restarted(take: Callable[[float], float], minutes: float) -> list[Use]:
    """Return the same for five processes, one after the other."""
    return [replace(one, booted=n, at=n + one.at - one.booted) for n in range(5) for one in life(take, minutes)]


def test_what_does_not_grow() -> None:
    """What swings, what young processes take, and what they take once for something new; nor is a short life judged."""
    for uses in (
        life(lambda age: 200 + 40 * (int(4 * age) % 2), descriptors=lambda age: 200 + 20 * (int(4 * age) % 3)),
        life(lambda age: 115 + 3 * min(age, 5)),
        restarted(lambda age: 115 + 12 * (age > 1.5) + 12 * (age > 3), minutes=4),
        restarted(lambda age: 115 + 10 * (age > 1.2) + 10 * (age > 2) + 10 * (age > 2.8), minutes=3.3),
    ):
        assert wrong(processes.flat(uses, facts())) == []
        assert list(processes.flat(uses, facts()))
    assert list(processes.flat(life(lambda age: 100 * age, minutes=1.5), facts())) == []


def test_growth_is_seen() -> None:
    """What grows all the time, in processes that are killed soon; little, in one that lasts; and descriptors."""
    assert wrong(processes.flat(restarted(lambda age: 100 + 5 * age, minutes=4), facts())) == [
        "takes 5.0 MiB of memory more each minute"
    ]
    # What is freed late comes in arenas of a MiB (CPython, pymalloc).
    [arenas] = wrong(processes.flat(restarted(lambda age: 100 + int(3 * age), minutes=4), facts()))
    assert arenas == "takes 1.9 MiB of memory more each minute"
    *_, settled = wrong(processes.flat(life(lambda age: 100 + 1.5 * age), facts()))
    assert settled == "takes 1.5 MiB of memory more each minute"
    [_, settled] = wrong(processes.flat(life(lambda _: 100, descriptors=lambda age: int(20 * age)), facts()))
    assert settled == "takes 20.0 descriptors more each minute"


def test_few_connections_without_an_api_server_are_no_growth_later() -> None:
    """Agents that are gone are not followed by others then; what grows all the same is seen."""
    true = facts()
    away = Happened(Kind.API_AWAY, BOTH, BOOTED + 60 * 5, BOOTED + 60 * 8)

    def connected(age: float) -> int:
        return 150 if not 5 <= age < 8.9 else 40

    dip = life(lambda _: 100, descriptors=connected)
    [sentence] = wrong(processes.flat(dip, true))
    assert sentence.endswith("descriptors more each minute")
    true.happenings.all.append(away)
    assert wrong(processes.flat(dip, true)) == []
    [_, leak] = wrong(processes.flat(life(lambda _: 100, descriptors=lambda age: connected(age) + int(20 * age)), true))
    assert leak == "takes 20.0 descriptors more each minute"


@pytest.mark.parametrize(
    ("boot", "sentence"),
    [
        (Boot(1, 0.0, ended=50.0, code=1), "ended with exit code 1 without being told to"),
        (Boot(1, 0.0, ended=50.0, code=0), "ended with exit code 0 without being told to"),
        (Boot(1, 0.0, ended=50.0, code=1, told=49.0), "ended with exit code 1"),
        (Boot(1, 0.0, ended=50.0, code=-15, told=49.0, answered=40.0), "ended with exit code -15"),
        (Boot(1, 0.0, ended=56.5, code=0, told=50.0), "took 6.5 s to end"),
    ],
)
def test_an_end_out_of_order_is_seen(boot: Boot, sentence: str) -> None:
    """An end without request, with an error, or too late."""
    assert wrong(processes.ends_in_order(boot)) == [sentence]


def test_ends_in_order() -> None:
    """Told to and at once; or after it went on; or killed, which is no end in order to be asked for."""
    assert wrong(processes.ends_in_order(Boot(1, 0.0, ended=51.0, code=0, told=50.0))) == []
    stopped = Boot(1, 0.0, ended=71.0, code=0, told=50.0, pauses=[(49.0, 70.0)])
    assert wrong(processes.ends_in_order(stopped)) == []
    assert wrong(processes.ends_in_order(Boot(1, 0.0, ended=50.0, code=-15, told=49.0))) == [], "it had not begun"
    for boot in (Boot(1, 0.0), Boot(1, 0.0, ended=50.0, code=-9, killed=True)):
        assert list(processes.ends_in_order(boot)) == []


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"event": "x", "exception": []}, "a traceback"),
        ({"event": "x", "level": "critical"}, "a traceback"),
        ({"event": "Traceback (most recent call last)"}, "a traceback"),
        ({"event": "hidden-word"}, "a secret"),
    ],
)
def test_a_line_that_should_not_be_is_seen(line: dict[str, object], sentence: str) -> None:
    """Tracebacks, secrets, and what is no event at all."""
    good = json.dumps({"event": "agent is serving", "level": "info"})
    [found] = wrong(processes.log_clean([good, json.dumps(line)], ["hidden-word"]))
    assert found.startswith(sentence)


def test_a_line_that_is_no_event_is_seen() -> None:
    """Only the last words of a process that failed are for people."""
    assert wrong(processes.log_clean(["Segmentation fault"], [])) == ["no event: Segmentation fault"]
    assert wrong(processes.log_clean(["fleet-exporter: the port is in use"], [])) == []
