r"""Password hashes of the users file: how one is written, checked and made.

A users file has one user a line, `name: hash`; blank lines and lines that begin with `#` are ignored. A hash reads
`$scrypt$ln=14,r=8,p=5$<salt>$<key>`, salt and key in base64. To make a line (the password is asked for, or read from
standard input where that is no terminal):

    python -m exporter.web.passwords prometheus >> users

scrypt (RFC 7914) because Python has it without another package, and because its memory cost makes guessing dear.
"""

import asyncio
import binascii
import hashlib
import hmac
import re
import secrets
import sys
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from getpass import getpass

from exporter.serve.errors import ServeError

_LOG_N, _R, _P = 14, 8, 5
"""Work of a new hash: OWASP's Password Storage Cheat Sheet gives N=2^14, r=8, p=5 for 16 MiB of memory a check."""
_MAX_MEMORY = 64 * 1024 * 1024
"""Bytes one check may take; a file that asks for more is refused rather than obeyed by a container of 128 MiB."""
_MAX_WORK = 16 * (1 << _LOG_N) * _R * _P
_KEY_BYTES = 32
_HASH = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")
_MAX_WAITING = 16
"""Checks that may queue for the one thread: about three seconds of work. Who comes then is asked to come back."""
_MAX_REFUSED = 256
"""Wrong credentials remembered, so that a scraper with an old password does not cost a hash per scrape."""


class TooBusyError(Exception):
    """So many unknown passwords are waiting to be checked that one more is not taken."""


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """One salted hash with the parameters it was made with."""

    log_n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read a hash as `str()` writes it. Raises ValueError with the reason in words."""
        match = _HASH.fullmatch(text)
        if match is None:
            raise ValueError("it is not a hash of the form $scrypt$ln=14,r=8,p=5$salt$key")
        log_n, r, p = (int(group) for group in match.groups()[:3])
        try:
            salt, key = (b64decode(group, validate=True) for group in match.groups()[3:])
        except binascii.Error:
            raise ValueError("its salt or key is not base64") from None
        if not (log_n and r and p):
            raise ValueError("ln, r and p must be at least 1")
        if 128 * r * (1 << log_n) > _MAX_MEMORY or (1 << log_n) * r * p > _MAX_WORK:
            raise ValueError(f"it costs too much to check; ln={_LOG_N},r={_R},p={_P} is what is needed")
        return cls(log_n, r, p, salt, key)

    @classmethod
    def make(cls, password: str) -> "PasswordHash":
        """Hash a password with a new salt; takes about a fifth of a second."""
        salt = secrets.token_bytes(16)
        return cls(_LOG_N, _R, _P, salt, _scrypt(password, salt, (_LOG_N, _R, _P), _KEY_BYTES))

    def matches(self, password: str) -> bool:
        """Return whether this is the password; takes about a fifth of a second, without holding the interpreter."""
        key = _scrypt(password, self.salt, (self.log_n, self.r, self.p), len(self.key))
        return hmac.compare_digest(key, self.key)

    def __str__(self) -> str:
        salt, key = b64encode(self.salt).decode(), b64encode(self.key).decode()
        return f"$scrypt$ln={self.log_n},r={self.r},p={self.p}${salt}${key}"


class PasswordCheck:
    """Checks users' passwords, each once: what was found is remembered under a key that only this process has."""

    def __init__(self, users: Mapping[str, PasswordHash]) -> None:
        self._users = dict(users)
        # Someone unknown costs as much as someone known, so that time does not tell which names exist.
        self._nobody = PasswordHash(_LOG_N, _R, _P, secrets.token_bytes(16), secrets.token_bytes(_KEY_BYTES))
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
                accepted = await asyncio.to_thread(self._users.get(user, self._nobody).matches, password)
        finally:
            self._waiting -= 1
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
        if not line or line.startswith("#"):
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


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int], length: int) -> bytes:
    log_n, r, p = cost
    # OpenSSL counts a little more than the formula's 128·r·N.
    maximum = 2 * _MAX_MEMORY
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << log_n, r=r, p=p, maxmem=maximum, dklen=length)


def main(arguments: list[str]) -> int:
    """Write one line of a users file for the user named on the command line."""
    if len(arguments) != 1 or ":" in arguments[0] or not arguments[0].strip():
        sys.stderr.write("usage: python -m exporter.web.passwords NAME   (a name without a colon)\n")
        return 2
    password = getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if not password:
        sys.stderr.write("An empty password is not accepted.\n")
        return 2
    sys.stdout.write(f"{arguments[0]}: {PasswordHash.make(password)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
