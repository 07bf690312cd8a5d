"""Answers in gzip for clients that take it, whole or a piece at a time. It must not know what is in them."""

import asyncio
import zlib
from collections.abc import Iterable, Mapping

from aiohttp import hdrs, web

from exporter.serve.interruption import Interruption

_COMPRESS_FROM = 1400
"""Bytes; a smaller answer fits one network packet as it is."""
# zlib's fastest level already makes a page of a thousand agents forty times smaller; more is not worth the CPU.
_LEVEL = 1
_CONTAINER = 16 + zlib.MAX_WBITS
"""The window size, and 16 for a gzip header (zlib.h, deflateInit2)."""


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


def whole(request: web.BaseRequest, body: bytes, status: int, headers: Mapping[str, str]) -> web.Response:
    """Return the answer that carries `body`, compressed where that pays. `headers` should vary by Accept-Encoding."""
    if len(body) < _COMPRESS_FROM or not wants_gzip(request):
        return web.Response(body=body, status=status, headers=headers)
    compressed = zlib.compress(body, level=_LEVEL, wbits=_CONTAINER)
    return web.Response(body=compressed, status=status, headers={**headers, hdrs.CONTENT_ENCODING: "gzip"})


async def stream(request: web.Request, pieces: Iterable[bytes], headers: Mapping[str, str]) -> web.StreamResponse:
    """Answer with `pieces` of any number; `headers` should vary by Accept-Encoding.

    Each is made once the one before it is written, and the event loop runs in between: neither memory nor the longest
    pause grows with the length of the answer. Raises ConnectionError when the client has left, or the process was
    stopped in between.
    """
    gzip, interruption = wants_gzip(request), Interruption(request)
    response = web.StreamResponse(headers=headers)
    if gzip:
        response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    squeeze = zlib.compressobj(_LEVEL, wbits=_CONTAINER) if gzip else None
    for piece in pieces:
        if data := squeeze.compress(piece) if squeeze is not None else piece:
            await response.write(data)
        # A write into a socket that has room returns without giving way.
        await asyncio.sleep(0)
        interruption.check()
    await response.write_eof(squeeze.flush() if squeeze is not None else b"")
    return response
