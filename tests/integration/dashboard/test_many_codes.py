"""Fifty thousand codes, as a platform may make them up: the pages list some, tell of the others, and stay small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from relay import reports
from relay.assembly.database import opened
from relay.cli.verbs import relay
from relay.dashboard import create_app
from relay.reports import Search
from relay.settings import load
from tests.fixtures.dashboard import Browser
from tests.fixtures.database import Server

CODES, LISTED = 50_000, reports.MOST_LISTED_CODES
OFTEN, LAST = "isv.often", "isv.the-newest"
# Without triggers, which would take a second; what they would set is not asked for.
FILL = f"""
set local session_replication_role = replica;
insert into relay.outbox (topic, content, status, error_code, finished_at, content_sha256)
select 't', '{{}}', 'failed', 'isv.' || n, now() - interval '2 days', '' from generate_series(1, {CODES}) as n;
insert into relay.outbox (topic, content, status, error_code, finished_at, content_sha256)
select 't', '{{}}', 'failed', '{OFTEN}', now() - interval '2 days', '' from generate_series(1, 9) as n;
insert into relay.outbox (topic, content, status, error_code, finished_at, content_sha256)
values ('t', '{{}}', 'failed', 'relay.discarded', now() - interval '2 days', ''),
    ('t', '{{}}', 'failed', '{LAST}', now(), '');
"""


@pytest.fixture(scope="module")
def url(postgres: Server, migrated_template: str) -> Iterator[str]:
    with postgres.fresh_database(migrated_template) as name:
        with create_engine(postgres.admin_url(name), poolclass=NullPool).begin() as connection:
            for statement in FILL.strip().removesuffix(";").split(";\n"):
                connection.execute(text(statement))
        yield postgres.url(name)


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with opened(load(database_url=url)) as database, database.reading() as connection:
        yield connection


def test_the_largest_are_listed_and_the_newest_and_the_others_are_counted(connection: Connection) -> None:
    found = reports.failed_codes(connection, most=None, lately=LISTED)
    assert (found.all_codes, found.messages, found.exact) == (CODES + 3, CODES + 11, True)
    assert len(found.codes) <= 2 * LISTED + 1
    assert found.codes[0] == reports.FailedCode(OFTEN, 9)
    assert {LAST, "relay.discarded"} < {code.error_code for code in found.codes}
    assert found.other_codes == CODES + 3 - len(found.codes)
    assert found.other_messages == CODES + 11 - sum(code.messages for code in found.codes)


def test_for_a_page_a_part_of_them_is_counted(connection: Connection) -> None:
    found = reports.failed_codes(connection, most=1_000)
    assert (found.messages, found.exact) == (1_000, False)
    assert len(found.codes) <= LISTED + 1


def test_a_code_that_fails_now_is_among_the_failures(connection: Connection) -> None:
    first, *rest = reports.failures(connection, reports.failed_codes(connection, most=None, lately=LISTED))
    assert (first.error_code, first.hour) == (LAST, 1)
    assert len(rest) <= 2 * LISTED


@pytest.mark.parametrize("few", [1_000, 100_000])
def test_the_newest_that_failed_is_found_whatever_its_code(
    connection: Connection, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.reports.search.FEW", few)
    newest = reports.find(connection, Search("failed")).lines[0]
    assert newest.error_code == LAST


def test_pages_and_commands_list_some(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    browser = Browser(create_app(dashboard_database_url=url))
    pages = {path: browser.get(path) for path in ("/", "/failures", "/api/failures")}
    browser.close()
    assert {path: page.status_code for path, page in pages.items()} == dict.fromkeys(pages, 200)
    assert max(len(page.content) for page in pages.values()) < 200_000
    assert "Other codes: " in pages["/failures"].text
    assert pages["/api/failures"].json()["others"]["codes"] > 40_000
    monkeypatch.setenv("RELAY_DATABASE_URL", url)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(relay, ["status"]).stdout
    assert len(said.splitlines()) < 100
    assert f"{CODES + 3 - LISTED - 1:,} other codes" in said
