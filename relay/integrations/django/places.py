"""Where the outbox of a Django project is: the schema, and a database of DATABASES as the relay names it.

The relay connects by itself where it migrates or runs: what is set on Django's own sessions is for Django's queries,
and a migration is committed only when Django's own transaction has nothing to wait for. What it needs for that is
asked of the backend, so also of one that fetches a password.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from relay.errors import ConfigurationError

_NOT_GIVEN_ON = ("client_encoding",)  # the relay has its own


def schema() -> str:
    """The name of the relay's schema, of the setting RELAY_SCHEMA."""
    return str(getattr(settings, "RELAY_SCHEMA", "relay"))


def table(name: str) -> str:
    """What a model calls a view of the relay's; Django leaves what is quoted as it is."""
    return f"{quoted(schema())}.{quoted(name)}"


def quoted(name: str) -> str:
    """A name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def is_postgresql(connection: Any) -> bool:
    """Whether Django's ``connection`` could have an outbox."""
    return bool(connection.vendor == "postgresql")


def database_url(using: str = DEFAULT_DB_ALIAS) -> str:
    """The database of this alias for ``relay.running(database_url=...)`` and what else takes one; has the password."""
    return url_of(connections[using])


def url_of(connection: Any) -> str:
    """The database of Django's ``connection`` as a URL that the relay takes; contains the password.

    Of a test it is the test database. What is no parameter of libpq is Django's own business and is left out.
    Raises ConfigurationError where it is not PostgreSQL.
    """
    if not is_postgresql(connection):
        raise ConfigurationError(
            f'DATABASES["{connection.alias}"] is {connection.vendor}: the relay is for PostgreSQL only.',
            "Name another one with --database, or add one to DATABASES.",
        )
    given = connection.get_connection_params()
    known = {name: str(given[name]) for name in _parameters() if given.get(name) not in (None, "")}
    if role := connection.settings_dict["OPTIONS"].get("assume_role"):
        known["options"] = f"{known.get('options', '')} -c role={_escaped(str(role))}".strip()
    plain = quote(known.get("dbname", ""), safe="") == known.get("dbname", "")
    name = known.pop("dbname", "") if plain else ""  # before the query SQLAlchemy takes a % as it is
    who = quote(known.pop("user"), safe="") if "user" in known else ""
    if who and "password" in known:
        who += ":" + quote(known.pop("password"), safe="")
    return f"postgresql://{who}{'@' if who else ''}/{name}?{urlencode(known, quote_via=quote)}".rstrip("?")


def _parameters() -> list[str]:
    """All that libpq knows."""
    from psycopg.pq import Conninfo

    names = [option.keyword.decode() for option in Conninfo.get_defaults()]
    return [name for name in names if name not in _NOT_GIVEN_ON]


def _escaped(value: str) -> str:
    """As a part of libpq's ``options``."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
