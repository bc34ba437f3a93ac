"""A dump goes back in by the hand of a plain owner: tables, data and rights are as they were, and a worker goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from relay.checks.catalogue import expected_catalogue, read_catalogue
from relay.cli.verbs import relay as command
from relay.embedded import find_binaries
from relay.operators import archive
from relay.sessions import make_independent
from relay.store import Store
from tests.fixtures import hostility
from tests.fixtures.database import Server
from tests.fixtures.drained import drain
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.integration.catalogue import catalogue_at

DUMP = ("pg_dump", "--exclude-schema=evil")  # which a hostile database has already, and of a superuser
TABLES = """
select c.relname from pg_class c where c.relnamespace = to_regnamespace('relay') and c.relkind in ('r', 'p')
order by c.relname
"""
RIGHTS = """
select format('%s %s %s', name, pg_get_userbyid(owner), array(select cast(unnest(acl) as text) order by 1))
from (
    select relname as name, relowner as owner,
        coalesce(relacl, acldefault(cast(case relkind when 'S' then 's' else 'r' end as "char"), relowner)) as acl
    from pg_class where relnamespace = to_regnamespace('relay') and relkind in ('r', 'p', 'v', 'S')
    union all
    select cast(oid as regprocedure)::text, proowner, coalesce(proacl, acldefault('f', proowner)) from pg_proc
    where pronamespace = to_regnamespace('relay')
) as thing
"""


def programs(engine: Engine) -> Path:
    """The folder with pg_dump, pg_restore and psql of the server's own version; a skip where there is none."""
    with engine.connect() as connection:
        major = connection.scalar(text("show server_version_num"))[:2]
    debian = Path(f"/usr/lib/postgresql/{major}/bin")
    for folder in (find_binaries(), debian, *(Path(found).parent for found in [shutil.which("pg_dump")] if found)):
        if all((folder / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
            told = subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
            if re.search(r"\d+", told)[0] == major:  # type: ignore[index]
                return folder
    pytest.skip(f"there is no pg_dump of PostgreSQL {major} here")


def run(folder: Path, program: str, *arguments: str, url: str) -> str:
    dbname = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    line = [str(folder / program), *arguments, "--dbname", dbname]
    environment = {"PATH": os.defpath} | hostility.ENVIRONMENT
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def rows(engine: Engine) -> Rows:
    """Something of everything: done, failed, waiting, held, in flight, archived, redacted, paused."""
    made = Rows(engine)
    made.add(60)
    made.add(10, key_each="k", account="shop", content='{"name": "向阳", "n": 1.50}')
    drain(Store(engine, worker="w", lease_seconds=60), made)
    made.run("update relay.outbox set finished_at = finished_at - interval '40 days' where id % 2 = 0")
    for _ in archive.archive(engine.begin, timedelta(days=1), actor="ann", reason="old"):
        pass
    made.run("insert into relay.pause (scope, reason, by) values ('account:b', 'asked', 'ann')")
    made.add(5)
    return made


def contents(engine: Engine) -> dict[str, list[str]]:
    with engine.connect() as connection:
        tables = connection.scalars(text(TABLES)).all()
        return {
            table: sorted(connection.scalars(text(f"select cast(t as text) from relay.{table} t"))) for table in tables
        }


@pytest.fixture
def target(postgres: Server) -> Iterator[str]:
    with postgres.fresh_database() as name:
        yield name


def assert_the_same_and_goes_on(engine: Engine, restored: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    url = restored.url.render_as_string(hide_password=False)
    assert contents(restored) == contents(engine)
    assert catalogue_at(url) == catalogue_at(engine.url.render_as_string(hide_password=False))
    make_independent(restored)  # as ``relay check`` reads it
    with restored.connect() as connection:
        assert read_catalogue(connection, "relay") == expected_catalogue()
    monkeypatch.setenv("RELAY_DATABASE_URL", url)
    monkeypatch.setenv("RELAY_PRODUCER", "stdout")
    checked = CliRunner().invoke(command, ["check", "--no-platform"])
    assert checked.exit_code == 0, checked.output
    there = Rows(restored)
    assert there.add() == Rows(engine).add(), "the next id is that of the original"
    drain(Store(restored, worker="w2", lease_seconds=60), there)
    assert there.one("select count(*) from relay.outbox where status = 'pending'") == 0
    assert there.one("select count(*) from relay.audit_integrity where not intact") == 0


@pytest.mark.parametrize("with_roles", [False, True], ids=["no roles", "roles"])
def test_a_plain_dump_restored_by_its_owner(
    rows: Rows,
    target: str,
    postgres: Server,
    with_roles: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if with_roles:
        made: Roles = request.getfixturevalue("roles")
        assert made.names.owner
    engine, folder = rows.engine, programs(rows.engine)
    (tmp_path / "dump.sql").write_text(run(folder, *DUMP, url=engine.url.render_as_string(hide_password=False)))
    url = postgres.url(target)
    run(folder, "psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-f", str(tmp_path / "dump.sql"), url=url)
    restored = create_engine(url, poolclass=NullPool)
    with engine.connect() as one, restored.connect() as other:
        assert sorted(one.scalars(text(RIGHTS))) == sorted(other.scalars(text(RIGHTS)))
    assert_the_same_and_goes_on(engine, restored, monkeypatch)
    with create_engine(postgres.admin_url(target), poolclass=NullPool).begin() as admin:
        admin.execute(text("drop schema relay cascade"))  # the roles could not go while it is theirs


def test_a_custom_dump_restored_by_another_owner(
    rows: Rows, target: str, postgres: Server, superuser: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, folder, dump = rows.engine, programs(rows.engine), str(tmp_path / "dump")
    run(folder, *DUMP, "-Fc", "-f", dump, url=engine.url.render_as_string(hide_password=False))
    other = f"{target}_owner"
    with superuser.begin() as connection:
        connection.execute(text(f"create role {other} login password 'p'; alter database {target} owner to {other}"))
    try:
        url = make_url(postgres.url(target)).set(username=other).render_as_string(hide_password=False)
        run(folder, "pg_restore", "--no-owner", "--no-acl", "--exit-on-error", dump, url=url)
        assert_the_same_and_goes_on(engine, create_engine(url, poolclass=NullPool), monkeypatch)
    finally:
        with postgres.admin() as connection:
            connection.execute(text(f"alter database {target} owner to {postgres.owner}"))
        with create_engine(postgres.admin_url(target), poolclass=NullPool).begin() as connection:
            connection.execute(text(f"drop owned by {other} cascade; drop role {other}"))
