"""How a statement of ours is written: names quoted, the schema filled in, arrays as text. And the advisory locks.

The statements themselves are texts with ``{schema}`` in them and stand where they are used. What is here belongs to all
of them, and knows no revision: code that reads or writes rows need not load how the tables came about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.dialects import postgresql

from relay.errors import ConfigurationError

SCHEMA = "relay"  # as it is called in ``schema.py``, and where nobody says another name
VERSION_TABLE = "alembic_version"  # in our own schema: the revision reached

# Whether a position in what a call names is an index in an answer; since revision 0008 no other call can be inserted.
SOUND = """coalesce(array_ndims(c.message_ids) = 1 and array_lower(c.message_ids, 1) = 1
        and cardinality(c.message_ids) <= 32767 and array_position(c.message_ids, null) is null
        and (select count(distinct id) from unnest(c.message_ids) as id) = cardinality(c.message_ids), false)"""


@dataclass(frozen=True, slots=True)
class AdvisoryLock:
    """``table`` is the first number (its oid), ``second`` the other one; None: one number, the hash of a name."""

    table: str | None
    second: range
    held_by: str


# All that there are. Numbers are never used anew: servers and workers of two versions meet in a roll-out.
ADVISORY_LOCKS = {
    "key": AdvisoryLock("outbox", range(256), "a session that inserts with a key, shared; the claim for a moment"),
    "wake": AdvisoryLock("outbox", range(256, 257), "the one worker that has nothing to do and wants to be notified"),
    "archive": AdvisoryLock("outbox", range(257, 258), "archivers before revision 0008; since then archive_lock"),
    "naming": AdvisoryLock("call", range(1), "a worker that names calls, for workers of revision 0007"),
    "migrate": AdvisoryLock(None, range(0), "a session that makes the first tables; then the version table is locked"),
}
WAKE_LOCK = ADVISORY_LOCKS["wake"].second.start


def migrate_lock(schema: str) -> str:
    """The name whose hash is the advisory lock of those who migrate."""
    return f"relay.migrate.{schema}"


# The name also stands inside literals and in texts that SQLAlchemy and the driver look through for parameters.
_NOT_IN_A_NAME = frozenset("':%\\")
_PARAMETER = re.compile(r"(?<![:\w]):(\w+)")


def quoted(schema: str) -> str:
    """The schema's name as SQL writes it. Raises ConfigurationError for a name that the frozen DDL cannot hold."""
    if set(schema) & _NOT_IN_A_NAME:
        raise ConfigurationError(
            f"The name of the schema, {schema}, contains a character that cannot be used in one.",
            f"Choose a name without {' '.join(sorted(_NOT_IN_A_NAME))}",
        )
    return str(postgresql.dialect().identifier_preparer.quote_schema(schema))  # type: ignore[no-untyped-call]


def filled(sql: str, schema: str) -> str:
    """This text for the schema of this name."""
    return sql.replace("{schema}", quoted(schema))


def named_by_open_calls(also: str = "true") -> str:
    """Ids of the messages that open calls name, as the inside of "id not in (…)"; ``also``: a condition on the call.

    A null among them would make "not in" true of nothing.
    """
    return """
    select named.id
    from (select unnest(message_ids) as id from {schema}.call
          where settled_at is null and {also}) as named
    where named.id is not null""".replace("{also}", also)


def numbers(values: Iterable[int]) -> str:
    """An array of numbers as a parameter: its text costs a driver a tenth of what a list does."""
    return "{" + ",".join(map(str, values)) + "}"


@cache
def statement(sql: str, schema: str) -> TextClause:
    """This text for the schema of this name, ready for SQLAlchemy."""
    return text(filled(sql, schema))


def schema_of(bind: Connection | Engine) -> str:
    """The schema that statements over this are for, texts and expressions alike: said once, see ``Database``."""
    names: Any = bind.get_execution_options().get("schema_translate_map") or {}
    return str(names.get(SCHEMA, SCHEMA))


def run(connection: Connection, sql: str, **parameters: Any) -> Any:
    """The result of this text, for the schema of the connection."""
    return connection.execute(statement(sql, schema_of(connection)), parameters)


@dataclass(frozen=True, slots=True)
class NumberedQuery:
    """The same as PostgreSQL itself takes it, for the driver's RawCursor: the values come in the order of ``names``.

    Named ones the driver would look for in the text anew at each execution, for it remembers short texts only.
    """

    text: str
    names: tuple[str, ...]

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """KeyError where one is missing."""
        return [parameters[name] for name in self.names]


@cache
def query(sql: str, schema: str) -> NumberedQuery:
    """This text for the schema of this name, its parameters numbered."""
    names: dict[str, int] = {}
    numbered = _PARAMETER.sub(lambda found: f"${names.setdefault(found[1], len(names) + 1)}", filled(sql, schema))
    return NumberedQuery(numbered, tuple(names))
