"""The settings as such, the files they name, and the exporter that runs with them on this machine."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import aiohttp

from exporter.config import Settings, WebSettings
from exporter.doctor.certificates import CertificateError, validity
from exporter.doctor.check import Check, Finding, NotPossibleError, failed, ok, warning
from exporter.doctor.environment import Environment
from exporter.doctor.kubernetes import elects
from exporter.doctor.named_files import READY_SECONDS, Served, loaded
from exporter.doctor.volume import file_to_write
from exporter.fleet.explain import duration
from exporter.serve.errors import ServeError

SUBJECT = "configuration"
HISTORY = "history of the page"

RENEWAL_SECONDS = 7 * 24 * 3600
"""Time left below which a certificate should have been replaced: the chart's and cert-manager's are at a third."""
_RENEW = "renew it; the exporter reloads the files without a restart"
_READY, _NOT_READY = 200, 503


def checks(env: Environment, file: Path | None) -> list[Check]:
    """Return the checks of this subject; `file` is what the settings were read from."""
    settings = env.settings
    found = [Check(SUBJECT, "settings", lambda: _settings(settings, file))]
    found += [Check(SUBJECT, one.files.what, partial(_files, one)) for one in loaded(settings)]
    if settings.web.history_file is not None:
        found.append(Check(SUBJECT, HISTORY, partial(_history_file, env, settings.web.history_file)))
    return [*found, Check(SUBJECT, "running exporter", lambda: _running(settings.web))]


async def _history_file(env: Environment, file: Path) -> Sequence[Finding]:
    """Look at the folder of the status page's history where the exporter runs. Raises CheckFailedError."""
    if env.settings.discovery.kubernetes.enabled and not env.in_pod and not file.parent.exists():
        place = f"{file.parent} does not exist here"
        raise NotPossibleError(f"{place}: to check the exporter's, run the doctor in its pod")
    return await asyncio.to_thread(file_to_write, HISTORY, "web.history_file", file, in_pod=env.in_pod)


async def _settings(settings: Settings, file: Path | None) -> Sequence[Finding]:
    origin = "the defaults and the environment" if file is None else str(file)
    cluster = "" if settings.cluster is None else f" for the cluster {settings.cluster}"
    enabled = ", ".join(_enabled(settings)) or "nothing else"
    return [ok("settings", f"{origin}: good{cluster}; beside scraping: {enabled}"), *_risks(settings)]


def _enabled(settings: Settings) -> Iterator[str]:
    features = {
        "CloudWatch": settings.cloudwatch.enabled,
        "external metrics": settings.external_metrics.enabled,
        "deletion costs": settings.deletion_cost.enabled,
        "protection": settings.protection.enabled,
        "failed tasks from logs": settings.pod_logs.enabled,
    }
    return (name for name, on in features.items() if on)


def _risks(settings: Settings) -> Iterator[Finding]:
    """Yield what is allowed, and may well not be meant."""
    if settings.capacity.unknown_agents == "ignore":
        found = "unreachable agents count as idle, so an autoscaler may shrink a busy fleet"
        yield warning("capacity.unknown_agents", found, "set it to hold")
    if settings.capacity.min_coverage == 0:
        found = "figures are trusted no matter how few agents respond"
        yield warning("capacity.min_coverage", found, "set it to 0.5, or to the share of agents you can do without")
    if settings.capacity.scale_in.max_tasks is not None and not settings.deletion_cost.enabled:
        found = "the number of agents a scale-in removes is limited, but Kubernetes still removes the newest first"
        yield warning(
            "capacity.scale_in", found, "set deletion_cost.enabled to true, so that agents without work go first"
        )
    led_alone = settings.model_copy(
        update={"leader_election": settings.leader_election.model_copy(update={"enabled": True})}
    )
    if not settings.leader_election.enabled and elects(led_alone):
        found = "every replica acts as leader: two replicas publish everything twice"
        yield warning("leader_election.enabled", found, "set it to true, or run one replica only")


# -- the files that settings name --------------------------------------------------------------------------------------


async def _files(served: Served) -> Sequence[Finding]:
    name = served.files.what
    try:
        await served.files.load_now()
    except ServeError as error:
        return [failed(name, str(error))]
    if served.pair is None:
        return [ok(name, "its files load")]
    try:
        shown = await asyncio.to_thread(validity, *served.pair)
    except CertificateError as error:
        return [failed(name, str(error), _RENEW)]
    left = shown.until - time.time()
    found = f"the certificate is valid for {duration(left)} more, for {', '.join(shown.names) or 'no name'}"
    return [warning(name, found, _RENEW) if left < RENEWAL_SECONDS else ok(name, found)]


# -- the exporter here -------------------------------------------------------------------------------------------------


async def _running(settings: WebSettings) -> Sequence[Finding]:
    """Ask the exporter on this machine whether it is ready; that takes no credentials."""
    name, place = "running exporter", settings.listen.from_here
    url = f"{'https' if settings.tls else 'http'}://{place}/readyz"
    deadline = aiohttp.ClientTimeout(total=READY_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=deadline) as session,
            # No name in a certificate is that of loopback, and nothing secret is sent or believed.
            session.get(url, ssl=False, allow_redirects=False) as answer,
        ):
            status, text = answer.status, (await answer.content.read(300)).decode(errors="replace").strip()
    except TimeoutError:
        return [failed(name, f"{url} does not answer within {READY_SECONDS:g} s", "check its log and its CPU usage")]
    except aiohttp.ClientConnectorError:
        raise NotPossibleError(f"nothing listens at {place} here") from None
    except (aiohttp.ClientError, OSError) as error:
        return [failed(name, f"{url} returned an unexpected response: {error}", "check what listens on that address")]
    if status == _READY:
        return [ok(name, f"{url} is ready")]
    if status == _NOT_READY:
        return [warning(name, f"it is not ready: {text}", "wait a minute; its log shows what is missing")]
    return [
        failed(name, f"{url} answers with HTTP {status}: is this the exporter?", "check what listens on that address")
    ]
