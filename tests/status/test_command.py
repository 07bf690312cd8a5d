"""The command as it is used: once, as JSON, watching, and with what it is given wrong."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from exporter.cli import main
from tests.factories import make_fleet, make_snapshot
from tests.fakes.ports import free_port
from tests.status.panes import pane
from tests.waiting import PATIENCE
from tests.web.serving import StaticView, make_server, running, serve

pytestmark = pytest.mark.slow

FLEETS = [make_fleet([make_snapshot("a-1"), make_snapshot("a-2", age=42.0, error="connection refused")])]


@asynccontextmanager
async def command(
    *arguments: str, terminal: int | None = None, environ: Mapping[str, str] = {}
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `fleet-exporter status` in a process of its own, on a terminal if one is given.

    Ctrl-C reaches it, although a shell that runs the tests in the background has them ignore that.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "exporter", "status", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=terminal or asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=inherited | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | environ,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(*arguments: str) -> tuple[int | None, str, str]:
    """Run it to its end; return exit code, output and errors."""
    async with command(*arguments) as process:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode, out.decode(), err.decode()


async def test_once() -> None:
    """A table for a person, plain where nobody is at a terminal, and exit 0."""
    async with serve(StaticView(FLEETS)) as url:
        code, out, err = await said("--url", url)
    assert (code, err) == (0, "")
    assert "matillion/etl" in out
    assert "1 of 2 agents needs attention" in out
    assert "\x1b" not in out


async def test_panes_of_a_terminal() -> None:
    """Lines fit a real terminal of 60, 80 and 120 columns, and a pipe with COLUMNS."""
    widths = (60, 80, 120)
    async with serve(StaticView(FLEETS)) as url:
        panes = await asyncio.gather(*(pane(width, "status", "--url", url) for width in widths))
        for width, shown in zip(widths, panes, strict=True):
            assert any(line.startswith("matillion/etl") for line in shown)
            assert width // 2 < max(map(len, shown)) <= width
            assert "HEALTH" in " ".join(shown)
        async with command("--url", url, environ={"COLUMNS": "60"}) as process:
            out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert max(map(len, out.decode().splitlines())) <= 60


async def test_as_json() -> None:
    """One document with fleets and agents."""
    async with serve(StaticView(FLEETS)) as url:
        code, out, _ = await said("--url", url, "--json")
    assert code == 0
    document = json.loads(out)
    assert document["ready"] is True
    assert [agent["state"] for agent in document["agents"]] == ["serving", "unreachable"]


async def test_no_server() -> None:
    """One sentence on standard error, and exit 1."""
    code, out, err = await said("--url", "http://127.0.0.1:1")
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    assert line.startswith("fleet-exporter: http://127.0.0.1:1 cannot be reached (connection refused)")


async def test_credentials_from_files(tmp_path: Path) -> None:
    """A token's file is read; one that is no good is not named, since a token may have been pasted in its place."""
    token = tmp_path / "token"
    token.write_text("T0KEN\n")
    async with serve(StaticView(FLEETS), bearer_token_file=str(token)) as url:
        code, out, _ = await said("--url", url, "--bearer-token-file", str(token))
        assert (code, "matillion/etl" in out) == (0, True)
        code, _, err = await said("--url", url)
        assert (code, "pass --bearer-token-file FILE" in err) == (1, True)
    code, _, err = await said("--bearer-token-file", "/T0KEN")
    assert code == 1
    assert "T0KEN" not in err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--user", "me", "--bearer-token-file", "x"], "mutually exclusive"),
        (["--user", "me"], "no terminal to prompt for the password"),
        (["--user", "me:geheim"], "has no colon"),
        (["--password-file", "x"], "needs --user"),
        (["--key-file", "x"], "needs --cert-file"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said in one sentence, and nothing secret is repeated."""
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: PTH123, SIM115 - pytest's own stdin is no file
    assert main(["status", *arguments]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert part in line
    assert "geheim" not in line


async def test_watching_lines() -> None:
    """Without a terminal each look is printed below the one before, one JSON document a line; Ctrl-C ends it well."""
    async with serve(StaticView(FLEETS)) as url, command("--url", url, "--watch", "--json") as process:
        assert process.stdout is not None
        for _ in range(2):
            line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
            assert json.loads(line)["fleets"][0]["fleet"] == "etl"
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, err) == (0, b"")


async def test_watching_on_a_terminal() -> None:
    """It waits for an exporter that is away, shows what that said last, and leaves the screen as it was."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    seen = bytearray()

    async def until(text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while text.encode() not in seen:
                try:
                    seen.extend(os.read(ours, 65536))
                except (BlockingIOError, OSError):
                    await asyncio.sleep(0.05)

    port = free_port()
    try:
        async with command("--url", f"http://127.0.0.1:{port}", "--watch", terminal=theirs) as process:
            await until("\x1b[?1049h")
            await until("cannot be reached")
            async with running(make_server(StaticView(FLEETS), listen=f"127.0.0.1:{port}")):
                await until("matillion/etl")
            seen.clear()
            await until("Last response:")
            await until("matillion/etl")
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.wait(), PATIENCE)
            await until("\x1b[?1049l")
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 0


async def test_a_reader_that_closes_the_pipe() -> None:
    """`status | head` ends without a traceback."""
    async with serve(StaticView(FLEETS)) as url, command("--url", url, "--watch") as process:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        process.stdout._transport.close()  # type: ignore[attr-defined]  # as the end of `head` does
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert err == b""
    assert process.returncode == 1
