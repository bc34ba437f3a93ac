"""Credentials from the application's own table, where sessions are renewed: a SELECT from the settings.

    select app_key, app_secret, session from shop where name = :account
    select name as account, app_key, app_secret, session from shop where name = any(:accounts)
    select producer, options from shop where name = :account

The first form is run once for each account, but sent for all of them in one piece, the second once for many. Either
runs in a read-only transaction with a time limit, its columns are taken by name, and neither its text nor a value is
part of an error: a query may well contain the key that decrypts a column.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from relay.accounts import Found
from relay.accounts.directions import said_of
from relay.addresses import told
from relay.certificates import trouble_of_postgresql
from relay.conninfo import advice, refused_parameter
from relay.database_errors import NOT_AS_WRITTEN, SYNTAX_ERROR, Kind, cause_of, is_away, sqlstate
from relay.errors import ConfigurationError, RelayError, UnreachableError
from relay.settings import CREDENTIAL_PARTS, PRODUCER_KEY

QUERY = "RELAY_ACCOUNTS_QUERY"
LIMIT_SECONDS = 5
_OPTIONS = "options"  # the column

# The statement is the user's: where it finds its tables, and which rows, is for the role to say.
_AS_THE_ROLE = (
    f"set local statement_timeout = '{LIMIT_SECONDS}s'; "
    "set local search_path to default; set local row_security to default"
)


class QuerySource:
    """A source. Raises ConfigurationError when the statement takes other parameters than it should."""

    name = QUERY

    def __init__(self, engine: Engine, statement: str) -> None:
        self._engine = engine
        self._statement = text(statement)
        parameters = set(self._statement.compile().params)
        if parameters not in ({"account"}, {"accounts"}):
            taken = ", ".join(f":{name}" for name in sorted(parameters)) or "none"
            raise ConfigurationError(
                f"{QUERY} must take :account or :accounts and no other parameter, found: {taken}",
                r"A colon in a literal is written \: there.",
            )
        self._takes_many = parameters == {"accounts"}

    def look_up(self, accounts: Collection[str]) -> Mapping[str, Found]:
        """Ask for all accounts at once where the statement takes ``:accounts``; each time for LIMIT_SECONDS at most."""
        try:
            return self._all_at_once(accounts) if self._takes_many else self._one_by_one(list(accounts))
        except SQLAlchemyError as error:
            raise _explained(error, self._engine.url) from None

    def _all_at_once(self, accounts: Collection[str]) -> dict[str, Found]:
        with self._reading() as connection:
            rows = self._rows(connection, {"accounts": list(accounts)}, "account")
        of: dict[str, list[dict[str, Any]]] = {account: [] for account in accounts}
        for row in rows:
            of.get(str(row["account"]), []).append(row)
        return {account: _found(account, rows) for account, rows in of.items() if rows}

    def _one_by_one(self, accounts: Sequence[str]) -> dict[str, Found]:
        """Each by itself, but in one round trip: the driver does not wait for an answer before it asks the next."""
        try:
            with self._reading() as connection:
                return {account: _found(account, rows) for account, rows in self._each(connection, accounts) if rows}
        except DataError as error:  # a name cannot be compared, to a number for instance; the others may
            if len(accounts) == 1:
                return {accounts[0]: _explained(error, self._engine.url)}
        middle = len(accounts) // 2
        return self._one_by_one(accounts[:middle]) | self._one_by_one(accounts[middle:])

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._engine.connect() as connection:
            connection.execution_options(postgresql_readonly=True)
            connection.exec_driver_sql(_AS_THE_ROLE)
            yield connection

    def _each(self, connection: Connection, accounts: Sequence[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Every account with its rows, by the driver: SQLAlchemy has no such way. An error is a DBAPIError even so."""
        statement = str(self._statement.compile(dialect=self._engine.dialect))
        driver: Any = self._engine.dialect.dbapi
        try:
            cursor: Any = connection.connection.cursor()
            cursor.executemany(statement, [{"account": account} for account in accounts], returning=True)
            for account in accounts:
                columns = [column.name for column in cursor.description or ()]
                yield account, _ours(columns, cursor.fetchall() if columns else [])
                cursor.nextset()
        except driver.Error as error:
            raise DBAPIError.instance(statement, None, error, driver.Error, hide_parameters=True) from error

    def _rows(self, connection: Connection, parameters: Mapping[str, Any], *more: str) -> list[dict[str, Any]]:
        result = connection.execute(self._statement, parameters)
        return _ours(list(result.keys()) if result.returns_rows else [], result, *more)


