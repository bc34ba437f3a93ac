"""All checks of the database in the order they are told, and how they are kept apart from each other.

Each check gets a read-only transaction of its own, which a time limit ends. What it is not allowed to see, and whatever
else it raises, becomes a warning under its name. Only a server that does not answer ends the examination, as
UnreachableError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from relay.checks import (
    Check,
    NamedFinding,
    State,
    backlog,
    catalogue,
    catching_up,
    collation,
    denied,
    interference,
    named,
    names,
    rights,
    sequences,
    server,
    surroundings,
    vacuum,
    warn,
    way,
)
from relay.checks.parts import part_of
from relay.database_errors import LOCKED, NO_RIGHT, state_of
from relay.errors import RelayError, UnreachableError
from relay.holders import InTheWay, keeping_writers
from relay.settings import Settings
from relay.sql import quoted, schema_of

LIMIT_SECONDS = 10

# Of the server itself.
SERVER: Mapping[str, Check] = {
    "database": server.database,
    "version": server.version,
    "encoding": server.encoding,
    "primary": server.primary,
    "clock": server.clock,
    "lease": server.lease(None),
    "pooler": server.pooler,
    "one server": way.one_server,
    "encryption": way.encryption,
    "prepared transactions": server.prepared_transactions,
    "vacuum horizon": vacuum.horizon,
    "superuser": rights.superuser,
    "role settings": surroundings.role_settings,
    "public": surroundings.public,
}
REVISION: Mapping[str, Check] = {"revision": catalogue.revision}
# Of the tables, as this version of the relay knows them: at any other revision there is nothing to compare with.
TABLES: Mapping[str, Check] = {
    "catalogue": catalogue.catalogue,
    "rights": rights.rights,
    "archiving": rights.archiving,
    "row security": interference.row_security,
    "rules": interference.rules,
    "locks": interference.locks,
    "row locks": interference.row_locks,
    "collation": collation.collation,
    "sequences": sequences.sequences,
    "after migrating": catching_up.left_to_do,
    "autovacuum": vacuum.autovacuum,
    "backlog": backlog.backlog,
    "due times": backlog.far_times,
    "held": backlog.held,
    "limits": backlog.limits,
    "blocked keys": backlog.blocked_keys,
    "account names": names.account_names,
    "pauses": backlog.pauses,
    "pace": backlog.pace,
    "failed": backlog.failed,
    "open calls": backlog.open_calls,
    "answers": backlog.answers,
}

_LIMIT = text(
    "select set_config('statement_timeout', :limit, true), set_config('lock_timeout', :locks, true)"
).bindparams(limit=f"{LIMIT_SECONDS}s")
# For a lock; where one was waited for in vain, the checks after that do not wait as long again.
LOCK_SECONDS, _ONCE_MORE_SECONDS = 2.0, 0.1


def examine(engine: Engine, settings: Settings, timeout_seconds: float | None = None) -> Iterator[NamedFinding]:
    """The findings one after another, as they are found out. Raises UnreachableError where the server does not answer.

    ``engine`` raises the relay's own errors, ``timeout_seconds`` is how long a call of the producer in use may take.
    """
    yield from _findings(engine, settings, {**SERVER, "lease": server.lease(timeout_seconds)})
    part, unseen, at_head = _part(engine, settings), list[str](), True
    for found in _findings(engine, settings, REVISION, part, unseen):
        at_head = at_head and found.state is not State.FAIL
        yield found
    if at_head:
        yield from _findings(engine, settings, TABLES, part, unseen)
    if unseen:
        said = f"not looked at, for {part} has no right to: {', '.join(unseen)}"
        yield named("not looked at", warn(said, "Run relay check as the login of the worker."))


def host_offset_seconds(engine: Engine) -> float:
    """What has to be added to this host's time to sign by the database's, as the worker does."""
    with _looking(engine) as connection:
        return server.host_offset_seconds(connection)


@contextmanager
def _looking(engine: Engine, lock_seconds: float = LOCK_SECONDS) -> Iterator[Connection]:
    """A read-only transaction with a time limit. Raises InTheWay where somebody has a lock that is needed."""
    try:
        with engine.connect() as connection:
            connection.execution_options(postgresql_readonly=True)
            connection.execute(_LIMIT, {"locks": f"{1000 * lock_seconds:.0f}ms"})
            yield connection
    except RelayError as error:
        if state_of(error) not in LOCKED:
            raise
        with engine.connect() as connection:
            found = keeping_writers(connection, schema_of(connection), waited_seconds=lock_seconds)
        raise InTheWay(found, undone="this was not looked at") from error


def _part(engine: Engine, settings: Settings) -> str | None:
    """Whom else than a worker this login is for; None also where that cannot be told."""
    try:
        with _looking(engine) as connection:
            return part_of(connection, quoted(settings.schema_name))
    except UnreachableError:
        raise
    except RelayError:
        return None


def _findings(
    engine: Engine,
    settings: Settings,
    checks: Mapping[str, Check],
    part: str | None = None,
    unseen: list[str] | None = None,
) -> Iterator[NamedFinding]:
    """Of somebody who has a ``part``, what may not be looked at goes into ``unseen`` by its name."""
    seconds = LOCK_SECONDS
    for name, check in checks.items():
        try:
            with _looking(engine, seconds) as connection:
                findings = list(check(connection, settings))
        except UnreachableError:
            raise
        except InTheWay as error:
            seconds = min(seconds, _ONCE_MORE_SECONDS)
            findings = [warn(f"cannot be looked at: {error}", error.hint)]
        except RelayError as error:
            told = denied if state_of(error) == NO_RIGHT else warn
            findings = [told(f"cannot be looked at: {error}", error.hint or "The other checks do not depend on it.")]
        except Exception as error:  # whatever it is: one check ends no other
            said = f"cannot be looked at: unexpected {type(error).__name__}"
            findings = [warn(said, "Please report it with what is special about this database.")]
        if part is not None and unseen is not None and any(finding.denied for finding in findings):
            unseen.append(name)
            continue
        yield from (named(name, finding) for finding in findings)
