"""JSON as the API server writes it. Pure."""

import json
from typing import NoReturn


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def parse_json(raw: bytes | str) -> object:
    """Return the value of a JSON text in UTF-8.

    Raises ValueError for anything else, such as NaN, or a nesting that is too deep for any object of Kubernetes.
    """
    try:
        return _DECODER.decode(raw if isinstance(raw, str) else raw.decode())
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
