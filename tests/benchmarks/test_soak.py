"""What the soak makes of the figures it looked at."""

from dataclasses import replace

import pytest

from benchmarks.scrape.figures import Verdict
from benchmarks.scrape.report import missed
from benchmarks.soak import LIMITS, Look, report

LOOKS = [
    Look(
        hours=number / 6,
        memory_mib=130.0 + number % 3,
        descriptors=85.0 + number % 5,
        series=1500.0 + 40 * (number % 4),
        spool_datums=48.0 * (number % 2),
        config_maps=4,
        config_map_kib=14.0 + number / 30,
        annotated_pods=55.0 + number % 7,
    )
    for number in range(144)
]


def test_what_goes_up_and_down_is_flat() -> None:
    """Noise is no growth."""
    assert missed(report(LOOKS)) == []


@pytest.mark.parametrize("figure", LIMITS)
def test_what_grows_is_found(figure: str) -> None:
    """Twice as much at the end as in the beginning is growth, of every figure."""
    growing = [
        replace(look, **{figure: getattr(look, figure) * (1 + look.hours / 24) + 4 * look.hours}) for look in LOOKS
    ]
    assert [row.what for row in missed(report(growing))] == [LIMITS[figure].why]


def test_what_grows_in_the_beginning_only_is_flat() -> None:
    """Caches fill: the line begins after that."""
    warm = [replace(look, memory_mib=min(130.0, 70.0 + 20 * look.hours)) for look in LOOKS]
    assert all(row.verdict is Verdict.PASS for row in report(warm))
