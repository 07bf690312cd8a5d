"""Numbers as Kubernetes writes them: a whole number and a suffix, never a floating point number.

Pure. Canonical form as defined by the API ("Quantity" in the API reference, kubernetes.io): no digits after the point,
and the largest suffix with which none is needed. So 16.5 is `16500m`, 42 is `42`, 42000 is `42k`.
"""

import math
import re
from decimal import Decimal

MAX_MILLI = (2**63 - 1) // 1000
"""Largest number written. The HPA counts thousandths in 64 bits: anything larger overflows there."""

_SUFFIXES = ("m", "", "k", "M", "G", "T", "P")
_STEP = 1000
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([KMGTPE]i|[numkMGTPE])?)", re.ASCII)
_QUANTITY_LENGTH = 64
"""Longer than any quantity that Kubernetes writes; bounds the cost of a hostile one."""
_FACTORS = {
    **{prefix + "i": Decimal(1024**power) for power, prefix in enumerate("KMGTPE", start=1)},
    **{
        suffix: Decimal(10) ** power
        for suffix, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
}


def format_quantity(value: float) -> str:
    """Return a number as a quantity, rounded to a thousandth, the HPA's resolution.

    Raises ValueError for a number that is not finite or larger than `MAX_MILLI`.
    """
    if not math.isfinite(value) or abs(value) > MAX_MILLI:
        raise ValueError(f"{value!r} cannot be written as a quantity")
    number = round(value * _STEP)
    if number == 0:
        return "0"
    power = 0
    while number % _STEP == 0 and power + 1 < len(_SUFFIXES):
        number //= _STEP
        power += 1
    return f"{number}{_SUFFIXES[power]}"


def parse_quantity(text: object) -> float | None:
    """Read a Kubernetes quantity (`4Gi`, `129M`, `4e9`, `1500m`, `128974848`); None where it is not one.

    Grammar: kubernetes.io, "Quantity" in the API reference.
    """
    if not isinstance(text, str) or len(text) > _QUANTITY_LENGTH:
        return None
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, exponent, suffix = match.groups()
    try:
        value = float(Decimal(number + (exponent or "")) * _FACTORS.get(suffix, Decimal(1)))
    except ArithmeticError:
        return None
    return value if math.isfinite(value) else None
