"""The months of the archive: where they begin, what is told of them, how one is dropped; and who may do what there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, Row, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

import relay
from relay import reports
from relay.errors import RelayError
from relay.holders import InTheWay
from relay.operators import actions, archive
from relay.operators import statements as sql
from relay.operators.archive import Month
from relay.operators.ledger import Order
from tests.fixtures.plans import nodes
from tests.fixtures.processes import Alembic
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows
from tests.fixtures.waiting import eventually

ORDER = Order("ann", "asked", {})
FINISHED = """
insert into relay.outbox
    (topic, content, status, error_code, error_message, finished_at, created_at, headers, ordering_key)
values ('t', cast(:content as json), 'failed', 'isv.x', 'no', cast(:at as timestamptz), cast(:at as timestamptz), '{}',
    cast(:key as text))
returning id
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    return Rows(engine)


def finished(rows: Rows, at: str, content: str = "{}", key: str | None = None) -> int:
    """The id of a message that finished then."""
    return int(rows.one(FINISHED, at=at, content=content, key=key))


def move(engine: Engine, older_than: timedelta = timedelta(0)) -> None:
    list(archive.archive(engine.begin, older_than, actor="ann", reason="retention"))


def months(engine: Engine) -> list[Month]:
    with engine.connect() as connection:
        return list(archive.months(connection))


def drop(engine: Engine, month: str) -> Month:
    with engine.begin() as connection:
        return archive.drop_month(connection, month, actor="ann", reason="the law allows it")


def changed(rows: Rows, table: str = "outbox_archive") -> Row[Any]:
    (row,) = rows.read(f"select *, content::text as words from relay.{table}")
    return row


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/Los_Angeles"])
def test_a_month_is_that_of_utc_whatever_the_session_says(database_url: str, rows: Rows, zone: str) -> None:
    engine = create_engine(database_url, poolclass=NullPool, connect_args={"options": f"-c timezone={zone}"})
    for moment in (
        "2026-01-31 23:59:59.999999+00",
        "2026-02-01 00:00+00",
        "2025-12-31 20:00-05",
        "2025-12-31 23:00+00",
    ):
        finished(rows, moment)
    with engine.begin() as connection:
        connection.execute(text("set local datestyle = 'sql, dmy'"))  # which would read 02/01 as the second of January
        batch = text("select messages from relay.archive_messages(now(), 9, false, 'a', 'r', 0)")
        assert [connection.execute(batch).scalar_one() for _ in ("the months", "the messages")] == [0, 4]
    found = rows.read(
        "select id, cast(cast(tableoid as regclass) as text) as part from relay.outbox_archive order by id"
    )
    assert [(row.id, row.part) for row in found] == [
        (1, "relay.outbox_archive_y2026m01"),
        (2, "relay.outbox_archive_y2026m02"),
        (3, "relay.outbox_archive_y2026m01"),
        (4, "relay.outbox_archive_y2025m12"),
    ]
    assert [(month.month, month.messages) for month in months(engine)] == [
        ("2025-12", 1),
        ("2026-01", 2),
        ("2026-02", 1),
    ]


def test_what_is_told_of_a_month(rows: Rows, engine: Engine) -> None:
    assert months(engine) == []
    contents = [f'{{"n": {n}}}' for n in range(25)]
    for content in contents:
        finished(rows, "2026-01-15 12:00+00", content)
    rows.run("insert into relay.attempt values (3, 1, 0, 'unknown', null, null, '2026-01-15 12:00+00')")
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "values ('a', 'w', '{3}', now(), '2026-01-15 12:00+00', 'unknown')"
    )
    move(engine)
    (month,) = months(engine)
    salts = [bytes(row[0]) for row in rows.read("select content_salt from relay.outbox_archive order by id")]
    pairs = zip(salts, contents, strict=True)
    hashes = b"".join(hashlib.sha256(salt + content.encode()).digest() for salt, content in pairs)
    assert month == Month("2026-01", 25, 1, 1, 1, 25, month.bytes, hashlib.sha256(hashes).hexdigest())
    assert month.bytes > 8192
    in_sql = (
        "select encode(sha256(string_agg(content_sha256, '' order by id)), 'hex') from relay.outbox_archive "
        "where finished_at >= '2026-01-01 00:00+00' and finished_at < '2026-02-01 00:00+00'"
    )
    assert rows.one(in_sql) == month.hashes_sha256


