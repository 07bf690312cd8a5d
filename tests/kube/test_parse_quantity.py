"""Quantities as Kubernetes writes them."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.quantity import parse_quantity

FACTORS = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4Gi", 4 * 2**30),
        ("4096Mi", 4096 * 2**20),
        ("4e9", 4e9),
        ("4E9", 4e9),
        ("4E", 4e18),
        ("1e-3", 0.001),
        ("128974848", 128974848),
        ("129M", 129e6),
        ("1500m", 1.5),
        ("0.5Gi", 2**29),
        (".5", 0.5),
        ("5.", 5),
        ("+1k", 1000),
        ("-1k", -1000),
        ("0", 0),
    ],
)
def test_every_form(text: str, value: float) -> None:
    """All forms that Kubernetes' documentation gives are read."""
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    ["", " 4Gi", "4Gi ", "4 Gi", "4gi", "4K", "4GiB", "4KB", "e9", "4e", "4e9Gi", "--4", "4,5", "0x10", "Inf", "NaN",
     "1e400", "1e-99999999999999999999", "9" * 100, "\N{FULLWIDTH DIGIT FOUR}Gi", None, 4, 4.0, True, b"4Gi", ["4Gi"]],
)  # fmt: skip
def test_what_is_no_quantity_is_unknown(text: object) -> None:
    """Anything else is not known, and never an error."""
    assert parse_quantity(text) is None


@given(
    number=st.decimals(min_value=-(10**15), max_value=10**15, places=6, allow_nan=False, allow_infinity=False),
    suffix=st.sampled_from(sorted(FACTORS)),
)
def test_number_times_suffix(number: object, suffix: str) -> None:
    """The value is the number times what the suffix stands for, as exactly as a float can say it."""
    text = f"{number:f}"
    value = parse_quantity(text + suffix)
    assert value is not None
    assert math.isclose(value, float(Fraction(text) * FACTORS[suffix]), rel_tol=1e-15)


@given(number=st.integers(0, 10**6), exponent=st.integers(-12, 12), letter=st.sampled_from("eE"))
def test_decimal_exponent(number: int, exponent: int, letter: str) -> None:
    """An exponent counts powers of ten."""
    value = parse_quantity(f"{number}{letter}{exponent}")
    assert value == float(Fraction(number) * Fraction(10) ** exponent)


@given(st.text())
def test_no_text_is_an_error(text: str) -> None:
    """Whatever is written, the answer is a finite number or None."""
    value = parse_quantity(text)
    assert value is None or math.isfinite(value)
