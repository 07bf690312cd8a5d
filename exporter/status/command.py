"""The command: what is asked for, once or again and again."""

import argparse
import asyncio
import json
import os
import shutil
import sys
from collections.abc import Sequence
from getpass import getpass
from pathlib import Path

from exporter.status.client import DEFAULT_URL, Credentials, StatusClient, StatusError
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


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command has that reads a running exporter."""
    credentials = parser.add_argument_group("if the exporter requires credentials (docs/http.md)")
    credentials.add_argument("--bearer-token-file", type=Path, metavar="FILE", help="file with the token")
    credentials.add_argument("--user", metavar="NAME", help="user name; the password is prompted for")
    credentials.add_argument("--password-file", type=Path, metavar="FILE", help="file with the user's password")
    credentials.add_argument("--ca-file", type=Path, metavar="FILE", help="CA of the server's certificate (PEM)")
    credentials.add_argument("--cert-file", type=Path, metavar="FILE", help="client certificate (PEM)")
    credentials.add_argument("--key-file", type=Path, metavar="FILE", help="its private key (PEM)")


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
    return _HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in lines) + _CLEAR_BELOW


def credentials_of(options: argparse.Namespace) -> Credentials:
    """Gather the credentials that the options name. Raises StatusError."""
    if options.user is not None and options.bearer_token_file is not None:
        raise StatusError("--user and --bearer-token-file are mutually exclusive; pass one")
    password = ""
    if options.user is not None and ":" in options.user:
        raise StatusError("a user name has no colon; the password is prompted for, or read from --password-file")
    if options.user is not None:
        if options.password_file is not None:
            password = _secret(options.password_file, "--password-file")
        elif sys.stdin.isatty():
            password = getpass(f"Password of {options.user}: ")
        else:
            raise StatusError("no terminal to prompt for the password; pass --password-file FILE")
    elif options.password_file is not None:
        raise StatusError("--password-file needs --user NAME")
    if options.key_file is not None and options.cert_file is None:
        raise StatusError("--key-file needs --cert-file FILE")
    return Credentials(
        token=None if options.bearer_token_file is None else _secret(options.bearer_token_file, "--bearer-token-file"),
        user=options.user,
        password=password,
        ca_file=options.ca_file,
        cert_file=options.cert_file,
        key_file=options.key_file,
    )


def _secret(file: Path, option: str) -> str:
    # The file is not named: a secret pasted in its place must not reach a log.
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StatusError(f"the file of {option} cannot be read ({type(error).__name__})") from None
    if not secret or "\n" in secret:
        raise StatusError(f"the file of {option} must contain exactly one line")
    return secret
