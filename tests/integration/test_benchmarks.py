"""What the benchmarks measure is the worker as it is wired for everybody, and it does its work."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from benchmarks.contenders import Job, relay
from benchmarks.platform import platform
from tests.fixtures.rows import Rows


@pytest.mark.parametrize("over_http", [False, True])
def test_the_worker_that_is_measured_drains_every_account(
    over_http: bool, engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, made = Rows(engine), relay.engine_for(Job(database_url))
    ids = [*rows.add(3, account="a0"), *rows.add(2, account="a1")]
    monkeypatch.setattr(relay, "engine_for", lambda _: made)
    with platform(0) as there:
        tally = relay.prepare(Job(database_url, there.url if over_http else None, noting=True))()
        assert there.received().messages == (5 if over_http else 0)
    made.dispose()
    assert sorted(tally.accepted) == ids
    assert rows.one("select count(*) from relay.outbox where status = 'done'") == 5
    assert tally.statements > 0


def test_who_only_asks_the_platform_needs_no_database() -> None:
    assert relay.producer_for(Job("", "http://127.0.0.1:9/router/rest")).max_batch == 50
