"""The database as an application and an auditor see it: plain INSERT, plain SELECT, and the sum that must add up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import make_url

from tests.fixtures.strict_platform import StrictPlatform

TOPIC = "taobao_jds_TradeTrace"


class Row(NamedTuple):
    id: int
    content: str
    status: str
    attempts: int
    error_code: str | None
    error_message: str | None
    request_id: str | None  # the platform's, of the call that brought the final result
    position: int | None  # of the message in that call, counted from 0
    result_index: int | None


_ROWS = """
select o.id, o.content::text, o.status, o.attempts, o.error_code, o.error_message,
    c.request_id, array_position(c.message_ids, o.id) - 1, o.result_index
from relay.outbox o left join relay.call c on c.id = o.call_id order by o.id
"""


class Outbox:
    """One database. Every method is a transaction of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.libpq_url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    def insert(self, contents: Iterable[str], *, topic: str = TOPIC) -> None:
        """One transaction, the statement any language would use."""
        with psycopg.connect(self.libpq_url) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO relay.outbox (topic, content) VALUES (%s, %s)", [(topic, content) for content in contents]
            )

    def select(self, query: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.libpq_url) as connection:
            return connection.execute(query, parameters).fetchall()

    def scalar(self, query: str, *parameters: object) -> Any:
        return self.select(query, *parameters)[0][0]

    def execute(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.libpq_url) as connection:
            connection.execute(statement, parameters)

    def rows(self) -> list[Row]:
        return [Row(*row) for row in self.select(_ROWS)]

    def statuses(self) -> dict[str, int]:
        return dict(self.select("select status, count(*) from relay.outbox group by status"))

    def attempts(self, outcome: str) -> dict[int, int]:
        """Message id -> how often a call had this outcome for it."""
        query = "select message_id, count(*) from relay.attempt where outcome = %s group by message_id"
        return dict(self.select(query, outcome))

    def open_calls(self) -> int:
        return int(self.scalar("select count(*) from relay.call where settled_at is null"))

    def finished(self) -> bool:
        return not self.statuses().get("pending")


def numbered(count: int, mark: str = "tid") -> list[str]:
    """This many contents, each different."""
    return [json.dumps({mark: number, "status": "X_PACKAGED"}) for number in range(1, count + 1)]


def assert_reconciled(outbox: Outbox, platform: StrictPlatform) -> None:
    """What must be true at any quiet moment, whatever happened before; the contents must be unique.

    Nothing is open. What was accepted was committed. A row that is done was accepted at that index of that call.
    And whatever was accepted beyond that, an ``unknown`` outcome explains.
    """
    rows = outbox.rows()
    accepted, unknown = Counter(platform.contents), outbox.attempts("unknown")
    assert platform.violations == []
    assert outbox.open_calls() == 0
    assert accepted.keys() <= {row.content for row in rows}
    proofs: dict[tuple[str, int | None], str] = {
        (a.call.request_id, a.call.elements.index(a.element)): a.content for a in platform.accepted
    }
    for row in rows:
        if row.status == "done":
            assert row.result_index == row.position
            assert row.request_id is None or proofs[row.request_id, row.result_index] == row.content
            assert accepted[row.content] >= 1
        unexplained = accepted[row.content] - (row.status == "done") - unknown.get(row.id, 0)
        assert unexplained <= 0, row


def overlapping_claims(outbox: Outbox) -> Sequence[Any]:
    """Messages with pairs of calls that held them at the same time: (message id, call id, call id).

    Both times are those at which a transaction began, so what is shorter than a transaction is no overlap.
    """
    return outbox.select(
        """
        with held as (
            select unnest(message_ids) as message_id, id, claimed_at,
                coalesce(settled_at, 'infinity') - interval '10 ms' as settled_at
            from relay.call
        )
        select a.message_id, a.id, b.id from held a join held b using (message_id)
        where a.id < b.id and b.claimed_at < a.settled_at and a.claimed_at < b.settled_at
        """
    )
