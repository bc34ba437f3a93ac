"""A host application hands over its own engine, which knows nothing of the relay's schema, and keeps it as it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

import relay
from relay import reports
from relay.database import Database, make_engine
from relay.errors import RelayError, SchemaError
from relay.operators import actions, archive
from relay.operators.ledger import Order
from tests.fixtures.telling import statements_of

ORDER = Order("ann", "asked", {})
SCHEMA = "My Outbox"


@pytest.fixture
def host(empty_url: str) -> Iterator[Engine]:
    """Two schemas with tables of the relay: whoever forgets which one is meant finds nothing in the other."""
    relay.migrate(empty_url, schema=SCHEMA)
    relay.migrate(empty_url)
    made = create_engine(empty_url, connect_args={"options": "-c statement_timeout=54321 -c datestyle=German"})
    with made.begin() as connection:
        connection.execute(
            text(
                f'insert into "{SCHEMA}".outbox (topic, content, status, finished_at, error_code) values '
                "('t', '{}', 'failed', '2026-01-31 12:00+00', 'isv.x'), ('t', '{}', 'pending', null, null)"
            )
        )
    yield made
    made.dispose()


def test_reports_and_actions_are_about_the_schema_that_was_said_once(host: Engine) -> None:
    ours, other = Database(host, SCHEMA), Database(host)
    with ours.reading() as connection:
        assert reports.status(connection).pending == 1
        assert [line.id for line in reports.find(connection, reports.Search()).lines] == [2, 1]
    moved = archive.archive(ours.engine.begin, timedelta(0), actor="a", reason="r")
    assert sum(one.messages for one in moved) == 1
    with ours.operating() as engine, engine.begin() as connection:
        assert actions.discard(connection, [2], ORDER).changed == (2,)
    with ours.snapshot() as connection:
        assert len(list(archive.months(connection))) == 1
    with other.reading() as connection:
        assert reports.find(connection, reports.Search()).lines == ()
        assert list(archive.months(connection)) == []


@pytest.mark.parametrize("derived", [False, True], ids=["itself", "one made of it by options"])
def test_an_engine_of_ours_is_asked_nothing_more(derived: bool, database_url: str) -> None:
    """Its sessions are independent since they were made; each begin would cost one more round trip."""
    engine = make_engine(make_url(database_url))
    sent = statements_of(engine)
    with Database(engine.execution_options(a=1) if derived else engine).snapshot() as connection:
        connection.execute(text("select 1"))
    assert sent.pop(0) == "set local lock_timeout = '5s'", (
        "what an export waits for a lock is of this transaction alone"
    )
    assert [statement for statement in sent if "set_config" in statement or statement.startswith("set ")] == []
    engine.dispose()


def test_a_transaction_depends_on_no_setting_of_the_host_and_changes_none(host: Engine) -> None:
    asked = text("select current_setting('statement_timeout'), current_setting('search_path')")
    database = Database(host, SCHEMA)
    with database.reading() as connection:
        assert tuple(connection.execute(asked).one()) == ("0", "pg_catalog, pg_temp")
        assert connection.execute(text("show transaction_read_only")).scalar_one() == "on"
    with database.operating() as engine, engine.begin() as connection:
        assert tuple(connection.execute(asked).one()) == ("0", "pg_catalog, pg_temp")
        assert connection.execute(text("show lock_timeout")).scalar_one() == "5s"
    with host.begin() as connection:
        assert connection.execute(asked).one()[0] == "54321ms"
        assert connection.execute(text("show lock_timeout")).scalar_one() == "0"
        assert connection.execute(text("show transaction_read_only")).scalar_one() == "off"
        assert "schema_translate_map" not in connection.get_execution_options()


def test_errors_are_sentences_inside_and_stay_sqlalchemys_outside(host: Engine) -> None:
    with pytest.raises(SchemaError, match="no relay tables"), Database(host, "elsewhere").reading():
        pass
    with pytest.raises(RelayError, match="division by zero"), Database(host).snapshot() as connection:
        connection.execute(text("select 1 / 0"))
    with host.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(text("select 1 / 0"))
