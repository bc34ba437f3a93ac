"""The server's queue of notifications, which anybody who can log in can fill: inserts are committed all the same."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import create_engine

import relay
from relay.embedded import EmbeddedPostgres

SIZES = (7900, 500, 1)  # the last ones fill what is left of a page


def test_who_inserts_commits_though_nobody_can_notify(own_postgres: EmbeddedPostgres) -> None:
    url = own_postgres.url()
    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        if connection.info.server_version < 170000:
            pytest.skip("the queue has 8 GB")
        connection.execute("alter system set max_notify_queue_pages = 64")
    own_postgres.stop()
    own_postgres.start()
    relay.migrate(own_postgres.url())
    plain = own_postgres.url().replace("+psycopg", "")
    with psycopg.connect(plain) as slow, psycopg.connect(plain, autocommit=True) as stranger:
        slow.execute("listen x")
        slow.commit()
        slow.execute("select 1")  # whoever listens inside a transaction keeps what is in the queue
        stranger.execute("select pg_advisory_lock(cast(cast('relay.outbox' as regclass) as integer), 256)")
        for size in SIZES:
            with suppress(psycopg.errors.ProgramLimitExceeded):
                for n in range(10_000):
                    stranger.execute("select pg_notify('x', %s)", (f"{n}{'y' * size}",))
        (full,) = stranger.execute("select pg_notification_queue_usage()").fetchone() or (0,)
        assert full > 0.9
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            stranger.execute("notify x, 'anything else'")
        engine = create_engine(own_postgres.url())
        with engine.begin() as connection:
            relay.add(connection, "t", {})
        engine.dispose()