def test_the_hash_of_a_month_goes_on_over_pages_and_a_redaction(
    rows: Rows, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(7):
        finished(rows, "2026-01-15 12:00+00", f'{{"n": {n}}}')
    move(engine)
    (before,) = months(engine)
    with engine.begin() as connection:
        assert actions.redact(connection, [2], ORDER).changed == (2,)
    monkeypatch.setattr(archive, "_TOGETHER", 2)
    assert [month.hashes_sha256 for month in months(engine)] == [before.hashes_sha256]


def test_a_dropped_month_is_gone_whole_and_the_ledger_says_what_it_was(rows: Rows, engine: Engine) -> None:
    january, february = finished(rows, "2026-01-15 12:00+00"), finished(rows, "2026-02-15 12:00+00")
    for call, named in ((1, [january]), (2, [january, february])):
        rows.run(
            "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
            "values ('a', 'w', :ids, now(), '2026-01-15 12:00+00', 'unknown')",
            ids=named,
        )
        for id_ in named:
            rows.run("insert into relay.attempt values (:id, :call, 0, 'unknown')", id=id_, call=call)
    move(engine)
    first, second = months(engine)
    of_february = "select * from relay.audit_delivery where message_id = :id"
    kept = rows.read(of_february, id=february)
    assert drop(engine, "2026-01") == first
    assert months(engine) == [second]
    assert (first.messages, first.attempts, first.calls, second.calls) == (1, 2, 1, 1)
    assert rows.read(of_february, id=february) == kept, "its evidence stays, though the call was made in January"
    assert len(kept) == 1
    assert rows.read("select id from relay.audit_message") == [(february,)]
    (entry,) = rows.read("select *, count as number from relay.action where action = 'drop'")
    assert (entry.actor, entry.reason, entry.number) == ("ann", "the law allows it", 1)
    assert entry.selection["hashes_sha256"] == first.hashes_sha256
    assert (entry.selection["month"], entry.selection["first_id"], entry.selection["last_id"]) == ("2026-01", 1, 1)


def test_a_month_is_not_dropped_before_an_older_one_whose_calls_it_has(rows: Rows, engine: Engine) -> None:
    august, september = finished(rows, "2026-08-31 09:00+00"), finished(rows, "2026-09-01 09:00+00")
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome, request_id) "
        "values ('a', 'w', :ids, now(), '2026-08-31 09:00+00', 'partial', 'r')",
        ids=[august, september],
    )
    for id_ in (august, september):
        rows.run("insert into relay.attempt values (:id, 1, 0, 'failed')", id=id_)
    move(engine)
    of_august = "select * from relay.audit_delivery where message_id = :id"
    evidence = rows.read(of_august, id=august)
    assert (len(evidence), [month.calls for month in months(engine)]) == (1, [0, 1])
    with pytest.raises(RelayError, match="2026-09 is not the oldest month") as refused:
        drop(engine, "2026-09")
    assert "Drop 2026-08 first" in (refused.value.hint or "")
    assert rows.read(of_august, id=august) == evidence
    assert rows.one("select count(*) from relay.action where action = 'drop'") == 0
    assert [drop(engine, month).month for month in ("2026-08", "2026-9")] == ["2026-08", "2026-09"]


def test_what_stays_in_the_outbox_has_its_calls_there(rows: Rows, engine: Engine) -> None:
    """Why the oldest month can go although messages older than it are not archived."""
    august, september = finished(rows, "2026-08-31 09:00+00", key="k"), finished(rows, "2026-09-01 09:00+00")
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "values ('a', 'w', :ids, now(), '2026-09-01 09:00+00', 'partial')",
        ids=[august, september],
    )
    rows.run("insert into relay.attempt values (:id, 1, 0, 'failed')", id=august)
    list(archive.archive(engine.begin, timedelta(0), actor="a", reason="r", failed_holds=True))
    of_august = "select * from relay.audit_delivery where message_id = :id"
    evidence = rows.read(of_august, id=august)
    assert drop(engine, "2026-09").messages == 1
    assert (rows.read(of_august, id=august), len(evidence)) == (evidence, 1)


def test_a_month_that_is_not_over_or_not_there_is_not_dropped(rows: Rows, engine: Engine) -> None:
    this_month = rows.one("select to_char(now() at time zone 'UTC', 'YYYY-MM')")
    finished(rows, "now")
    move(engine)
    with pytest.raises(RelayError, match=f"{this_month} is not over"):
        drop(engine, this_month)
    with pytest.raises(RelayError, match="nothing of 2020-01 in the archive"):
        drop(engine, "2020-01")
    assert len(months(engine)) == 1


