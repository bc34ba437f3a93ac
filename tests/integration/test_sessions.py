"""Our sessions are what the table of settings says: on a direct connection, behind a pooler, and for as long only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from relay.sessions import SETTINGS, Setting, distrust, for_session, make_independent, undisturbed

HOSTILE = "-c search_path=elsewhere -c datestyle=German -c timezone=Asia/Shanghai -c statement_timeout=7777"
SEEN = "select current_setting('search_path'), current_setting('datestyle'), current_setting('statement_timeout')"
OURS = ("pg_catalog, pg_temp", "ISO, MDY", "0")
THEIRS = ("elsewhere", "German, DMY", "7777ms")


@pytest.fixture
def hostile(database_url: str) -> Iterator[Engine]:
    """An engine with one connection, whose role has settings of its own."""
    made = create_engine(database_url, pool_size=1, max_overflow=0, connect_args={"options": HOSTILE})
    yield made
    made.dispose()


def seen(connection: Connection) -> tuple[str, ...]:
    return tuple(connection.execute(text(SEEN)).one())


def test_every_setting_is_ours_from_the_first_statement_on(hostile: Engine) -> None:
    make_independent(hostile)
    make_independent(hostile)
    with hostile.connect() as connection:
        assert seen(connection) == OURS
        connection.rollback()
        assert seen(connection) == OURS
        wrong = {
            setting.name: found
            for setting in SETTINGS
            if (found := connection.scalar(text(f"select current_setting('{setting.name}', true)"))) is not None
            and found.lower() not in (setting.value.lower(), "utf8")
        }
    assert wrong == {}


def test_behind_a_pooler_every_transaction_begins_with_them_and_leaves_nothing(hostile: Engine) -> None:
    make_independent(hostile)
    assert distrust(hostile)
    assert not distrust(hostile)
    for _ in range(2):
        with hostile.connect() as connection:
            assert seen(connection) == OURS
            connection.commit()
            raw = connection.connection.dbapi_connection
            assert raw is not None
            cursor = raw.cursor()
            cursor.execute(SEEN)
            assert cursor.fetchone() == THEIRS


def test_the_transaction_of_somebody_else_is_as_it_was_afterwards(hostile: Engine) -> None:
    with hostile.connect() as connection:
        before = connection.execute(text("select name, setting from pg_settings order by name")).all()
        with undisturbed(connection):
            assert seen(connection) == OURS
            with undisturbed(connection):
                assert seen(connection) == OURS
            assert seen(connection) == OURS
        after = connection.execute(text("select name, setting from pg_settings order by name")).all()
    assert after == before


def test_times_are_told_in_the_zone_of_the_login(hostile: Engine) -> None:
    """And read in any case: the end of all years is later than that in Shanghai."""
    make_independent(hostile)
    asked = text("select timestamptz '2026-11-26 00:00:00Z', timestamptz '9999-12-31 23:59:59Z'")
    with hostile.connect() as connection:
        today, end = connection.execute(asked).one()
    assert today.isoformat() == "2026-11-26T08:00:00+08:00"
    assert end.isoformat() == "9999-12-31T23:59:59+00:00"


@pytest.mark.parametrize(
    ("version", "known"), [(140012, False), (140013, True), (160003, False), (160004, True), (180001, True)]
)
def test_a_server_is_told_what_its_version_knows(version: int, known: bool) -> None:
    assert Setting("x", "", "", since=(140013, 150008, 160004, 170000)).is_known_to(version) is known
    assert ("transaction_timeout" in for_session(version)) is (version >= 170000)
