"""Whoever leaves a transaction open with a lock that a verb needs keeps it from acting for a while, and is named."""

from __future__ import annotations

import json
import pkgutil
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, create_engine, make_url

from relay import acting
from relay.checks import examination
from relay.cli.verbs import VERBS, relay
from relay.errors import RelayError
from relay.holders import InTheWay
from relay.operators import actions, retention
from relay.operators.ledger import Order
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

Relay = Callable[..., Result]
ROOT = Path(__file__).parents[2]
SHORT_SECONDS = 0.3
FOR_EVER_SECONDS = 20.0
WHY = ("--reason", "r")
# Verbs that write into the tables, as they are called here, and what they say that they did not do.
ACTS = {
    "add": (("add", "t", "{}", "--dedupe-key", "k"), "relay add did nothing"),
    "show": (("show", "1", "--reveal", *WHY), "no content is shown"),
    "retry": (("retry", "1", *WHY), "no message is retried"),
    "discard": (("discard", "1", *WHY), "no message is discarded"),
    "redact": (("redact", "1", *WHY), "no message is redacted"),
    "pause": (("pause", "--account", "b", *WHY), "account:b is not paused by this"),
    "resume": (("resume", "--account", "b", *WHY), "account:b is not resumed"),
    "prune": (("prune", "--older-than", "0s"), "nothing is pruned"),
    "archive": (("archive", "--older-than", "0s"), "nothing is archived"),
}
# They wait in ways of their own, each with a test of its own, or write into no table of the relay's.
APART = {
    *("migrate", "run", "demo", "sandbox", "dashboard", "check", "config", "explain", "roles", "topics", "version")
}
# Of these it is enough that they read in bounded time.
READS = {"status": ("status",), "list": ("list",), "export": ("export", "evidence")}
OTHERWISE = (
    ("show", "1"),
    ("migrate", "--check"),
    ("archive", "--list"),
    ("archive", "--older-than", "0s", "--dry-run"),
    ("archive", "--drop", "2026-01", "--dry-run"),
    ("prune", "--older-than", "0s", "--dry-run"),
    *((verb, "1", "--dry-run") for verb in ("retry", "discard", "redact")),
    *((verb, "--account", "b", "--dry-run") for verb in ("pause", "resume")),
    ("resume", "--error", "25", "--dry-run"),
)
ROWS = {
    **dict.fromkeys(("retry", "discard", "redact"), "select id from relay.outbox for update"),
    **dict.fromkeys(("pause", "resume"), "select scope from relay.pause for update"),
    "add": "insert into relay.outbox (topic, content, dedupe_key) values ('t', '{}', 'k')",
}
EVERYTHING = """
do $$ begin
    execute (select format('lock table %s in access exclusive mode', string_agg('relay.' || relname, ', '))
             from pg_class where relnamespace = cast('relay' as regnamespace) and relkind in ('r', 'p'));
end $$
"""
FAILED = """
insert into relay.outbox (topic, content, status, error_code, finished_at)
values ('t', '{}', 'failed', 'isp.down', '2026-01-15')
"""
CALL = """
insert into relay.call (account, worker, message_ids, claimed_at, lease_until, settled_at, outcome)
values ('default', 'w', '{99}', '2026-01-15', '2026-01-15', '2026-01-15', 'released')
"""


def test_each_verb_is_here() -> None:
    """To add one that writes, add it to ACTS, and let it act through ``actions`` or ``acting``."""
    missing = set(VERBS) ^ (set(ACTS) | set(READS) | APART)
    assert not missing, f"{missing}: to ACTS if it writes, to READS if it reads tables, else to APART with a test"
    for name, (where, _) in VERBS.items():
        if any(parameter.name == "reason" for parameter in pkgutil.resolve_name(where).params):
            assert name in ACTS, f"relay {name} asks for a reason, so it acts: to ACTS"


def test_the_page_says_which_verbs_wait_for_how_long() -> None:
    page = " ".join((ROOT / "docs" / "commands.md").read_text(encoding="utf-8").split())
    told = re.search(r"A command that acts \((.*?)\) or shows what is in the tables \((.*?)\) waits", page)
    assert told, "the opening of docs/commands.md names the verbs that act, and those that show"
    acting, showing = (set(re.findall(r"`([a-z-]+)", part)) for part in told.groups())
    remedy = "name each verb of ACTS, and of READS with show, in the opening of docs/commands.md"
    assert (acting, showing) == (set(ACTS), {*READS, "show"}), remedy


