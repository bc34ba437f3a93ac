"""Django beyond what every connection does: blocks inside blocks, what it keeps for debugging, broken transactions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import override_settings
from sqlalchemy import Engine, text

import relay
from tests.fixtures.django_project import databases_at, numbers

TOPIC = "taobao_jds_TradeTrace"


@pytest.fixture(autouse=True)
def _django(database_url: str) -> Iterator[None]:
    with databases_at(default=database_url):
        yield


def test_a_savepoint_takes_its_messages_with_it(engine: Engine) -> None:
    with transaction.atomic():
        relay.add(connection, TOPIC, {"n": 1})
        with transaction.atomic():
            relay.add_many(connection, [{"topic": TOPIC, "content": {"n": 2}}])
            transaction.set_rollback(True)
        with transaction.atomic():
            relay.add(connections["default"], TOPIC, {"n": 3})
    assert numbers(engine) == ["1", "3"]


def test_outside_of_atomic_it_is_refused_with_the_word(engine: Engine) -> None:
    for given in (connection, connections["default"], connection.cursor(), transaction, transaction.atomic()):
        with pytest.raises(relay.NotInTransaction) as refused:
            relay.add(given, TOPIC, {})
        assert "inside atomic()" in refused.value.hint
    assert numbers(engine) == []


def test_without_autocommit_the_application_commits(engine: Engine) -> None:
    transaction.set_autocommit(False)
    relay.add(transaction, TOPIC, {"n": 1})
    assert numbers(engine) == []
    transaction.commit()
    transaction.set_autocommit(True)
    assert numbers(engine) == ["1"]


@override_settings(DEBUG=True)
def test_what_django_keeps_for_debugging_has_no_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="django.db.backends")
    connection.force_debug_cursor = True
    try:
        with transaction.atomic():
            relay.add(connection, TOPIC, {"buyer": "王小明"})
            relay.add_many(connection, [{"topic": TOPIC, "content": {"buyer": "王小明"}}])
    finally:
        connection.force_debug_cursor = False
    assert "王小明" not in f"{connection.queries} {caplog.text}"


def test_an_error_of_the_database_is_djangos(engine: Engine) -> None:
    with engine.begin() as other:
        other.execute(text("alter table relay.outbox add constraint no_3 check (content ->> 'n' <> '3')"))
    with pytest.raises(DatabaseError, match="no_3"), transaction.atomic():
        relay.add(connection, TOPIC, {"n": 3})
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            relay.add(connection, TOPIC, {"n": 4})
    assert numbers(engine) == []
