"""What an error of PostgreSQL means, in one table: its cause in words, and whether it passes by itself.

What decides is the SQLSTATE. There is none where no server was reached, or where it refused the connection itself:
then libpq's words decide, as far as they are known. A server may speak another language than English; so what is not
known is told apart only by the kind of the driver's exception: lost, or a mistake of ours.

No other room compares an SQLSTATE: what one is decided by stands here, by its name, with the reason.

Words name no host, user or value: the log, a probe and a command may all say them. A cause that passes may be tried
again as it is; one that does not needs a person, and trying again would only hide it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, NamedTuple

from relay import certificates


class Kind(StrEnum):
    """The stable key of a cause, in the log and for code that decides by it."""

    LOST = "lost"  # the connection ended, nobody said why
    REFUSED = "refused"  # nobody listens there
    NO_ANSWER = "no_answer"  # a time-out of the network
    UNKNOWN_HOST = "unknown_host"
    TLS = "tls"
    LOGIN = "login"
    NO_DATABASE = "no_database"
    CROWDED = "crowded"  # too many connections
    STARTING = "starting"  # or stopping, or recovering
    STOPPED = "stopped"  # an administrator ended the session, or the server
    READ_ONLY = "read_only"
    TOO_SLOW = "too_slow"  # statement_timeout, or cancelled
    LOCKED = "locked"  # lock_timeout, or nowait
    IDLED = "idled"  # a time-out of idle sessions or transactions
    REPEATABLE = "repeatable"  # serialization, deadlock
    RESOURCES = "resources"  # disk or memory is full
    SYSTEM = "system"  # input or output failed below PostgreSQL
    POOLER = "pooler"  # what is in between gave up
    SETTING = "setting"  # the URL or what libpq reads beside it
    MISSING = "missing"  # a table, a column, a function
    NO_RIGHT = "no_right"
    OTHER = "other"  # about the statement or its rows


class Cause(NamedTuple):
    """``words`` is the end of a sentence: "PostgreSQL was lost: " + words. ``passes``: trying again may help."""

    kind: Kind
    words: str
    passes: bool


_LOST = Cause(Kind.LOST, "the connection ended", True)
_TOO_LONG = Cause(Kind.TOO_SLOW, "a statement was cancelled or took longer than statement_timeout", True)
_LOGIN = Cause(Kind.LOGIN, "the server refuses this login (user, password or pg_hba.conf)", True)
_NO_DATABASE = Cause(Kind.NO_DATABASE, "the server has no such database", True)
_CROWDED = Cause(Kind.CROWDED, "the server has too many connections already", True)
_STARTING = Cause(Kind.STARTING, "the server is starting, stopping or recovering", True)
_STOPPED = Cause(Kind.STOPPED, "an administrator ended the connection or stops the server", True)
_READ_ONLY = Cause(Kind.READ_ONLY, "the server takes no writes: a standby, or read-only by default", True)
_NO_ANSWER = Cause(Kind.NO_ANSWER, "the server did not answer in time", True)
_REFUSED = Cause(Kind.REFUSED, "nobody listens there: the server is down, or the port is wrong", True)
_UNKNOWN_HOST = Cause(Kind.UNKNOWN_HOST, "the host's name cannot be resolved", True)
_POOLER = Cause(Kind.POOLER, "the pooler gave no server connection", True)
_STATEMENT_MODE = Cause(Kind.POOLER, "the pooler refuses transactions: set pool_mode=transaction in it", True)
_SETTING = Cause(Kind.SETTING, "the connection parameters are wrong", False)
_MISSING = Cause(Kind.MISSING, "a table, column or function is missing", False)
_TLS = Cause(Kind.TLS, "no encrypted connection could be made", True)

# The longest beginning that fits decides.
_BY_STATE = {
    "08": _LOST,
    "08P01": Cause(Kind.POOLER, "the pooler or the server broke off the conversation", True),
    "25006": _READ_ONLY,
    "25P03": Cause(Kind.IDLED, "a transaction was idle for longer than its time-out", True),
    "28": _LOGIN._replace(passes=False),  # inside a session it is about a role, which does not come by itself
    "3D000": _NO_DATABASE._replace(passes=False),
    "3F000": _MISSING,
    "40001": Cause(Kind.REPEATABLE, "the transaction only has to run once more", True),
    "40P01": Cause(Kind.REPEATABLE, "two transactions waited for each other", True),
    "42501": Cause(Kind.NO_RIGHT, "a right is missing", False),
    "42703": _MISSING,
    "42883": _MISSING,
    "42P01": _MISSING,
    "53": Cause(Kind.RESOURCES, "the server is out of resources", True),
    "53100": Cause(Kind.RESOURCES, "the server's disk is full", True),
    "53200": Cause(Kind.RESOURCES, "the server is out of memory", True),
    "53300": _CROWDED,
    "55P03": Cause(Kind.LOCKED, "a lock was not free in time (lock_timeout)", True),
    "57": _STOPPED,
    "57014": _TOO_LONG,
    "57P03": _STARTING,
    "57P05": Cause(Kind.IDLED, "the session was idle for longer than idle_session_timeout", True),
    "58": Cause(Kind.SYSTEM, "input or output failed on the server", True),
}

# States that code decides by, and kinds of them by their beginning.
CANCELLED = "57014"  # by a limit on its time, or because it was asked to
READ_ONLY = "25006"  # the server, or its default for transactions
NO_TRANSACTION = "25P01"  # what needs one was said in autocommit
SYNTAX_ERROR = "42601"
NO_TABLE = "42P01"
TABLE_CHANGED = "0A000"  # a migration has changed the type of a result, where this function of the server says so:
PLANS_CHECKED_IN = "RevalidateCachedQuery"
POLICIES_CHECKED_IN = "check_enable_rls"  # and this one, in whatever language, that a policy would hide rows
NO_RIGHT = "42501"
LOCKED = ("55P03", "40P01")  # a lock was not free in time, a deadlock
PREPARED_ELSEWHERE = ("26000", "42P05")  # by a pooler that was not found out: missing here, or here already
NOT_IN_THIS_ENCODING = ("22021", "22P05")
# What a person has to mend, whatever the row: the way in (28, 3D), a right, a table or a column (42, 3F), a feature.
FOR_A_PERSON = ("0A", "28", "3D", "3F", "42")
# The server's sentence quotes names only, of tables and constraints; in a statement of the user's, those of 42.
NAMES_NO_VALUE = ("0A", "23", "42", "54")
NOT_AS_WRITTEN = ("42",)

# libpq's and a pooler's words; the first that is found decides.
_BY_WORDS = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        (r"too many clients|remaining connection slots|too many connections|no more connections allowed", _CROWDED),
        (r"password authentication failed|no password supplied|authentication failed|no pg_hba\.conf entry", _LOGIN),
        (r"role .* does not exist|not permitted to log in|no such user|permission denied for database", _LOGIN),
        (r"server login failed|login rejected", _LOGIN),
        (r"database .* does not exist|no such database|not currently accepting connections", _NO_DATABASE),
        # An alert is what the other side says.
        (r"alert (certificate|bad certificate|unknown ca)\b", _TLS._replace(words=certificates.OURS_REFUSED)),
        (r"certificate has expired|certificate expired", _TLS._replace(words=certificates.EXPIRED)),
        (r"self.signed certificate|unknown ca\b|local issuer", _TLS._replace(words=certificates.UNTRUSTED)),
        (r"certificate verify failed", _TLS._replace(words=certificates.NOT_SAID)),
        (r"does not match host name|certificate contains no", _TLS._replace(words=certificates.OF_ANOTHER_HOST)),
        (
            r"root certificate file|certificate file|private key file",
            Cause(Kind.SETTING, "a certificate file that the URL names cannot be read", True),
        ),
        (r"does not support SSL", _TLS._replace(words="the server speaks no TLS, and sslmode asks for it")),
        (r"invalid (dsn|uri|integer|port|connection option|\S+ value)", _SETTING),
        (
            r"unrecognized configuration parameter|unsupported startup parameter",
            Cause(Kind.SETTING, "the server or the pooler does not know a parameter of the connection", True),
        ),
        (r"SSL error|SSL negotiation", _TLS),
        (r"starting up|shutting down|in recovery mode|not yet accepting", _STARTING),
        (r"not read-write|hot standby|read-only|not primary", _READ_ONLY),
        (r"query_wait_timeout|client_login_timeout|server_login_retry|pgbouncer|pooler", _POOLER),
        (r"failed to resolve|could not translate host name|name or service not known", _UNKNOWN_HOST),
        (r"connection refused|no such file or directory", _REFUSED),
        (r"timeout expired|timed out|no route to host|unreachable", _NO_ANSWER),
        (r"terminating connection", _STOPPED),
    )
)

# No session could be opened or kept, whatever was asked in it.
_AWAY = frozenset(
    {
        *(Kind.LOST, Kind.POOLER, Kind.LOGIN, Kind.NO_DATABASE, Kind.CROWDED, Kind.RESOURCES),
        *(Kind.STARTING, Kind.STOPPED, Kind.IDLED),
    }
)

# What the driver raises when a server was not reached or lost; its other errors without a state are mistakes of ours.
_OF_THE_WAY = {"OperationalError", "InterfaceError"}


def cause_of(error: BaseException | None) -> Cause:
    """The cause of an error of the driver (not of SQLAlchemy's, whose ``orig`` it is)."""
    if is_statement_mode(error):
        return _STATEMENT_MODE
    if state := sqlstate(error):
        return _of_state(state)
    words, of_the_way = str(error), _is_of_the_way(error)
    for pattern, cause in _BY_WORDS:
        if (of_the_way or cause is _SETTING) and pattern.search(words):
            return cause
    return _LOST if of_the_way else Cause(Kind.OTHER, type(error).__name__, False)


def sqlstate(error: BaseException | None) -> str | None:
    """Of an error of the driver, or of SQLAlchemy's over it; None where no server said one."""
    state = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return str(state) if state else None


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE behind an error, also where it has become a sentence of ours."""
    return sqlstate(origin_of(error))


def origin_of(error: BaseException) -> Any:
    """The driver's error behind it, if the server told a SQLSTATE."""
    for found in (getattr(error, "orig", None), error.__cause__, error.__context__):
        if getattr(found, "sqlstate", None):
            return found
    return None


def is_statement_mode(error: BaseException | None) -> bool:
    """Whether PgBouncer refuses what takes more than one statement. Its SQLSTATE is that of any broken conversation."""
    return sqlstate(error) == "08P01" and "statement pooling" in str(error)


def is_away(error: BaseException | None) -> bool:
    """Whether the server, or the way to it, is to blame and no statement: for whom no other one would fare better."""
    return cause_of(error).kind in _AWAY if sqlstate(error) else _is_of_the_way(error)


def _is_of_the_way(error: BaseException | None) -> bool:
    return bool(_OF_THE_WAY & {kind.__name__ for kind in type(error).__mro__})


def looked_into(error: BaseException | None) -> Cause:
    """The same, and of a certificate that is refused what is wrong with it: for that the server is asked once more."""
    cause = cause_of(error)
    words = certificates.trouble_of_postgresql(error) if cause.kind is Kind.TLS else None
    return cause._replace(words=words) if words else cause


def _of_state(state: str) -> Cause:
    for length in (5, 2):
        if cause := _BY_STATE.get(state[:length]):
            return cause
    return Cause(Kind.OTHER, f"SQLSTATE {state}", False)
