"""What the audit views say of messages that were delivered, refused, perhaps delivered, held and taken in hand."""

from __future__ import annotations

import hashlib
import random
import re
from typing import Any

import pytest
from sqlalchemy import Engine, Row, text

from relay.message import ACCEPTED, Answer, Answered, Batch, Fault, Refused, Result
from relay.operators import actions
from relay.operators.ledger import Order
from relay.outcomes import Policy, decide
from relay.store import ClaimLimits, Store
from relay.windows import WINDOWS
from tests.fixtures.rows import Rows

VIEWS = {
    "audit_message", "audit_delivery", "audit_call", "audit_failure", "audit_in_flight", "audit_backlog",
    "audit_possible_duplicate", "audit_pause", "audit_daily", "audit_action", "audit_integrity", "blocked_keys",
}  # fmt: skip
LOST = Refused(Fault.UNKNOWN, "relay.timeout", message="no answer for 13812345678", request_id="r-lost")


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


@pytest.fixture
def store(engine: Engine) -> Store:
    return Store(engine, worker="w", lease_seconds=60)


def claim(store: Store) -> Batch:
    (batch,) = store.claim(ClaimLimits(slots=1)).batches
    return batch


def produce(store: Store, answer: Answer, policy: Policy = Policy()) -> Batch:  # noqa: B008
    batch = claim(store)
    store.settle([decide(batch, answer, policy, random.Random(1))], {})
    return batch


def view(rows: Rows, name: str, order: str = "1") -> list[dict[str, Any]]:
    found: list[Row[Any]] = list(rows.read(f"select * from relay.{name} order by {order}"))
    return [dict(row._mapping) for row in found]


def test_every_view_and_column_is_explained_in_both_languages(rows: Rows) -> None:
    found = rows.read(
        "select c.relname as name, a.attname as column, col_description(c.oid, a.attnum) as words, "
        "obj_description(c.oid, 'pg_class') as of_view, c.reloptions as options from pg_class c "
        "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 "
        "where c.relkind = 'v' and c.relnamespace = to_regnamespace('relay')"
    )
    assert {row.name for row in found} == {*VIEWS, *WINDOWS}
    for row in found:
        assert row.options == (["security_barrier=true"] if row.name in VIEWS else None), row
        for words in (row.words, row.of_view):
            english, slash, chinese = (words or "").rpartition(" / ")
            assert slash, row
            assert english.isascii(), row
            assert any("\u4e00" <= character <= "\u9fff" for character in chinese), row


def test_a_view_without_a_barrier_hides_no_row(rows: Rows) -> None:
    """A condition or a join would be something to look behind."""
    for name in WINDOWS:
        text = rows.one("select pg_get_viewdef(to_regclass(:name))", name=f"relay.{name}")
        assert re.fullmatch(rf"(?s) SELECT .*FROM relay\.{name.removeprefix('read_')} \w+;", text), text
        assert not re.search(r"(?i)\bselect\b.*\bselect\b|\bwhere\b|\bjoin\b|\blimit\b", text.replace("\n", " ")), text


def test_a_delivered_message_with_its_call_and_the_platforms_answer(rows: Rows, store: Store) -> None:
    first, second = rows.add(2, content='{"tid":  7}')
    batch = produce(store, Answered((ACCEPTED, Result(Fault.MESSAGE, "isv.bad", "no")), "r-1", 200))
    message, _ = view(rows, "audit_message")
    assert (message["status"], message["request_id"], message["result_index"]) == ("done", "r-1", 0)
    assert message["content"] == {"tid": 7}
    salt = bytes(rows.message(first).content_salt)
    assert message["content_sha256"] == hashlib.sha256(salt + b'{"tid":  7}').hexdigest()
    assert message["content_characters"] == 11
    assert message["latency_seconds"] >= 0
    assert [
        (d["message_id"], d["call_id"], d["result_index"], d["outcome"], d["error_code"], d["request_id"])
        for d in view(rows, "audit_delivery")
    ] == [(first, batch.call_id, 0, "done", None, "r-1"), (second, batch.call_id, 1, "failed", "isv.bad", "r-1")]
    (call,) = view(rows, "audit_call")
    assert (call["outcome"], call["messages"], call["message_ids"]) == ("partial", 2, [first, second])
    (failure,) = view(rows, "audit_failure")
    assert (failure["id"], failure["error_code"], failure["request_id"]) == (second, "isv.bad", "r-1")


def test_the_raw_content_is_in_no_view(rows: Rows, store: Store) -> None:
    rows.add(content='{"phone": "13812345678", "mail": "zhang.san@example.com"}')
    produce(store, LOST)
    rows.run("update relay.outbox set available_at = now()")
    said = "card 110101199003071234 of 13812345678, zhang.san@example.com"
    produce(store, Answered((Result(Fault.MESSAGE, "isv.bad", said),), "r-1", 200))
    rows.run("insert into relay.pause (scope, reason, by) values ('account:a', :said, 'w')", said=said)
    for name in (*VIEWS, *WINDOWS):
        told = str(view(rows, name))
        assert "13812345678" not in told, name
        assert "zhang.san" not in told, name
        assert "199003071234" not in told, name


def test_in_flight_names_the_position_and_whether_the_worker_is_silent(rows: Rows, store: Store) -> None:
    ids = rows.add(3, topic="x")
    batch = claim(store)
    found = view(rows, "audit_in_flight")
    assert [(f["message_id"], f["result_index"], f["call_id"], f["topic"], f["lease_expired"]) for f in found] == [
        (id_, index, batch.call_id, "x", False) for index, id_ in enumerate(ids)
    ]
    rows.lapse_leases()
    assert [f["lease_expired"] for f in view(rows, "audit_in_flight")] == [True] * 3


