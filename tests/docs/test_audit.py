"""docs/audit.md: each question is asked as it stands, by the role it is meant for, of tables that have an answer."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from relay.message import ACCEPTED, Answered, Fault, Refused, Result
from relay.operators import actions, archive, retention
from relay.operators.ledger import Order
from relay.outcomes import Policy, decide
from relay.roles import MAY, VIEWS, RoleNames
from relay.store import ClaimLimits, Store
from tests.docs.markdown import ROOT, Block, blocks, tables
from tests.fixtures.roles import Roles

PAGE = ROOT / "docs" / "audit.md"
QUESTIONS = [block for block in blocks(PAGE) if block.language == "sql"]
ADD = (
    "insert into relay.outbox (topic, content, ordering_key, producer) "
    "select 'taobao_jds_TradeTrace', '{\"tid\": 4213000001}', n, 'shop-api' from unnest(cast(:keys as text[])) n"
)
ORDERS = (
    "insert into public.orders select tid, now() - make_interval(days => age) from (values "
    "(4213000001, 0), (4213000002, 0), (4213000003, 9), (4213000004, 0)) as made (tid, age)"
)
FAILED = (
    "insert into relay.outbox (topic, content, ordering_key, finished_at, status, error_code) "
    "values ('taobao_jds_TradeTrace', '{}', '4213000004', now(), 'failed', 'isv.x')"
)
REFUSED = (
    "insert into relay.pause (scope, reason, error_code, credential, by) "
    "values ('account:shop-8', 'the session has expired', '27', 'old', 'w')"
)
LOST = Refused(Fault.UNKNOWN, "relay.timeout")


def asked_by(question: Block) -> str:
    """The part of whoever would ask this."""
    if question.text.startswith("insert") or "_content(" in question.text or "content_is" in question.text:
        return "owner"
    return "operator" if question.text.startswith("select relay.") else "auditor"


@pytest.fixture
def told(engine: Engine, roles: Roles) -> Iterator[Roles]:
    """Messages 17, 19 and 21 (a key costs a second id) and what became of them, and what people did."""
    store = Store(engine, worker="w", lease_seconds=60)

    def settle(*answers: Answered | Refused) -> None:
        for batch, answer in zip(store.claim(ClaimLimits(slots=1)).batches, answers, strict=True):
            store.settle([decide(batch, answer, Policy(), random.Random(1))], {})

    def add(*keys: str) -> None:
        with engine.begin() as connection:
            connection.execute(text(ADD), {"keys": list(keys)})

    with engine.begin() as connection:
        connection.execute(text("create table public.orders (tid bigint primary key, created_at timestamptz)"))
        connection.execute(text(ORDERS))
        connection.execute(text(f"grant select on public.orders to {roles.names.auditor}"))
        connection.execute(text("select setval('relay.outbox_id_seq', 15)"))
    add("4213000001", "of the same order")
    settle(Answered((ACCEPTED, Result(Fault.MESSAGE, "isv.not-authorised")), "15r3nxoq4", 200))
    add("lost")
    settle(LOST)
    with engine.begin() as connection:
        order = Order("ann", "asked", {})
        connection.execute(
            text(
                "insert into relay.outbox (topic, content, created_at, finished_at, status, error_code) "
                "select 't', '{}', old, old, 'failed', 'isv.x' from (select now() - interval '9 days' as old) as past"
            )
        )
        connection.execute(
            text("insert into relay.outbox (topic, content, created_at) values ('t', '{}', '2026-01-01')")
        )
        connection.execute(
            text(
                "insert into relay.call (account, worker, message_ids, lease_until) "
                "values ('default', 'silent', '{22}', now() - interval '1 minute')"
            )
        )
        actions.reveal(connection, 17, order)
        actions.pause(connection, "account:shop-7", order)
    list(retention.prune(engine, timedelta(days=1), Order("ann", "retention", {}), batch=10))
    with create_engine(roles.url("worker"), poolclass=NullPool).begin() as connection:
        connection.execute(text("select relay.record_start('w', '1.0', '{}')"))
        connection.execute(text(REFUSED))
        connection.execute(text("select relay.lift_pauses('{account:shop-8}', '{old}')"))
    with engine.begin() as connection:
        connection.execute(text("update relay.outbox set finished_at = '2026-10-31 23:59+00' where id = 17"))
    moved = archive.archive(engine.begin, timedelta(days=1), actor="ann", reason="retention")
    assert sum(one.messages for one in moved) == 1
    with engine.begin() as connection:
        connection.execute(text(FAILED))
    yield roles
    with engine.begin() as connection:
        connection.execute(text("drop table public.orders"))


def test_every_question_has_an_answer_for_the_role_it_is_meant_for(told: Roles) -> None:
    for question in QUESTIONS:
        engine = create_engine(told.url(asked_by(question)), poolclass=NullPool)
        with engine.begin() as connection:
            for statement in question.text.strip().split(";\n"):
                found = connection.exec_driver_sql(statement).rowcount
                well = (
                    "having count(*) > 1",
                    "cannot be shown",
                    "and c.id is null",
                    "told.message_id is null",
                    "failed_with_key",
                )
                assert found >= (not any(words in statement for words in well)), str(question)
    with create_engine(told.url("auditor"), poolclass=NullPool).connect() as connection:
        of_the_operator = text("select action, message_ids from relay.audit_action where db_user = :me order by id")
        recorded = connection.execute(of_the_operator, {"me": told.login("operator")}).all()
    assert [tuple(row) for row in recorded] == [("retry", [19]), ("discard", [19]), ("pause", None), ("resume", None)]


def test_the_answers_are_right(told: Roles) -> None:
    engine = create_engine(told.url("auditor"), poolclass=NullPool)
    found = {}
    with engine.begin() as connection:
        for question in QUESTIONS:
            if asked_by(question) == "auditor":
                found[question.text] = [tuple(row) for row in connection.exec_driver_sql(question.text)]

    def answer(words: str) -> list[tuple[object, ...]]:
        (rows,) = (rows for asked, rows in found.items() if words in asked)
        return rows

    assert [row[0] for row in answer("left join relay.audit_message")] == [4213000002], "not the one that was pruned"
    assert [row[0] for row in answer("from relay.audit_failure f")] == [4213000004]
    assert [row[2] for row in answer("percentile_cont")] == [1]
    assert len(answer("relay.latest_messages")) == 5
    assert [row[1] for row in answer("unnest(c.message_ids)")] == [22], "it was pruned"
    assert [row[4] for row in answer("where 17 = any (message_ids)")] == ["reveal"]
    assert answer("'15r3nxoq4'") == [(17, 0, "done", None), (19, 1, "failed", "isv.not-authorised")]
    assert [row[0] for row in answer("created_xid = (")] == [17, 19]
    assert [row[0] for row in answer("last_unknown_at desc")] == [21]
    assert answer("relay.audit_integrity;") == [(5, 0, 0)]
    assert answer("select min(id)") == [(5, 0, 0)]
    assert [row[:3] for row in answer("where ordering_key = ")] == [(17, "taobao_jds_TradeTrace", "done")]
    assert [row[1:] for row in answer("m.created_at >= cast")] == [(4, 1, 2, 1, 1)]
    assert [row[3] for row in answer("not in ('archive', 'prune', 'start')")] == ["pause", "reveal"]
    (lifted,) = answer("paused_again_at")
    assert (lifted[0], lifted[4], lifted[5]) == ("account:shop-8", told.login("worker"), None)
    assert [row[1:3] for row in answer("as worker")] == [("w", told.login("worker"))]
    assert (sum(row[1] for row in answer("as books")), sum(row[3] for row in answer("as books"))) == (6, 3)
    (month,) = (row[0] for row in answer("as hashes_sha256"))
    with create_engine(told.url("owner"), poolclass=NullPool).connect() as connection:
        kept = connection.scalar(text("select content_sha256 from relay.outbox_archive"))
    assert month == hashlib.sha256(bytes(kept)).hexdigest()


def test_a_key_that_was_forgotten_and_used_again_is_found(engine: Engine, superuser: Engine, roles: Roles) -> None:
    (question,) = (block.text for block in QUESTIONS if "having count(*) > 1" in block.text)
    insert = text(
        "insert into relay.outbox (topic, content, dedupe_key, status, finished_at, content_sha256) "
        "values ('t', '{}', :key, 'failed', now() - interval '9 days', sha256('{}'))"
    )
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = 'replica'"))
        connection.execute(insert, [{"key": "twice"}, {"key": "once"}])
    list(archive.archive(engine.begin, timedelta(days=1), actor="ann", reason="retention"))
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = 'replica'"))
        connection.execute(insert, {"key": "twice"})
    with create_engine(roles.url("auditor"), poolclass=NullPool).connect() as connection:
        assert [tuple(row) for row in connection.exec_driver_sql(question)] == [("default", "twice", 2, [1, 3])]


ENDED = "update relay.outbox set status = 'failed', finished_at = now(), error_code = {}, call_id = {} where id = {}"


def test_what_failed_without_a_call_is_found_and_nothing_else(engine: Engine, roles: Roles) -> None:
    """Whatever a worker's login ends by itself shows; what workers, operators and the archive do does not."""
    (question,) = (block.text for block in QUESTIONS if "told.message_id is null" in block.text)
    made = create_engine(roles.url("worker"), poolclass=NullPool)
    store = Store(made, worker="w", lease_seconds=60)

    def add(count: int, deliver_before: str = "null") -> None:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "insert into relay.outbox (topic, content, deliver_before) "
                    f"select 't', '{{}}', {deliver_before} from generate_series(1, {count})"
                )
            )

    def settle(*results: Result | Refused) -> None:
        (batch,) = store.claim(ClaimLimits(slots=1)).batches
        answer = results[0] if isinstance(results[0], Refused) else Answered(results, "r1", 200)
        store.settle([decide(batch, answer, Policy(max_attempts=1), random.Random(1))], {})

    add(2)  # 1 and 2: refused each, and given up
    settle(Result(Fault.MESSAGE, "isv.x"), Result(Fault.PROVIDER, "isp.x"))
    add(1, "now() - interval '1 s'")  # 3: expired
    store.claim(ClaimLimits(slots=1))
    add(1)  # 4: discarded, and 1 too
    with create_engine(roles.url("operator"), poolclass=NullPool).begin() as connection:
        connection.execute(text("select relay.discard('{1,4}', 'r')"))
    add(6, "now() + interval '1 h'")  # 5 to 10
    with made.begin() as connection:
        connection.execute(text("insert into relay.call (account, worker, message_ids, lease_until) "
                                "values ('default', 'w', '{5}', now() + interval '1 minute')"))  # fmt: skip
        connection.execute(text(ENDED.format("'isv.x'", "null", 6)))
        connection.execute(text(ENDED.format("'isv.x'", 1, 7)))
        connection.execute(text(ENDED.format("null", "null", 8)))
        connection.execute(text(ENDED.format("'relay.unreadable'", "null", 9)))
        connection.execute(text(ENDED.format("'relay.attempts_exhausted'", 2, 5)))
    with create_engine(roles.url("auditor"), poolclass=NullPool).connect() as connection:
        assert [row[0] for row in connection.exec_driver_sql(question)] == [5, 6, 7, 8, 9]
        (by_whom,) = (block.text for block in QUESTIONS if "as ended_by" in block.text)
        told = [(row.id, row.db_user, row.ended_by) for row in connection.exec_driver_sql(by_whom)]
        operator = make_url(roles.url("operator")).username
        discarded = [(1, operator, "a person"), (3, None, "itself"), (4, operator, "a person")]
        assert told == discarded + [(id_, None, "a worker's login") for id_ in (6, 8, 9)]
    with engine.begin() as connection:  # as a worker could where no trigger is in the way
        connection.execute(text(ENDED.format("'relay.expired'", "null", 10)))
        connection.execute(text("update relay.call set settled_at = now(), outcome = 'released' where id = 2"))
    list(archive.archive(engine.begin, timedelta(0), actor="ann", reason="r"))
    with create_engine(roles.url("auditor"), poolclass=NullPool).connect() as connection:
        assert [row[0] for row in connection.exec_driver_sql(question)] == [5, 6, 7, 8, 9, 10]


