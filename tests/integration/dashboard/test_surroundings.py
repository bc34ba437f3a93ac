"""The pages where databases really are: behind a pooler, with odd settings on the role, slow, away, not there yet."""

from __future__ import annotations

import re
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

import relay
from relay import reports
from relay.dashboard.concerns import concerns
from relay.dashboard.languages import TEXTS
from relay.dashboard.moments import span
from relay.dashboard.pages.overview import situation
from relay.database import Database
from relay.embedded import EmbeddedPostgres
from relay.revisions import r0008_ledger
from tests.fixtures import hostility
from tests.fixtures.checked import Check, states
from tests.fixtures.dashboard import Browse, Seeded, parsed, seed
from tests.fixtures.database import Server
from tests.fixtures.pooler import needs_pgbouncer, pgbouncer
from tests.fixtures.wheel import Built

ROOT = Path(__file__).parents[3]
PATHS = (
    "/",
    "/messages",
    "/messages?state=failed",
    "/messages/1",
    "/calls/1",
    "/failures",
    "/duplicates",
    "/keys",
    "/days",
)
OLD = "now() - interval '10 minutes'"
EVERYTHING_WRONG = f"""
insert into relay.outbox (topic, content, ordering_key, available_at, created_at, error_code) values
    ('t', '{{}}', null, {OLD}, {OLD}, null), ('t', '{{}}', 'old', now() + interval '1 hour', {OLD}, 'isp.x'),
    ('t', '{{}}', null, '2400-01-01', now(), null);
insert into relay.pace (app_key, next_at) values ('12345678', now() + interval '1 hour');
update relay.pause set since = {OLD} where starts_with(scope, 'app:');
insert into relay.call (account, worker, message_ids, lease_until, sent_at, settled_at, outcome, error_code)
    select 'default', 'w', array[n], now(), now(), now(), 'unknown', 'relay.timeout' from generate_series(1, 5) n
"""
CHEAP = {"answers", "open calls", "backlog", "pauses", "held", "blocked keys", "failed", "due times", "pace"}
AS_CHECKED = {
    "backlog_no_worker": "backlog",
    "failed_heads": "backlog",
    "unsound_calls": "open calls",
    "too_many_calls": "open calls",
    "pauses_for_credentials": "pauses",
    "app_pauses": "pauses",
    "app_pauses_for_credentials": "pauses",
}


PAUSED_AND_DISCARDED = f"""
insert into relay.outbox (topic, content, account, available_at, created_at)
    values ('t', '{{}}', 'shop 2', {OLD}, {OLD});
insert into relay.outbox (topic, content, status, finished_at, error_code)
    values ('t', '{{}}', 'failed', now(), 'relay.discarded');
insert into relay.pause (scope, reason, by) values ('account:shop 2', 'moving', 'ann');
insert into relay.pause (scope, reason, error_code, credential, by) values ('app:123', 'refused', '27', 'f', 'w')
"""
PAUSE = "insert into relay.pause (scope, reason, error_code, credential, by) values ('account:a', 'r', :code, :of, :by)"
FLOOD = """
insert into relay.call (account, worker, message_ids, lease_until)
select 'default', 'w', array(select -(1000 * g + i) from generate_series(1, 1000) i), now() + interval '1 hour'
from generate_series(1, 101) g
"""
FREE = f"insert into relay.outbox (topic, content, available_at, created_at) values ('t', '{{}}', {OLD}, {OLD})"


def said(engine: Engine) -> set[str]:
    """The concerns of page one, by the names of the checks that warn of the same."""
    with Database(engine).snapshot() as connection:
        found = concerns(situation(connection))
    for one in found:
        assert all(
            texts[f"{kind}.{one.name}"].format(**one.values)
            for texts in TEXTS.values()
            for kind in ("concern", "press")
        )
        assert not one.command or parsed(one.command)
    return {AS_CHECKED.get(one.name, one.name.replace("_", " ")) for one in found}


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(("code", "by"), [("27", "w"), (None, "ann")])
def test_what_waits_for_a_credential_that_was_refused_is_stuck(
    engine: Engine, waits: bool, code: str | None, by: str
) -> None:
    """What a person paused is not: that one knows of it."""
    with engine.begin() as connection:
        connection.execute(
            text(PAUSE),
            {"code": code, "of": code and "f", "by": by},
        )
        if waits:
            relay.add(connection, "t", {}, account="a")
    with Database(engine).snapshot() as connection:
        (found,) = concerns(situation(connection))
    assert found.level == ("stuck" if code and waits else "look")


