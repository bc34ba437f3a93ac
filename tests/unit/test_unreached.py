"""A server that cannot be reached: each cause has the sentence, the next step and the exit code of its kind."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import make_url

from relay.unreached import is_unreached, unreached

HOST = 'connection failed: connection to server at "10.0.0.7", port 5432 failed: '
SOCKET = 'connection is bad: connection to server on socket "/run/x/.s.PGSQL.5432" failed: '
ATTEMPTS = (
    f"{HOST}Connection refused\n\tIs the server running?\nMultiple connection attempts failed. All failures were:\n"
    "- host: 'a', port: '5432', hostaddr: '::1': connection failed: connection to server at \"::1\", port 5432 failed: "
    "{}\n\tIs the server running?\n"
    f"- host: 'b', port: '5433', hostaddr: '10.0.0.7': {HOST}Connection refused\n\tIs the server running?"
)

# As libpq, PostgreSQL and PgBouncer say it -> the reason told, a part of the hint, the exit code.
CAUSES = {
    f"{HOST}Connection refused\n\tIs the server running?": ("Connection refused", "that the server runs", 69),
    f"{SOCKET}No such file or directory\n\tIs?": ("No such file or directory", "the directory in which", 69),
    f"{HOST}timeout expired": ("timeout expired", "firewalls", 69),
    "connection timeout expired": ("connection timeout expired", "firewalls", 69),
    "failed to resolve host 'h': [Errno -2] Name or service not known": ("failed to resolve host", "host's name", 69),
    f"{HOST}FATAL:  sorry, too many clients already": ("sorry, too many clients already", "max_connections", 69),
    f'{HOST}FATAL:  too many connections for role "me"': ("too many connections for role", "limit of the role", 69),
    f"{HOST}FATAL:  no more connections allowed (max_client_conn)": ("no more connections", "max_connections", 69),
    f'{HOST}FATAL:  password authentication failed for user "me"': ("password authentication", "password in U", 69),
    f"{HOST}FATAL:  no pg_hba.conf entry for host": ("no pg_hba.conf entry", "pg_hba.conf on the server", 69),
    f"{HOST}fe_sendauth: no password supplied": ("fe_sendauth", "password in U", 69),
    f'{HOST}FATAL:  database "shop" does not exist': ('database "shop" does not exist', "or create it", 69),
    f"{HOST}server does not support SSL, but SSL was required": ("server does not support SSL", "sslmode", 69),
    f"{HOST}SSL error: certificate verify failed": ("SSL error: certificate", "sslrootcert", 69),
    f'{HOST}root certificate file "/missing" does not exist\nEither provide': (
        "root certificate file",
        "files they",
        78,
    ),
    f'{HOST}could not open certificate file "/c": No such file or directory': ("could not open", "files they", 78),
    'connection is bad: invalid sslmode value: "bogus"': ('invalid sslmode value: "bogus"', "parameters in U", 78),
    'connection is bad: definition of service "x" not found': ('definition of service "x"', "parameters in U", 78),
    f"{HOST}FATAL:  the database system is starting up": ("the database system is starting up", "when the", 69),
    f"{HOST}session is read-only": ("session is read-only", "target_session_attrs", 69),
    f"{HOST}FATAL:  query_wait_timeout": ("query_wait_timeout", "pooler's log", 69),
    ATTEMPTS.format("Connection refused"): ("Connection refused", "that the server runs", 69),
    ATTEMPTS.format("FATAL:  sorry"): ("a:5432 sorry; b:5433 Connection refused", "that the server runs", 69),
    "in another language: FATAL: désolé": ("in another language", "that the server runs", 69),
}


@pytest.mark.parametrize("said", CAUSES, ids=[reason for reason, _, _ in CAUSES.values()])
def test_each_cause_has_its_next_step(said: str) -> None:
    reason, hint, code = CAUSES[said]
    error = psycopg.OperationalError(said)
    told = unreached(error, make_url("postgresql+psycopg://me:s3cret@/shop?host=a,b&port=1,2"), variable="U")
    assert is_unreached(error)
    assert str(told).startswith(f"cannot reach PostgreSQL at a:1,b:2/shop: {reason}")
    assert hint in told.hint
    assert told.exit_code == code
    assert "s3cret" not in f"{told} {told.hint}"


@pytest.mark.parametrize("error", [psycopg.DataError("can't parse 'a value'"), psycopg.NotSupportedError("x")])
def test_what_the_driver_cannot_read_is_not_a_server_that_is_away(error: psycopg.Error) -> None:
    assert not is_unreached(error)
