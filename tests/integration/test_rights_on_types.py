"""What nobody needs a right for, nobody has one for: types, salts, and rows in the errors of a wrong insert."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from relay.roles import roles_sql
from relay.schema import outbox
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

OPEN = """
select string_agg(cast(t.oid as regtype)::text, ', ') from pg_type t
where t.typnamespace = to_regnamespace('relay') and t.typelem = 0 and has_type_privilege(:role, t.oid, 'usage')
"""


def plain(roles: Roles, part: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(roles.url(part).replace("+psycopg", ""), autocommit=True)


def test_no_login_can_have_a_column_that_a_migration_would_stumble_over(engine: Engine, roles: Roles) -> None:
    rows = Rows(engine)
    rows.run("select relay.open_archive('2026-01-01')")
    for part in ("app", "worker", "auditor", "operator", "metrics", "dashboard"):
        assert rows.one(OPEN.replace("::", r"\:\:"), role=roles.login(part)) is None
    with plain(roles, "app") as connection:
        for kind in ("relay.outbox", "relay.content", "relay.audit_message[]", "relay.outbox_archive_y2026m01"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for type"):
                connection.execute(f"create temp table x (c {kind})".encode())
        with connection.cursor().copy("copy relay.outbox (topic, content) from stdin") as copied:
            copied.write_row(("t", "{}"))


def test_a_worker_reads_all_but_the_salt_whatever_it_was_once_given(engine: Engine, roles: Roles) -> None:
    rows = Rows(engine)
    worker = roles.names.worker
    rows.run(f"set role {roles.names.owner}; grant select on relay.outbox, relay.outbox_archive to {worker}")
    with engine.begin() as connection:
        connection.execute(text(roles_sql(roles.names).replace(":", r"\:")))
    read = [column for column in outbox.c.keys() if rows.one(  # noqa: SIM118
        "select has_column_privilege(:who, 'relay.outbox', :column, 'select')", who=worker, column=column)]  # fmt: skip
    assert [column for column in outbox.c.keys() if column not in read] == ["content_salt"]  # noqa: SIM118
    with plain(roles, "worker") as connection:
        for statement in ("select content_salt from relay.outbox", "select * from relay.outbox",
                          "select o from relay.outbox o", "select id from relay.outbox_archive"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())


SECRET = '{"phone": "13800138000"}'


def test_a_column_without_a_value_is_named_without_the_row(roles: Roles) -> None:
    application = create_engine(roles.url("app"), poolclass=NullPool)
    wrong = {
        "topic": f"(topic, content) values (null, '{SECRET}')",
        "content": "(topic, content, producer) values ('13800138000', null, '13800138000')",
        "account": f"(topic, content, account) values ('t', '{SECRET}', null)",
        "available_at": f"(topic, content, available_at) values ('t', '{SECRET}', null)",
    }
    for column, rest in wrong.items():
        with pytest.raises(DBAPIError) as error, application.begin() as connection:
            connection.execute(text(f"insert into relay.outbox {rest.replace(':', chr(92) + ':')}"))
        told = error.value.orig
        assert isinstance(told, psycopg.errors.NotNullViolation)
        assert (told.diag.column_name, told.diag.table_name) == (column, "outbox")
        assert "13800138000" not in f"{told} {told.diag.message_detail} {told.diag.context}"
        assert told.diag.message_hint
