"""The fixtures of ``relay.testing.plugin`` in a pytest of their own, as an application runs it: the example, and slips.

And what the plugin costs those who merely have the relay installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import create_engine

from tests.docs.markdown import blocks
from tests.fixtures import hostility
from tests.fixtures.database import Server
from tests.fixtures.rows import Rows

ROOT = Path(__file__).parents[2]
INI = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
EXAMPLE = ROOT / "examples" / "tested_orders"


def entry_points() -> dict[str, str]:
    points: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    return points


def run_pytest(
    *arguments: str, folder: Path, plugin: tuple[str, ...] = ("-p", "relay.testing.plugin"), **environment: str
) -> subprocess.CompletedProcess[str]:
    """In an application's folder: nothing of this repository's configuration counts."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "PYTEST_", "COV_"))}
    (folder / "pytest.ini").write_text(INI)
    options = f"-q -c {folder}/pytest.ini --rootdir {folder} -p no:cacheprovider -p no:randomly".split()
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *plugin, *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.skipif(hostility.WANTED, reason="the sessions of an application are its own")
def test_the_example_passes(database_url: str, tmp_path: Path) -> None:
    ran = run_pytest(str(EXAMPLE), folder=tmp_path, DATABASE_URL=database_url, RELAY_UNKNOWN="is not read")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
    assert "5 passed" in ran.stdout


def test_what_the_page_shows_is_what_the_example_does() -> None:
    shown = [block for block in blocks(ROOT / "docs" / "testing.md") if "examples/" in block.reason]
    assert len(shown) == 3
    for block in shown:
        file = ROOT / block.reason.partition(" ")[0]
        for part in block.text.strip().split("\n\n\n"):
            assert part in file.read_text(), f"{block}: {file.name} says something else"


SLIPS = """
    import asyncpg
    import pytest
    import pytest_asyncio
    import relay

    @pytest.fixture
    def relay_database_url():
        return "{url}"

    class TestNothingSaid:
        def test_no_connection(self, relay_outbox): ...

        def test_never_said(self, relay_platform):
            relay_platform.answer(7, "isv.x", "m")

    class TestAsyncio:
        @pytest_asyncio.fixture
        async def relay_connection(self):
            connection = await asyncpg.connect("{asyncpg}")
            async with connection.transaction():
                yield connection
            await connection.close()

        @pytest.mark.asyncio
        async def test_forgotten(self, relay_outbox):
            relay_outbox.assert_written("t")

        @pytest.mark.asyncio
        async def test_awaited(self, relay_connection, relay_outbox):
            await relay.add_async(relay_connection, "t", {{"n": 1}})
            await relay_outbox.assert_written("t", content={{"n": 1}})

    class TestAnyio:
        @pytest.fixture
        def anyio_backend(self):
            return "asyncio"

        @pytest.fixture
        async def relay_connection(self, anyio_backend):
            connection = await asyncpg.connect("{asyncpg}")
            yield connection
            await connection.close()

        @pytest.mark.anyio
        async def test_committed(self, relay_connection, relay_outbox, relay_drain, relay_platform):
            await relay_outbox.assert_nothing_written()
            async with relay_connection.transaction():
                await relay.add_async(relay_connection, "t", {{"n": 1}})
            assert relay_drain().done == 1
            relay_platform.assert_arrived("t", content={{"n": 1}})
            await relay_outbox.assert_written("t", times=1)

        @pytest.mark.anyio
        async def test_not_emptied(self, relay_connection, relay_outbox):
            await relay_outbox.assert_nothing_written()
"""


@pytest.mark.skipif(hostility.WANTED, reason="the sessions of an application are its own")
def test_asynchronous_tests_and_slips(database_url: str, tmp_path: Path) -> None:
    plain = database_url.replace("postgresql+psycopg://", "postgresql://")
    (tmp_path / "test_it.py").write_text(dedent(SLIPS.format(url=database_url, asyncpg=plain)))
    ran = run_pytest("test_it.py", folder=tmp_path)
    assert "5 passed, 3 errors" in ran.stdout, ran.stdout[-3000:]
    assert "relay_connection: define a fixture of this name" in ran.stdout
    assert "relay_platform.answer(7, ..., call=1) was never said: calls made: 0" in ran.stdout
    assert "nothing was asserted: await relay_outbox.assert_written(...)" in ran.stdout


