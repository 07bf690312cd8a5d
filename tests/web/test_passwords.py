"""Password hashes: their text, their limits, and the program that makes them."""

import asyncio
import subprocess
import sys

import pytest

from exporter.web.passwords import PasswordCheck, PasswordHash, TooBusyError, parse_users
from tests.waiting import PATIENCE

SALT, KEY = "c2FsdHNhbHRzYWx0c2FsdA==", "a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2U="


@pytest.mark.slow
def test_a_hash_survives_its_text_and_hides_its_secrets() -> None:
    """What is written is read back; a repr shows neither salt nor key."""
    made = PasswordHash.make("pässword")
    assert PasswordHash.parse(str(made)) == made
    assert str(made).startswith("$2b$12$")
    assert made.matches("pässword")
    assert not made.matches("password")
    assert repr(made) == "PasswordHash()"


@pytest.mark.parametrize(
    ("password", "text"),
    [
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),  # Openwall's crypt_blowfish
        ("s3cret", "$2y$05$I42y6OHIua94xCdzD1S0/.gVmlpy9bReAWIE0V3.lgtEUod540qJa"),  # htpasswd -nbB
        ("pässword", "$2y$10$Kn19XIcTpqim4GKl8XzCGujRqGvl8cEPP8Wa9Z.ggFfr7XsXiFHF6"),  # htpasswd -nbBC 10
    ],
)
def test_known_vectors(password: str, text: str) -> None:
    """Hashes that other programs made open to their password."""
    hashed = PasswordHash.parse(text)
    assert hashed.matches(password)
    assert not hashed.matches(password + "x")
    assert not hashed.outdated


def test_the_form_of_the_release_before() -> None:
    """RFC 7914 section 12: `pleaseletmein` with salt SodiumChloride, N=16384, r=8, p=1. It is still read."""
    key = "cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw=="
    hashed = PasswordHash.parse(f"$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU=${key}")
    assert hashed.matches("pleaseletmein")
    assert not hashed.matches("pleaseletmeout")
    assert hashed.outdated


def test_a_password_beyond_the_limit_is_refused_and_never_cut() -> None:
    """What bcrypt does is take the first 72 bytes for the whole."""
    longest = "ü" * 36
    made = PasswordHash.make(longest)
    assert made.matches(longest)
    assert not made.matches(longest + "x")
    with pytest.raises(ValueError, match="bcrypt takes 72 bytes at most, and the password has 73"):
        PasswordHash.make(longest + "x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("secret", "it is not a hash of the form"),
        ("$2y$10$abcdefghijklmnopqrstuv", "it is not a hash of the form"),
        ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "it is not a hash of the form"),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCCCE5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "it is not a hash of the form"),
        ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "it is not a hash of the form"),
        ("$2y$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "its cost is 03; 4 to 14 are read"),
        ("$2y$15$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "its cost is 15; 4 to 14 are read"),
        (f"$scrypt$ln=14,r=8,p=5$abc${KEY}", "its salt or key is not base64"),
        (f"$scrypt$ln=14,r=0,p=5${SALT}${KEY}", "ln, r and p must be at least 1"),
        (f"$scrypt$ln=30,r=8,p=1${SALT}${KEY}", "it costs too much to check"),
        (f"$scrypt$ln=14,r=8,p=999${SALT}${KEY}", "it costs too much to check"),
    ],
)
def test_what_is_no_hash_is_refused_with_the_reason(text: str, reason: str) -> None:
    """A plain password, another scheme, and a hash that takes too long to check are named for what they are."""
    with pytest.raises(ValueError, match=reason):
        PasswordHash.parse(text)


def test_lines_of_other_programs_are_read() -> None:
    """No space behind the colon from htpasswd; a heading and an indent from a Prometheus exporter."""
    hashed = "$2y$05$I42y6OHIua94xCdzD1S0/.gVmlpy9bReAWIE0V3.lgtEUod540qJa"
    users = parse_users(f"prometheus:{hashed}\n\nbasic_auth_users:\n  alice: {hashed}\n", "users")
    assert users == dict.fromkeys(("prometheus", "alice"), PasswordHash(hashed))


@pytest.mark.slow
async def test_checks_in_line_are_bounded() -> None:
    """One check runs at a time and sixteen wait; the next is refused at once instead of growing the line."""
    check = PasswordCheck({"a": PasswordHash.make("right")})
    waiting = [asyncio.create_task(check.accepts("a", str(number))) for number in range(16)]
    await asyncio.sleep(0)
    with pytest.raises(TooBusyError):
        await check.accepts("a", "one more")
    assert await asyncio.gather(*waiting) == [False] * 16
    assert await check.accepts("a", "right")


@pytest.mark.slow
def test_the_program_writes_a_line_of_the_users_file() -> None:
    """The documented way to make a hash makes one that opens, and refuses what could not work."""

    def run(name: str, password: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "exporter.web.passwords", name]
        return subprocess.run(command, input=password, capture_output=True, text=True, timeout=PATIENCE, check=False)

    made = run("prometheus", "s3cret\n")
    assert made.returncode == 0
    assert parse_users(made.stdout, "standard output")["prometheus"].matches("s3cret")
    assert (run("with:colon", "x\n").returncode, run("empty", "\n").returncode) == (2, 2)
    long = run("long", "x" * 73 + "\n")
    assert (long.returncode, long.stdout) == (2, "")
    assert long.stderr == "This password is not accepted: bcrypt takes 72 bytes at most, and the password has 73.\n"
