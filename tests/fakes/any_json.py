"""Whatever JSON as Python reads it may contain, for property tests of what is read back from files and notes."""

import json
from collections.abc import Sequence

from hypothesis import strategies as st

ODD_NUMBERS = st.sampled_from(
    [float("inf"), float("-inf"), float("nan"), -0.0, 1e308, 5e-324, 10**400, -(10**400), 2**53, 2**63, -1, True, False]
)
"""Numbers that are none, are too large for a float, or for a date, or only look like numbers."""
ODD_TEXTS = st.sampled_from(["", " ", "\ud800", "\udfff\ud800", "\0", "\x1b[2J", "é", "x" * 3000, ":x", "NaN"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | ODD_NUMBERS | ODD_TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
DEEP_TEXTS = st.sampled_from(["[" * 5000, '{"a":' * 5000, "[" * 5000 + "]" * 5000])
"""Nested so deeply that a reader runs out of stack."""


@st.composite
def altered(draw: st.DrawFn, sound: object) -> object:
    """Return a sound value in which one thing, at any depth, is something else, or is missing."""
    if isinstance(sound, Sequence) and not isinstance(sound, str) and sound and draw(st.booleans()):
        at = draw(st.integers(0, len(sound) - 1))
        rest = [*sound[:at], *sound[at + 1 :]]
        return rest if draw(st.integers(0, 9)) == 0 else [*sound[:at], draw(altered(sound[at])), *sound[at + 1 :]]
    if isinstance(sound, dict) and sound and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(sound)))
        return {**sound, key: draw(altered(sound[key]))}
    return draw(VALUES)


def texts(sound: object) -> st.SearchStrategy[str]:
    """Return texts that might stand where the JSON of `sound` is expected."""
    return st.one_of(
        altered(sound).map(json.dumps),
        VALUES.map(json.dumps),
        st.text(max_size=30),
        DEEP_TEXTS,
        st.integers(0, 10**6).map(lambda cut: json.dumps(sound)[: cut % (len(json.dumps(sound)) + 1)]),
    )
