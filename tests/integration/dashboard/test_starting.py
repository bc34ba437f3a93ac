"""Nobody's first page is slow: a dashboard that says where it is has shown page one already, if it could."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from relay.assembly.dashboard import Reading
from relay.dashboard.pages.overview import overview
from relay.dashboard.visit import Elsewhere, Page, PageVisit
from tests.fixtures.dashboard import Browse
from tests.fixtures.hostility import only_where_nothing_is_set
from tests.fixtures.processes import StartRelay
from tests.fixtures.waiting import eventually

SESSIONS = """
select count(*) from pg_stat_activity
where application_name = 'outbox-relay' and datname = current_database() and backend_type = 'client backend'
  and pid <> pg_backend_pid()
"""
READY = "The dashboard is at http://"


@only_where_nothing_is_set("the name of the session is another one there")
def test_it_is_connected_before_it_is_asked(start_relay: StartRelay, database_url: str, engine: Engine) -> None:
    process = start_relay("dashboard", "--port", "0", env={"RELAY_DASHBOARD_DATABASE_URL": database_url})
    process.wait_for_line(READY)
    with engine.connect() as connection:
        assert connection.scalar(text(SESSIONS)) == 1


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where connections are taken, and nobody says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.parametrize("where", ["silent", "closed"])
def test_it_starts_whether_postgresql_answers_or_not(
    start_relay: StartRelay, where: str, request: pytest.FixtureRequest
) -> None:
    url = f"postgresql://nobody@127.0.0.1:{request.getfixturevalue(where)}/x"
    process = start_relay("dashboard", "--port", "0", env={"RELAY_DASHBOARD_DATABASE_URL": url})
    process.wait_for_line(READY)
    assert process.returncode is None


def test_one_that_ends_before_it_is_ready_gives_its_connection_back_first(
    browse: Browse, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    ended = threading.Event()

    def slow(visit: PageVisit) -> Page | Elsewhere:
        found = overview(visit)
        ended.wait(20)
        happened.append("shown")
        return found

    def close(reading: Reading) -> None:
        happened.append("closed")
        closing(reading)

    closing = Reading.close
    monkeypatch.setattr(Reading, "close", close)
    monkeypatch.setattr("relay.dashboard.site.overview", slow)
    monkeypatch.setattr("relay.dashboard.site.READY_SECONDS", 0.0)
    browse(database_url).close()
    assert happened == []
    ended.set()
    eventually(lambda: happened == ["shown", "closed"])
