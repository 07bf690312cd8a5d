"""A CloudWatch on this machine for the demo's exporter to publish to: moto's, on a loopback port of its own.

moto is an extra of the package, and to load it takes half as long as the rest of the demo takes to start. So it is
loaded in a thread once everything else runs. Its socket listens from the beginning: an early client waits.

Neither the user's AWS account nor what is configured for it is ever used: see `environment`.
"""

import asyncio
import os
import shlex
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from exporter.config import CloudWatchSettings, SpoolSettings
from exporter.simulator.agent import SimulatorError

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.serving import BaseWSGIServer

CLUSTER = "demo"
REGION = "us-east-1"
"""Where moto looks for the data when a request is not signed, and so names no region. The commands below are not."""
INTERVAL = 10.0
"""Seconds of the clock. A minute would be ten of the fleet's at the usual speed, and most of a newcomer's visit."""
NEEDED = ("moto", "flask", "flask_cors")
"""The packages of the extra that the rest of the program does not have."""
INSTALL = "pip install '.[demo]' in a checkout"
POLL_SECONDS = 0.1
"""How soon moto's thread notices that it is to end."""


def is_installed() -> bool:
    """Return whether there is a moto to run, without loading it."""
    return all(find_spec(name) is not None for name in NEEDED)


class SimulatedCloudWatch:
    """Serves CloudWatch alone, and to this machine alone. Use as a context manager, and `run` it."""

    def __init__(self) -> None:
        self._listening: socket.socket | None = None

    async def __aenter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket().close()

    @property
    def url(self) -> str:
        """The endpoint."""
        host, port = self._socket().getsockname()
        return f"http://{host}:{port}"

    async def run(self) -> NoReturn:
        """Load moto and let it answer until cancelled. Raises SimulatorError when it cannot be loaded or ends."""
        try:
            # Cancelled meanwhile, the thread ends by itself and leaves nothing behind.
            application = await asyncio.to_thread(_application)
        except ImportError as error:
            raise SimulatorError(f"moto, the demo's CloudWatch, cannot be loaded ({error}): {INSTALL}") from error
        server = _server(application, self._socket())
        serving = asyncio.create_task(asyncio.to_thread(server.serve_forever, POLL_SECONDS), name="moto")
        try:
            await asyncio.wait([serving])
        finally:
            await asyncio.to_thread(server.shutdown)
            await serving
            server.server_close()
        raise SimulatorError("moto, the demo's CloudWatch, ended unexpectedly")

    def _socket(self) -> socket.socket:
        if self._listening is None:
            raise RuntimeError("a CloudWatch that is not entered has no address")
        return self._listening


def _application() -> "Flask":
    """Load moto's CloudWatch, empty."""
    from moto.backends import get_backend  # noqa: PLC0415 - it takes long, and is not always installed
    from moto.core.utils import get_service_model  # noqa: PLC0415 - as above
    from moto.moto_server.werkzeug_app import create_backend_app  # noqa: PLC0415 - as above

    # Newer command lines of AWS speak JSON to CloudWatch. moto can, but goes by botocore's description of the service,
    # which has no word of that yet in the version the exporter's AWS library asks for.
    description = get_service_model("cloudwatch").metadata
    if "json" not in description["protocols"]:
        description["protocols"] = [*description["protocols"], "json"]
        description["jsonVersion"] = "1.0"
    # moto keeps its data for the whole process.
    get_backend("cloudwatch").reset()
    return create_backend_app("cloudwatch")


def _server(application: "Flask", listening: socket.socket) -> "BaseWSGIServer":
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - it comes with moto

    class Handler(WSGIRequestHandler):
        """Logs nothing of what went well, and leaves the header Server to moto: aiohttp refuses a second one."""

        def send_response(self, code: int, message: str | None = None) -> None:
            self.send_response_only(code, message)
            self.send_header("Date", self.date_time_string())

    host, port = listening.getsockname()
    return make_server(host, port, application, threaded=True, request_handler=Handler, fd=listening.fileno())


# -- publishing --------------------------------------------------------------------------------------------------------


def settings(url: str, folder: Path) -> CloudWatchSettings:
    """Return what lets an exporter publish to `url`, soon enough to be seen, with its spool in `folder`."""
    return CloudWatchSettings(
        enabled=True,
        region=REGION,
        endpoint_url=url,
        interval=INTERVAL,
        storage_resolution=1,
        spool=SpoolSettings(path=folder / "spool.db"),
    )


def environment(url: str, present: Mapping[str, str]) -> dict[str, str | None]:
    """Return what to change in the environment `present` so that `url` is all there is of AWS; None removes.

    All that is configured for AWS is hidden, files included: no credentials of the user's are read, and no client of
    this process finds an AWS but `url`, which no proxy stands before.
    """
    hidden = {name: None for name in present if name.startswith("AWS_") or name.lower().endswith("_proxy")}
    return hidden | {
        "no_proxy": "*",
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": url,
    }


# -- reading -----------------------------------------------------------------------------------------------------------


def list_command(url: str) -> tuple[str, ...]:
    """Return the parts of a command that lists what was published. It takes no credentials and no configuration."""
    return ("aws cloudwatch list-metrics --no-sign-request --region " + REGION, "--endpoint-url " + url)


def statistics_command(url: str, namespace: str, fleet: str) -> tuple[str, ...]:
    """Return the same for a command that gives a fleet's demand over time."""
    dimensions = {"ClusterName": CLUSTER, "Namespace": namespace, "Fleet": fleet}
    named = " ".join(shlex.quote(f"Name={name},Value={value}") for name, value in dimensions.items())
    return (
        "aws cloudwatch get-metric-statistics --no-sign-request --region " + REGION,
        f"--endpoint-url {url} --namespace {CloudWatchSettings().namespace} --metric-name DemandTasks",
        f"--dimensions {named}",
        f"--statistics Average --period {INTERVAL:g} --start-time 2020-01-01 --end-time 2100-01-01",
    )
