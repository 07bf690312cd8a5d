"""Who may ask: passwords and tokens, how they are refused, and how they change under a running server."""

import asyncio
import time
from base64 import b64encode
from pathlib import Path

import aiohttp
import pytest
from structlog.testing import capture_logs

from exporter.serve.errors import ServeError
from exporter.web.passwords import PasswordHash
from tests.waiting import eventually
from tests.web.serving import make_server, running, serve, write

PASSWORD = "correct horse"
CHEAP = PasswordHash.make(PASSWORD)
"""Made once: a hash is slow on purpose."""


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"# scrapers\n\nprometheus: {CHEAP}\n")
    return path


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first-token\n")
    return path


async def status(client: aiohttp.ClientSession, path: str = "/metrics", **headers: str) -> int:
    async with client.get(path, headers=headers) as response:
        return response.status


async def answers(client: aiohttp.ClientSession, expected: int, authorization: str) -> bool:
    return await status(client, Authorization=authorization) == expected


def basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


async def test_health_stays_open_and_the_rest_does_not(users: Path) -> None:
    """The kubelet has no credentials; everything else is asked for them, in the way a browser understands."""
    async with serve(basic_auth={"users_file": str(users)}) as url, aiohttp.ClientSession(url) as client:
        assert await status(client, "/healthz") == 200
        assert await status(client, "/readyz") == 200
        assert await status(client, "/nothing") == 401
        async with client.get("/metrics") as response:
            assert response.status == 401
            assert response.headers.getall("WWW-Authenticate") == ['Basic realm="fleet-exporter", charset="UTF-8"']
            assert await response.text() == "credentials are required\n"
        async with client.get("/api/v1/fleets") as response:
            assert await response.json() == {"error": "credentials are required"}


@pytest.mark.slow
async def test_right_password_opens_and_wrong_ones_do_not(users: Path) -> None:
    """Only the user's own password does; neither an unknown user nor a malformed header is an error of ours."""
    async with serve(basic_auth={"users_file": str(users)}) as url, aiohttp.ClientSession(url) as client:
        assert await status(client, Authorization=basic("prometheus", PASSWORD)) == 200
        assert await status(client, Authorization=basic("prometheus", "wrong")) == 401
        assert await status(client, Authorization=basic("nobody", PASSWORD)) == 401
        for malformed in ("Basic", "Basic %%%", "Basic /w==", "Basic bm9jb2xvbg==", "Bearer first-token", "Digest x"):
            assert await status(client, Authorization=malformed) == 401


async def test_a_known_password_costs_one_hash(users: Path) -> None:
    """A scrape every few seconds must not cost a hash each: hundreds pass in the time of a few, wrong ones too."""
    async with serve(basic_auth={"users_file": str(users)}) as url, aiohttp.ClientSession(url) as client:
        started = time.process_time()
        for _ in range(100):
            assert await status(client, Authorization=basic("prometheus", PASSWORD)) == 200
            assert await status(client, Authorization=basic("prometheus", "old")) == 401
        # 200 hashes would take about 40 s of the processor.
        assert time.process_time() - started < 10


@pytest.mark.slow
async def test_a_flood_of_unknown_passwords_is_rejected_and_blocks_no_other_client(users: Path) -> None:
    """More passwords than can be checked get 429; a known one and the health check still pass at once."""
    async with serve(basic_auth={"users_file": str(users)}) as url, aiohttp.ClientSession(url) as client:
        known = basic("prometheus", PASSWORD)
        assert await status(client, Authorization=known) == 200
        flood = [asyncio.create_task(status(client, Authorization=basic("x", str(number)))) for number in range(40)]
        await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        assert await status(client, Authorization=known) == 200
        assert await status(client, "/healthz") == 200
        assert set(await asyncio.gather(*flood)) == {401, 429}