def test_a_month_is_not_dropped_while_somebody_archives_or_reads_it(rows: Rows, engine: Engine) -> None:
    finished(rows, "2026-01-15 12:00+00")
    move(engine)
    with engine.begin() as archiver:
        archiver.execute(text("select * from relay.archive_messages(now(), 1, false, 'a', 'r', 0)"))
        with pytest.raises(RelayError, match=r"^process .* is archiving; nothing was dropped"):
            drop(engine, "2026-01")
    with engine.begin() as auditor:
        auditor.execute(text("select * from relay.audit_message")).all()
        with pytest.raises(InTheWay, match=r"^process \d+, role .* is using the relay's tables; nothing was changed\n"):
            drop(engine, "2026-01")
    assert rows.one("select count(*) from relay.action where action = 'drop'") == 0
    assert drop(engine, "2026-01").messages == 1


def test_an_archived_content_can_be_shown_revealed_and_removed(rows: Rows, engine: Engine) -> None:
    content = '{"buyer": "ann"}'
    id_ = finished(rows, "2026-01-15 12:00+00", content)
    rows.run("insert into relay.attempt values (:id, 1, 0, 'retry')", id=id_)
    rows.run(
        "insert into relay.call (account, worker, message_ids, lease_until, settled_at, outcome) "
        "values ('a', 'w', '{1}', now(), now(), 'partial')"
    )
    with engine.connect() as connection:
        hot = reports.message(connection, id_)
    move(engine)
    with engine.begin() as connection:
        report = reports.message(connection, id_)
        assert hot is not None
        assert report is not None
        assert (hot.archived, report.archived) == (False, True)
        assert (report.history, report.calls, report.content_sha256) == (hot.history, hot.calls, hot.content_sha256)
        assert len(report.history) == len(report.calls) == 1
        texts = actions.reveal(connection, id_, ORDER)
        assert texts == actions.Texts(content, None, "{}", "no", {report.calls[0].id: None}, {})
        assert actions.preview(connection, "redact", [id_]).changing == (id_,)
        assert actions.redact(connection, [id_], ORDER).changed == (id_,)
        again = actions.redact(connection, [id_], ORDER)
        assert again.skipped == {id_: "its content was removed already"}
    row = changed(rows)
    assert (row.words, row.headers, row.error_message) == (actions.TOMBSTONE, None, "no")
    (integrity,) = rows.read("select * from relay.audit_integrity")
    assert (integrity.redacted, integrity.intact) == (True, True)
    found = "select selection -> 'salted_sha256' -> '1' ->> 'content' from relay.action where action = 'redact'"
    assert rows.one(found) == hot.content_sha256 == integrity.content_sha256


def test_a_redaction_finds_what_is_just_being_archived(rows: Rows, engine: Engine) -> None:
    id_ = finished(rows, "2026-01-15 12:00+00")
    rows.run("select relay.open_archive('2026-01-01')")

    def redact() -> actions.Changed:
        with engine.begin() as connection:
            return actions.redact(connection, [id_], ORDER)

    waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'lock_messages'"
    with ThreadPoolExecutor(1) as pool, engine.begin() as archiver:
        archiver.execute(text("select * from relay.archive_messages(now(), 9, false, 'a', 'r', 0)"))
        redacted = pool.submit(redact)
        eventually(lambda: rows.read(waiting))
        archiver.commit()
        assert redacted.result(10).changed == (id_,)
    assert changed(rows).words == actions.TOMBSTONE


def test_an_archived_content_that_a_superuser_changed_is_not_intact(
    rows: Rows, engine: Engine, superuser: Engine
) -> None:
    finished(rows, "2026-01-15 12:00+00")
    move(engine)
    with superuser.begin() as connection:
        connection.execute(text("set local session_replication_role = 'replica'"))
        connection.execute(text("update relay.outbox_archive set content = '{\"n\": 2}'"))
    assert rows.one("select intact from relay.audit_integrity") is False


