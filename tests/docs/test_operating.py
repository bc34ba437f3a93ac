"""docs/operating.md: each trouble is made, its commands are run as they stand, and afterwards it is gone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, text

from relay.cli.verbs import relay
from relay.revisions import HEAD, current_revision
from tests.docs.markdown import ROOT, blocks

PAGE = ROOT / "docs" / "operating.md"
CONTINUED = "\\\n"

FAILED = {"status": "'failed'", "finished_at": "now()", "error_code": "'isv.topic-not-authorised'"}
DONE = {"status": "'done'", "finished_at": "now()", "call_id": "1", "result_index": "0"}
HELD = {"available_at": "'infinity'", "error_code": "'relay.timeout'"}


@pytest.fixture
def db(engine: Engine) -> Iterator[Connection]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def insert(db: Connection, number: int, **columns: str) -> None:
    """A message with this id."""
    db.execute(text("select setval('relay.outbox_id_seq', :before)"), {"before": number - 1})
    values = {"id": str(number), "topic": "'t'", "content": "'{\"n\": 1}'"} | columns
    names, expressions = ", ".join(values), ", ".join(values.values())
    db.execute(text(f"insert into relay.outbox ({names}) overriding system value values ({expressions})"))


def state(db: Connection, number: int) -> tuple[str, str | None, bool]:
    """Status, error code, and whether it is due."""
    asked = "select status, error_code, available_at <= now() from relay.outbox where id = :id"
    status, code, due = db.execute(text(asked), {"id": number}).one()
    return status, code, due


def pauses(db: Connection) -> list[str]:
    return list(db.execute(text("select scope from relay.pause order by scope")).scalars())


def open_call(db: Connection, lease: str) -> None:
    db.execute(
        text(
            "insert into relay.call (account, worker, message_ids, lease_until) "
            f"values ('default', 'w1', '{{17}}', now() + interval '{lease}')"
        )
    )


def paused(db: Connection, scope: str, code: str) -> None:
    db.execute(
        text(
            "insert into relay.pause (scope, reason, error_code, credential, by) values (:scope, 'r', :code, 'f', 'w1')"
        ),
        {"scope": scope, "code": code},
    )


def backlog(db: Connection) -> None:
    for number in range(17, 30):
        insert(db, number)


def one_pause(db: Connection) -> None:
    paused(db, "account:shop-7", "27")


def app_pause(db: Connection) -> None:
    paused(db, "app:12345678", "25")


def due_and_an_app_pause(db: Connection) -> None:
    insert(db, 17)
    app_pause(db)


def two_failed(db: Connection) -> None:
    insert(db, 17, **FAILED)
    insert(db, 18, **FAILED)


def exhausted(db: Connection) -> None:
    for number in (17, 18, 19):
        insert(db, number, **FAILED | {"error_code": "'relay.attempts_exhausted'"})


def two_held(db: Connection) -> None:
    insert(db, 17, **HELD)
    insert(db, 18, **HELD)
    db.execute(
        text(
            "insert into relay.attempt (message_id, call_id, result_index, outcome) "
            "values (17, 1, 0, 'unknown'), (18, 1, 1, 'unknown')"
        )
    )


def lapsed(db: Connection) -> None:
    insert(db, 17)
    open_call(db, "-1 minute")


def blocked_key(db: Connection) -> None:
    insert(db, 17, **HELD | {"ordering_key": "'k'"})
    insert(db, 18, ordering_key="'k'")


def in_flight(db: Connection) -> None:
    insert(db, 17)
    open_call(db, "1 minute")


def old_and_new(db: Connection) -> None:
    for number, days in ((17, 200), (18, 100)):
        moment = f"now() - interval '{days} days'"
        insert(db, number, **DONE | {"created_at": moment, "finished_at": moment})


def archived_and_old(db: Connection) -> None:
    """As ``old_and_new``, and a message in the archive that finished in January 2025."""
    insert(db, 16, **DONE | {"created_at": "'2025-01-15'", "finished_at": "'2025-01-15'"})
    db.execute(text("select relay.open_archive('2025-01-01')"))
    with db.engine.begin() as connection:
        connection.execute(text("set local relay.pruning = 'on'"))
        gone = "with gone as (delete from relay.outbox returning *)"
        connection.execute(text(f"{gone} insert into relay.outbox_archive select * from gone"))
    old_and_new(db)


def one_done(db: Connection) -> None:
    insert(db, 17, **DONE)


def left(db: Connection, table: str = "outbox") -> list[int]:
    return list(db.execute(text(f"select id from relay.{table} order by id")).scalars())


def content(db: Connection, number: int) -> str:
    return str(db.execute(text("select content::text from relay.outbox where id = :id"), {"id": number}).scalar_one())


RETRIED = ("pending", "isv.topic-not-authorised", True)
CLOSED = ("failed", "relay.discarded")
TROUBLES: dict[str, tuple[Callable[[Connection], None], Callable[[Connection], bool]]] = {
    "The backlog grows": (backlog, lambda db: len(left(db)) == 13),
    "Nothing of one account moves": (one_pause, lambda db: pauses(db) == ["account:shop-7"]),
    "An app key is paused": (due_and_an_app_pause, lambda db: pauses(db) == []),
    "The secret is wrong": (app_pause, lambda db: pauses(db) == ["app:12345678"]),
    "One message failed": (two_failed, lambda db: state(db, 17) == RETRIED and state(db, 18)[:2] == CLOSED),
    "The platform was down": (
        exhausted,
        lambda db: state(db, 17)[2] and [state(db, number)[0] for number in (17, 18, 19)] == ["pending"] * 3,
    ),
    "Messages are held": (two_held, lambda db: state(db, 17)[2] and state(db, 18)[:2] == CLOSED),
    "Installing and upgrading without a superuser": (
        lambda db: db.execute(text("drop schema relay cascade")) and None,
        lambda db: current_revision(db, "relay") == HEAD,
    ),
    "A worker died": (lapsed, lambda db: state(db, 17)[0] == "pending"),
    "One ordering key stands still": (blocked_key, lambda db: state(db, 17)[:2] == CLOSED and state(db, 18)[2]),
    "PostgreSQL was restarted": (in_flight, lambda db: state(db, 17)[0] == "pending"),
    "The tables grow": (old_and_new, lambda db: (left(db), left(db, "outbox_archive")) == ([], [17, 18])),
    "The disk fills up": (archived_and_old, lambda db: (left(db), left(db, "outbox_archive")) == ([18], [])),
    "A content has to go": (one_done, lambda db: content(db, 17) == '{"redacted": true}'),
}
HARMLESS = {"status", "list", "show", "migrate"}


def sections() -> dict[str, list[str]]:
    """Heading -> the commands in its blocks, in order."""
    text_ = PAGE.read_text(encoding="utf-8")
    starts = {text_.count("\n", 0, match.start()) + 1: match[1] for match in re.finditer(r"^## (.+)$", text_, re.M)}
    found: dict[str, list[str]] = {heading: [] for heading in starts.values()}
    for block in blocks(PAGE):
        heading = starts[max(line for line in starts if line < block.line)]
        if block.language == "sh":
            found[heading] += block.text.replace(CONTINUED, "").strip().splitlines()
    return {heading: commands for heading, commands in found.items() if commands}


def test_every_trouble_is_made_here() -> None:
    assert set(sections()) == set(TROUBLES)


def test_every_row_of_the_first_table_leads_to_its_section() -> None:
    linked = re.findall(r"\]\(#([a-z-]+)\)", PAGE.read_text(encoding="utf-8"))
    assert set(linked) == {heading.lower().replace(" ", "-") for heading in TROUBLES}


@pytest.mark.parametrize("heading", TROUBLES)
def test_the_commands_mend_it(
    heading: str, db: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, mended = TROUBLES[heading]
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    make(db)
    acted = 0
    for command in sections()[heading]:
        program, *arguments = shlex.split(command)
        result = CliRunner().invoke(relay, arguments)
        assert (program, result.exit_code) == ("relay", 0), f"{command}\n{result.output}"
        acted += arguments[0] not in HARMLESS and not {"--dry-run", "--list"} & set(arguments)
    assert mended(db)
    recorded = db.execute(text("select count(*) from relay.action")).scalar_one()
    assert recorded == acted, "each command that acts leaves one row in the ledger"