async def test_token_opens_and_may_stand_beside_passwords(users: Path, token: Path) -> None:
    """Either credential suffices where both are set, and the refusal offers both."""
    async with (
        serve(basic_auth={"users_file": str(users)}, bearer_token_file=str(token)) as url,
        aiohttp.ClientSession(url) as client,
    ):
        assert await status(client, Authorization="Bearer first-token") == 200
        assert await status(client, Authorization="bearer first-token") == 200
        assert await status(client, Authorization=basic("prometheus", PASSWORD)) == 200
        assert await status(client, Authorization="Bearer first-toke") == 401
        async with client.get("/", headers={"Authorization": "Bearer ü"}) as response:
            assert await response.text() == "the credentials are invalid\n"
            assert [value.split()[0] for value in response.headers.getall("WWW-Authenticate")] == ["Basic", "Bearer"]


async def test_a_changed_token_is_taken_and_a_broken_one_is_not(token: Path) -> None:
    """A rotated token counts within the interval; a file that is emptied leaves the last good token, said once."""
    server = make_server(bearer_token_file=str(token), reload_interval=0.02)
    async with running(server) as address, aiohttp.ClientSession(f"http://{address}") as client:
        with capture_logs() as logs:
            write(token, "second-token")
            await eventually(lambda: answers(client, 200, "Bearer second-token"))
            assert await status(client, Authorization="Bearer first-token") == 401
            write(token, "")
            await eventually(lambda: any(entry["log_level"] == "error" for entry in logs))
            await asyncio.sleep(0.1)
            assert await status(client, Authorization="Bearer second-token") == 200
    errors = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["error"] for entry in errors] == ["web.bearer_token_file: the file is empty; write the token to it"]


async def test_a_hash_of_the_old_form_opens_and_is_warned_of(users: Path) -> None:
    """The log names the file, the users and what to do, never a hash."""
    key = "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw=="
    write(users, f"new: {CHEAP}\nold: $scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU=${key}\n")
    with capture_logs() as logs:
        async with serve(basic_auth={"users_file": str(users)}) as url, aiohttp.ClientSession(url) as client:
            assert await status(client, Authorization=basic("old", "pleaseletmein")) == 200
            assert await status(client, Authorization=basic("new", PASSWORD)) == 200
    assert [entry for entry in logs if entry["log_level"] == "warning"] == [
        {
            "event": "users file has scrypt hashes, which the next release does not read",
            "file": str(users),
            "users": ["old"],
            "fix": "replace their lines by those of `python -m exporter.web.passwords NAME`",
            "log_level": "warning",
        }
    ]


@pytest.mark.slow
async def test_a_removed_user_is_out(users: Path) -> None:
    """A changed users file also forgets which passwords were found right before."""
    server = make_server(basic_auth={"users_file": str(users)}, reload_interval=0.02)
    async with running(server) as address, aiohttp.ClientSession(f"http://{address}") as client:
        assert await status(client, Authorization=basic("prometheus", PASSWORD)) == 200
        write(users, f"someone: {CHEAP}\n")
        await eventually(lambda: answers(client, 200, basic("someone", PASSWORD)))
        assert await status(client, Authorization=basic("prometheus", PASSWORD)) == 401


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "{file} names no user; make a line with `python -m exporter.web.passwords NAME`"),
        ("a: $apr1$x\n", "{file}, line 1: the password of 'a' cannot be used: it is not a hash of the form"),
        (f"a: {CHEAP}\na: {CHEAP}\n", "{file}, line 2: user 'a' is there twice; remove one"),
        ("just a line\n", "{file}, line 1: every line must read `name: hash`"),
        (None, "web.basic_auth.users_file: cannot read {file}: No such file or directory"),
        (b"\xff\xfe", "web.basic_auth.users_file: {file} is not a text file in UTF-8"),
    ],
)
async def test_a_users_file_that_is_no_good_stops_the_start(
    users: Path, content: str | bytes | None, message: str
) -> None:
    """The server does not start half protected; the sentence names the file, the line and the way out."""
    write(users, content)
    with pytest.raises(ServeError) as raised:
        await make_server(basic_auth={"users_file": str(users)}).run()
    assert str(raised.value).startswith(message.format(file=users))
    assert "\n" not in str(raised.value)


async def test_a_token_pasted_as_a_file_name_is_not_repeated() -> None:
    """Whoever puts the token itself into the setting must not find it in the log."""
    with pytest.raises(ServeError) as raised:
        await make_server(bearer_token_file="tok-3f1c9").run()
    assert "tok-3f1c9" not in str(raised.value)
