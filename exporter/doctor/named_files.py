"""The files that settings name, loaded as the servers load them at their start: for the doctor and `check-config`."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.config import Problem, Settings
from exporter.serve.errors import ServeError
from exporter.serve.reload import Reloaded
from exporter.serve.tls import ServerTls
from exporter.web.auth import Access

READY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a server loads at its start, made as it makes it; with its certificate where that is what it loads."""

    files: Reloaded
    pair: tuple[Path, Path] | None = None


def loaded(settings: Settings) -> Iterator[Served]:
    """Yield the files that the settings name, each set as its server loads it."""
    web, external = settings.web, settings.external_metrics
    tls = None
    if web.tls is not None:
        tls = ServerTls("web.tls", web.tls.cert_file, web.tls.key_file, client_ca_file=web.tls.client_ca_file)
        yield Served(tls.files, (web.tls.cert_file, web.tls.key_file))
    for files in Access(web, tls, reload_interval=READY_SECONDS).files:
        yield Served(files)
    if external.enabled and external.cert_file is not None and external.key_file is not None:
        pair = (external.cert_file, external.key_file)
        yield Served(ServerTls("external_metrics", *pair, requests_client_cert=True).files, pair)


def problems(settings: Settings) -> Sequence[Problem]:
    """Return what is wrong with the content of the files: a key of another certificate, a malformed line."""
    return asyncio.run(_problems(settings))


async def _problems(settings: Settings) -> Sequence[Problem]:
    found: list[Problem] = []
    for served in loaded(settings):
        try:
            await served.files.load_now()
        except ServeError as error:
            found.append(_problem(served.files.what, str(error)))
    return found


def _problem(what: str, text: str) -> Problem:
    """Return an error as a problem of the setting that it begins with, or else of the section that was loaded."""
    setting, colon, message = text.partition(": ")
    if not colon or not f"{setting}.".startswith(f"{what}."):
        setting, message = what, text
    return Problem(tuple(setting.split(".")), message)
