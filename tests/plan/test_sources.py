"""The past from a running exporter and from databases, and the sentences where there is none."""

import argparse
import asyncio
import json
from array import array

import pytest

from exporter.cli import _parser, main
from exporter.client import StatusError
from exporter.forecast.history import GAP, SLOTS, History
from exporter.plan.errors import PlanError
from exporter.plan.series import Series
from exporter.plan.sources import of_history, past_of
from tests.factories import make_fleet
from tests.fakes.ports import free_port
from tests.plan.samples import DAY_STEPS, nightly
from tests.web.serving import StaticView, serve

KEY = ("matillion", "etl")


def options(*given: str) -> argparse.Namespace:
    return _parser().parse_args(["plan", *given])


async def test_a_running_exporters_past() -> None:
    """The same values it recorded, gaps too, of the fleet that is asked for or of the only one."""
    recorded = nightly(4)
    values = array("i", recorded.values)
    values[100:110] = array("i", [GAP]) * 10
    recorded = Series(recorded.begin, recorded.step, values)
    async with serve(StaticView([make_fleet()]), past={KEY: recorded.history()}.get) as url:
        for given in ([], ["--fleet", "matillion/etl"]):
            found = await past_of(options("--url", url, *given))
            assert (found.series.begin, list(found.series.values)) == (recorded.begin, list(values))
            assert (found.fleet, found.start_seconds) == (KEY, None)
        with pytest.raises(StatusError, match="no past of a fleet 'other' in namespace 'matillion'"):
            await past_of(options("--url", url, "--fleet", "matillion/other"))


@pytest.mark.parametrize(("measured", "known"), [(74.5, 74.5), (0.0, None), (1e6, None)])
async def test_a_running_exporter_has_measured_how_long_a_start_takes(measured: float, known: float | None) -> None:
    """What cannot be the time of a start is none."""
    async with serve(StaticView([make_fleet(starts=[measured])]), past={KEY: nightly(4).history()}.get) as url:
        assert (await past_of(options("--url", url))).start_seconds == known


@pytest.mark.slow
@pytest.mark.parametrize(("given", "used"), [([], [150.0, "measured"]), (["--start-time", "45s"], [45.0, "given"])])
async def test_a_plan_takes_the_measured_start(
    given: list[str], used: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless another is given; the document tells which of them it was."""
    async with serve(StaticView([make_fleet(starts=[150.0])]), past={KEY: nightly(4).history()}.get) as url:
        assert await asyncio.to_thread(main, ["plan", "--json", "--url", url, *given]) == 0
    out = capsys.readouterr().out
    assert list(json.loads(out[out.index("\n{\n") :])["assumed"].values()) == used


async def test_of_several_fleets_one_is_to_be_named() -> None:
    """The sentence lists them."""
    async with serve(StaticView([make_fleet(name="b"), make_fleet(name="a")])) as url:
        with pytest.raises(PlanError, match="has 2 fleets; pass --fleet with one of matillion/a, matillion/b"):
            await past_of(options("--url", url))
    async with serve(StaticView()) as url:
        with pytest.raises(PlanError, match="has no demand of any fleet"):
            await past_of(options("--url", url))


def test_ends_of_months_that_are_kept_are_no_part_of_a_plan() -> None:
    """A plan begins after the last gap of more than a day; a shorter one is a gap."""
    recent, old = nightly(5), nightly(1)
    values = [*old.values, *[GAP] * (SLOTS + 1), *recent.values, *[GAP] * 40, *recent.values]
    history = Series(recent.begin, recent.step, values).history()
    seen = of_history(history)
    assert seen.begin == recent.begin + (2 * DAY_STEPS + 1) * recent.step
    assert list(seen.values) == values[2 * DAY_STEPS + 1 :]
    with pytest.raises(PlanError, match="nothing of the past is known yet"):
        of_history(History())


@pytest.mark.parametrize(
    ("given", "code", "sentence"),
    [
        (["--prometheus", "http://127.0.0.1:{port}"], 1, "Prometheus gives no past: "),
        (["--url", "http://127.0.0.1:{port}"], 1, "cannot be reached (connection refused)"),
        (["--prometheus", "not a url"], 2, "--prometheus: "),
        (["--prometheus", "http://127.0.0.1:{port}", "--matchers", "{{"], 2, "--matchers: "),
    ],
)
def test_no_source_is_one_sentence(
    given: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 where it cannot be reached, 2 for wrong use; with the option, not the setting of the exporter."""
    port = free_port()
    assert main(["plan", *(one.format(port=port) for one in given)]) == code
    error = capsys.readouterr().err
    assert sentence in error
    assert "forecast." not in error
    assert len(error.splitlines()) == 1
