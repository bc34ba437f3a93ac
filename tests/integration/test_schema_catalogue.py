"""The living schema and the migrated one are the same in the catalogue, and the database itself guards the facts."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from relay.outbox.columns import Columns
from relay.schema import MAX_CONTENT_CHARACTERS, metadata, outbox
from tests.fixtures.hostility import takes_back
from tests.integration.catalogue import catalogue_at

ADD = "insert into relay.outbox (topic, content) values (:topic, cast(:content as json)) returning id"
DONE = "update relay.outbox set status = 'done', finished_at = now(), call_id = 1, result_index = 0"


def add(connection: Connection, content: str = '{"n":1}', topic: str = "topic") -> int:
    return int(connection.execute(text(ADD), {"topic": topic, "content": content}).scalar_one())


@takes_back("standard_conforming_strings")
def test_the_living_schema_is_the_migrated_schema(empty_url: str, database_url: str) -> None:
    engine = create_engine(empty_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("create schema relay"))
        metadata.create_all(connection)
    living, migrated = catalogue_at(empty_url), catalogue_at(database_url)
    for kind in ("columns", "options", "constraints", "indexes", "partitions", "domains"):
        assert living[kind] == migrated[kind], kind
        assert len(migrated[kind]) >= 1


def test_the_catalogue_sees_what_alembic_does_not(database_url: str) -> None:
    """A comparison that cannot fail proves nothing."""
    before = catalogue_at(database_url)
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        connection.execute(text("drop index relay.outbox_failed"))
        connection.execute(text("create index outbox_failed on relay.outbox (error_code, id)"))
        connection.execute(text("alter table relay.attempt drop constraint attempt_outcome_known"))
        connection.execute(text("alter table relay.outbox reset (fillfactor)"))
    after = catalogue_at(database_url)
    assert {kind for kind in before if before[kind] != after[kind]} == {"indexes", "constraints", "options"}


FACTS: dict[str, str] = {
    "id": "default",
    "topic": "'other'",
    "content": "'{}'",
    "account": "'other'",
    "target_group": "'other'",
    "target_app_key": "'other'",
    "json_ex_content": "'{}'",
    "ordering_key": "'other'",
    "dedupe_key": "'other'",
    "producer": "'other'",
    "headers": "'{}'",
    "created_at": "now()",
    "created_by": "'other'",
    "created_xid": "'1'",
    "content_sha256": "'x'",
    "content_salt": "null",
}
# Kept by the relay, or moved by it: a retry sets available_at, an operator may extend deliver_before.
MOVING = {
    "available_at",
    "deliver_before",
    "status",
    "attempts",
    "call_id",
    "result_index",
    "error_code",
    "error_message",
    "finished_at",
}


def test_every_column_is_either_a_fact_or_moving() -> None:
    assert FACTS.keys() | MOVING == set(outbox.c.keys())
    assert FACTS.keys() >= Columns.__annotations__.keys() - MOVING


@pytest.mark.parametrize("column", FACTS)
def test_a_fact_stays_as_it_was_inserted(column: str, engine: Engine) -> None:
    with engine.connect() as connection:
        add(connection)
        with pytest.raises(DBAPIError, match=r"relay\.outbox stays as it is"):
            connection.execute(text(f"update relay.outbox set {column} = {FACTS[column]}"))


@pytest.mark.parametrize(("column", "redactable"), [("content", True), ("headers", True), ("topic", False)])
def test_redacting_opens_the_texts_and_nothing_else(column: str, redactable: bool, engine: Engine) -> None:
    with engine.connect() as connection:
        add(connection)
        connection.execute(text("set local relay.redacting = 'on'"))
        salt = ", content_salt = ''" if column == "content" else ""
        change = text(f"update relay.outbox set {column} = {FACTS[column]}{salt}")
        if redactable:
            assert connection.execute(change).rowcount == 1
        else:
            with pytest.raises(DBAPIError, match="stays as it is"):
                connection.execute(change)


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_done_is_final(status: str, engine: Engine) -> None:
    with engine.connect() as connection:
        number = add(connection)
        connection.execute(text(DONE))
        with pytest.raises(DBAPIError, match=f"message {number} is done, and done is final"):
            connection.execute(text("update relay.outbox set status = :status"), {"status": status})


def test_failed_may_become_pending_again_and_then_done(engine: Engine) -> None:
    with engine.connect() as connection:
        add(connection)
        connection.execute(text("update relay.outbox set status = 'failed', finished_at = now()"))
        connection.execute(text("update relay.outbox set status = 'pending', finished_at = null"))
        assert connection.execute(text(DONE)).rowcount == 1


@pytest.mark.parametrize("content", ["[]", "1", '"text"', "null", "true"])
def test_a_content_is_an_object(content: str, engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(IntegrityError, match="content_is_an_object_within_limit"):
        add(connection, content)


def test_a_content_is_counted_in_characters(engine: Engine) -> None:
    def of_length(characters: int) -> str:
        return '{"a":"' + "买" * (characters - 8) + '"}'

    with engine.connect() as connection:
        add(connection, of_length(MAX_CONTENT_CHARACTERS))
        with pytest.raises(IntegrityError, match="content_is_an_object_within_limit"):
            add(connection, of_length(MAX_CONTENT_CHARACTERS + 1))


STATES = {"status", "attempts", "call_id", "result_index", "finished_at"}
UNSOUND: list[tuple[dict[str, Any], str]] = [
    ({"topic": "t" * 257}, "outbox_topic_within_limit"),
    ({"topic": "  "}, "outbox_topic_within_limit"),
    ({"account": ""}, "outbox_account_not_blank"),
    ({"ordering_key": ""}, "outbox_ordering_key_not_empty"),
    ({"status": "sending", "finished_at": "2026-01-01T00:00:00Z"}, "outbox_status_known"),
    ({"attempts": -1}, "outbox_attempts_not_negative"),
    ({"status": "failed"}, "outbox_finished_when_not_pending"),
    ({"status": "done", "finished_at": "2026-01-01T00:00:00Z"}, "outbox_done_names_its_call"),
]


@pytest.mark.parametrize("created_xid", ["pg_current_xact_id()", "'3'"], ids=["inserted", "restored"])
@pytest.mark.parametrize(("row", "constraint"), UNSOUND, ids=repr)
def test_what_a_row_cannot_be(row: dict[str, Any], constraint: str, created_xid: str, engine: Engine) -> None:
    whole = {"topic": "topic", "content": "{}"} | row
    names, marks = ", ".join(whole), ", ".join(f":{name}" for name in whole)
    sql = f"insert into relay.outbox ({names}, created_xid) values ({marks}, {created_xid})"
    with engine.connect() as connection, pytest.raises(IntegrityError, match=constraint) as refused:
        connection.execute(text(sql), whole)
    assert refused.value.orig.diag.constraint_name == constraint  # type: ignore[union-attr]


@pytest.mark.parametrize(("row", "constraint"), [case for case in UNSOUND if case[0].keys() & STATES], ids=repr)
def test_what_a_row_cannot_become(row: dict[str, Any], constraint: str, engine: Engine) -> None:
    changes = ", ".join(f"{name} = :{name}" for name in row)
    with engine.connect() as connection:
        add(connection, "{}")
        with pytest.raises(IntegrityError, match=constraint) as refused:
            connection.execute(text(f"update relay.outbox set {changes}"), row)
    assert refused.value.orig.diag.constraint_name == constraint  # type: ignore[union-attr]


def test_the_id_cannot_be_chosen(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DBAPIError, match="GENERATED ALWAYS"):
        connection.execute(text("insert into relay.outbox (id, topic, content) values (7, 'topic', '{}')"))
