"""Pages that are meant to fill the memory of whoever reads them, each as a behaviour of a `HostileServer`."""

import asyncio
import gzip
from collections.abc import Mapping
from functools import cache
from itertools import count

from tests.fakes import hostile
from tests.fakes.hostile import GZIP, MIB, Behaviour, Exchange, answer, chunk, head, response

TASKS = b"matillion_agent_task_running_unit"
SERIAL = b"@@@@@@@@"
"""Where a page has another text each time."""
CHUNKED = head("200 OK", "Transfer-Encoding: chunked")
_serials = count(1)


def never_the_same(body: bytes) -> Behaviour:
    """Serve a page whose texts were never seen before."""

    async def behave(exchange: Exchange) -> None:
        await exchange.send(response(body.replace(SERIAL, b"%08d" % next(_serials))))

    return behave


def withheld(body: bytes) -> Behaviour:
    """Serve all of a page but its end."""
    return hostile.hang(response(body)[:-1])


def series(number: int, size: int) -> bytes:
    """Return that many series, each of them with a line of about that many bytes."""
    fill = b"x" * (size - 66)
    return b"".join(TASKS + b'{a="%b%05d",b="%b"} 1\n' % (SERIAL, place, fill) for place in range(number))


def many_labels(number: int, labels: int) -> bytes:
    """Return series with many labels each: objects are many times as large as what they are written with."""
    pairs = b"".join(b'l%d="",' % label for label in range(labels))
    return b"".join(TASKS + b"{" + pairs + b'z="%b%05d"} 1\n' % (SERIAL, place) for place in range(number))


def builds(number: int) -> bytes:
    """Return versions as long as one may be, in texts that take four times their bytes in memory."""
    text = "\N{SAUROPOD}".encode() + b"v" * 100 + SERIAL
    line = b'matillion_agent_version_unit{version="%b%05d",commit_hash="%b%05d"} 1\n'
    return b"".join(line % (text, place, text, place) for place in range(number)) + TASKS + b" 1\n"


async def tiny_chunks(exchange: Exchange) -> None:
    """Send a byte at a time, as often as is allowed, and then nothing."""
    await exchange.send(CHUNKED + chunk(b"#") * 19_990)
    await asyncio.Event().wait()


def filled(page: bytes) -> bytes:
    """Return as much of a page repeated as a body may hold."""
    return page * (4 * MIB // len(page))


@cache
def pages() -> Mapping[str, Behaviour]:
    """Return every way in which a page may be large."""
    many = series(4900, 735)
    return {
        "thousands of series with new labels": never_the_same(many),
        "a thousand series with new labels": never_the_same(series(900, 4000)),
        "a small page with new labels": never_the_same(series(80, 700)),
        "series with eighty labels": never_the_same(many_labels(900, 80)),
        "series with a thousand labels": never_the_same(many_labels(330, 1800)),
        "versions": never_the_same(builds(900)),
        "a hundred thousand samples": never_the_same(filled(TASKS + b" 1\n")),
        "labels of 1 MB": never_the_same((TASKS + b'{a="' + SERIAL + b"x" * MIB + b'"} 1\n') * 3),
        "thousands of families": never_the_same(
            b"".join(b"matillion_agent_x%d_%b 1\n" % (family, SERIAL) for family in range(100_000)) + TASKS + b" 1\n"
        ),
        "a HELP line of 3 MB": never_the_same(b"# HELP " + TASKS + SERIAL + b"h" * (3 * MIB) + b"\n" + TASKS + b" 1\n"),
        "exemplars": never_the_same(filled(TASKS + b'{a="1"} 1 # {trace_id="' + SERIAL + b"t" * 99 + b'"} 1 1.5\n')),
        "blank lines": answer(response(b"\n" * (4 * MIB))),
        "a page without an end": hostile.flood(head(), TASKS + b" 1\n"),
        "chunks without an end": hostile.flood(CHUNKED, chunk(b"#\n" * 512)),
        "tiny chunks": tiny_chunks,
        "a gzip bomb": answer(response(hostile.gzip_bomb(64 * MIB), "200 OK", GZIP)),
        "a page in gzip": answer(response(gzip.compress(many), "200 OK", GZIP)),
        "gzip that says nothing": hostile.flood(head("200 OK", GZIP) + hostile.silent_deflate(99), b"\0\0\0\xff\xff"),
        "a head of 64 KB": answer(head("200 OK", "X: " + "x" * 65_536)),
        "a field of 15 KB": answer(response(TASKS + b" 1\n", content_type="text/plain; " + "x" * 15_000)),
        "a page without its end": withheld(many),
        "a comment without its end": withheld(b"#" * (4 * MIB)),
        "gzip without its end": withheld(gzip.compress(many)),
    }
