"""The command line: exit codes, and errors of one sentence."""

import asyncio
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter import __version__
from exporter.cli import _run_loop, main
from tests.waiting import PATIENCE

DATA = Path(__file__).parent / "testdata" / "config"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` names the program and its version."""
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"fleet-exporter {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["fly"], ["run", "--no-such-option"]])
def test_wrong_use(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong use is exit 2 with how it is used right."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: fleet-exporter" in capsys.readouterr().err


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file is said to be good, with exit 0."""
    file = tmp_path / "config.yaml"
    file.write_text("discovery: {static: {targets: [{address: 127.0.0.1}]}}\n")
    assert main(["check-config", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: good\n"


@pytest.mark.parametrize("command", [["check-config"], ["run", "--config"]])
def test_a_bad_file(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything wrong with a file is said at once, with exit 2 and no traceback, before anything runs."""
    file = tmp_path / "config.yaml"
    file.write_text("scrape: {interval: soon, timeouts: 3s}\ncapacity: {target_tasks_per_agent: 30}\n")
    assert main([*command, str(file)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for part in ("scrape.interval", "scrape.timeouts", "capacity.target_tasks_per_agent"):
        assert part in error


def test_nine_mistakes_are_nine_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values, unknown keys, contradictions, missing files, and what is in files: in one report, line by line."""
    token, users, certificate = (tmp_path / name for name in ("token", "users", "tls.crt"))
    token.write_text("two words")
    users.write_text("me without a colon")
    certificate.write_text("not PEM")
    file = tmp_path / "config.yaml"
    file.write_text(f"""\
scrape:
  timeout: 9s
  concurency: 3
capacity: {{target_tasks_per_agent: 30}}
web:
  tls: {{cert_file: {certificate}, key_file: {certificate}}}
  basic_auth: {{users_file: {users}}}
  bearer_token_file: {token}
external_metrics: {{cert_file: /nowhere/tls.crt}}
log:
  level: loud
  format: poem
""")
    assert main(["check-config", str(file)]) == 2
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == f"{file}: 9 problems"
    assert [line.partition(": ")[0].strip() for line in lines] == [f"line {n}" for n in (2, 3, 4, 6, 7, 8, 9, 11, 12)]
    assert "must hold a certificate and its key in PEM form" in lines[3]
    assert "every line must read `name: hash`" in lines[4]
    assert lines[5] == ("  line 8: web.bearer_token_file: the file contains more than one word; a token has no spaces")
    file.write_text("web: {tls: {cert_file: /nowhere/tls.crt}}\n")
    main(["check-config", str(file)])
    assert len(capsys.readouterr().err.splitlines()) == 3, "a missing file is told once, with what it stands beside"


def test_a_simulation_that_makes_no_sense(capsys: pytest.CaptureFixture[str]) -> None:
    """Options that contradict each other are wrong use, in one sentence."""
    assert main(["simulate", "--agents", "2", "--legacy", "3"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("fleet-exporter: ")


@pytest.fixture
def taken(tmp_path: Path) -> Iterator[Path]:
    """Give settings whose port another process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        file = tmp_path / "config.yaml"
        listen = f"127.0.0.1:{server.getsockname()[1]}"
        file.write_text(f"discovery: {{static: {{targets: [{{address: 127.0.0.1}}]}}}}\nweb: {{listen: '{listen}'}}\n")
        yield file


@contextmanager
def on_a_terminal(*arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[str], str]]]:
    """Run a command on a terminal of its own; gives it, and a function that reads until a text has come."""
    ours, theirs = pty.openpty()
    seen = ""

    def until(text: str) -> str:
        nonlocal seen
        while text not in seen:
            assert select.select([ours], [], [], PATIENCE)[0], f"{text!r} does not come: {seen}"
            seen += os.read(ours, 65536).decode()
        return seen

    command = [sys.executable, "-m", "exporter", *arguments]
    environ = os.environ | {"NO_COLOR": "1"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ)
    try:
        yield process, until
    finally:
        process.kill()
        process.wait(PATIENCE)
        os.close(ours)
        os.close(theirs)


@pytest.mark.slow
def test_run_on_a_terminal(tmp_path: Path) -> None:
    """A line an event, and where the page is: by an address that a browser can open."""
    file = tmp_path / "config.yaml"
    file.write_text("discovery: {static: {targets: [{address: '127.0.0.1:1'}]}}\nweb: {listen: '0.0.0.0:0'}\n")
    with on_a_terminal("run", "--config", str(file)) as (process, until):
        until("status page is served")
        text = until("agent is unreachable: default/default/127.0.0.1:1: never scraped")
        port = re.search(r"status page is served  url=http://127\.0\.0\.1:(\d+)\r\n", text)
        assert port is not None, text
        socket.create_connection(("127.0.0.1", int(port[1])), PATIENCE).close()
        *lines, _ = text.split("\r\n")
        assert all(re.match(r"\d\d:\d\d:\d\d (info|warning) +\w", line) for line in lines), lines
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_a_port_in_use_is_one_sentence(taken: Path) -> None:
    """On a terminal it stands alone, after the line of the start; off it, `test_service` has the event."""
    with on_a_terminal("run", "--config", str(taken)) as (process, until):
        text = until("stop it or change web.listen\r\n")
        assert process.wait(PATIENCE) == 1
    _, last = text.splitlines()
    assert last.startswith("fleet-exporter: web server failed: cannot listen on 127.0.0.1:")


@pytest.mark.slow
def test_commands_that_simulate_nothing_do_without_the_simulation() -> None:
    """It is imported by the commands that need it, when they run."""
    program = (
        "import sys; from exporter.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print([name for name in sys.modules if name.startswith('exporter.simulation')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "simulate" in done.stdout
    assert done.stdout.endswith("\n[]\n")


def test_a_closed_connection_that_still_got_data_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Its traceback, which only uvloop reports, is left out; all else that nobody caught is logged as always."""

    async def unhandled() -> None:
        loop = asyncio.get_running_loop()
        closed = RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        loop.call_exception_handler({"message": "Fatal error on SSL protocol", "exception": closed})
        loop.call_exception_handler({"message": "Task exception was never retrieved", "exception": RuntimeError("bug")})

    _run_loop(unhandled())
    assert [record.message for record in caplog.records] == ["Task exception was never retrieved"]
