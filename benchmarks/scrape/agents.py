"""A thousand agents on one machine: one page, served as a file by nginx, on an address of 127/8 for each agent.

nginx because it is cheap enough not to be what is measured. It ignores name filters, so every scrape is of a whole
page, which is the dearer case.
"""

import http.client
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.scrape.processes import Program, ProgramError
from exporter.fleet.model import Dialect
from exporter.simulator.pages import Page, example_vitals
from exporter.simulator.vitals import CURRENT

PORT = 19464
"""Below the range from which Linux takes ports for outgoing connections, and not the agents' own, 9464, which a
simulation on the same machine may hold."""
PATH = "/metrics"
PROGRAMS = {"nginx": "nginx-light", "prometheus": "prometheus"}
"""What the benchmark needs, and the Debian package that has it."""
_NETWORK = "127.30"
_PER_BLOCK = 250
_PER_WORKER = 10_000
"""Agents. Each connection is an open file, and a process may have 20,000 of those in some containers."""
_CONFIGURATION = """
daemon off;
worker_processes {workers};
worker_rlimit_nofile {files};
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  default_type "text/plain; version=0.0.4; charset=utf-8";
  keepalive_timeout 300s;
  keepalive_requests 1000000;
  open_file_cache max=10;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{ listen 0.0.0.0:{port} backlog=4096 reuseport; root {directory}/root; }}
}}
"""


def addresses(count: int) -> list[str]:
    """Return a loopback address for each agent."""
    return [f"{_NETWORK}.{number // _PER_BLOCK}.{number % _PER_BLOCK + 1}" for number in range(count)]


def find(program: str) -> str:
    """Return where one of `PROGRAMS` is. Raises ProgramError that says what to install."""
    # Debian keeps servers where an ordinary user's PATH does not look.
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise ProgramError(
            f"{program} is not installed; the benchmark needs it (Debian: apt-get install {PROGRAMS[program]})"
        )
    return found


def page() -> tuple[bytes, int]:
    """Return the agents' page and the number of its samples."""
    made = Page(CURRENT, Dialect.OTEL)
    return made.render(example_vitals(seed=1)), made.sample_count


@contextmanager
def workspace() -> Iterator[Path]:
    """Make a directory for what is measured, until the end of the context."""
    with tempfile.TemporaryDirectory(prefix="fleet-exporter-bench-", ignore_cleanup_errors=True) as name:
        made = Path(name)
        # nginx started by root reads its files as another user.
        made.chmod(0o755)
        yield made


def serve(directory: Path, agents: int, cores: set[int] | None = None) -> Program:
    """Return nginx, ready to be started, for that many agents and two clients. Raises ProgramError."""
    nginx = find("nginx")
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", PORT))  # noqa: S104 - all of 127/8 is meant
        except OSError:
            raise ProgramError(f"port {PORT} is taken; end what listens there and try again") from None
    root = directory / "root"
    root.mkdir(exist_ok=True)
    root.joinpath(PATH.lstrip("/")).write_bytes(page()[0])
    # nginx ends idle connections once less than a sixteenth of all it may have is free (ngx_drain_connections).
    connections = 4 * agents + 100
    configuration = directory / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            directory=directory,
            workers=-(-agents // _PER_WORKER),
            connections=connections,
            files=connections + 100,
            port=PORT,
        )
    )
    return Program(
        "nginx", [nginx, "-c", str(configuration), "-e", str(directory / "nginx.log")], directory / "nginx.out", cores
    )


def check() -> None:
    """Raise ProgramError unless the page comes as it should: a scraper that gets errors is not the one to measure."""
    connection = http.client.HTTPConnection(addresses(1)[0], PORT, timeout=5.0)
    with closing(connection):
        connection.request("GET", PATH)
        response = connection.getresponse()
        if response.status != http.client.OK or response.read() != page()[0]:
            raise ProgramError(f"nginx does not serve the agents' page (HTTP {response.status})")