@pytest.fixture
def rows(engine: Engine) -> Rows:
    rows = Rows(engine)
    rows.run(FAILED)
    rows.run(CALL)
    rows.run(r"insert into relay.pause (scope, reason, by) values ('account\:b', 'r', 'w')")
    return rows


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    """Run a verb that cannot have a lock: it ends soon, and not because the lock was let go."""
    monkeypatch.setattr(acting, "LOCK_SECONDS", SHORT_SECONDS)
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        began = time.monotonic()
        result = CliRunner().invoke(relay, arguments)
        assert time.monotonic() - began < FOR_EVER_SECONDS / 2, "it waited until the lock was let go"
        assert result.exit_code == 1, result.output
        assert result.stdout == ""
        return result

    return run


@contextmanager
def holding(url: str, statement: str) -> Iterator[psycopg.Connection]:
    """A transaction that locks something and then does nothing. It ends after a while, so that no test hangs."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, application_name="forgotten") as connection:
        connection.execute(statement.encode())
        timer = threading.Timer(FOR_EVER_SECONDS, connection.close)
        timer.start()
        try:
            yield connection
        finally:
            timer.cancel()
            connection.close()


def contents(rows: Rows) -> list[object]:
    tables = ("outbox", "call", "attempt", "pause", "action", "outbox_archive")
    return [rows.read(f"select * from relay.{table} order by 1") for table in tables]


@pytest.mark.parametrize("verb", [verb for verb in ACTS if verb != "add"])
def test_a_locked_ledger(rows: Rows, run: Relay, database_url: str, verb: str) -> None:
    """Nothing that people do goes unrecorded, so all of them need this one."""
    arguments, undone = ACTS[verb]
    before = contents(rows)
    with holding(database_url, "lock table relay.action in exclusive mode") as holder:
        said = run(*arguments).stderr
        assert f"error: process {holder.info.backend_pid}, role {holder.info.user}, application forgotten, " in said
        assert ", idle in transaction, in a transaction for " in said
        assert f"; {undone}, nothing was changed\n" in said
        assert f"end it: select pg_terminate_backend({holder.info.backend_pid}), as {holder.info.user} or " in said
    assert contents(rows) == before


@pytest.mark.parametrize("verb", ROWS)
@only_where_nothing_is_set("the tests' logins see every session")
def test_rows_locked_by_somebody_whose_sessions_are_hidden_from_us(
    rows: Rows, run: Relay, roles: Roles, verb: str
) -> None:
    """The owner is no superuser: of another role's session it sees whose it is, and no more."""
    arguments, undone = ACTS[verb]
    before = contents(rows)
    part = "app" if verb == "add" else "worker"
    with (
        holding(roles.url("auditor"), "select count(*) from relay.audit_message"),  # keeps nobody waiting
        holding(roles.url(part), ROWS[verb]) as holder,
    ):
        said = run(*arguments).stderr
        pid, role = holder.info.backend_pid, holder.info.user
        assert f"error: process {pid}, role {role}, application forgotten, since when and with what " in said
        assert f"is using the relay's tables; {undone}, nothing was changed\n" in said
        assert f"select pg_terminate_backend({pid}), as {role} or a member of pg_signal_backend" in said
    assert contents(rows) == before


