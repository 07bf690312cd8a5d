"""How an answer leaves: JSON, compressed where it pays, and long lists in slices that never hold the event loop.

It must not know what is in a document.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from time import perf_counter

from aiohttp import hdrs, web

from exporter.serve.compression import stream, whole

JSON_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of everything that is not a page: nothing in it may load or run."""

SLICE_SECONDS = 0.005
"""How long making a part of an answer may hold the event loop: a tenth of the 50 ms that nothing here may exceed."""
SLICE_BYTES = 64 * 1024
"""At most this much of an answer waits for a slow reader: asyncio's default high-water mark of a transport."""
_HEADERS: dict[str, str] = {hdrs.CONTENT_TYPE: "application/json", hdrs.VARY: hdrs.ACCEPT_ENCODING}


def encode(document: Mapping[str, object]) -> bytes:
    """Return the document as JSON; raises ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def json_answer(request: web.BaseRequest, document: Mapping[str, object], status: int = 200) -> web.Response:
    """Return the answer that carries one document of ordinary size."""
    return whole(request, encode(document) + b"\n", status, _HEADERS)


async def json_list(
    request: web.Request, head: Mapping[str, object], key: str, items: Iterable[Mapping[str, object]]
) -> web.StreamResponse:
    """Answer with the document `head` plus a list `key` of any length.

    `items` is consumed, encoded and compressed a slice at a time, each slice is written before the next is made, and
    the loop runs in between: neither memory nor the longest pause grows with the length of the list. An answer of one
    slice goes out whole, with its Content-Length.
    """
    slices = _slices(head, key, items)
    first = next(slices)
    await asyncio.sleep(0)
    second = next(slices, None)
    if second is None:
        return whole(request, first, 200, _HEADERS)
    return await stream(request, chain((first, second), slices), _HEADERS)


def _slices(head: Mapping[str, object], key: str, items: Iterable[Mapping[str, object]]) -> Iterator[bytes]:
    opening = encode(head).removesuffix(b"}")
    pieces = [opening, b"," if len(head) else b"", json.dumps(key).encode(), b":["]
    size, separator, started = 0, b"", perf_counter()
    for item in items:
        encoded = encode(item)
        pieces += (separator, encoded)
        separator, size = b",", size + len(encoded)
        if size >= SLICE_BYTES or perf_counter() - started >= SLICE_SECONDS:
            yield b"".join(pieces)
            pieces, size, started = [], 0, perf_counter()
    pieces.append(b"]}\n")
    yield b"".join(pieces)
