"""What a server tells of its work shows nothing either: with every setting that a login may make, by every way in."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from relay.roles import VIEWS
from relay.windows import WINDOWS
from tests.fixtures.roles import Roles
from tests.fixtures.rows import Rows

PHONE, NAME = "13800138000", "zhang-san"
NESTED = {"buyer": {"name": NAME, "m": [{"n": PHONE}, [[PHONE]], int(PHONE)]}, "said": f'"{PHONE}"\n', PHONE: 1}
POINTERS = ("/buyer/name", "/items/*/deep/*/name")
ITEMS = [{"deep": [{"name": NAME}, {"name": NAME}]}, {"deep": [{"name": NAME}]}]
# Whatever makes a server tell more, if anybody may set it, and what makes it plan with the values.
TELLING = """
select name from pg_settings where context = 'user' and vartype = 'bool'
  and name ~ '^(debug_(print|pretty)|log_|trace_|plpgsql[.]print)'
"""
ACTS = (
    "select relay.find('retry', error_code => 'x')",
    "select id, why_not from relay.why_not('retry', '{1}')",
    "select relay.retry('{1}', 'r')",
    "select relay.discard('{1}', 'r')",
    "select relay.pause_scope('account:a', null, 'r')",
    "select relay.resume_scope('account:a', 'r')",
)
Session = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def rows(engine: Engine) -> Rows:
    """A message with what is to be hidden in each place there is, in the table and in the archive."""
    made = Rows(engine)
    for pointer in POINTERS:
        made.run("insert into relay.mask values ('t', :pointer)", pointer=pointer)
    for _ in range(2):
        made.run(
            "insert into relay.outbox (topic, content, status, finished_at, error_code, error_message) "
            "values ('t', cast(:content as json), 'failed', now() - interval '1 hour', 'x', :error)",
            content=json.dumps({**NESTED, "items": ITEMS}),
            error=f"no order of {PHONE}",
        )
    made.read("select relay.archive_messages(now(), 1, false, 'a', 'r', 1)")
    return made


@pytest.fixture
def telling(roles: Roles, rows: Rows) -> Iterator[tuple[Session, list[str]]]:
    yield from session(roles.url("operator"))


def session(url: str, *more: str) -> Iterator[tuple[Session, list[str]]]:
    """A login that lets the server tell all it may, and what it told."""
    told: list[str] = []
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: told.append(f"{notice.message_primary} {notice.message_detail}"))
        names = [name for (name,) in connection.execute(TELLING.encode())]
        assert {"debug_print_plan", "debug_print_parse"} <= {*names}
        for name in names:
            connection.execute(f"set {name} = on".encode())
        for statement in (*more, "set plan_cache_mode = force_custom_plan", "set client_min_messages = log"):
            connection.execute(statement.encode())
        yield connection, told


def seen(told: list[str]) -> list[str]:
    """Where something hidden is told, as it stands or as the bytes of a constant."""
    forms = [PHONE, NAME, *(" ".join(str(byte) for byte in text.encode()) for text in (PHONE, NAME))]
    return [text for text in told if any(form in text for form in forms)]


def test_no_view_and_no_function_tells_what_it_masks(telling: tuple[Session, list[str]]) -> None:
    connection, told = telling
    for view in (*VIEWS, *WINDOWS):
        found = connection.execute(f"select * from relay.{view} as v".encode()).fetchall()
        assert seen([str(found), *told]) == [], view
    for statement in ("select * from relay.latest_messages(100)", *ACTS):
        found = connection.execute(statement.encode()).fetchall()
        assert seen([str(found), *told]) == [], statement
    assert any("PLANNEDSTMT" in text for text in told), "it did tell"


def test_whoever_logs_plans_on_the_server_logs_no_content(superuser: Engine, rows: Rows) -> None:
    settings = ("load 'auto_explain'", "set auto_explain.log_min_duration = 0", "set auto_explain.log_verbose = on")
    url = superuser.url.render_as_string(hide_password=False)
    for connection, told in session(url, *settings, "set auto_explain.log_nested_statements = on"):
        connection.execute("select * from relay.audit_message; select * from relay.latest_messages(10)")
        assert any("Query Text" in text and "audit_message" in text for text in told)
        assert seen(told) == []


def test_what_is_asked_of_a_mask_alone_is_told_to_nobody(superuser: Engine, rows: Rows) -> None:
    """Each function by itself, without the settings that mask_content turns off: it has no query."""
    calls = (
        "relay.mask_value(cast(content as jsonb))",
        "relay.mask_at(cast(content as jsonb), '{items,*,deep,*,name}')",
        "relay.mask_text(cast(content as text))",
    )
    for connection, told in session(superuser.url.render_as_string(hide_password=False)):
        for call in calls:
            connection.execute(f"select {call} from relay.outbox".encode()).fetchall()
            assert seen(told) == [], call