def test_everything_locked(rows: Rows, run: Relay, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``vacuum full`` or a migration that somebody forgot to commit does it. Also what a verb only reads waits."""
    monkeypatch.setattr(acting, "LOCK_SECONDS", 0.05)
    with holding(database_url, EVERYTHING) as holder:
        who = f"error: process {holder.info.backend_pid}, role {holder.info.user}, application forgotten, idle in"
        for arguments in (*(act for act, _ in ACTS.values()), *READS.values(), *OTHERWISE):
            said = run(*arguments).stderr
            assert who in said, arguments
            assert ", nothing was changed\n" in said, arguments
    assert not any(Path("evidence").glob("*.jsonl*"))


def test_a_check_names_who_has_locked_everything_and_does_not_wait_anew_for_each_fact(
    rows: Rows, database_url: str, run: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "LOCK_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(examination, "_ONCE_MORE_SECONDS", 0.01)
    with holding(database_url, EVERYTHING) as holder:
        pid, role, began = holder.info.backend_pid, holder.info.user, time.monotonic()
        looked = json.loads(CliRunner().invoke(relay, ["check", "--no-platform", "--json"]).stdout)["facts"]
        assert time.monotonic() - began < FOR_EVER_SECONDS / 2, "it waited until the lock was let go"
    (found,) = (found for found in looked if found["name"] == "revision")
    assert found["sentence"].startswith(f"cannot be looked at: process {pid}, role ")
    assert f"select pg_terminate_backend({pid}), as {role} or " in found["hint"]


def test_who_archives_and_does_not_end_is_named(rows: Rows, run: Relay, roles: Roles) -> None:
    """Any login that may archive can keep everybody else from it."""
    archives = "select relay.archive_messages(now() - interval '2 days', 1, false, 'a', 'r', 0)"
    CliRunner().invoke(relay, ["archive", "--older-than", "0s"])
    with holding(roles.url("worker"), archives) as holder:
        who = f"process {holder.info.backend_pid}, role {holder.info.user}, application forgotten, "
        said = CliRunner().invoke(relay, ["archive", "--older-than", "0s"]).stderr
        assert f"another archiver is at work ({who}" in said
        said = run("archive", "--drop", "2026-01", "--yes", *WHY).stderr
        assert f"error: {who}" in said
        assert ", is archiving; nothing was dropped\n" in said
        assert f"select pg_terminate_backend({holder.info.backend_pid}), as {holder.info.user} or " in said


def test_a_call_that_would_be_pruned(rows: Rows, run: Relay, roles: Roles) -> None:
    """The messages were, in batches before that."""
    with holding(roles.url("worker"), "select id from relay.call for update") as holder:
        said = run("prune", "--older-than", "0s").stderr
        assert f"process {holder.info.backend_pid}, role {holder.info.user}, " in said
        assert "; no more is pruned, nothing was changed since the last batch, which is in the ledger\n" in said
    assert rows.counts() == {}
    assert rows.one("select count(*) from relay.action") == 1


def test_a_month_of_the_archive(rows: Rows, run: Relay, database_url: str) -> None:
    CliRunner().invoke(relay, ["archive", "--older-than", "0s"])
    with holding(database_url, "lock table relay.action in exclusive mode"):
        said = run("archive", "--drop", "2026-01", "--yes", *WHY).stderr
        assert "; 2026-01 is not dropped, nothing was changed\n" in said
    assert rows.one("select count(*) from relay.outbox_archive") == 1


def test_a_lock_of_an_ordering_key_is_told_by_who_has_it(rows: Rows, run: Relay, roles: Roles) -> None:
    """The function that waits for it says so itself: a session that holds it has no lock of a table."""
    lock = (
        "select pg_advisory_lock(cast(cast('relay.outbox' as regclass) as integer), n) from generate_series(0, 255) n"
    )
    with rows.engine.connect() as owner:
        owner.exec_driver_sql(lock)
        pid = owner.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        said = run("add", "t", "{}", "--ordering-key", "k").stderr
        assert f"somebody holds the lock of this ordering key: process {pid}" in said
        assert "prepared" not in said, "it is an ordinary session"
        assert "; relay add did nothing, nothing was changed\nhint: " in said
        assert "select pg_terminate_backend(PID)" in said


@pytest.mark.parametrize(
    "limits",
    ["statement_timeout = 600", "statement_timeout = 600; set lock_timeout = '3s'", "transaction_timeout = 600"],
)
def test_an_application_that_waits_less_long_hears_who_has_its_key_too(rows: Rows, roles: Roles, limits: str) -> None:
    """A statement_timeout of the role would end the insert without a name, if the wait were longer."""
    lock = "select pg_advisory_lock(cast('relay.outbox' as regclass)::oid::integer, n) from generate_series(0, 255) n"
    url = make_url(roles.url("app")).set(drivername="postgresql").render_as_string(hide_password=False)
    with rows.engine.connect() as owner, psycopg.connect(url) as application:
        owner.exec_driver_sql(lock)
        pid = owner.connection.dbapi_connection.info.backend_pid  # type: ignore[union-attr]
        if limits.startswith("transaction") and application.info.server_version < 170000:
            pytest.skip("this server knows no transaction_timeout")
        application.execute(f"set {limits}".encode())
        before = application.execute("show lock_timeout").fetchone()
        application.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable, match=f"lock of this ordering key: process {pid}, role "):
            application.execute("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
        application.rollback()
        assert application.execute("show lock_timeout").fetchone() == before
        application.execute("reset statement_timeout")
        owner.exec_driver_sql("select pg_advisory_unlock_all()")
        application.execute("insert into relay.outbox (topic, content, ordering_key) values ('t', '{}', 'k')")
        assert application.execute("show lock_timeout").fetchone() == before


def test_what_batches_before_did_is_not_denied(rows: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acting, "LOCK_SECONDS", SHORT_SECONDS)
    rows.run(FAILED)
    pruned = retention.prune(rows.engine, timedelta(0), Order("a", "r", {}), batch=1)
    assert next(pruned).messages == 1
    with (
        holding(database_url, "lock table relay.action in exclusive mode"),
        pytest.raises(InTheWay, match="; no more is pruned, nothing was changed since the last batch, which is in the"),
    ):
        next(pruned)
    assert rows.counts() == {"failed": 1}


def test_the_caller_of_a_door_goes_on_in_its_transaction_with_its_own_limit(
    rows: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "LOCK_SECONDS", SHORT_SECONDS)
    order = Order("a", "r", {})
    with rows.engine.begin() as connection:
        connection.exec_driver_sql("set local lock_timeout = '77s'")
        with holding(database_url, ROWS["pause"]), pytest.raises(InTheWay):
            actions.resume(connection, "account:b", order)
        assert connection.exec_driver_sql("show lock_timeout").scalar_one() == "77s"
        assert actions.resume(connection, "account:b", order)
        assert connection.exec_driver_sql("show lock_timeout").scalar_one() == "77s"


def test_a_caller_whose_statements_may_take_less_long_hears_who_it_was_too(rows: Rows, database_url: str) -> None:
    with rows.engine.begin() as connection, holding(database_url, ROWS["pause"]) as holder:
        connection.exec_driver_sql("set local statement_timeout = '400ms'")
        with pytest.raises(InTheWay, match=f"^process {holder.info.backend_pid}, "):
            actions.resume(connection, "account:b", Order("a", "r", {}))


def test_in_autocommit_nobody_acts(rows: Rows) -> None:
    """A change would be committed apart from its row in the ledger, and the limit of its waiting would not hold."""
    with (
        rows.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(RelayError, match=r"^This connection is in autocommit"),
    ):
        actions.pause(connection, "account:a", Order("a", "r", {}))


@needs_pgbouncer
def test_behind_a_pooler_the_limit_reaches_nobody_else(
    rows: Rows, run: Relay, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}"  # short: it holds a socket
    monkeypatch.setattr(acting, "LOCK_SECONDS", 0.05)
    before = contents(rows)
    with pgbouncer(database_url, folder, size=1) as pooled:
        monkeypatch.setenv("RELAY_DATABASE_URL", pooled)
        for verb, statement in ROWS.items():
            with holding(database_url, statement) as holder:
                arguments, undone = ACTS[verb]
                said = run(*arguments).stderr
                assert f"error: process {holder.info.backend_pid}, " in said, verb
                assert f"; {undone}, nothing was changed\n" in said
                if WHY[0] in arguments:  # to look first takes no lock
                    dry = CliRunner().invoke(relay, [*arguments, "--dry-run"])
                    assert (dry.exit_code, "dry run: " in dry.stderr) == (0, True), dry.output
        for verb in ("archive", "prune"):
            with holding(database_url, "lock table relay.action in exclusive mode") as holder:
                assert f"error: process {holder.info.backend_pid}, " in run(*ACTS[verb][0]).stderr
        assert contents(rows) == before
        plain = create_engine(make_url(pooled).set(drivername="postgresql+psycopg"))
        with plain.connect() as connection:
            assert connection.exec_driver_sql("show lock_timeout").scalar_one() == "0"
        plain.dispose()