def _ours(columns: Sequence[str], rows: Iterable[Sequence[Any]], *more: str) -> list[dict[str, Any]]:
    """Only the columns that are ours. Where one names the producer, the credential may be missing."""
    wanted, optional = [*CREDENTIAL_PARTS, *more], {"session"}
    if PRODUCER_KEY in columns:
        wanted += [PRODUCER_KEY, _OPTIONS]
        optional.update(CREDENTIAL_PARTS, [PRODUCER_KEY, _OPTIONS])
    wrong = [name for name in wanted if columns.count(name) != 1 and (name not in optional or name in columns)]
    if wrong:
        raise ConfigurationError(f"{QUERY} must return one column {' and one column '.join(wrong)}")
    return [{name: row[columns.index(name)] for name in wanted if name in columns} for row in rows]


def _found(account: str, rows: Sequence[Mapping[str, Any]]) -> Found:
    if len(rows) > 1:
        return ConfigurationError(f"{QUERY} must return one row for an account, and returned {len(rows)} for {account}")
    where = f"{QUERY}: the row of {account}"
    columns = {name: value for name, value in rows[0].items() if name not in (_OPTIONS, "account")}
    try:
        return said_of({**columns, **_options_of(rows[0].get(_OPTIONS), where)}, where)
    except ConfigurationError as error:
        return error


def _options_of(value: object, where: str) -> dict[str, Any]:
    """Of the producer, as one JSON object; null: none."""
    try:
        options = json.loads(value) if isinstance(value, str | bytes) else value
    except ValueError:
        options = value
    if options is None:
        return {}
    if not isinstance(options, dict) or {*CREDENTIAL_PARTS, PRODUCER_KEY} & options.keys():
        raise ConfigurationError(
            f"{where}: {_OPTIONS} must be a JSON object of options of the producer alone",
            "The producer and the parts of a credential have columns of their own.",
        )
    return options


def _explained(error: SQLAlchemyError, url: URL) -> RelayError:
    cause = getattr(error, "orig", None)
    state = sqlstate(cause)
    name = type(cause or error).__name__
    said = getattr(getattr(cause, "diag", None), "message_primary", None)
    if cause is not None and state is None and (bad := refused_parameter(str(cause))):
        variable = "RELAY_ACCOUNTS_DATABASE_URL, or RELAY_DATABASE_URL where that is not set"
        return ConfigurationError(f"{QUERY}: the parameter {bad} of the connection is refused", advice(bad, variable))
    kind = cause_of(cause).kind
    if kind is Kind.TOO_SLOW:
        return UnreachableError(
            f"{QUERY} had no answer within {LIMIT_SECONDS} s", "Give it an index on the account, or look at its server."
        )
    if is_away(cause) or kind is Kind.REPEATABLE:
        first_line = (str(cause).splitlines() or [name])[0]
        reason = said or trouble_of_postgresql(cause) or first_line.rpartition(" failed: ")[2]
        reason = reason.removeprefix("FATAL:").strip()
        return UnreachableError(f"{QUERY} cannot reach PostgreSQL {told(url)}: {reason}", "Check that the server runs.")
    if state == SYNTAX_ERROR and cause is not None and cause.diag.statement_position:
        said = f"syntax error at character {cause.diag.statement_position}"
    elif not (state or "").startswith(NOT_AS_WRITTEN):
        said = None  # it may quote a value
    hint = "Compare as text, for example: where id::text = :account" if isinstance(error, DataError) else ""
    return ConfigurationError(f"PostgreSQL refuses {QUERY}: {said or f'{name} ({state})'}", hint)
