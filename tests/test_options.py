"""Types of options: what is taken, and the sentence where it is not."""

import argparse

import pytest

from exporter.options import whole


@pytest.mark.parametrize(
    ("lowest", "highest", "text", "number"), [(0, None, "0", 0), (1, 20, "20", 20), (1, 20, "1", 1)]
)
def test_bounds_are_included(lowest: int, highest: int | None, text: str, number: int) -> None:
    """Both ends are taken."""
    assert whole(lowest, highest)(text) == number


@pytest.mark.parametrize("text", ["", "-1", "0", "21", "1.0", " 5", "٣", "x", "9" * 5000])
def test_all_else_is_a_sentence(text: str) -> None:
    """Also a number with more digits than Python reads; what is shown of it is short."""
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        whole(1, 20)(text)
    assert str(caught.value).startswith("it must be a whole number from 1 to 20, not ")
    assert len(str(caught.value)) < 140
    with pytest.raises(argparse.ArgumentTypeError, match="a whole number from 30 up, not"):
        whole(30)(text)
