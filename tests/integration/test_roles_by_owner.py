"""``relay roles --sql`` as who owns the tables and may create roles; others are told in a sentence what to grant."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import relay
from relay.roles import RoleNames, roles_sql
from tests.fixtures.plain import Plain

CREATOR = "login password 'p' createrole"
OWNERS = """
select relowner::regrole::text from pg_class
where relnamespace = to_regnamespace('relay') and relkind in ('r', 'p', 'v')
union select proowner::regrole::text from pg_proc where pronamespace = to_regnamespace('relay')
union select nspowner::regrole::text from pg_namespace where nspname = 'relay'
"""


@pytest.fixture
def names(plain: Plain) -> RoleNames:
    made = RoleNames(*(f"{plain.database}_{part}" for part in RoleNames.__dataclass_fields__))
    plain.adopt(*(getattr(made, part) for part in RoleNames.__dataclass_fields__))
    return made


def version(plain: Plain) -> int:
    with create_engine(plain.server.admin_url(plain.database), poolclass=NullPool).connect() as connection:
        return int(connection.scalar(text("show server_version_num")))


def owners(plain: Plain) -> list[str]:
    with create_engine(plain.server.admin_url(plain.database), poolclass=NullPool).connect() as connection:
        return list(connection.scalars(text(OWNERS)))


@pytest.mark.parametrize("self_grant", ["", "set", "inherit", "set, inherit"])
@pytest.mark.parametrize("inherits", ["inherit", "noinherit"])
def test_an_owner_who_may_create_roles_needs_nobody(
    plain: Plain, names: RoleNames, self_grant: str, inherits: str
) -> None:
    login = plain.owner(f"{CREATOR} {inherits}")
    if version(plain) >= 160000:
        plain.run(f"alter role {login} set createrole_self_grant = '{self_grant}'")
    elif self_grant:
        pytest.skip("before 16 there is no such setting")
    relay.migrate(plain.url(login), to="0007")
    plain.execute(login, roles_sql(names, owner_only=True))
    assert relay.migrate(plain.url(login))
    plain.execute(login, roles_sql(names))
    assert owners(plain) == [names.owner]


def test_who_may_not_create_roles_is_told_what_to_let_run(plain: Plain, names: RoleNames) -> None:
    login = plain.owner()
    relay.migrate(plain.url(login))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"{login} may not create roles") as refused:
        plain.execute(login, roles_sql(names))
    by_hand = str(refused.value.diag.message_hint).partition("; or: ")[2]
    plain.run(by_hand)
    plain.execute(login, roles_sql(names))
    assert owners(plain) == [names.owner]


def test_who_finds_the_roles_of_somebody_else_is_told_what_to_grant(plain: Plain, names: RoleNames) -> None:
    login = plain.owner(CREATOR if version(plain) >= 160000 else "login password 'p'")
    relay.migrate(plain.url(login))
    for part in RoleNames.__dataclass_fields__:
        plain.run(f"create role {getattr(names, part)} nologin")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"{login} is no member of .* may not") as refused:
        plain.execute(login, roles_sql(names))
    plain.run(str(refused.value.diag.message_hint).partition(" run: ")[2])
    plain.execute(login, roles_sql(names))
    assert owners(plain) == [names.owner]


def test_whose_tables_they_are_is_told(plain: Plain, names: RoleNames) -> None:
    login = plain.owner(CREATOR)
    relay.migrate(plain.server.admin_url(plain.database))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f" belongs to .*, and {login} may not hand it over"):
        plain.execute(login, roles_sql(names))


def test_an_owner_of_the_schema_alone_is_told_what_it_lacks(plain: Plain, names: RoleNames) -> None:
    login = plain.role(CREATOR)
    plain.run(f"create schema relay authorization {login}")
    relay.migrate(plain.url(login))
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not hand over a schema") as refused:
        plain.execute(login, roles_sql(names))
    plain.run(str(refused.value.diag.message_hint).partition(" run: ")[2])
    plain.execute(login, roles_sql(names))
    assert owners(plain) == [names.owner]


def test_without_tables_it_is_told_so(plain: Plain, names: RoleNames) -> None:
    with pytest.raises(psycopg.errors.InvalidSchemaName, match="there is no schema relay"):
        plain.execute(plain.owner(CREATOR), roles_sql(names))
