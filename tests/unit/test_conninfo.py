"""Which words of libpq mean that a parameter is wrong, so that waiting is of no use. The words are libpq's, by hand."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import make_url

from relay.conninfo import advice, refused_parameter
from relay.database import explained
from relay.errors import ConfigurationError, RelayError, UnreachableError

WRONG = {
    'invalid connection option "pgbouncer"': "pgbouncer",
    'invalid URI query parameter: "pgbouncer"': "pgbouncer",
    'connection is bad: invalid sslmode value: "bogus"': "sslmode",
    'connection is bad: invalid "ssl_min_protocol_version" value: "x"': "ssl_min_protocol_version",
    "bad value for connect_timeout: 'abc'": "connect_timeout",
    'connection is bad: invalid port number: "99999"': "port",
    'failed: invalid integer value "x" for connection option "keepalives_idle"': "keepalives_idle",
    'connection is bad: definition of service "none" not found': "service",
    'FATAL:  unrecognized configuration parameter "nope"': "nope",
    'FATAL:  invalid value for parameter "client_encoding": "nope"': "client_encoding",
    'root certificate file "/missing" does not exist': "sslrootcert",
}
NOT_WRONG = (
    'connection to server at "db", port 5432 failed: Connection refused',
    'could not translate host name "db" to address: Name or service not known',
    'FATAL:  password authentication failed for user "x"',
    "server closed the connection unexpectedly",
    "the connection is lost",
)


@pytest.mark.parametrize(("said", "parameter"), WRONG.items())
def test_a_wrong_parameter_is_configuration_and_named(said: str, parameter: str) -> None:
    assert refused_parameter(said) == parameter
    error = explained(psycopg.OperationalError(said), make_url("postgresql://h/d"))
    assert isinstance(error, ConfigurationError)
    assert parameter in str(error)


@pytest.mark.parametrize("said", NOT_WRONG)
def test_a_server_that_is_away_is_not_configuration(said: str) -> None:
    assert refused_parameter(said) is None
    assert isinstance(explained(psycopg.OperationalError(said), make_url("postgresql://h/d")), UnreachableError)


@pytest.mark.parametrize("kind", [psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError])
def test_what_cannot_be_converted_is_not_a_server_that_is_away(kind: type[psycopg.Error]) -> None:
    error = explained(kind("timestamp too large: 'secret'"), make_url("postgresql://h/d"))
    assert type(error) is RelayError
    assert "secret" not in str(error)
    assert "reach" not in str(error)


def test_parameters_of_other_tools_are_told_by_their_tool() -> None:
    assert "Prisma" in advice("schema", "RELAY_DATABASE_URL")
    assert advice("keepalives", "X").startswith("Correct or leave out keepalives in X")


def test_a_parameter_that_no_url_has_is_told_by_its_variable() -> None:
    said = 'FATAL:  invalid value for parameter "TimeZone": "Mars/Base"'
    error = explained(psycopg.OperationalError(said), make_url("postgresql://h/d"))
    assert error.hint == "Correct PGTZ in the environment, or TimeZone in the options of RELAY_DATABASE_URL."
    assert advice("sslmode", "X").endswith("in X, or in PGSSLMODE where that does not name it.")
