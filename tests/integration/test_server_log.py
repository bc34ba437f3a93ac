"""What PostgreSQL writes into its log of a row that the outbox refuses, and the way out that docs/audit.md names."""

from __future__ import annotations

import re

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

import relay
from relay.embedded import EmbeddedPostgres
from relay.roles import RoleNames, roles_sql
from tests.docs.markdown import ROOT

COPY = "copy relay.outbox (topic, content, account) from stdin"
INSERT = "insert into relay.outbox (topic, content, account) values ('t', '{{\"tel\": \"{}\"}}', E'shop\\n')"


def test_a_refused_row_of_a_copy_is_in_the_log_unless_the_login_is_terse(own_postgres: EmbeddedPostgres) -> None:
    url = own_postgres.url()
    relay.migrate(url)
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    settings = re.findall(r"alter role shop set log_\w+ = \w+", page)
    assert len(settings) == 2
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as superuser:
        superuser.exec_driver_sql(roles_sql(RoleNames()).replace("%", "%%"))
        superuser.execute(text("create role shop login password 'p' in role relay_app"))
        assert refused(own_postgres, 13812340001) == (True, True)
        for setting in settings:
            superuser.execute(text(setting))
    assert refused(own_postgres, 13812340002) == (False, False)


def refused(server: EmbeddedPostgres, number: int) -> tuple[bool, bool]:
    """Whether the server's log has the content of a row of a COPY, and of an INSERT with values in its text."""
    where = server.url().replace("+psycopg", "")
    found = []
    with psycopg.connect(where, user="shop", password="p", autocommit=True) as application:
        with pytest.raises(psycopg.errors.CheckViolation) as met, application.cursor().copy(COPY) as copy:
            copy.write_row(("t", f'{{"tel": "{number}"}}', "shop\u202e"))
        assert f"{number}" in str(met.value), "as docs/inserting.md warns"
        assert f"{number}" not in f"{met.value.diag.message_primary} {met.value.diag.message_hint}"
        found.append(f"{number}" in server.log.read_text(errors="replace"))
        with pytest.raises(psycopg.errors.CheckViolation):
            application.execute(INSERT.format(number + 5).encode())
        found.append(f"{number + 5}" in server.log.read_text(errors="replace"))
    return found[0], found[1]