def test_what_is_archived_is_neither_sent_again_nor_discarded(rows: Rows, engine: Engine) -> None:
    id_ = finished(rows, "2026-01-15 12:00+00")
    move(engine)
    with engine.begin() as connection:
        retried = actions.retry(connection, [id_], ORDER)
        discarded = actions.discard(connection, [id_], ORDER)
        by_function = connection.execute(text("select relay.retry(array[cast(:id as bigint)], 'r')"), {"id": id_})
        assert by_function.scalar_one() == []
    assert retried.skipped == {id_: "it is archived, and what is archived is not sent; insert it as a new message"}
    assert discarded.skipped == {id_: "it is archived: it failed, and stays as it is"}
    assert changed(rows).status == "failed"


@pytest.fixture
def worker(roles: Roles) -> Iterator[Engine]:
    made = create_engine(roles.url("worker"), poolclass=NullPool)
    yield made
    made.dispose()


def test_a_worker_archives_and_the_owner_owns_what_that_makes(
    roles: Roles, rows: Rows, engine: Engine, worker: Engine
) -> None:
    finished(rows, "2026-01-15 12:00+00")
    move(worker, timedelta(days=1))
    owners = "select distinct cast(relowner as regrole)::text from pg_class where relname ~ '_archive_y2026m01$'"
    assert rows.one(owners) == roles.names.owner
    for statement in ("select * from relay.outbox_archive", "select * from relay.outbox_archive_y2026m01"):
        with worker.connect() as connection, pytest.raises(DBAPIError, match="permission denied"):
            connection.execute(text(statement))
    auditor = roles.url("auditor").replace("+psycopg", "")
    with psycopg.connect(auditor) as login:
        assert login.execute("select id, status from relay.audit_message").fetchall() == [(1, "failed")]
    assert rows.one("select db_user from relay.action") == roles.login("worker")


def test_the_script_for_roles_takes_months_along(roles: Roles, rows: Rows, engine: Engine) -> None:
    finished(rows, "2026-01-15 12:00+00")
    rows.run(f"alter function relay.archive_messages owner to {engine.url.username or 'postgres'}")
    rows.run("select relay.open_archive('2026-01-01')")
    rows.run(f"grant select on relay.outbox_archive_y2026m01 to public, {roles.names.app}")
    roles.run_script()
    state = "select cast(relowner as regrole)::text as owner, relacl::text as acl from pg_class where relname = :name"
    ((owner, acl),) = rows.read(state, name="outbox_archive_y2026m01")
    assert owner == roles.names.owner
    assert roles.names.app not in acl
    owners = create_engine(roles.url("owner"), poolclass=NullPool)
    move(owners)
    assert drop(owners, "2026-01").messages == 1


def test_the_revision_is_not_taken_back_while_the_archive_holds_rows(
    rows: Rows, engine: Engine, database_url: str, alembic: Alembic
) -> None:
    finished(rows, "2026-01-15 12:00+00")
    move(engine)
    assert alembic("check", url=database_url).returncode == 0, "months are none of Alembic's business"
    refused = alembic("downgrade", "0005", url=database_url)
    assert refused.returncode != 0
    assert "the archive holds rows" in refused.report()
    assert rows.one("select count(*) from relay.audit_message") == 1
    drop(engine, "2026-01")
    taken_back = alembic("downgrade", "0005", url=database_url)
    assert taken_back.returncode == 0, taken_back.report()
    assert relay.migrate(database_url)[0] == "0006"


def test_listing_reads_each_month_once_however_much_is_in_it(
    rows: Rows, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found page by page, a month of two million was read two hundred times."""
    monkeypatch.setattr(archive, "_TOGETHER", 5)
    counted = []
    for contents in (range(3), range(3, 100)):
        for n in contents:
            finished(rows, "2026-01-01 00:00+00", f'{{"n": {n}}}')
        move(engine)
        with counting(engine) as statements:
            (month,) = months(engine)
        counted.append(len(statements))
        kept = rows.read("select content_sha256 from relay.outbox_archive order by id")
        hashes = hashlib.sha256(b"".join(bytes(row[0]) for row in kept))
        assert (month.messages, month.hashes_sha256) == (contents.stop, hashes.hexdigest())
    assert counted[0] == counted[1]
    read = "explain (analyze, format json) " + sql.HASHES.replace("{schema}", "relay")
    with engine.connect() as connection:
        plan = connection.execute(text(read), archive.bounds("2026-01") | {"together": 5}).scalar_one()[0]["Plan"]
    scans = [node for node in nodes(plan) if "Relation Name" in node]
    assert [(scan["Actual Rows"], scan["Actual Loops"]) for scan in scans] == [(100, 1)]


@contextmanager
def counting(engine: Engine) -> Iterator[list[str]]:
    """The statements that are run inside."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)
