"""Numbers as Kubernetes writes them: a whole number and a suffix, never a floating point number.

Pure. Canonical form as defined by the API ("Quantity" in the API reference, kubernetes.io): no digits after the point,
and the largest suffix with which none is needed. So 16.5 is `16500m`, 42 is `42`, 42000 is `42k`.
"""

import math

MOST = (2**63 - 1) // 1000
"""Largest number written. The HPA counts in thousandths of a unit and in 64 bits: anything larger overflows there."""

_SUFFIXES = ("m", "", "k", "M", "G", "T", "P")
_STEP = 1000


def format_quantity(value: float) -> str:
    """Return a number as a quantity, rounded to a thousandth, the finest the HPA knows.

    Raises ValueError for what is no finite number or larger than `MOST`.
    """
    if not math.isfinite(value) or abs(value) > MOST:
        raise ValueError(f"{value!r} cannot be written as a quantity")
    number = round(value * _STEP)
    if number == 0:
        return "0"
    power = 0
    while number % _STEP == 0 and power + 1 < len(_SUFFIXES):
        number //= _STEP
        power += 1
    return f"{number}{_SUFFIXES[power]}"
