"""What the benchmarks measure is the worker as it is wired for everybody, and it does its work."""

from __future__ import annotations

from fractions import Fraction

import pytest
from sqlalchemy import Engine

from benchmarks.contenders import Job, relay
from benchmarks.crowd import gather
from benchmarks.history import Shape, remember
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


def test_a_large_database_has_what_pages_are_measured_with(superuser: Engine) -> None:
    rows, shape = Rows(superuser), Shape(Fraction(2, 3), days=90, per_call=50, failed_one_in=40, codes=3)
    with superuser.begin() as connection:
        remember(connection, 4_000, shape, orders=False)
        gather(connection, 800)
    counted = "select count(*) from relay.{}"
    archived = rows.one(counted.format("outbox_archive"))
    assert archived == 2_666
    assert rows.one(counted.format("outbox where status in ('done', 'failed')")) == 4_000 - archived
    assert rows.one("select count(distinct error_code) from relay.outbox where status = 'failed'") == 3
    assert rows.one(counted.format("outbox where status = 'pending' and available_at = 'infinity'")) == 80
    assert rows.one("select max(n) from (select count(*) as n from relay.attempt group by message_id) as one") >= 100
    assert rows.one("select count(distinct date_trunc('month', finished_at)) from relay.outbox_archive") >= 2
