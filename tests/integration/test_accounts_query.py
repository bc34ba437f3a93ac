"""Credentials from the application's own table: both forms of the query, also while its PostgreSQL is away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from hashlib import md5
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text

from relay.accounts import Accounts
from relay.accounts.directions import Directions
from relay.accounts.query import QuerySource
from relay.accounts.sources import Given
from relay.credential import Credential
from relay.embedded import EmbeddedPostgres
from relay.errors import ConfigurationError, UnreachableError

pytestmark = pytest.mark.usefixtures("path_of_the_user")

SECRET = "s3cret-do-not-show"
ONE = "select app_key, app_secret, session from shop where name = :account"
MANY = "select name as account, app_key, app_secret, session from shop where name = any(:accounts)"
FORMS = pytest.mark.parametrize("statement", [ONE, MANY], ids=["one by one", "all at once"])
ROWS = "('one', 1, 'a', 's'), ('two', 2, 'b', null), ('three', 3, '', '')"

Change = Callable[[str], None]


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    """A database with the application's table and nothing of the relay's."""
    made = create_engine(empty_url, hide_parameters=True)
    with made.begin() as connection:
        connection.execute(text("create table shop (name text, app_key bigint, app_secret text, session text)"))
        connection.execute(text(f"insert into shop values {ROWS}"))
    yield made
    made.dispose()


@pytest.fixture
def change(engine: Engine) -> Change:
    def run(statement: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(statement))

    return run


def refusal(engine: Engine, statement: str) -> ConfigurationError:
    """What the account default is told, or everybody; never a secret."""
    try:
        error = QuerySource(engine, statement).look_up(["default"]).get("default")
    except ConfigurationError as raised:
        error = raised
    assert isinstance(error, ConfigurationError)
    assert SECRET not in f"{error} {error.hint}"
    assert error.__cause__ is None, "the cause would show the statement"
    return error


@FORMS
def test_both_forms_find_the_same(engine: Engine, statement: str) -> None:
    found = QuerySource(engine, statement).look_up(["one", "two", "three", "four"])
    assert found.keys() == {"one", "two", "three"}
    assert (found["one"], found["two"]) == (Credential("1", "a", "s"), Credential("2", "b"))
    assert str(found["three"]) == "RELAY_ACCOUNTS_QUERY: the row of three has no app_secret"


@FORMS
def test_names_and_texts_are_values_and_never_sql(engine: Engine, statement: str) -> None:
    names = ["o'ne", 'o"ne', "%s", ":account", "{one}", "one'; drop table shop; --", "店", "a,b", "", "null"]
    with engine.begin() as connection:
        for name in names:
            connection.execute(text("insert into shop values (:name, 9, md5(:name), :name)"), {"name": name})
        connection.execute(text("update shop set session = null where name = '店'"))
    found = QuerySource(engine, statement).look_up(names)
    assert found == {
        name: Credential("9", md5(name.encode()).hexdigest(), name if name.isascii() and name else None)
        for name in names
    }


def test_columns_are_taken_by_name_and_the_session_may_be_missing(engine: Engine) -> None:
    query = QuerySource(
        engine, "select 1 as more, app_secret, app_key from shop where name = :account and '100%' like '%';"
    )
    assert query.look_up(["one"]) == {"one": Credential("1", "a")}


@FORMS
def test_a_renewed_session_is_seen_without_a_restart(engine: Engine, change: Change, statement: str) -> None:
    now = [1000.0]
    accounts = Accounts([QuerySource(engine, statement)], monotonic=lambda: now[0])
    accounts.refresh(["one", "two"])
    before = accounts.identity("one")
    change("update shop set session = 'renewed' where name = 'one'")
    accounts.refresh(["one"])
    assert accounts.identity("one") == before, "still fresh"
    now[0] += 5
    accounts.refresh(["one"])
    assert accounts.credential("one") == Credential("1", "a", "renewed")
    assert accounts.identity("one") != before
    change("update shop set session = 'again' where name = 'one'")
    accounts.forget("one")
    accounts.refresh(["one"])
    assert accounts.credential("one") == Credential("1", "a", "again")


@FORMS
def test_two_rows_are_an_error_of_that_account_alone(engine: Engine, change: Change, statement: str) -> None:
    change("insert into shop values ('one', 5, 'other', null)")
    accounts = Accounts([QuerySource(engine, statement)])
    accounts.refresh(["one", "two"])
    assert (accounts.credential("one"), accounts.credential("two")) == (None, Credential("2", "b"))
    assert accounts.trouble == "RELAY_ACCOUNTS_QUERY must return one row for an account, and returned 2 for one"


def test_a_name_that_cannot_be_compared_stops_no_other(engine: Engine) -> None:
    query = QuerySource(engine, "select app_key, app_secret from shop where app_key = :account")
    found = query.look_up(["1", "shop", "2", "99999999999999999999"])
    assert (found["1"], found["2"]) == (Credential("1", "a"), Credential("2", "b"))
    assert "InvalidTextRepresentation" in str(found["shop"])
    assert "NumericValueOutOfRange" in str(found["99999999999999999999"])
    assert refusal(engine, "select app_key, app_secret from shop where app_key = :account").hint.startswith("Compare")


@pytest.mark.parametrize("many", [False, True])
def test_a_row_may_name_its_producer_and_options_of_it(engine: Engine, change: Change, many: bool) -> None:
    change("create table way (name text, producer text, options jsonb, app_key text, app_secret text)")
    change(
        """insert into way values ('a', 'stdout', null, null, null), ('b', null, '{"url": "https://h"}', '1', 'b'),
        ('c', null, null, '2', 'c'), ('d', 'stdout', '[1]', null, null), ('e', null, '{"app_key": 1}', '3', 'e'),
        ('f', null, null, null, null)"""
    )
    where = "name = any(:accounts)" if many else "name = :account"
    found = QuerySource(engine, f"select name as account, w.* from way w where {where}").look_up("abcdef")
    said = {name: each for name, each in found.items() if isinstance(each, Directions)}
    assert {name: (each.producer, each.options, each.credential()) for name, each in said.items()} == {
        "a": ("stdout", {}, None),
        "b": (None, {"url": "https://h"}, Credential("1", "b")),
    }
    assert found["c"] == Credential("2", "c")
    assert "options must be a JSON object" in str(found["d"])
    assert "options must be a JSON object" in str(found["e"])
    assert str(found["f"]) == "RELAY_ACCOUNTS_QUERY: the row of f has no app_key and no app_secret"
    alone = QuerySource(engine, "select producer from way where name = :account").look_up(["a"])["a"]
    assert isinstance(alone, Directions)
    without = QuerySource(engine, "select app_key, app_secret, 'x' as options from way where name = :account")
    assert without.look_up(["c"]) == {"c": Credential("2", "c")}, "options of no producer are somebody else's column"


def test_parts_that_are_no_text_are_refused(engine: Engine) -> None:
    query = QuerySource(engine, "select app_key, app_secret::bytea, session from shop where name = :account")
    assert (
        str(query.look_up(["one"])["one"]) == "RELAY_ACCOUNTS_QUERY: the row of one: app_secret must be text, not bytes"
    )


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("select 1", r"must take :account or :accounts and no other parameter, found: none"),
        (ONE + " or name = any(:accounts)", r"found: :account, :accounts"),
        (ONE + " and 'at :30' <> ''", r"found: :30, :account"),
        ("select app_key from shop where name = :account", r"must return one column app_secret$"),
        ("select *, app_key from shop where name = :account", r"must return one column app_key$"),
        (ONE.replace(":account", "any(:accounts)"), r"must return one column account$"),
        ("delete from shop where name = :account", r"PostgreSQL refuses .*: ReadOnlySqlTransaction \(25006\)$"),
        (ONE.replace("shop", "shops"), r'PostgreSQL refuses .*: relation "shops" does not exist$'),
        (f"select '{SECRET}' '{SECRET}' from shop where name = :account", r": syntax error at character 29$"),
        (f"select '{SECRET}'::int where 'x' <> :account", r": InvalidTextRepresentation \(22P02\)$"),
        (ONE + "; select 1", r": cannot insert multiple commands into a prepared statement$"),
    ],
)
def test_a_wrong_query_is_refused_at_the_start(engine: Engine, statement: str, problem: str) -> None:
    said = str(refusal(engine, statement))
    assert "RELAY_ACCOUNTS_QUERY" in said
    assert re.search(problem, said), said


@FORMS
def test_a_database_that_is_away_keeps_what_was_found(own_postgres: EmbeddedPostgres, statement: str) -> None:
    engine = create_engine(own_postgres.url(), pool_pre_ping=True, hide_parameters=True)
    with engine.begin() as connection:
        connection.execute(text("create table shop (name text, app_key text, app_secret text, session text)"))
        connection.execute(text(f"insert into shop values ('one', '1', '{SECRET}', null)"))
    accounts = Accounts([QuerySource(engine, statement), Given({"two": Credential("2", "b")})], fresh_seconds=0)
    accounts.refresh(["one"])
    own_postgres.stop("immediate")
    accounts.refresh(["one", "two"])
    assert accounts.credential("one") == Credential("1", SECRET)
    assert accounts.credential("two") is None, "the query comes first, and it cannot be asked"
    assert accounts.trouble is not None
    assert accounts.trouble.startswith("RELAY_ACCOUNTS_QUERY cannot reach PostgreSQL on the socket ")
    assert SECRET not in accounts.trouble
    with pytest.raises(UnreachableError, match="RELAY_ACCOUNTS_QUERY cannot reach PostgreSQL"):
        accounts.check()
    own_postgres.start()
    accounts.refresh(["one", "two"])
    assert [accounts.credential("two"), accounts.trouble] == [Credential("2", "b"), None]
    engine.dispose()


def test_a_query_that_waits_for_ever_is_given_up(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.accounts.query._AS_THE_ROLE", "set local statement_timeout = 50")
    with engine.begin() as other:
        other.execute(text("lock table shop"))
        with pytest.raises(UnreachableError, match="had no answer within 5 s"):
            QuerySource(engine, ONE).look_up(["one"])


def test_ten_thousand_accounts_are_found_at_once(engine: Engine, change: Change) -> None:
    change("insert into shop select 'shop' || n, n, 'secret' || n from generate_series(1, 10000) n")
    change("create index on shop (name)")
    accounts = Accounts([QuerySource(engine, MANY)])
    accounts.refresh(f"shop{number}" for number in range(1, 10001))
    assert accounts.credential("shop10000") == Credential("10000", "secret10000")
    assert accounts.credential("shop1") == Credential("1", "secret1")


def test_either_form_asks_for_many_in_one_round_trip(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that costs a round trip for each keeps everybody waiting when thousands of accounts turn up at once."""
    waits = 0
    wait = psycopg.Connection.wait

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal waits
        waits += 1
        return wait(*args, **kwargs)

    monkeypatch.setattr(psycopg.Connection, "wait", counting)
    needed = []
    for statement in (ONE, MANY):
        query = QuerySource(engine, statement)
        query.look_up(["one"])
        waits = 0
        found = query.look_up(["one", "two", *(f"nobody{number}" for number in range(300))])
        assert found.keys() == {"one", "two"}
        needed.append(waits)
    assert needed[0] <= needed[1] + 5, needed
