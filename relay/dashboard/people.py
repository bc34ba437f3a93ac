"""Who may look: names with hashes of passwords, in a file; and how a password is compared.

    ann:scrypt$15$8$1$<salt>$<hash>

One line a person, its hash made by ``relay dashboard --hash-password``; lines that begin with # are left out. scrypt
takes 32 MiB and a tenth of a second for each try, a name that is not there as long as one that is, and only a few at
a time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from relay.errors import ConfigurationError
from relay.texts import UnusableText, read_text

_LOG_N, _R, _P = 15, 8, 1
_MOST_LOG_N, _LENGTH, _MOST_MEMORY = 20, 32, 256 * 1024 * 1024
_AT_ONCE = threading.BoundedSemaphore(2)
LONGEST_NAME = 200  # characters: never more bytes than the ledger takes, which are a thousand
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1_024
_HINT = "Make a line with: relay dashboard --hash-password"


@dataclass(frozen=True, slots=True)
class _Hash:
    log_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def fits(self, password: str) -> bool:
        """In constant time for passwords of any likeness."""
        given = _digest(password, self.log_n, self.r, self.p, self.salt, len(self.digest))
        return hmac.compare_digest(given, self.digest)


_NOBODY = _Hash(_LOG_N, _R, _P, b"nobody has this password", bytes(_LENGTH))


class People:
    """Those of a file, read again when it changes. Raises ConfigurationError where it cannot be understood."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at: tuple[int, int] | None = None
        self._hashes: dict[str, _Hash] = {}
        self._lock = threading.Lock()
        self._current()

    def digest(self, name: str) -> bytes | None:
        """Of the password that this person has now, another one for each ``--hash-password``; None: not in the file."""
        found = self._current().get(name)
        return found.digest if found else None

    def is_right(self, name: str, password: str) -> bool:
        """Whether this is the password of this person."""
        found = self._current().get(name)
        if len(password) > LONGEST_PASSWORD:
            return False
        with _AT_ONCE:
            return (found or _NOBODY).fits(password) and found is not None

    def _current(self) -> dict[str, _Hash]:
        with self._lock:
            try:
                found = self._path.stat()
                stamp = (found.st_mtime_ns, found.st_size)
                if stamp != self._read_at:
                    self._hashes = _read(self._path, read_text(self._path, again=True))
                    self._read_at = stamp
            except OSError as error:
                raise ConfigurationError(f"{self._path} cannot be read: {error.strerror}", _HINT) from None
            except UnusableText as error:
                raise ConfigurationError(f"{self._path} {error}", _HINT) from None
            return self._hashes


def is_name(written: str) -> bool:
    """Whether the ledger can keep it as the name of whoever acts: one line that can be seen."""
    return bool(written.strip()) and written.isprintable() and len(written) <= LONGEST_NAME


def hashed(password: str) -> str:
    """What stands behind the name in the file. Raises ConfigurationError for one that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ConfigurationError(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters",
            "Give it on standard input: relay dashboard --hash-password < file",
        )
    salt = os.urandom(16)
    digest = _digest(password, _LOG_N, _R, _P, salt, _LENGTH)
    return f"scrypt${_LOG_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def _digest(password: str, log_n: int, r: int, p: int, salt: bytes, length: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=1 << log_n, r=r, p=p, maxmem=_MOST_MEMORY, dklen=length
    )


def _read(path: Path, text: str) -> dict[str, _Hash]:
    found: dict[str, _Hash] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, written = line.strip().partition(":")
        parsed = _parsed(written)
        if not colon or not is_name(name) or name in found or parsed is None:
            raise ConfigurationError(
                f"{path} line {number} is no NAME:HASH, its name is longer than {LONGEST_NAME} characters, or it names "
                "somebody twice",
                _HINT,
            )
        found[name] = parsed
    if not found:
        raise ConfigurationError(f"{path} names nobody", _HINT)
    return found


def _parsed(written: str) -> _Hash | None:
    try:
        kind, log_n, r, p, salt, digest = written.split("$")
        made = _Hash(int(log_n), int(r), int(p), b64decode(salt, validate=True), b64decode(digest, validate=True))
    except ValueError:
        return None
    sound = kind == "scrypt" and 14 <= made.log_n <= _MOST_LOG_N and 1 <= made.r <= 16 and 1 <= made.p <= 16
    return made if sound and len(made.salt) >= 8 and len(made.digest) >= 16 and _fits_memory(made) else None


def _fits_memory(made: _Hash) -> bool:
    return 128 * made.r * (1 << made.log_n) < _MOST_MEMORY