def test_the_backlog_by_account(rows: Rows, store: Store) -> None:
    rows.add(2, account="a")
    rows.add(account="a", due_in_seconds=60, key="k")
    (held,) = rows.add(account="b")
    rows.run("update relay.outbox set available_at = 'infinity' where id = :id", id=held)
    a, b = view(rows, "audit_backlog")
    assert (a["account"], a["pending"], a["due"], a["waiting"], a["held"]) == ("a", 3, 2, 1, 0)
    assert (b["account"], b["pending"], b["due"], b["waiting"], b["held"]) == ("b", 1, 0, 0, 1)
    assert a["oldest_due_seconds"] >= 0
    assert b["oldest_due_seconds"] is None


@pytest.mark.parametrize(
    ("fate", "expected"),
    [
        ("pending", "will be sent again"),
        ("held", "held for a person"),
        ("done", "accepted by a later call"),
        ("failed", "failed"),
        ("discarded", "discarded by a person"),
    ],
)
def test_what_came_of_a_message_that_may_have_arrived(
    rows: Rows, store: Store, engine: Engine, fate: str, expected: str
) -> None:
    (id_,) = rows.add()
    lost = produce(store, LOST, Policy(hold_unknown=fate == "held"))
    final = None
    if fate in ("done", "failed"):
        rows.run("update relay.outbox set available_at = now()")
        result = ACCEPTED if fate == "done" else Result(Fault.MESSAGE, "isv.bad")
        final = produce(store, Answered((result,), "r-2", 200)).call_id
    elif fate == "discarded":
        with engine.begin() as connection:
            actions.discard(connection, [id_], Order("ann", "seen there", {}))
    (message,), (first, *_) = view(rows, "audit_message"), view(rows, "audit_delivery", "call_id")
    assert (message["held"], message["available_at"] is None) == (fate == "held",) * 2
    assert (first["outcome"], first["retry_at"] is None) == ("unknown", fate == "held")
    (found,) = view(rows, "audit_possible_duplicate")
    assert (found["message_id"], found["unknown_outcomes"], found["unknown_call_ids"]) == (id_, 1, [lost.call_id])
    assert (found["what_came_of_it"], found["final_call_id"]) == (expected, final)


def test_a_day_is_that_of_shanghai_unless_another_zone_is_set(rows: Rows, store: Store, engine: Engine) -> None:
    for moment, status in (("2026-11-10 15:59:59+00", "pending"), ("2026-11-10 16:00:00+00", "failed")):
        rows.run(
            "insert into relay.outbox (topic, content, created_at, status, finished_at) "
            "values ('t', '{}', cast(:moment as timestamptz), :status, case when :status = 'failed' then now() end)",
            moment=moment,
            status=status,
        )
    rows.run("insert into relay.attempt (message_id, call_id, result_index, outcome) values (2, 1, 0, 'unknown')")
    days = [tuple(map(str, day.values())) for day in view(rows, "audit_daily")]
    assert days == [
        ("2026-11-10", "Asia/Shanghai", "1", "0", "0", "1", "0"),
        ("2026-11-11", "Asia/Shanghai", "1", "0", "1", "0", "1"),
    ]
    with engine.begin() as connection:
        connection.execute(text("set local relay.zone = 'UTC'"))
        (day,) = connection.execute(text("select * from relay.audit_daily")).all()
    assert (str(day.day), day.zone, day.inserted, day.failed, day.unknown) == ("2026-11-10", "UTC", 2, 1, 1)


def test_a_pause_that_has_ended_says_so(rows: Rows) -> None:
    for scope, until in (("account:a", "null"), ("account:b", "now() - interval '1 s'")):
        rows.run(f"insert into relay.pause (scope, until, reason, by) values ('{scope}', {until}, 'r', 'w')")
    assert [(p["scope"], p["in_force"]) for p in view(rows, "audit_pause")] == [
        ("account:a", True),
        ("account:b", False),
    ]


def test_a_content_changed_behind_our_back_is_not_intact(rows: Rows, engine: Engine, superuser: Engine) -> None:
    """A superuser can go round the triggers; the hash tells."""
    kept, changed, redacted, faked = rows.add(4)
    rows.run("update relay.outbox set status = 'failed', finished_at = now()")
    with engine.begin() as connection:
        actions.redact(connection, [redacted], Order("ann", "erasure", {}))
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = 'replica'"))
        change = text("update relay.outbox set content = cast(:content as json) where id = :id")
        connection.execute(change, {"content": '{"tid": 2}', "id": changed})
        connection.execute(change, {"content": actions.TOMBSTONE, "id": faked})
    assert {i["id"]: (i["redacted"], i["intact"]) for i in view(rows, "audit_integrity")} == {
        kept: (False, True),
        changed: (False, False),
        redacted: (True, True),
        faked: (True, False),
    }


def test_the_ledger_is_shown(rows: Rows, engine: Engine) -> None:
    with engine.begin() as connection:
        actions.pause(connection, "account:a", Order("ann", "call 13812345678", {"scope": "account:a"}))
    (found,) = view(rows, "audit_action")
    assert (found["actor"], found["action"], found["reason"]) == ("ann", "pause", "call 138****5678")
