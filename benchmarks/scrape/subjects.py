"""The two programs that are compared: how each is started, and how it counts its own scrapes.

Both are run as a user would run them, with default settings but for what the comparison must hold equal: the targets,
the interval and the timeout.
"""

import http.client
import json
import re
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scrape.agents import PATH, PORT, addresses, find
from benchmarks.scrape.figures import samples, total
from benchmarks.scrape.processes import Program, ProgramError

FLEETS = 12
TIMEOUT = 3
_HOST = "127.0.0.1"
_START_WITHIN = 60.0
_ASK_WITHIN = 30.0
_LAST_SCRAPE = re.compile(rb"^matillion_fleet_agent_last_scrape_timestamp_seconds\{[^\n]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A metrics page as a client got it."""

    body: bytes
    seconds: float
    """From the request to the last byte."""
    time: float
    """Unix time of the last byte."""


@dataclass(frozen=True, slots=True)
class Count:
    """What a subject had counted when it was asked."""

    scrapes: float
    failed: float
    answer: Answer


class Subject:
    """A scraper under measurement."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self._port = port

    def ask(self, path: str = "/metrics", headers: Mapping[str, str] | None = None) -> Answer:
        """Return one of its pages. Raises ProgramError."""
        connection = http.client.HTTPConnection(_HOST, self._port, timeout=_ASK_WITHIN)
        with closing(connection):
            started = time.perf_counter()
            try:
                connection.request("GET", path, headers=dict(headers or {}))
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.program.check()
                raise ProgramError(f"{self.program.name} does not answer on {path}: {error}") from error
            if response.status != http.client.OK:
                raise ProgramError(f"{self.program.name} answers {response.status} on {path}")
            return Answer(body, time.perf_counter() - started, time.time())

    def wait_until_up(self) -> None:
        """Wait for the first answer. Raises ProgramError."""
        deadline = time.monotonic() + _START_WITHIN
        while True:
            try:
                self.ask()
            except ProgramError:
                self.program.check()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def count(self) -> Count:
        """Return what it has counted so far. Raises ProgramError."""
        raise NotImplementedError


class Exporter(Subject):
    """`fleet-exporter run` with a file of static targets."""

    def __init__(self, directory: Path, agents: int, interval: int, cores: set[int] | None = None) -> None:
        port = _free_port()
        targets = directory / "targets.json"
        targets.write_text(
            json.dumps(
                [
                    {
                        "address": address,
                        "namespace": "bench",
                        "fleet": f"fleet-{number % FLEETS}",
                        "pod": f"a-{number}",
                    }
                    for number, address in enumerate(addresses(agents))
                ]
            )
        )
        settings = directory / "exporter.yaml"
        settings.write_text(
            json.dumps(
                {
                    "discovery": {"static": {"file": str(targets)}},
                    "scrape": {
                        "interval": f"{interval}s",
                        "timeout": f"{TIMEOUT}s",
                        "endpoints": [{"kind": "otel", "port": PORT, "path": PATH}],
                    },
                    "web": {"listen": f"{_HOST}:{port}"},
                }
            )
        )
        command = [sys.executable, "-m", "exporter", "run", "--config", str(settings)]
        super().__init__(Program("fleet-exporter", command, directory / "exporter.log", cores), port)

    def count(self) -> Count:
        """Return what it has counted so far. Raises ProgramError."""
        answer = self.ask()
        outcomes = samples(answer.body, "matillion_fleet_exporter_scrapes_total")
        failed = sum(value for labels, value in outcomes if 'outcome="ok"' not in labels)
        return Count(sum(value for _, value in outcomes), failed, answer)

    @staticmethod
    def ages(answer: Answer, *, asked: bool = False) -> list[float]:
        """Return the age in seconds of each reading at the time the page was complete, or when it was `asked` for."""
        instant = answer.time - answer.seconds if asked else answer.time
        return [instant - float(stamp) for stamp in _LAST_SCRAPE.findall(answer.body)]

    @staticmethod
    def stall(answer: Answer) -> float:
        """Return the longest delay of its event loop within the last minute, in seconds."""
        return total(answer.body, "matillion_fleet_exporter_event_loop_lag_seconds")


class Prometheus(Subject):
    """Debian's Prometheus with an empty database."""

    def __init__(self, directory: Path, agents: int, interval: int) -> None:
        port = _free_port()
        settings = directory / "prometheus.yaml"
        targets = [f"{address}:{PORT}" for address in addresses(agents)]
        settings.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": f"{interval}s", "scrape_timeout": f"{TIMEOUT}s"},
                    "scrape_configs": [
                        {"job_name": "agents", "metrics_path": PATH, "static_configs": [{"targets": targets}]}
                    ],
                }
            )
        )
        command = [
            find("prometheus"),
            f"--config.file={settings}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address={_HOST}:{port}",
            "--log.level=warn",
        ]
        super().__init__(Program("Prometheus", command, directory / "prometheus.log"), port)

    def count(self) -> Count:
        """Return what it has counted so far. Raises ProgramError."""
        answer = self.ask()
        return Count(total(answer.body, "prometheus_target_interval_length_seconds_count"), 0.0, answer)

    @staticmethod
    def appended(answer: Answer) -> float:
        """Return how many samples it has stored so far."""
        return total(answer.body, "prometheus_tsdb_head_samples_appended_total")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
