"""No hash leads back to a content: not beside the masked one, not after its removal, not from an earlier version."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import relay
from relay.cli.verbs import relay as command
from relay.operators import actions
from relay.operators.actions import TOMBSTONE
from relay.operators.ledger import Order
from relay.revisions import catching_up
from relay.roles import VIEWS
from relay.windows import WINDOWS
from tests.fixtures.hostility import takes_back
from tests.fixtures.processes import Alembic
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

PHONE = "13800135678"
CONTENT = f'{{"tid": 7, "phone": "{PHONE}"}}'
EXTRA = f'{{"memo": "{PHONE}"}}'
ORDER = Order("ann", "erasure", {})
REDACT_BEFORE = """
update relay.outbox set content = '{"redacted": true}', json_ex_content = null, headers = null where id = any (:ids)
"""


def everything(connection: Connection, names: Iterable[str]) -> str:
    rows = (connection.execute(text(f"select cast(t as text) from relay.{name} t")).scalars() for name in names)
    return "\n".join(row for found in rows for row in found)


def guessed(told: str) -> list[str]:
    """The numbers that fit what is told: four digits of each are masked, and every hash is tried."""
    hashes = {bytes.fromhex(found) for found in re.findall(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", told)}
    salts = {b"", *(bytes.fromhex(found) for found in re.findall(r"\\x([0-9a-f]{32})(?![0-9a-f])", told))}
    found = []
    for number in (f"138{n:04}5678" for n in range(10_000)):
        for form in (CONTENT, EXTRA):
            guess = form.replace(PHONE, number).encode()
            plain = hashlib.sha256(guess).digest()
            tried = {plain, hashlib.sha256(plain).digest(), *(hashlib.sha256(salt + guess).digest() for salt in salts)}
            if tried & hashes:
                found.append(number)
    return found


def insert(rows: Rows, status: str = "done") -> int:
    return int(
        rows.one(
            "insert into relay.outbox (topic, content, json_ex_content, status, finished_at, call_id, result_index) "
            f"values ('t', cast(:content as json), cast(:extra as json), '{status}', "
            f"{'null' if status == 'pending' else 'now()'}, 1, 0) returning id",
            content=CONTENT,
            extra=EXTRA,
        )
    )


@pytest.mark.parametrize("state", ["pending", "done", "archived", "redacted", "redacted in the archive"])
def test_an_auditor_finds_no_number_by_trying_them_all(engine: Engine, roles: Roles, state: str) -> None:
    rows = Rows(engine)
    id_ = insert(rows, "pending" if state == "pending" else "done")
    if "archive" in state:
        for _ in range(2):
            rows.read("select relay.archive_messages(now(), 10, false, 'a', 'r', 0)")
        assert rows.one("select count(*) from relay.outbox_archive") == 1
    if "redacted" in state:
        with engine.begin() as connection:
            assert actions.redact(connection, [id_], ORDER).changed == (id_,)
    with create_engine(roles.url("auditor"), poolclass=NullPool).connect() as connection:
        told = everything(connection, (*VIEWS, *WINDOWS))
        assert guessed(told) == []
        integrity = connection.execute(text("select * from relay.audit_integrity")).one()
    assert integrity.content_sha256 in told
    assert (integrity.intact, integrity.redacted) == (True, "redacted" in state)


@takes_back("bytea_output")  # of the salt that is told
def test_what_was_redacted_nobody_finds_not_even_the_owner(engine: Engine, roles: Roles) -> None:
    id_ = insert(Rows(engine))
    tables = ("outbox", "outbox_archive", "call", "attempt", "action")
    with create_engine(roles.url("owner"), poolclass=NullPool).begin() as connection:
        assert guessed(everything(connection, tables)) == [PHONE], "with the salt the owner finds it"
        actions.redact(connection, [id_], ORDER)
        assert guessed(everything(connection, (*tables, *VIEWS, *WINDOWS))) == []


def test_a_relay_of_the_version_before_cannot_leave_the_salt_behind(engine: Engine) -> None:
    rows = Rows(engine)
    id_ = insert(rows)
    with engine.begin() as connection:
        connection.execute(text("select set_config('relay.redacting', 'on', true)"))
        with pytest.raises(DBAPIError, match="the salt of a hash goes with the content"):
            connection.execute(text(REDACT_BEFORE), {"ids": [id_]})


ASK = text("select relay.ask_content(:id, :content, 'asked by the auditor')")
ANSWER = text("select relay.content_is(:question)")


def test_a_copy_is_compared_by_the_owner_and_the_ledger_says_so(engine: Engine, roles: Roles) -> None:
    rows = Rows(engine)
    id_ = insert(rows)
    for part in ("app", "worker", "auditor", "operator", "metrics", "dashboard"):
        for call, values in ((ASK, {"id": id_, "content": CONTENT}), (ANSWER, {"question": 1})):
            denied = pytest.raises(DBAPIError, match="permission denied")
            with create_engine(roles.url(part), poolclass=NullPool).connect() as connection, denied:
                connection.execute(call, values)
    owner = create_engine(roles.url("owner"), poolclass=NullPool)

    def ask(id_: int, content: str) -> int:
        with owner.begin() as connection:
            return int(connection.execute(ASK, {"id": id_, "content": content}).scalar_one())

    def answer(question: int) -> bool | None:
        with owner.begin() as connection:
            return connection.execute(ANSWER, {"question": question}).scalar_one()

    right, wrong = ask(id_, CONTENT), ask(id_, CONTENT.replace("7", "8"))
    assert [answer(right), answer(wrong), answer(ask(id_ + 1, CONTENT))] == [True, False, None]
    with owner.begin() as connection:
        actions.redact(connection, [id_], ORDER)
    assert [answer(right), answer(ask(id_, CONTENT))] == [None, None]
    assert rows.one("select count(*) from relay.action where action = 'compare' and db_user = :who",
                    who=roles.login("owner")) == 4  # fmt: skip
    told = rows.one("select string_agg(cast(a as text), '') from relay.action a")
    assert guessed(told) == []
    assert hashlib.sha256(CONTENT.encode()).hexdigest() not in told


@pytest.mark.parametrize("undone", ["begin", "savepoint"])
def test_no_guess_is_answered_that_can_be_taken_back(engine: Engine, undone: str) -> None:
    rows = Rows(engine)
    id_ = insert(rows)
    with engine.connect() as connection:
        within = connection.begin_nested() if undone == "savepoint" else None
        question = connection.execute(ASK, {"id": id_, "content": CONTENT}).scalar_one()
        if within is not None:
            within.commit()
        with pytest.raises(DBAPIError, match=r"no question .* that is committed"):
            connection.execute(ANSWER, {"question": question})
        connection.rollback()
        with pytest.raises(DBAPIError, match=r"no question .* that is committed"):
            connection.execute(ANSWER, {"question": question})


def test_a_question_is_answered_to_who_asked_it(engine: Engine, roles: Roles) -> None:
    with engine.begin() as connection:
        question = connection.execute(ASK, {"id": insert(Rows(engine)), "content": CONTENT}).scalar_one()
    other = create_engine(roles.url("owner"), poolclass=NullPool)
    with other.connect() as connection, pytest.raises(DBAPIError, match="you have asked no question"):
        connection.execute(ANSWER, {"question": question})
    with engine.connect() as connection:
        assert connection.execute(ANSWER, {"question": question}).scalar_one() is True


@pytest.fixture
def before(empty_url: str) -> Rows:
    """Tables of the version before with a message in each state: 1 and 2 as inserted, 3 tampered with, 4 redacted."""
    relay.migrate(empty_url, to="0007")
    rows = Rows(create_engine(empty_url, poolclass=NullPool))
    for _ in range(5):
        insert(rows)
    rows.run("alter table relay.outbox disable trigger user")
    rows.run("update relay.outbox set content = '{\"n\": 3}' where id = 3")
    rows.run(REDACT_BEFORE, ids=[4, 5])
    rows.run("alter table relay.outbox enable trigger user")
    plain = hashlib.sha256(CONTENT.encode()).hexdigest()
    extra = hashlib.sha256(EXTRA.encode()).hexdigest()
    rows.run(
        "insert into relay.action (actor, action, reason, selection, message_ids, count) values ('ann', 'redact', 'r', "
        "json_build_object('sha256', json_build_object('4', json_build_object('content', cast(:c as text), "
        "'json_ex_content', cast(:e as text)))), '{4}', 1)",
        c=plain,
        e=extra,
    )
    for _ in range(2):
        rows.read("select relay.archive_messages(now(), 1, false, 'a', 'r', 1)")
    assert rows.read("select id from relay.outbox_archive") == [(2,)]
    return rows


INTACT = [(1, True, False), (2, True, False), (3, False, False), (4, True, True), (5, False, True)]


def intact(rows: Rows) -> list[tuple[int, bool, bool]]:
    return [tuple(row) for row in rows.read("select id, intact, redacted from relay.audit_integrity order by id")]


def test_hashes_of_the_version_before_get_a_salt_and_say_the_same_as_before(
    before: Rows, empty_url: str, alembic: Alembic
) -> None:
    assert intact(before) == INTACT
    relay.migrate(empty_url)
    assert intact(before) == INTACT
    with before.engine.connect() as connection:
        assert guessed(everything(connection, ("audit_message", "audit_integrity", "audit_action"))) == []
        told = everything(connection, ("outbox", "outbox_archive", "action"))
    assert hashlib.sha256(CONTENT.encode()).hexdigest() not in told
    assert hashlib.sha256(EXTRA.encode()).hexdigest() not in told
    assert before.read("select * from relay.catching_up") == []
    assert before.one("select count(*) from relay.audit_message where content_sha256 is null") == 0
    taken_back = alembic("downgrade", "0007", url=empty_url)
    assert taken_back.returncode == 0, taken_back.report()
    assert intact(before) == INTACT
    relay.migrate(empty_url)
    assert intact(before) == INTACT


def test_until_then_views_show_no_hash_and_it_goes_on_where_it_was(
    before: Rows, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with before.engine.begin() as connection:
        relay.migrate(connection)  # the caller's transaction: nothing is done afterwards
    shown = "select count(content_sha256) from relay.audit_message"
    assert (before.one(shown), intact(before)) == (0, INTACT)
    left = "select step, rows from relay.left_to_do() where rows > 0 order by step"
    assert before.read(left) == [("archive", 1), ("index", 2), ("ledger", 1), ("outbox", 4)]
    monkeypatch.setenv("RELAY_DATABASE_URL", empty_url)
    told = CliRunner().invoke(command, ["check"]).output
    assert "4 messages have a hash without a salt" in told

    sentences: list[str] = []
    with before.engine.begin() as other:
        other.execute(text("select from relay.outbox where id = 3 for update"))
        catching_up.catch_up(before.engine, schema="relay", wait_seconds=0.1, batch=1, tell=sentences.append)
    assert sentences[-1].startswith("somebody has the row after id 2 locked")
    assert before.read(left) == [("archive", 1), ("index", 2), ("outbox", 2)]
    catching_up.catch_up(before.engine, schema="relay", wait_seconds=60, batch=1, tell=sentences.append)
    assert (before.read(left), intact(before)) == ([], INTACT)
    assert "nothing is left of what migrations leave" in CliRunner().invoke(command, ["check"]).output


def test_a_message_of_before_is_redacted_without_a_trace(before: Rows) -> None:
    with before.engine.begin() as connection:
        relay.migrate(connection)
        assert actions.redact(connection, [1, 2], ORDER).changed == (1, 2)
        assert guessed(everything(connection, ("outbox_archive", "audit_message", "audit_integrity"))) == []
        rest = connection.execute(text("select cast(content as text), content_salt from relay.outbox_archive")).one()
    assert (rest.content, bytes(rest.content_salt)) == (TOMBSTONE, b"")
    assert intact(before)[:2] == [(1, True, True), (2, True, True)]


def test_a_restored_row_keeps_its_hash_and_salt_as_they_were(engine: Engine) -> None:
    rows = Rows(engine)
    first = insert(rows)
    kept = rows.message(first)
    copied = ("content", "content_sha256", "content_salt")
    rows.run(
        "insert into relay.outbox (topic, content, content_sha256, content_salt, created_xid, id) "
        "overriding system value select 't', content, content_sha256, content_salt, '3', id + 100 from relay.outbox"
    )
    again = rows.message(first + 100)
    assert [again._mapping[name] for name in copied] == [kept._mapping[name] for name in copied]
