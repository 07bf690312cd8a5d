r"""Password hashes of the users file: how one is written, checked and made.

A users file has one user a line, `name: hash`; blank lines and lines that begin with `#` are ignored. A hash is
bcrypt's, so a line may come from `htpasswd -nB`, or from the section `basic_auth_users` of a Prometheus exporter's web
configuration. To make one here (the password is asked for, or read from standard input where that is no terminal):

    python -m exporter.web.passwords prometheus >> users

Hashes of the form `$scrypt$ln=14,r=8,p=5$<salt>$<key>`, which the program wrote before, are read for one more release.
"""

import asyncio
import binascii
import hashlib
import hmac
import re
import secrets
import sys
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from getpass import getpass

import bcrypt

from exporter.serve.errors import ServeError

_COST = 12
"""Of a new hash: 2^12 rounds take a fifth of a second. OWASP's Password Storage Cheat Sheet asks for 10 or more."""
_MAX_COST = 14
"""A check at this cost takes about a second, and one runs at a time."""
_MAX_PASSWORD_BYTES = 72
"""bcrypt's own limit; it would ignore what is beyond."""
# The salt's 128 bits end with two of the 22nd character, so it is one of four.
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./0-9A-Za-z]{21}[.Oeu][./0-9A-Za-z]{31}")
_HEADING = "basic_auth_users:"
_SCRYPT = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")
_MAX_SCRYPT_MEMORY = 64 * 1024 * 1024
_MAX_SCRYPT_WORK = 16 * (1 << 14) * 8 * 5
_MAX_WAITING = 16
"""Checks that may queue for the one thread: about three seconds of work. Beyond that, clients are asked to retry."""
_MAX_REFUSED = 256
"""Wrong credentials remembered, so that a scraper with an old password does not cost a hash per scrape."""


class TooBusyError(Exception):
    """So many unknown passwords are waiting to be checked that one more is not taken."""


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """One salted hash, as it is written in the file."""

    text: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read a hash as `str()` writes it. Raises ValueError with the reason in words."""
        if (found := _BCRYPT.fullmatch(text)) is not None:
            if not 4 <= int(found[1]) <= _MAX_COST:  # noqa: PLR2004 - bcrypt's own least
                raise ValueError(f"its cost is {found[1]}; 4 to {_MAX_COST} are read, and {_COST} is what is needed")
        elif (found := _SCRYPT.fullmatch(text)) is not None:
            _check_scrypt(*found.groups())
        else:
            raise ValueError("it is not a hash of the form $2y$12$..., which is bcrypt's")
        return cls(text)

    @classmethod
    def make(cls, password: str) -> "PasswordHash":
        """Hash a password with a new salt; takes about a fifth of a second. Raises ValueError where it is too long."""
        given = password.encode()
        if len(given) > _MAX_PASSWORD_BYTES:
            raise ValueError(f"bcrypt takes {_MAX_PASSWORD_BYTES} bytes at most, and the password has {len(given)}")
        return cls(bcrypt.hashpw(given, bcrypt.gensalt(_COST)).decode())

    @property
    def outdated(self) -> bool:
        """Whether the next release will not read it any more."""
        return self.text.startswith("$scrypt$")

    def matches(self, password: str) -> bool:
        """Return whether this is the password; takes about a fifth of a second, without holding the interpreter."""
        given = password.encode()
        if self.outdated:
            return _matches_scrypt(self.text, given)
        # No hash was made from a longer one in full, so there is none it could be.
        return len(given) <= _MAX_PASSWORD_BYTES and bcrypt.checkpw(given, self.text.encode())

    def __str__(self) -> str:
        return self.text


def _check_scrypt(log_n: str, r: str, p: str, salt: str, key: str) -> None:
    try:
        for encoded in (salt, key):
            b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("its salt or key is not base64") from None
    if not (int(log_n) and int(r) and int(p)):
        raise ValueError("ln, r and p must be at least 1")
    work = int(r) << int(log_n)
    if 128 * work > _MAX_SCRYPT_MEMORY or work * int(p) > _MAX_SCRYPT_WORK:
        raise ValueError("it costs too much to check; ln=14,r=8,p=5 is what is needed")


def _matches_scrypt(text: str, password: bytes) -> bool:
    _, _, cost, salt, expected = text.split("$")
    n, r, p = (int(parameter.partition("=")[2]) for parameter in cost.split(","))
    key = b64decode(expected)
    # OpenSSL counts a little more than the formula's 128 * r * N.
    memory = 2 * _MAX_SCRYPT_MEMORY
    made = hashlib.scrypt(password, salt=b64decode(salt), n=1 << n, r=r, p=p, maxmem=memory, dklen=len(key))
    return hmac.compare_digest(made, key)


class PasswordCheck:
    """Checks users' passwords, each once: what was found is remembered under a key that only this process has.

    There is at least one user.
    """

    def __init__(self, users: Mapping[str, PasswordHash]) -> None:
        self._users = dict(users)
        # An unknown user costs as much as a known one, so that response times do not reveal which names exist.
        self._decoy = next(iter(self._users.values()))
        self._secret = secrets.token_bytes(32)
        self._accepted: dict[str, bytes] = {}
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._one_at_a_time = asyncio.Semaphore(1)
        self._waiting = 0

    async def accepts(self, user: str, password: str) -> bool:
        """Return whether the user has this password. Raises TooBusyError where too many wait to be checked."""
        seen = hmac.digest(self._secret, f"{user}:{password}".encode(), "sha256")
        if hmac.compare_digest(self._accepted.get(user, b""), seen):
            return True
        if seen in self._refused:
            self._refused.move_to_end(seen)
            return False
        if self._waiting >= _MAX_WAITING:
            raise TooBusyError
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                matched = await asyncio.to_thread(self._users.get(user, self._decoy).matches, password)
        finally:
            self._waiting -= 1
        accepted = matched and user in self._users
        if accepted:
            self._accepted[user] = seen
        else:
            self._refused[seen] = None
            if len(self._refused) > _MAX_REFUSED:
                self._refused.popitem(last=False)
        return accepted


def parse_users(text: str, source: str) -> dict[str, PasswordHash]:
    """Read a users file; `source` names it in errors.

    Raises ServeError with the line and what is wrong with it, never the hash.
    """
    users: dict[str, PasswordHash] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#") or line == _HEADING:
            continue
        name, colon, hashed = line.partition(":")
        if not colon or not name.strip():
            raise ServeError(f"{source}, line {number}: every line must read `name: hash`")
        if name.strip() in users:
            raise ServeError(f"{source}, line {number}: user {name.strip()!r} is there twice; remove one")
        try:
            users[name.strip()] = PasswordHash.parse(hashed.strip())
        except ValueError as error:
            raise ServeError(
                f"{source}, line {number}: the password of {name.strip()!r} cannot be used: {error}; "
                "make the line with `python -m exporter.web.passwords NAME`"
            ) from None
    if not users:
        raise ServeError(f"{source} names no user; make a line with `python -m exporter.web.passwords NAME`")
    return users


def main(arguments: list[str]) -> int:
    """Write one line of a users file for the user named on the command line."""
    if len(arguments) != 1 or ":" in arguments[0] or not arguments[0].strip():
        sys.stderr.write("usage: python -m exporter.web.passwords NAME   (a name without a colon)\n")
        return 2
    password = getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        sys.stderr.write("An empty password is not accepted.\n")
        return 2
    try:
        made = PasswordHash.make(password)
    except ValueError as error:
        sys.stderr.write(f"This password is not accepted: {error}.\n")
        return 2
    sys.stdout.write(f"{arguments[0]}: {made}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
