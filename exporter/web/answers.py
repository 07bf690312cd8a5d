"""How an answer leaves: JSON, compressed where it pays, and long lists in slices that never hold the event loop.

It must not know what is in a document.
"""

import asyncio
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from time import perf_counter

from aiohttp import hdrs, web

JSON_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of everything that is not a page: nothing in it may load or run."""

SLICE_SECONDS = 0.005
"""How long making a part of an answer may hold the event loop: a tenth of the 50 ms that nothing here may exceed."""
SLICE_BYTES = 64 * 1024
"""At most this much of an answer waits for a slow reader: asyncio's default high-water mark of a transport."""
_COMPRESS_FROM = 1400
"""Bytes; a smaller answer fits one network packet as it is."""
_GZIP = 16 + zlib.MAX_WBITS


def encode(document: Mapping[str, object]) -> bytes:
    """Return the document as JSON; raises ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def json_answer(request: web.BaseRequest, document: Mapping[str, object], status: int = 200) -> web.Response:
    """Return the answer that carries one document of ordinary size."""
    return _whole(request, encode(document) + b"\n", status)


async def json_list(
    request: web.BaseRequest, head: Mapping[str, object], key: str, items: Iterable[Mapping[str, object]]
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
        return _whole(request, first, 200)
    gzip = wants_gzip(request)
    response = web.StreamResponse(headers=_headers(gzip=gzip))
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    squeeze = zlib.compressobj(wbits=_GZIP) if gzip else None
    try:
        await _write(response, squeeze, first)
        await _write(response, squeeze, second)
        for piece in slices:
            await _write(response, squeeze, piece)
        await response.write_eof(squeeze.flush() if squeeze is not None else b"")
    except ConnectionError:
        pass  # the reader left; there is nobody to tell
    return response


def wants_gzip(request: web.BaseRequest) -> bool:
    """Return whether the client takes gzip (RFC 9110 §12.5.3: named or `*`, and not with weight 0)."""
    weights: dict[str, float] = {}
    for element in request.headers.get(hdrs.ACCEPT_ENCODING, "").split(","):
        coding, _, parameter = element.strip().lower().partition(";")
        name, _, weight = parameter.strip().partition("=")
        try:
            weights[coding.strip()] = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0


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


async def _write(response: web.StreamResponse, squeeze: "zlib._Compress | None", piece: bytes) -> None:
    data = squeeze.compress(piece) if squeeze is not None else piece
    if data:
        await response.write(data)
    # A write into a socket that has room returns without giving way.
    await asyncio.sleep(0)


def _whole(request: web.BaseRequest, body: bytes, status: int) -> web.Response:
    gzip = len(body) >= _COMPRESS_FROM and wants_gzip(request)
    if gzip:
        body = zlib.compress(body, wbits=_GZIP)
    return web.Response(body=body, status=status, headers=_headers(gzip=gzip))


def _headers(*, gzip: bool) -> dict[str, str]:
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: "application/json", hdrs.VARY: hdrs.ACCEPT_ENCODING}
    if gzip:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    return headers
