"""The accounts' query behind a pooler in transaction mode: nothing prepared there, nothing of strangers forgotten."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import make_url

from relay.assembly.accounts import open_accounts
from relay.embedded import EmbeddedPostgres
from relay.settings import load
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer

pytestmark = pytest.mark.usefixtures("path_of_the_user")

PREPARED = "select name from pg_prepared_statements order by name"


@needs_pgbouncer
def test_look_ups_through_a_pooler_prepare_nothing_and_forget_nothing_of_strangers(
    own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RELAY_ACCOUNTS_QUERY", "select 'k' app_key, 's' app_secret where :account <> ''")
    folder = Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}"  # short: it holds a socket
    with pgbouncer(own_postgres.url(), folder) as url:
        conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as stranger:
            stranger.execute("prepare theirs as select 1")
            for _ in range(2):  # two relays, one after another on the same server connection
                with open_accounts(load(database_url=url)) as accounts:
                    accounts.refresh(map(str, range(12)))  # the driver prepares what it has run five times
                    assert accounts.trouble is None
            assert stranger.execute(PREPARED).fetchall() == [("theirs",)]