def test_where_not_all_is_counted_nobody_says_that_all_is_well(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older message may be among the rest."""
    with engine.begin() as connection:
        relay.add_many(connection, [relay.NewMessage("t", {}) for _ in range(3)])
    assert said(engine) == set()
    monkeypatch.setitem(reports.waiting.__kwdefaults__, "most", 2)
    assert said(engine) == {"uncounted"}


def test_what_is_paused_or_discarded_is_no_backlog_and_no_failure(check: Check, engine: Engine) -> None:
    with engine.begin() as connection:
        for statement in PAUSED_AND_DISCARDED.split(";\n"):
            connection.exec_driver_sql(statement)
    assert said(engine) == {"pauses"}
    with Database(engine).snapshot() as connection:
        found = situation(connection)
        assert (found.status.failed_messages, found.failed_hour, found.failed_hour_exact) == (1, 0, True)
        bounded = replace(found, failures=[replace(code, bounded=True) for code in found.failures])
        assert bounded.failures[0].bounded
        assert bounded.failed_hour_exact, "of what a person discarded"
        by_worker, by_person = sorted(concerns(situation(connection)), key=lambda one: one.name)
    assert by_person.command == "relay resume --account 'shop 2' --reason ..."
    assert (by_worker.name, by_worker.command) == ("app_pauses_for_credentials", "relay resume --app 123 --reason ...")
    assert by_person.values["due"] == 1
    assert "credential" not in TEXTS["en"]["press.pauses"]
    facts = check()
    assert "1 due" in facts["backlog"][0]["sentence"]
    assert facts["backlog"][0]["sentence"].endswith("; all of accounts that are paused")
    assert [fact["hint"].partition("; ")[2] for fact in facts["pauses"]] == [
        "a new credential ends its pause, else: relay resume",
        "relay resume ends a pause that has no time, and any other one before its time",
    ]
    assert facts["failed"][0]["state"] == "ok"
    with engine.begin() as connection:
        connection.exec_driver_sql("delete from relay.pause where scope like 'app:%%'")
        connection.exec_driver_sql(FREE)
    facts = check()
    assert "credential" not in facts["pauses"][0]["hint"]
    assert facts["backlog"][0]["state"] == "warn"
    assert facts["backlog"][0]["sentence"].startswith("2 due, 1 of them of paused accounts; the oldest other one for 6")
    assert said(engine) == {"pauses", "backlog"}
    with engine.begin() as connection:
        refused = (
            "insert into relay.pause (scope, reason, error_code, credential, by) values ('{}', 'r', '27', 'f', 'w')"
        )
        connection.exec_driver_sql(refused.format("account:shop 3"))
    hint = check()["pauses"][0]["hint"]
    assert hint.endswith("ends a pause for a refused one; relay resume ends every other one")


def test_page_one_says_what_relay_check_warns_of(check: Check, engine: Engine) -> None:
    assert said(engine) == set()
    seed(engine)
    with engine.begin() as connection:
        for statement in EVERYTHING_WRONG.split(";\n"):
            connection.exec_driver_sql(statement)
    warned = {name for name, state in states(check()).items() if state != "ok"}
    assert said(engine) == warned & CHEAP == CHEAP


def test_page_one_tells_a_login_whose_calls_name_more_than_any_fleet_has(check: Check, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(FLOOD)
    assert said(engine) == {"open calls"}
    assert {fact["state"] for fact in check(code=1)["open calls"]} == {"fail", "ok"}


@needs_pgbouncer
def test_behind_a_pooler_nothing_is_left_to_the_next_one(own_postgres: EmbeddedPostgres, browse: Browse) -> None:
    relay.migrate(own_postgres.url())
    seed(create_engine(own_postgres.url(), poolclass=NullPool))
    folder = Path(tempfile.gettempdir()) / f"relay-pooler-{uuid4().hex[:12]}"  # short: it holds a socket
    with pgbouncer(own_postgres.url(), folder, size=1) as url:
        browser = browse(url)
        for path in PATHS * 2:
            assert browser.get(path).status_code == 200, path
        with create_engine(url, poolclass=NullPool).connect() as connection:
            assert connection.scalar(text("show statement_timeout")) == "0"
            assert connection.scalar(text("show enable_seqscan")) == "on"
        browser.close()


def test_whatever_is_set_on_the_role_or_the_database(postgres: Server, database_url: str, browse: Browse) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    seed(engine)
    hostility.put_on(postgres.admin_url(engine.url.database or ""))
    browser = browse(database_url)
    for path in PATHS:
        answer = browser.get(path)
        assert answer.status_code == 200, answer.text


def test_postgresql_goes_away_and_comes_back(own_postgres: EmbeddedPostgres, browse: Browse) -> None:
    """No page hangs, and nobody has to start the dashboard anew."""
    relay.migrate(own_postgres.url())
    browser = browse(own_postgres.url())
    assert browser.get("/messages").status_code == 200
    own_postgres.stop()
    away = browser.get("/messages", **{"accept-language": "zh"})
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert TEXTS["zh"]["trouble.away"] in away.text
    assert browser.get("/codes/27").status_code == 200, "what needs no database is answered"
    own_postgres.start()
    assert browser.get("/messages").status_code == 200


def test_what_takes_too_long_is_ended_and_told(seeded: Seeded, browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.reports.past._LEDGER", "select pg_sleep(20)")
    monkeypatch.setattr("relay.assembly.dashboard.TIME_OUT", "50ms")
    browser = browse(seeded.url)
    slow = browser.get("/ledger")
    assert slow.status_code == 503
    assert TEXTS["en"]["trouble.slow_whole"] in slow.text, "there is nothing to narrow"
    assert browser.get("/messages").status_code == 200


def test_tables_that_are_not_there_are_told(empty_url: str, browse: Browse) -> None:
    answer = browse(empty_url).get("/")
    assert answer.status_code == 503
    assert "relay migrate" in answer.text


def test_a_login_without_the_right_is_told_which_role_has_it(stranger_url: str, browse: Browse) -> None:
    """And no more: not even that there is a page."""
    answer = browse(stranger_url).get("/messages")
    assert answer.status_code == 503
    assert "relay roles tells who may" in answer.text


def test_both_languages_say_the_same_things_of_the_same_values() -> None:
    values = {
        language: {key: sorted(re.findall(r"\{(\w+)\}", text)) for key, text in texts.items()}
        for language, texts in TEXTS.items()
    }
    assert values["en"] == values["zh"]
    assert [key for key, text in TEXTS["zh"].items() if not re.search("[一-鿿]", text) and len(text) > 12] == []


COLOUR = re.compile(r"--([a-z-]+): #([0-9a-f]{3,6})")
ON = {"ink": ("paper", "field"), "soft": ("paper", "field"), "link": ("paper", "field", "done-soft", "failed-soft")}


def brightness(colour: str) -> float:
    """Relative luminance, as WCAG 2 has it."""
    full = colour if len(colour) == 6 else "".join(sign * 2 for sign in colour)
    parts = [int(full[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read_on_its_colour(dark: bool) -> None:
    light_part, _, dark_part = (ROOT / "relay/dashboard/static/dashboard.css").read_text().partition("@media (prefers-")
    colours = dict(COLOUR.findall(light_part)) | (dict(COLOUR.findall(dark_part)) if dark else {})
    pairs = {(name.removesuffix("-soft"), name) for name in colours if name.endswith("-soft")} - {
        ("split", "split-soft")
    }
    pairs |= {(text, under) for text, unders in ON.items() for under in unders} | {("ink", "split-soft")}
    for text_, under in sorted(pairs):
        lower, upper = sorted((brightness(colours[text_]), brightness(colours[under])))
        assert (upper + 0.05) / (lower + 0.05) >= 4.5, (text_, under)


def test_the_wheel_has_the_templates_and_what_pages_load(built: Built) -> None:
    there = set(zipfile.ZipFile(built.wheel).namelist())
    folder = ROOT / "relay" / "dashboard"
    wanted = {
        str(path.relative_to(ROOT))
        for kind in ("*.html", "*.css", "*.js", "*.svg", "*.py")
        for path in folder.rglob(kind)
    }
    assert len(wanted) > 40
    assert wanted <= there


def test_a_span_has_two_units_at_most_in_either_language() -> None:
    spans = (None, 0.25, 113, 130, 3 * 3600, 3 * 3600 + 300, 2 * 86_400, 2 * 86_400 + 4 * 3600 + 59)
    assert [span(seconds, "en") for seconds in spans] == [
        "-", "0.25 s", "113 s", "2 min", "3 h", "3 h 5 min", "2 d", "2 d 4 h",
    ]  # fmt: skip
    assert [span(seconds, "zh") for seconds in spans] == [
        "-", "0.25 秒", "113 秒", "2 分钟", "3 小时", "3 小时 5 分钟", "2 天", "2 天 4 小时",
    ]  # fmt: skip


def test_what_the_ledger_can_name_has_a_word_in_either_language() -> None:
    """As the view's own comment lists them."""
    with_comment = r0008_ledger._ACTIONS.partition(" / ")[0].split(", ")
    for texts in TEXTS.values():
        assert {key.removeprefix("did.") for key in texts if key.startswith("did.")} == set(with_comment)
