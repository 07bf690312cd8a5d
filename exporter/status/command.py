"""The command: what is asked for, once or again and again."""

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence

from exporter.client import DEFAULT_URL, StatusClient, StatusError, add_credentials, credentials_of
from exporter.status.view import screen
from exporter.terminal import Paper, Style

WATCH_SECONDS = 2.0
"""Seconds between two polls: readings are a few seconds old anyway."""
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The terminal's other screen, without a cursor and without wrapping, and back to what was there (xterm, DECSET)."""
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    add = parser.add_argument
    add("--url", default=DEFAULT_URL, help=f"the exporter's web server ({DEFAULT_URL})")
    add("--watch", action="store_true", help="refresh every two seconds, until Ctrl-C")
    add("--json", action="store_true", help="print the fleets and agents as JSON; with --watch one document per line")
    add_credentials(parser)


async def status(options: argparse.Namespace) -> None:
    """Show what the exporter knows. Raises StatusError."""
    credentials = await asyncio.to_thread(credentials_of, options)
    async with StatusClient(options.url, credentials) as client:
        if not options.watch:
            print(*await _poll(client, options), sep="\n")
        elif sys.stdout.isatty() and not options.json:
            await _watch_screen(client, options)
        else:
            await _watch_lines(client, options)


async def _poll(client: StatusClient, options: argparse.Namespace) -> Sequence[str]:
    found = await client.read()
    if options.json:
        return [json.dumps(found.document(), indent=None if options.watch else 2)]
    return screen(options.url, found, Paper.of(sys.stdout, os.environ))


async def _watch_lines(client: StatusClient, options: argparse.Namespace) -> None:
    """Write one poll after the other, for a pipe or a file."""
    while True:
        try:
            lines = await _poll(client, options)
        except StatusError as error:
            print(f"fleet-exporter: {error}", file=sys.stderr, flush=True)
        else:
            print(*lines, *([] if options.json else [""]), sep="\n", flush=True)
        await asyncio.sleep(WATCH_SECONDS)


async def _watch_screen(client: StatusClient, options: argparse.Namespace) -> None:
    """Draw each poll over the previous one; wait for an exporter that does not respond."""
    sys.stdout.write(_ENTER)
    lines: Sequence[str] = []
    try:
        while True:
            try:
                lines, trouble = await _poll(client, options), []
            except StatusError as error:
                paper = Paper.of(sys.stdout, os.environ)
                trouble = [paper.paint(line, Style.BAD) for line in paper.paragraph(f"{error}", 0)]
                if lines:
                    trouble += ["", paper.paint("Last response:", Style.FAINT)]
            sys.stdout.write(drawn([*trouble, *lines], shutil.get_terminal_size().lines))
            sys.stdout.flush()
            await asyncio.sleep(WATCH_SECONDS)
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def drawn(lines: Sequence[str], height: int) -> str:
    """Return what draws lines over a screen of `height` without a flicker; the last one counts those left out."""
    room = max(1, height - 1)
    if len(lines) > room:
        lines = [*lines[: room - 1], f"… {len(lines) - room + 1} more lines"]
    # Cleared before and not after: behind a line that is as wide as the screen, the cursor is on its last character.
    return _HOME + "".join(f"{_CLEAR_LINE}{line}\n" for line in lines) + _CLEAR_BELOW
