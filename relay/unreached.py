"""PostgreSQL cannot be reached: where it was tried, why not, and what to do, in a sentence and a hint.

What this machine itself has wrong (a parameter, a certificate file, a service that is defined nowhere) is
configuration, exit code 78: no other answer will ever come. All else may pass, or be mended elsewhere, and is 69: a
refused login too, for a password that is being changed is refused for a while.
"""

from __future__ import annotations

import re

from sqlalchemy import URL

from relay.addresses import told
from relay.database_errors import Kind, cause_of
from relay.errors import ConfigurationError, RelayError, UnreachableError

DATABASE_URL = "RELAY_DATABASE_URL"

_AWAY = ("08", "28", "3D", "53", "57P")  # connection, password, database, resources, shutdown

_HINTS = {
    Kind.NO_ANSWER: "Nothing answers there: check the address in {url}, firewalls and security groups.",
    Kind.UNKNOWN_HOST: "Check the host's name in {url}, and the name servers of this machine.",
    Kind.TLS: "Check sslmode and sslrootcert in {url}: docs/network.md",
    Kind.LOGIN: "Check user and password in {url}, and pg_hba.conf on the server.",
    Kind.NO_DATABASE: "Check the name of the database in {url}, or create it.",
    Kind.CROWDED: "Raise max_connections or the limit of the role, or run fewer workers: docs/scaling.md",
    Kind.STARTING: "Try again when the server is up.",
    Kind.STOPPED: "Try again when the server is up.",
    Kind.READ_ONLY: "Let {url} name the primary; with several hosts: target_session_attrs=read-write",
    Kind.POOLER: "The pooler's log says more; its pool may be smaller than what is asked of it.",
    Kind.SETTING: "Check the parameters in {url} and the files they name: docs/network.md",
}
_ELSE = "Check {url} and that the server runs."
_NO_SOCKET = "Name the host in {url}, or with ?host= the directory in which the server has its socket."
_NO_SERVICE = re.compile(r"definition of service|service file")
# As the driver lists them when each of several attempts has failed.
_ATTEMPT = re.compile(
    r"- host: '?(?P<host>[^']*?)'?, port: '?(?P<port>\w*)'?, hostaddr: (?:'[^']*'|None): (?P<said>.*)"
)


def is_unreached(error: BaseException) -> bool:
    """Whether this error of the driver came from the way to the server, and not from a statement."""
    state = getattr(error, "sqlstate", None)
    return str(state).startswith(_AWAY) if state else cause_of(error).kind is not Kind.OTHER


def unreached(error: BaseException, url: URL, *, variable: str = DATABASE_URL, whose: str = "") -> RelayError:
    """``variable`` is where the URL comes from, ``whose`` the beginning of the sentence."""
    kind, reason = cause_of(error).kind, reason_of(error)
    if _NO_SERVICE.search(reason):
        kind = Kind.SETTING
    hint = _NO_SOCKET if reason == "No such file or directory" else _HINTS.get(kind, _ELSE)
    sentence = f"{whose}cannot reach PostgreSQL {told(url)}: {reason}"
    if kind is Kind.SETTING:
        return ConfigurationError(sentence, hint.format(url=variable))
    return UnreachableError(sentence, hint.format(url=variable), cause=kind)


def reason_of(error: BaseException) -> str:
    """The server's own sentence, without the detail (which quotes the row); else the end of libpq's first line.

    Of several attempts with different ends, that of each host.
    """
    sentence = getattr(getattr(error, "diag", None), "message_primary", None)
    if sentence:
        return str(sentence)
    lines = str(error).splitlines() or [type(error).__name__]
    attempts = [found for line in lines if (found := _ATTEMPT.match(line))]
    if len({_end(attempt["said"]) for attempt in attempts}) > 1:
        return "; ".join(f"{attempt['host']}:{attempt['port']} {_end(attempt['said'])}" for attempt in attempts)
    return _end(lines[0])


def _end(line: str) -> str:
    return line.rpartition(" failed: ")[2].removeprefix("connection is bad: ").removeprefix("FATAL:").strip()
