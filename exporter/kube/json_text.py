"""JSON as the API server writes it. Pure."""

import json
from typing import NoReturn

from exporter.fleet.read_back import read_json


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def parse_json(raw: bytes | str) -> object:
    """Return the value of a JSON text in UTF-8.

    Raises ValueError for anything else, such as NaN, or a nesting that is too deep for any object of Kubernetes.
    """
    return read_json(raw, _DECODER.decode)
