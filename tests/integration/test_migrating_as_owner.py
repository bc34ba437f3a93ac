"""Nobody needs a superuser: who owns the database or the schema migrates, and others are told what is in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

import relay
from relay.checks.catalogue import expected_catalogue, read_catalogue
from relay.errors import RelayError
from relay.revisions import HEAD, REVISIONS
from relay.revisions.migrating import migration_sql
from relay.roles import RoleNames, roles_sql
from relay.sessions import make_independent
from tests.fixtures.plain import Plain

ALL = [revision.REVISION for revision in REVISIONS]
ROOT = Path(__file__).parents[2]
RELEASED = Path(__file__).parent / "released" / "0006_movers.sql"
OWNERS = """
select distinct pg_get_userbyid(relowner) from pg_class where relnamespace = to_regnamespace('relay')
union select pg_get_userbyid(proowner) from pg_proc where pronamespace = to_regnamespace('relay')
union select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'relay'
"""


def by_function(plain: Plain, login: str, wanted: Sequence[str] = ALL) -> None:
    assert relay.migrate(plain.url(login)) == wanted


def by_script(plain: Plain, login: str) -> None:
    plain.execute(login, migration_sql())


def by_alembic(plain: Plain, login: str) -> None:
    alembic(plain.url(login), "upgrade", "head")


def alembic(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELAY_")}
    environment |= {"RELAY_DATABASE_URL": url}
    line = [sys.executable, "-m", "alembic", *arguments]
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def assert_migrated(plain: Plain, login: str, *, owner: str | None = None, url: str | None = None) -> None:
    engine = create_engine(url or plain.url(login), poolclass=NullPool)
    make_independent(engine)  # as ``relay check`` reads it
    with engine.connect() as connection:
        assert read_catalogue(connection, "relay") == expected_catalogue()
        assert connection.scalars(text(OWNERS)).all() == [owner or login]


@pytest.mark.parametrize(
    ("owns", "migrate"),
    [
        ("the database", by_function),
        ("the database", by_script),
        ("the database", by_alembic),
        ("the schema", by_function),
        ("the schema", by_script),
    ],
)
def test_an_owner_who_is_no_superuser_migrates(plain: Plain, owns: str, migrate: Callable[[Plain, str], None]) -> None:
    login = plain.owner() if owns == "the database" else plain.role()
    if owns == "the schema":
        plain.run(f"create schema relay authorization {login}")
    migrate(plain, login)
    assert_migrated(plain, login)


@pytest.mark.parametrize(
    ("how", "migrate"), [("inherit", by_function), ("noinherit", by_function), ("inherit", by_alembic)]
)
def test_what_a_member_of_the_owning_role_migrates_belongs_to_that_role(
    plain: Plain, migrate: Callable[[Plain, str], None], how: str
) -> None:
    owner = plain.role("nologin")
    login = plain.role(f"login password 'p' {how} in role {owner}")
    plain.run(f"create schema relay authorization {owner}")
    migrate(plain, login)
    if how == "inherit":
        assert_migrated(plain, login, owner=owner)


def test_a_caller_is_again_who_it_was(plain: Plain) -> None:
    owner = plain.role("nologin")
    login = plain.role(f"login password 'p' in role {owner}")
    plain.run(f"create schema relay authorization {owner}")
    with create_engine(plain.url(login), poolclass=NullPool).connect() as connection:
        assert relay.migrate(connection) == ALL
        assert connection.scalar(text("select current_user")) == login


@pytest.mark.parametrize("reached", ["0006", "0007"])
def test_the_first_0006_upgrades_as_the_superuser_who_migrated_it(plain: Plain, reached: str) -> None:
    admin = plain.server.admin_url(plain.database)
    relay.migrate(admin, to=reached)
    plain.run(RELEASED.read_text(encoding="utf-8"))
    assert relay.migrate(admin)[-1] == HEAD
    assert_migrated(plain, str(make_url(admin).username), url=admin)


@pytest.mark.parametrize(("reached", "migrate"), [("0006", by_function), ("0007", by_script)])
def test_the_first_0006_upgrades_as_an_owner_whom_the_superuser_handed_it_to(
    plain: Plain, reached: str, migrate: Callable[..., None]
) -> None:
    relay.migrate(plain.server.admin_url(plain.database), to=reached)
    plain.run(RELEASED.read_text(encoding="utf-8"))
    login = plain.role()
    with pytest.raises(RelayError, match=f"{login} may not change the relay's tables: .* belongs to ") as refused:
        relay.migrate(plain.url(login))
    assert "relay roles --sql" in refused.value.hint
    assert f"grant relay_owner to {login}" in refused.value.hint
    owner = f"{login}_owner"
    plain.adopt(owner)
    plain.run(roles_sql(RoleNames(owner=owner), owner_only=True))
    plain.run(f"grant {owner} to {login}")
    if migrate is by_script:
        plain.execute(login, f"set role {owner}; " + migration_sql(start=reached))
    else:
        migrate(plain, login, ALL[ALL.index(reached) + 1 :])
    assert_migrated(plain, login, owner=owner)


def test_who_may_not_is_told_by_whom_and_how(plain: Plain) -> None:
    login = plain.role()
    with pytest.raises(RelayError, match=f"{login} may not create the schema relay in the database") as refused:
        relay.migrate(plain.url(login))
    assert refused.value.hint.endswith(f"create schema relay authorization {login}")
    plain.run("create schema relay")
    with pytest.raises(RelayError, match=f"{login} may create nothing in the schema relay, which") as refused:
        relay.migrate(plain.url(login))
    assert refused.value.hint.endswith(f"alter schema relay owner to {login}")
    plain.run(refused.value.hint.partition(": ")[2])
    assert relay.migrate(plain.url(login)) == ALL


def test_who_may_only_read_how_far_it_is_has_nothing_to_do(plain: Plain) -> None:
    relay.migrate(plain.server.admin_url(plain.database))
    worker = plain.role()
    plain.run(f"grant usage on schema relay to {worker}; grant select on relay.alembic_version to {worker}")
    assert relay.migrate(plain.url(worker)) == []
    assert alembic(plain.url(worker), "current").stdout.startswith(HEAD)
