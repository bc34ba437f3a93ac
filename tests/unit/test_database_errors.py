"""What an error of PostgreSQL means: causes are told apart, in words of ours that name no host, user or value."""

from __future__ import annotations

import psycopg
import pytest

from relay import certificates
from relay.database_errors import Kind, cause_of, is_away

_AT = 'connection failed: connection to server at "10.1.2.3", port 5432 failed: '

# Word for word as libpq 17, PostgreSQL 15 and 18 and PgBouncer 1.18 say them; no SQLSTATE comes with any of them.
SAID = [
    (_AT + "Connection refused\n\tIs the server running on that host?", Kind.REFUSED),
    ('connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory', Kind.REFUSED),
    ("failed to resolve host 'db.example.invalid': [Errno -2] Name or service not known", Kind.UNKNOWN_HOST),
    ('could not translate host name "db" to address: Name or service not known', Kind.UNKNOWN_HOST),
    (_AT + "Connection timed out", Kind.NO_ANSWER),
    (_AT + "No route to host", Kind.NO_ANSWER),
    (_AT + "FATAL:  sorry, too many clients already", Kind.CROWDED),
    (_AT + "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", Kind.CROWDED),
    (_AT + 'FATAL:  too many connections for role "relay_worker"', Kind.CROWDED),
    (_AT + "FATAL:  no more connections allowed (max_client_conn)", Kind.CROWDED),
    (_AT + 'FATAL:  password authentication failed for user "relay"', Kind.LOGIN),
    (_AT + 'FATAL:  role "relay" does not exist', Kind.LOGIN),
    (_AT + 'FATAL:  role "relay" is not permitted to log in', Kind.LOGIN),
    (_AT + 'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "relay", no encryption', Kind.LOGIN),
    (_AT + "fe_sendauth: no password supplied", Kind.LOGIN),
    (_AT + 'FATAL:  database "shop" does not exist', Kind.NO_DATABASE),
    (_AT + "FATAL:  no such database: shop", Kind.NO_DATABASE),
    (_AT + "SSL error: certificate verify failed", Kind.TLS),
    (_AT + "SSL error: sslv3 alert certificate expired", Kind.TLS),
    (_AT + "SSL error: tlsv1 alert unknown ca", Kind.TLS),
    (_AT + 'server certificate for "db.example" does not match host name "10.1.2.3"', Kind.TLS),
    (_AT + "server does not support SSL, but SSL was required", Kind.TLS),
    (_AT + 'root certificate file "/etc/ca.pem" does not exist\nEither provide the file', Kind.SETTING),
    (_AT + "FATAL:  the database system is starting up", Kind.STARTING),
    (_AT + "FATAL:  the database system is shutting down", Kind.STARTING),
    (_AT + "session is read-only", Kind.READ_ONLY),
    (_AT + "FATAL:  query_wait_timeout", Kind.POOLER),
    (_AT + "FATAL:  unrecognized configuration parameter", Kind.SETTING),
    ('connection is bad: invalid sslmode value: "bogus"', Kind.SETTING),
    ("consuming input failed: server closed the connection unexpectedly", Kind.LOST),
    ("the connection is closed", Kind.LOST),
    ("FATAL: désolé, trop de clients sont déjà connectés", Kind.LOST),  # another language: no worse than before
]

STATES = {
    "08006": Kind.LOST,
    "08P01": Kind.POOLER,
    "25006": Kind.READ_ONLY,
    "25P03": Kind.IDLED,
    "28000": Kind.LOGIN,
    "28P01": Kind.LOGIN,
    "3D000": Kind.NO_DATABASE,
    "40001": Kind.REPEATABLE,
    "42501": Kind.NO_RIGHT,
    "42P01": Kind.MISSING,
    "53100": Kind.RESOURCES,
    "53300": Kind.CROWDED,
    "55P03": Kind.LOCKED,
    "57014": Kind.TOO_SLOW,
    "57P01": Kind.STOPPED,
    "57P03": Kind.STARTING,
    "58030": Kind.SYSTEM,
    "23505": Kind.OTHER,
    "22P05": Kind.OTHER,
}


@pytest.mark.parametrize(("said", "kind"), SAID)
def test_without_a_state_libpqs_words_tell_causes_apart(said: str, kind: Kind) -> None:
    cause = cause_of(psycopg.OperationalError(said))
    assert cause.kind is kind
    for secret in ("10.1.2.3", "relay_worker", "db.example", "shop", "/etc/ca.pem", '"'):
        assert secret not in cause.words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("SSL error: sslv3 alert certificate expired", certificates.OURS_REFUSED),  # an alert comes from the server
        ("SSL error: tlsv1 alert unknown ca", certificates.OURS_REFUSED),
        ("SSL error: certificate has expired", certificates.EXPIRED),
        ("SSL error: unable to get local issuer certificate", certificates.UNTRUSTED),
        ("SSL error: certificate verify failed", certificates.NOT_SAID),
        ('server certificate for "a" does not match host name "b"', certificates.OF_ANOTHER_HOST),
    ],
)
def test_what_is_wrong_with_a_certificate_and_whose_it_is_is_told_apart(said: str, words: str) -> None:
    assert cause_of(psycopg.OperationalError(_AT + said)) == (Kind.TLS, words, True)


@pytest.mark.parametrize(("state", "kind"), STATES.items())
def test_the_state_decides_whatever_the_words_are(state: str, kind: Kind) -> None:
    assert cause_of(psycopg.errors.lookup(state)("connection refused")).kind is kind


AWAY = ("08006", "08P01", "28000", "28P01", "3D000", "53100", "53300", "57P01", "57P03", "25P03")


@pytest.mark.parametrize("state", STATES)
def test_that_the_server_is_away_is_told_from_what_a_statement_is_to_blame_for(state: str) -> None:
    assert is_away(psycopg.errors.lookup(state)("connection refused")) is (state in AWAY)


def test_without_a_state_the_server_is_away_whatever_the_words_are() -> None:
    assert is_away(psycopg.OperationalError("quoi ?"))
    assert is_away(psycopg.errors.ConnectionTimeout("connection timeout expired"))
    assert not is_away(psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))
    assert not is_away(None)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.ProgrammingError("the query has 2 placeholders but 1 parameters were passed: connection refused"),
        psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
        psycopg.NotSupportedError("can't parse timestamp with DateStyle 'SQL, DMY'"),
    ],
)
def test_an_error_of_the_driver_that_is_not_about_the_way_does_not_pass(error: psycopg.Error) -> None:
    assert cause_of(error) == (Kind.OTHER, type(error).__name__, False)


@pytest.mark.parametrize("said", ['invalid URI query parameter: "pgbouncer"', 'invalid connection option "schema"'])
def test_what_libpq_cannot_read_is_a_setting(said: str) -> None:
    cause = cause_of(psycopg.ProgrammingError(said))
    assert (cause.kind, cause.passes) == (Kind.SETTING, False)


def test_a_timeout_of_the_connection_is_told_from_a_loss() -> None:
    assert cause_of(psycopg.errors.ConnectionTimeout("connection timeout expired")).kind is Kind.NO_ANSWER