@pytest.fixture
def mallory(superuser: Engine) -> Iterator[str]:
    """A login that nobody knows of."""
    name = f"mallory_{uuid4().hex[:8]}"
    with superuser.begin() as connection:
        connection.execute(text(f"create role {name} login"))
    yield name
    with superuser.begin() as connection:
        connection.execute(text(f"drop owned by {name}; drop role {name}"))


def rights(roles: Roles) -> set[tuple[object, ...]]:
    """What an auditor is told of who may do what."""
    asked = [block.text for block in QUESTIONS if "pg_roles" in block.text]
    assert len(asked) == 2
    with create_engine(roles.url("auditor"), poolclass=NullPool).connect() as connection:
        return {tuple(row) for question in asked for row in connection.exec_driver_sql(question)}


def test_every_right_that_was_given_aside_is_told(superuser: Engine, roles: Roles, mallory: str) -> None:
    before, auditor, owner = rights(roles), roles.names.auditor, roles.names.owner
    with superuser.begin() as connection:
        for given in (
            f"usage on schema relay to {mallory}",
            f"update (content) on relay.outbox to {mallory}",
            f"select (content) on relay.outbox to {auditor}",
            f"delete on relay.call to {mallory}",
            f"execute on function relay.discard(bigint[], text) to {mallory}",
            "execute on function relay.open_archive(date) to public",
            f"{owner}, pg_read_all_data to {mallory}",
        ):
            connection.execute(text(f"grant {given}"))
        connection.execute(text(f"alter role {mallory} createrole replication"))
        connection.execute(text("create function relay.anybodys() returns int language sql return 1"))
        me = connection.execute(text("select current_user")).scalar_one()
    ours = roles.names.app.removesuffix("_app")
    told = {row for row in rights(roles) if not str(row[0]).startswith("relay_test_") or str(row[0]).startswith(ours)}
    assert told - before == {  # others who test on this server make roles of their own meanwhile
        (mallory, "schema", "relay", "USAGE"),
        (mallory, "column", "outbox.content", "UPDATE"),
        (auditor, "column", "outbox.content", "SELECT"),
        (mallory, "table", "call", "DELETE"),
        (mallory, "function", "relay.discard(bigint[],text)", "EXECUTE"),
        ("everybody", "function", "relay.open_archive(date)", "EXECUTE"),
        ("everybody", "function", "relay.anybodys()", "EXECUTE"),
        (mallory, True, f"member of {owner}"),
        (mallory, True, "member of pg_read_all_data"),
        (mallory, True, "may make roles"),
        (mallory, True, "may replicate"),
        (me, True, "owner of functions"),
    }
    assert {(me, True, "superuser"), (roles.login("owner"), True, f"member of {owner}")} <= before
    assert (owner, False, "owner of tables or views") in before


def test_a_dozen_questions_are_asked_by_auditors() -> None:
    assert sum(asked_by(question) == "auditor" for question in QUESTIONS) >= 12


def test_every_view_and_role_is_in_its_table() -> None:
    assert {row[0] for row in tables(PAGE, "view", "one row for")} == set(VIEWS)
    assert [row[0] for row in tables(PAGE, "role", "may", "may not")] == [getattr(RoleNames(), part) for part in MAY]


def test_whatever_is_proved_has_a_test_that_is_there() -> None:
    proved = tables(PAGE, "what", "against", "test")
    assert len(proved) > 10
    named = [name for row in proved for name in re.findall(r"\w+\.py", row[2])]
    assert len(named) >= len(proved)
    assert [name for name in named if not (ROOT / "tests" / "integration" / name).exists()] == []


def test_every_view_mentioned_exists() -> None:
    mentioned = set(re.findall(r"\b(audit_\w+|blocked_keys)\b", PAGE.read_text(encoding="utf-8")))
    assert mentioned == set(VIEWS)
