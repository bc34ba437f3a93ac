"""One row that strangers wrote, at every door: nothing steers a terminal, no phone number gets out, JSON is exact."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, text

from relay.cli.verbs import relay
from relay.showing import masked
from tests.fixtures.rows import Rows

PHONE, SHOWN = "13812345678", "138****5678"
STEER = "\u202e\u009b31m\x1b[2J\u2066\n\u2028error: all is lost"
SAID = f"buyer {PHONE} of zhang.san@mail.example.com has no right{STEER}"
WHY = ("--reason", "dispute 4711", "--actor", "ann")
SCOPE = f"account:a{STEER}"
Run = Callable[..., Result]

_PUT = """
alter table relay.outbox disable trigger user;
update relay.outbox set topic = :steer, account = :account, ordering_key = :steer, producer = :steer, created_by = 'x',
    status = 'failed', finished_at = now(), call_id = 1, result_index = 0, error_code = :code, error_message = :said;
alter table relay.outbox enable trigger user;
insert into relay.pause (scope, until, reason, error_code, by) values (:scope, null, :said, :code, :steer);
insert into relay.pause (scope, until, reason, error_code, by) values ('account:default', null, :said, '27', :steer)
"""
_CALLS = """
insert into relay.call (account, worker, message_ids, lease_until, sent_at, settled_at, outcome, request_id, error_code,
    sub_code, error_message)
select :account, :steer, array[1], now(), now(), now(), 'rejected', :steer, :code, :code, :said
from generate_series(1, 6);
insert into relay.attempt (message_id, call_id, result_index, outcome, error_code, error_message)
values (1, 1, 0, 'failed', :code, :said)
"""


@pytest.fixture
def rows(engine: Engine) -> Rows:
    made = Rows(engine)
    made.add()
    values = {"steer": STEER, "account": f"a{STEER}", "code": f"isv.x{STEER}", "said": SAID, "scope": SCOPE}
    for statement in (_CALLS + ";" + _PUT).split(";"):
        made.run(statement, **{name: value for name, value in values.items() if f":{name}" in statement})
    made.add()  # waits for the pause of its account
    return made


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("RELAY_DATABASE_URL", database_url)
    monkeypatch.setenv("RELAY_METRICS_PORT", "0")
    monkeypatch.setenv("RELAY_PRODUCER", "stdout")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(relay, arguments)

    return run


def steering(said: str) -> list[str]:
    return [c for c in said if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]


DOORS = [
    ["status"],
    ["list"],
    ["show", "1"],
    ["check", "--no-platform"],
    ["retry", "1", *WHY, "--dry-run"],
    ["discard", "1", *WHY, "--dry-run"],
    ["pause", "--account", f"a{STEER}", *WHY, "--dry-run"],
    ["resume", "--account", f"a{STEER}", *WHY, "--dry-run"],
    ["run", "--drain"],
    ["explain", STEER],
    ["show", STEER],
    ["retry", "1", STEER],
    ["--debug", "export", f"no\n{STEER}/such"],
]


def test_nothing_gets_out_at_any_door(run: Run, rows: Rows) -> None:
    for door in DOORS:
        for arguments in [door, [*door, "--json"]] if door[0] not in ("run", "--debug") else [door]:
            result = run(*arguments)
            told = result.stdout + result.stderr
            assert steering(told) == [], arguments
            assert PHONE not in told, arguments
            assert "zhang.san" not in told, arguments
            assert "\nerror: all is lost" not in told, arguments
    assert SHOWN in run("status").stdout
    assert SHOWN in run("check", "--no-platform").stdout
    assert SHOWN in run("run", "--drain").stderr, "the last line says why"


def test_json_is_exact_and_masked(run: Run, rows: Rows) -> None:
    found = json.loads(run("show", "1", "--json").stdout)
    shown = masked(SAID)
    assert (found["topic"], found["error_code"], found["error_message"]) == (STEER, f"isv.x{STEER}", shown)
    assert [row["error_message"] for row in [*found["history"], *found["calls"]]] == [shown, shown]
    found = json.loads(run("status", "--json").stdout)
    assert [pause["reason"] for pause in found["pauses"]] == [shown, shown]
    assert found["trouble"]["error_message"] == shown


def test_who_may_see_the_content_sees_what_was_said_of_it(run: Run, rows: Rows) -> None:
    found = json.loads(run("show", "1", "--reveal", *WHY, "--json").stdout)
    assert [row["error_message"] for row in [found, *found["history"], *found["calls"]]] == [SAID] * 3
    told = run("show", "1", "--reveal", *WHY).stdout
    assert told.count(PHONE) == 3
    assert steering(told) == []
    acts = rows.read("select action, message_ids from relay.action where action = 'reveal'")
    assert [tuple(act) for act in acts] == [("reveal", [1])] * 2


def test_no_view_and_no_export_has_it(run: Run, rows: Rows) -> None:
    views = [row[0] for row in rows.read("select viewname from pg_views where schemaname = 'relay'")]
    assert len(views) > 10
    rows.run("update relay.outbox set error_message = :said, available_at = now() + interval '1 day'", said=SAID)
    for view in views:
        told = [str(row) for row in rows.read(f"select to_json(v)::text from relay.{view} v")]
        assert PHONE not in "".join(told), view
    assert PHONE not in str(rows.read("select * from relay.latest_messages(10)"))
    for form in ("jsonl", "csv"):
        assert run("export", form, "--format", form).exit_code == 0
        for file in Path(form).iterdir():
            assert PHONE not in file.read_text(), file


def test_both_masks_know_the_same_forms(engine: Engine) -> None:
    """The log is written where no database can be asked, so the forms stand twice."""
    parts = [
        *"0123456789", *"0123456789", "1", "13", "138", "86", "+86", "0086", "0755", "(0755)", "010", " ", "-", "x",
        "X", "110101", "19900307", "20101231", "1234", "5678", "a.b", "@", "mail", ".example.com", "张", "\n", "\\u",
        "\\u0031", "\\\\u0033", "\\u0040", "\\u002b", "\\u002D", "\uff11", "\uff13", "\uff18", "\uff0b", "\uff0d",
        *("\uff20", "\u00a0", "\u200b", "\u2013", "\uff08", "\uff09", "\uff38", "\u0661", ".", "(", ")", "  ", "0013."),
        *("\u4e2d", "\u3002", "\\u200b", "\\u0661", "\\u2013", "340524800101001"),
    ]  # fmt: skip
    draw = random.Random(12)
    said = ["".join(draw.choices(parts, k=draw.randrange(1, 24))) for _ in range(6000)]
    with engine.connect() as connection:
        unnested = "unnest(cast(:said as text[])) with ordinality as u (s, nth)"
        asked = text(f"select array_agg(relay.mask_text(s) order by nth) from {unnested}")
        shown = connection.execute(asked, {"said": said}).scalar_one()
    assert [masked(one) for one in said] == shown
    assert sum(before != after for before, after in zip(said, shown, strict=True)) > 400
