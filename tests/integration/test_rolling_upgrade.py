"""A worker of the version before goes on while the tables are migrated below it, with the rights it was given then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import namedtuple_row
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

import relay
from relay.store import ClaimLimits, Store
from tests.fixtures.database import Server
from tests.fixtures.rows import Rows

RELEASED = Path(__file__).parent / "released" / "0007_worker.sql"
SAYS = dict(re.findall(r"^-- statement: (\w+)\n(.*?)(?=^-- statement|\Z)", RELEASED.read_text(), re.M | re.S))
EVERYTHING: dict[str, Any] = {
    "open_from": 0, "after_account": "", "accounts": 10, "skip_accounts": [], "batch": 50, "slots": 4,
    "remember": False, "pass_over": False, "failed_holds": False, "linger_seconds": 0.0, "key_accounts": [], "keys": [],
    "floor_accounts": [], "floors_us": [], "floor_ids": [],
}  # fmt: skip


class OldWorker:
    """What it says, each in a transaction of its own; but settling is one."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def says(self, name: str, **parameters: Any) -> list[Any]:
        with self._connection.transaction():
            cursor = self._connection.execute(SAYS[name].encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def claims(self) -> tuple[int, list[int]]:
        ids = [row.id for row in self.says("lock_ready", **EVERYTHING) if row.id is not None]
        told = {"ids": ids, "batches": [1] * len(ids), "accounts": ["default"], "keyed_ids": [], "keys_from": []}
        (call,) = self.says(
            "name_calls", worker="old", lease_seconds=60, open_from=0, key_accounts=[], keys=[], **told
        )  # fmt: skip
        return call.id, call.message_ids

    def settles(self, call: int, done: list[int], not_done: list[int], *, outcome: str, code: str, final: bool) -> None:
        with self._connection.transaction():
            (closed,) = self.says(
                "close_calls", ids=[call], outcomes=["partial"], http_statuses=[200], request_ids=["r-1"],
                error_codes=[None], sub_codes=[None], error_messages=[None], request_bytes=[10], durations_ms=[5],
                sent_seconds_ago=[0.01],
            )  # fmt: skip
            assert closed.id == call
            self.says("mark_done", ids=done, call_ids=[call] * len(done), result_indexes=list(range(len(done))))
            n = len(not_done)
            self.says(
                "mark_not_done", ids=not_done, call_ids=[call] * n,
                result_indexes=list(range(len(done), len(done) + n)),
                outcomes=[outcome] * n, burned=[True] * n, final=[final] * n, error_codes=[code] * n,
                error_messages=["no"] * n, row_codes=[code] * n, row_messages=["no"] * n, delays_seconds=[0.0] * n,
            )  # fmt: skip


@pytest.fixture
def rows(empty_url: str) -> Rows:
    relay.migrate(empty_url, to="0007")
    return Rows(create_engine(empty_url, poolclass=NullPool))


@pytest.fixture
def old(rows: Rows, postgres: Server) -> Iterator[OldWorker]:
    name = f"relay_test_{uuid4().hex[:8]}_old"
    url = make_url(rows.engine.url).set(drivername="postgresql", username=name, password="p")
    with postgres.admin() as admin:
        admin.exec_driver_sql(f"create role {name} login password 'p'")
    for grant in SAYS["grants"].format(worker=name).strip().split(";\n"):
        rows.run(grant.rstrip(";"))
    with psycopg.connect(
        url.render_as_string(hide_password=False), autocommit=True, row_factory=namedtuple_row
    ) as connection:
        yield OldWorker(connection)
    with create_engine(postgres.admin_url(url.database or ""), poolclass=NullPool).begin() as admin:
        admin.exec_driver_sql(f"drop owned by {name}")
        admin.exec_driver_sql(f"drop role {name}")


def test_a_worker_of_the_version_before_goes_on(rows: Rows, old: OldWorker, empty_url: str) -> None:
    first = rows.add(3)
    call, named = old.claims()
    assert named == first
    relay.migrate(empty_url)
    new = Store(rows.engine, worker="new", lease_seconds=60)
    assert new.claim(ClaimLimits(slots=1)).batches == (), "what the old one has"
    assert [row.id for row in old.says("extend", ids=[call], lease_seconds=60)] == [call]
    old.settles(call, first[:1], first[1:2], outcome="failed", code="isv.bad", final=True)
    assert [row.status for row in map(rows.message, first)] == ["done", "failed", "pending"]

    rows.add(1)
    call, named = old.claims()
    assert len(named) == 2, "what was left open, and what came since"
    (half, other) = old.says(
        "split", worker="old", lease_seconds=60, batches=[0, 1], accounts=["default"] * 2, parent_ids=[call] * 2,
        ids=named,
    )  # fmt: skip
    old.settles(call, [], [], outcome="retry", code="isp.x", final=False)
    old.settles(half.id, half.message_ids, [], outcome="retry", code="isp.x", final=False)
    old.settles(other.id, [], other.message_ids, outcome="retry", code="isp.x", final=False)
    assert rows.counts() == {"done": 2, "failed": 1, "pending": 1}

    paused = {"scope": "account:default", "seconds": 60, "reason": "refused", "error_code": "27", "by": "old"}
    old.says("pause", credential="c", **paused)
    assert [row.scope for row in old.says("lift_pause", scope="account:default", credential="c")] == ["account:default"]
    assert old.says("reserve", app_key="k", step_seconds=0.1)
    rows.run("update relay.call set lease_until = now() - interval '1 s' where settled_at is null")
    assert old.says("lock_lapsed", calls=10) == []
    (batch,) = new.claim(ClaimLimits(slots=1)).batches
    assert [message.id for message in batch.messages] == other.message_ids
    assert old.says("extend", ids=[batch.call_id], lease_seconds=60), "it is its own that are extended, as ever"
    archives = "select messages from relay.archive_messages(now() - interval '1 day', 10, false, 'old', 'r', 0)"
    assert old._connection.execute(archives).fetchone() is not None
