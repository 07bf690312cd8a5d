"""Quantiles that are one of the values."""

from collections.abc import Sequence
from math import ceil


def quantile(values: Sequence[float], share: float) -> float:
    """Return the lowest of the values that a share of them (above 0, at most 1) does not exceed.

    Always one of the values, which there must be.
    """
    return sorted(values)[ceil(share * len(values)) - 1]
