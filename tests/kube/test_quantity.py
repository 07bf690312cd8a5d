"""Numbers in the form the HPA reads without loss."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.quantity import format_quantity

FACTORS = {"m": Fraction(1, 1000), "": Fraction(1)} | {
    suffix: Fraction(1000) ** power for power, suffix in enumerate("kMGTP", start=1)
}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.0004, "0"),
        (42, "42"),
        (42.0, "42"),
        (16.5, "16500m"),
        (0.1, "100m"),
        (0.1 + 0.2, "300m"),
        (33.333333, "33333m"),
        (1000, "1k"),
        (16500, "16500"),
        (1_000_000, "1M"),
        (-2.5, "-2500m"),
        (1e15, "1P"),
    ],
)
def test_canonical_form(value: float, text: str) -> None:
    """The largest suffix that needs no digits after the point."""
    assert format_quantity(value) == text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e16, -1e300])
def test_what_the_hpa_cannot_count_is_refused(value: float) -> None:
    """Neither NaN nor what would overflow 64 bits of thousandths is written."""
    with pytest.raises(ValueError, match="cannot be written"):
        format_quantity(value)


@given(st.floats(-1e12, 1e12))
def test_reads_back_to_a_thousandth(value: float) -> None:
    """What is written is a whole number and a suffix, and means the value, rounded to a thousandth."""
    text = format_quantity(value)
    suffix = text.lstrip("-0123456789")
    digits = text.removesuffix(suffix)
    assert abs(int(digits) * FACTORS[suffix] - Fraction(value)) <= Fraction(1, 1000)
    assert digits == "0" or suffix == "P" or not digits.endswith("000")
