"""The settings as such, the files they name, and the exporter that runs here."""

from datetime import timedelta
from pathlib import Path

import pytest

from exporter.doctor.check import Outcome
from exporter.web.passwords import PasswordHash
from tests.doctor.cluster import Json, examined, settings
from tests.fakes.answering import answering
from tests.fakes.certificates import Authority
from tests.fakes.hostile import silent_port

SUBJECT = "configuration"
STATIC: Json = {"discovery": {"static": {"targets": [{"address": "127.98.0.1"}]}}}
ELECTING: Json = {"deletion_cost": {"enabled": True}, "leader_election": {"enabled": False}}


async def test_good_settings(tmp_path: Path) -> None:
    """Where they come from, for which cluster, and what they switch on."""
    file = tmp_path / "config.yaml"
    seen = await examined(settings(cluster="prod", deletion_cost={"enabled": True}), file=file)
    found = seen[SUBJECT, "settings"]
    assert (found.outcome, found.found) == (
        Outcome.OK,
        f"{file}: good for the cluster prod; beside scraping: deletion costs",
    )
    assert "the defaults and the environment" in (await examined(settings()))[SUBJECT, "settings"].found


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"capacity": {"unknown_agents": "ignore"}}, "capacity.unknown_agents"),
        ({"capacity": {"min_coverage": 0}}, "capacity.min_coverage"),
        ({"capacity": {"scale_in": {"max_tasks": 4}}}, "capacity.scale_in"),
        (ELECTING, "leader_election.enabled"),
    ],
)
async def test_what_may_not_be_meant(sections: Json, name: str) -> None:
    """Settings that are allowed and can do harm are warned of; the usual ones are not."""
    seen = await examined(settings(**sections))
    assert seen[SUBJECT, name].outcome is Outcome.WARNING
    assert (SUBJECT, name) not in await examined(settings())


async def test_the_history_of_the_page(tmp_path: Path) -> None:
    """Its folder is written to; that of an exporter in a pod is not looked for on another machine."""
    name = "history of the page"
    web = {"listen": "127.0.0.1:1", "history_file": str(tmp_path / "page-history")}
    found = (await examined(settings(web=web)))[SUBJECT, name]
    assert (found.outcome, "is writable and has" in found.found) == (Outcome.OK, True)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - nothing else runs
    elsewhere = {"web": web | {"history_file": str(tmp_path / "none" / "page-history")}}
    assert (await examined(settings(**elsewhere)))[SUBJECT, name].outcome is Outcome.NOT_CHECKED
    found = (await examined(settings(**elsewhere, **STATIC)))[SUBJECT, name]
    assert (found.outcome, "does not exist yet" in found.found) == (Outcome.OK, True)
    refused = {"web": web | {"history_file": "/proc/page-history"}}
    found = (await examined(settings(**refused), in_pod=True))[SUBJECT, name]
    assert (found.outcome, "web.history_file" in found.fix) == (Outcome.FAILED, True)
    assert (SUBJECT, name) not in await examined(settings())


async def test_files_of_the_servers(tmp_path: Path) -> None:
    """Certificates, users and tokens are loaded as at the start; one that is no good hides no other."""
    cert, key, users, token = (tmp_path / name for name in ("tls.crt", "tls.key", "users", "token"))
    Authority("ca").issue("exporter", cert, key, until=timedelta(days=90))
    users.write_text(f"prometheus: {PasswordHash.make('geheim')}\n")
    token.write_text("two words")
    web_settings: Json = {
        "listen": "127.0.0.1:1",
        "tls": {"cert_file": str(cert), "key_file": str(key)},
        "basic_auth": {"users_file": str(users)},
        "bearer_token_file": str(token),
    }
    external = {"enabled": True, "cert_file": str(cert), "key_file": str(users)}
    seen = await examined(settings(web=web_settings, external_metrics=external, **STATIC))
    assert seen[SUBJECT, "web.tls"].outcome is Outcome.OK
    assert seen[SUBJECT, "web.basic_auth"].outcome is Outcome.OK
    assert seen[SUBJECT, "web.bearer_token_file"].outcome is Outcome.FAILED
    assert "words" not in seen[SUBJECT, "web.bearer_token_file"].found.replace("more than one word", "")
    assert seen[SUBJECT, "external_metrics"].outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("until", "outcome", "part"),
    [
        (timedelta(days=90), Outcome.OK, "valid for 90 days more, for 127.0.0.1, localhost, exporter.monitoring.svc"),
        (timedelta(days=3, minutes=1), Outcome.WARNING, "valid for 3 days more"),
        (timedelta(seconds=-60), Outcome.FAILED, "has expired"),
    ],
)
async def test_how_long_a_certificate_is_good(tmp_path: Path, until: timedelta, outcome: Outcome, part: str) -> None:
    """One that has run out, or soon will, is told before the API server stops to take it."""
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    Authority("ca").issue("exporter", cert, key, hosts=("exporter.monitoring.svc",), until=until)
    external = {"enabled": True, "cert_file": str(cert), "key_file": str(key)}
    found = (await examined(settings(external_metrics=external, **STATIC)))[SUBJECT, "external_metrics"]
    assert found.outcome is outcome
    assert part in found.found


async def test_no_exporter_here() -> None:
    """Before the installation, and on a person's machine, none runs."""
    found = (await examined(settings(**STATIC)))[SUBJECT, "running exporter"]
    assert (found.outcome, found.found) == (Outcome.NOT_CHECKED, "nothing listens at 127.0.0.1:1 here")


@pytest.mark.parametrize(
    ("status", "text", "outcome", "part"),
    [
        (200, "ready\n", Outcome.OK, "is ready"),
        (503, "no list of pods yet\n", Outcome.WARNING, "not ready: no list of pods yet"),
        (404, "", Outcome.FAILED, "HTTP 404"),
    ],
)
async def test_the_exporter_here(status: int, text: str, outcome: Outcome, part: str) -> None:
    """It is asked where it listens, which is everywhere, at loopback."""
    async with answering(status, text) as url:
        given = settings(web={"listen": f"0.0.0.0:{url.rpartition(':')[2]}"}, **STATIC)
        found = (await examined(given))[SUBJECT, "running exporter"]
    assert found.outcome is outcome
    assert part in found.found


@pytest.mark.slow
async def test_an_exporter_that_hangs() -> None:
    """One that takes no connection is a failure, in time."""
    with silent_port() as port:
        found = (await examined(settings(web={"listen": f"127.0.0.1:{port}"}, **STATIC)))[SUBJECT, "running exporter"]
    assert found.outcome is Outcome.FAILED
    assert "does not answer within 5 s" in found.found