OPEN = """
    import os
    import time
    from datetime import UTC, datetime, timedelta
    import psycopg
    import pytest
    import relay

    URL = os.environ["DATABASE_URL"]

    def of_the_kit(until=None):
        asked = "select pid from pg_stat_activity where datname = current_database() and application_name = %s"
        deadline = time.monotonic() + 10
        with psycopg.connect(URL.replace("+psycopg", ""), autocommit=True) as connection:
            while (found := [pid for pid, in connection.execute(asked, ["outbox-relay"])]) != until:
                if until is None or time.monotonic() > deadline:
                    break
        return found

    def add(**columns):
        with psycopg.connect(URL.replace("+psycopg", "")) as connection:
            relay.add(connection, "t", {{}}, **columns)

    @pytest.fixture(scope="{scope}")
    def relay_database_url():
        yield URL
        assert of_the_kit(until=[]) == []  # else it could not be dropped

    def test_a_drain(relay_drain):
        before = set(of_the_kit())
        add()
        assert relay_drain().done == 1
        left = set(of_the_kit({until}))
        assert (before, left) == (before & left, left), "each has opened its own"
        assert (bool(before), bool(left)) == ("{scope}" == "session",) * 2
        with psycopg.connect(URL.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("select pg_terminate_backend(pid, 5000) from unnest(%s::int[]) pid", [[*left]])

    def test_an_error(relay_drain):
        add(available_at=datetime.now(UTC) + timedelta(days=1))
        with pytest.raises(relay.RelayError):
            relay_drain(within_seconds=0.3)
        assert of_the_kit(until=[]) == []

    def test_another_drain(relay_drain):
        add()
        assert relay_drain().done == 1
"""


@pytest.mark.skipif(hostility.WANTED, reason="the sessions of an application are its own")
@pytest.mark.parametrize("scope", ["session", "function"])
def test_connections_last_as_long_as_the_database_and_no_longer(scope: str, database_url: str, tmp_path: Path) -> None:
    """After an error they are new ones."""
    until = "until=[]" if scope == "function" else ""
    (tmp_path / "test_it.py").write_text(dedent(OPEN.format(scope=scope, until=until)))
    ran = run_pytest("test_it.py", folder=tmp_path, DATABASE_URL=database_url)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
    assert "3 passed" in ran.stdout


OF_ANOTHER = """
    import os
    import pytest

    @pytest.fixture(scope="session")
    def relay_database_url():
        return os.environ["{which}"]

    def test_its_place(relay_clean, _relay_connections):
        assert (_relay_connections is not None) == ("{which}" == "DATABASE_URL")
"""


@pytest.mark.skipif(hostility.WANTED, reason="the sessions of an application are its own")
def test_the_database_of_another_folder_is_another_one(
    postgres: Server, database_url: str, migrated_template: str, tmp_path: Path
) -> None:
    for name, which in (("test_a.py", "DATABASE_URL"), ("test_b.py", "OTHER_URL")):
        (tmp_path / name).write_text(dedent(OF_ANOTHER.format(which=which)))
    with postgres.fresh_database(migrated_template) as name:
        there = create_engine(postgres.url(name))
        rows = [Rows(there), Rows(create_engine(database_url))]
        for each in rows:
            each.add(1)
        ran = run_pytest(".", folder=tmp_path, DATABASE_URL=database_url, OTHER_URL=postgres.url(name))
        assert "2 passed" in ran.stdout, ran.stdout[-3000:] + ran.stderr[-2000:]
        assert [each.one("select count(*) from relay.outbox") for each in rows] == [0, 0]
        for each in rows:
            each.engine.dispose()


def test_whoever_merely_has_it_installed_loads_three_small_modules(tmp_path: Path) -> None:
    """By the entry point, as pip writes it down; to ask for it by ``-p`` as well makes no second plugin of it."""
    metadata = tmp_path / "outbox_relay_installed-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outbox-relay-installed\nVersion: 0\n")
    [(name, module)] = entry_points().items()
    (metadata / "entry_points.txt").write_text(f"[pytest11]\n{name} = {module}\n")
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(relay_schema):\n"
        "    loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "    assert not loaded & {'sqlalchemy', 'httpx', 'pydantic', 'starlette', 'uvicorn', 'psycopg', 'alembic'}\n"
        "    ours = {name for name in sys.modules if name.partition('.')[0] == 'relay'}\n"
        "    assert ours == {'relay', 'relay.testing', 'relay.testing.plugin'}\n"
    )
    for asked in ((), ("-p", "relay.testing.plugin")):
        ran = run_pytest("test_it.py", folder=tmp_path, plugin=asked, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]


def test_the_plugin_has_fixtures_only_and_one_name() -> None:
    assert entry_points() == {"relay.testing.plugin": "relay.testing.plugin"}
    plugin = vars(import_module("relay.testing.plugin"))
    assert [name for name in plugin if name.startswith("pytest_")] == []
    fixtures = {name for name, value in plugin.items() if isinstance(value, type(plugin["relay_clean"]))}
    assert all(name.removeprefix("_").startswith("relay_") for name in fixtures)
    assert not any(plugin[name]._fixture_function_marker.autouse for name in fixtures)


@pytest.mark.parametrize("name", ["relay_outbox", "relay_platform", "relay_drain", "relay_clean"])
def test_this_suite_is_not_disturbed(request: pytest.FixtureRequest, name: str) -> None:
    """Whether the entry point is installed or not: no fixture of ours has such a name."""
    definitions = request.session._fixturemanager.getfixturedefs(name, request.node) or ()
    assert {definition.func.__module__ for definition in definitions} <= {"relay.testing.plugin"}
