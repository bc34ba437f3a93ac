"""Poison from an application: every column it writes has a limit, in the table and before it; nothing else is harmed.

In the table it is looked at as the application's login, which is what an attacker has.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import relay
from relay.cli.verbs import relay as command
from relay.errors import MessageError
from relay.outbox.columns import Columns
from relay.revisions import r0008_limits
from relay.schema import MAX_BYTES, TOMBSTONE
from tests.fixtures.hostility import takes_back
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.scripted import Bench, Scripted
from tests.fixtures.waiting import eventually_async

INSERT = "insert into relay.outbox (topic, content, {name}) values ('t', '{{}}', {cast})"
KEYS = ("ordering_key", "dedupe_key")
NAMES = ("topic", "account", "target_group", "target_app_key", "producer")
CONTROLS = ["\n", "\x1b[2J", "\x7f", "\x9b31m", "\u202e", "\u2028"]


def of_size(name: str, size: int) -> str:
    if name in ("headers", "json_ex_content"):
        return '{"a":"' + "x" * (size - 8) + '"}'
    return "é" * (size // 2) + "x" * (size % 2)


@pytest.fixture
def application(roles: Roles) -> Iterator[Engine]:
    made = create_engine(roles.url("app"), poolclass=NullPool)
    yield made
    made.dispose()


def insert(engine: Engine, name: str, value: str) -> None:
    cast = "cast(:value as json)" if name in ("headers", "json_ex_content", "content") else ":value"
    sql = INSERT.format(name=name, cast=cast)
    if name in ("topic", "content"):
        sql = f"insert into relay.outbox (topic, content) values ('t', {cast})"
        if name == "topic":
            sql = "insert into relay.outbox (topic, content) values (:value, '{}')"
    with engine.begin() as connection:
        connection.execute(text(sql), {"value": value})


def test_every_column_that_is_a_text_has_a_limit() -> None:
    assert MAX_BYTES.keys() == Columns.__annotations__.keys() - {"available_at", "deliver_before"}
    assert r0008_limits.BYTES | r0008_limits.JSON_BYTES == MAX_BYTES


def test_what_is_within_its_limit_is_taken_and_one_byte_more_is_not(application: Engine, engine: Engine) -> None:
    for name, most in MAX_BYTES.items():
        insert(application, name, of_size(name, most))
        relay.insert("t", {}, **{name: of_size(name, most)})  # type: ignore[misc]
        with pytest.raises(DBAPIError, match=rf"{name} has {most + 1} bytes, the outbox takes at most {most}") as error:
            insert(application, name, of_size(name, most + 1))
        assert error.value.orig.diag.column_name == name  # type: ignore[union-attr]
        with pytest.raises(MessageError, match=rf"^{name} has {most + 1:,} bytes"):
            relay.insert("t", {}, **{name: of_size(name, most + 1)})  # type: ignore[misc]
    assert Rows(engine).counts() == {"pending": len(MAX_BYTES)}


@takes_back("log_parameter_max_length_on_error")  # by which the server itself tells what was to be inserted
def test_random_keys_and_compressible_ones_are_refused_with_a_sentence_not_by_an_index(application: Engine) -> None:
    for name in KEYS:
        for value in ("x" * 200_000, "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(900))):
            with pytest.raises(DBAPIError, match="the outbox takes at most 512") as error:
                insert(application, name, value)
            assert value[:100] not in str(error.value.orig)


def test_a_value_that_travels_compressed_is_counted_as_what_it_is(engine: Engine) -> None:
    rows = Rows(engine)
    rows.run("create table big as select json_build_object('a', repeat('x', 300000)) as j")
    with pytest.raises(DBAPIError, match="headers has 3000"):
        rows.run("insert into relay.outbox (topic, content, headers) select 't', '{}', j from big")


@pytest.mark.parametrize("name", NAMES)
def test_names_have_no_control_characters(application: Engine, name: str) -> None:
    for odd in CONTROLS:
        with pytest.raises(DBAPIError, match=f"{name} has a control character") as error:
            insert(application, name, f"a{odd}b")
        assert odd not in (error.value.orig.diag.message_primary or "")  # type: ignore[union-attr]
        with pytest.raises(MessageError, match=f"{name} has a control character"):
            relay.insert(**{"topic": "t", "content": {}, name: f"a{odd}b"})  # type: ignore[arg-type]
    insert(application, name, "店铺 一 ❤\ufe0f")


def test_an_empty_dedupe_key_is_refused_and_keys_may_have_any_separator(application: Engine) -> None:
    with pytest.raises(DBAPIError, match="dedupe_key is empty"):
        insert(application, "dedupe_key", "")
    for name in KEYS:
        insert(application, name, "order\x1f4213\tpaid\n")


def test_nobody_but_redact_writes_its_tombstone(application: Engine, engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="content is what relay redact leaves behind"):
        insert(application, "content", TOMBSTONE)
    with pytest.raises(MessageError, match="relay redact leaves behind"):
        relay.insert("t", TOMBSTONE)


def test_the_mapped_class_says_so_where_it_is_set() -> None:
    message = relay.OutboxMessage(topic="t", content={})
    for name, most in MAX_BYTES.items():
        with pytest.raises(MessageError, match=f"{name} has"):
            setattr(message, name, of_size(name, most + 1))


def test_a_refusal_leaves_the_callers_transaction_whole(engine: Engine) -> None:
    with engine.begin() as connection:
        for name, most in MAX_BYTES.items():
            with pytest.raises(MessageError):
                relay.add(connection, "t", {}, **{name: of_size(name, most + 1)})  # type: ignore[misc]
        relay.add(connection, "t", {})
    assert Rows(engine).counts() == {"pending": 1}


@pytest.fixture
def old_rows(engine: Engine) -> Rows:
    """Rows that are there already, as the schema before this one took them; one good one among them."""
    rows = Rows(engine)
    rows.run("alter table relay.outbox alter created_xid set default '3'")
    for name, most in MAX_BYTES.items():
        if name not in KEYS:
            insert(engine, name, of_size(name, most * 50))
    insert(engine, "target_group", "x" * 2_000_000)
    insert(engine, "headers", '{"traceparent":"00-ab","big":"' + "x" * 9_000_000 + '"}')
    insert(engine, "dedupe_key", "")
    insert(engine, "account", "a\x1b[2J\u202eb")
    insert(engine, "content", TOMBSTONE)
    rows.run("alter table relay.outbox alter created_xid set default pg_current_xact_id()")
    rows.add(1, topic="good")
    return rows


async def test_rows_beyond_the_limits_that_are_there_already_are_sent_as_before(old_rows: Rows, engine: Engine) -> None:
    bench = Bench(engine, Scripted())

    async def all_done() -> bool:
        return old_rows.counts().keys() == {"done"}

    async with bench.running():
        await eventually_async(all_done)


def test_relay_check_counts_those_that_wait(old_rows: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    told = CliRunner().invoke(command, ["check", "--no-platform"]).stdout
    assert "9 pending messages are beyond a limit" in told  # two more are JSON that compresses well


def test_a_dump_with_rows_beyond_the_limits_is_restored(old_rows: Rows, engine: Engine) -> None:
    old_rows.run("create table kept as select * from relay.outbox")
    old_rows.run("alter table relay.outbox disable trigger all")
    old_rows.run("delete from relay.outbox")
    old_rows.run("alter table relay.outbox enable trigger all")
    old_rows.run("insert into relay.outbox overriding system value select * from kept")
    assert old_rows.one("select count(*) from relay.outbox") == old_rows.one("select count(*) from kept")


def test_what_is_too_large_to_be_read_blinds_no_view(old_rows: Rows, roles: Roles) -> None:
    auditor = create_engine(roles.url("auditor"), poolclass=NullPool)
    with auditor.begin() as connection:
        found = connection.execute(text("select id, traceparent from relay.audit_message order by id")).all()
    assert len(found) == old_rows.one("select count(*) from relay.outbox")
    assert [row.traceparent for row in found if row.traceparent] == []
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    insert(old_rows.engine, "headers", f'{{"traceparent":"{trace}"}}')
    assert old_rows.one("select traceparent from relay.audit_message order by id desc limit 1") == trace
