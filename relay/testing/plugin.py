"""The fixtures of the kit, for pytest: docs/testing.md. This file is loaded in every run of pytest where the relay is
installed, whoever runs it, so it imports nothing until a fixture is used, and has no hooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from relay.testing import AsyncOutbox, Drain, Outbox, ScriptedPlatform
    from relay.testing.keeping import Kept


@pytest.fixture(scope="session")
def relay_schema() -> str:
    """The schema of the relay's tables; override it where it has another name."""
    return "relay"


@pytest.fixture(scope="session")
def relay_database_url() -> str:
    """Where the test database is, as the owner of the tables; override it, or set RELAY_DATABASE_URL."""
    from relay.settings import FOR_TABLES, load_for

    url = load_for(FOR_TABLES).database_url
    if url is None:
        pytest.fail(
            "relay_database_url: where is the test database? Define a fixture of this name that returns its URL, "
            "or set RELAY_DATABASE_URL",
            pytrace=False,
        )
    return url


@pytest.fixture
def relay_connection() -> Any:
    """The session or connection that the code under test writes through; override it."""
    pytest.fail(
        "relay_connection: define a fixture of this name that returns the session or connection of your test; "
        "relay_outbox reads through it what is not committed",
        pytrace=False,
    )


@pytest.fixture
def relay_outbox(
    relay_connection: Any, relay_schema: str, request: pytest.FixtureRequest
) -> Iterator[Outbox | AsyncOutbox]:
    """What this test wrote; over an asynchronous connection each question is awaited."""
    from relay.testing import AsyncOutbox, Outbox, is_asynchronous

    emptied = "relay_clean" in request.fixturenames
    if not is_asynchronous(relay_connection):
        yield Outbox(relay_connection, schema=relay_schema, everything=emptied)
        return
    outbox = AsyncOutbox(relay_connection, schema=relay_schema, everything=emptied)
    yield outbox
    if forgotten := outbox.forgotten():
        pytest.fail(f"nothing was asserted: await relay_outbox.{forgotten[0]}(...)", pytrace=False)


@pytest.fixture(scope="session")
def _relay_kept(relay_database_url: str, relay_schema: str) -> Iterator[Kept]:
    """It ends before the database does, whose fixture it asks for; pytest refuses it to one that lives for a test."""
    from relay.testing.keeping import Kept

    kept = Kept(relay_database_url, relay_schema)
    yield kept
    kept.close()


@pytest.fixture
def _relay_connections(request: pytest.FixtureRequest, relay_database_url: str, relay_schema: str) -> Kept | None:
    """Connections that last from test to test where the database does; None where each test has one of its own."""
    try:
        kept: Kept = request.getfixturevalue("_relay_kept")
    except pytest.fail.Exception:  # by its scope
        return None
    # Elsewhere in the suite the fixture of the database may be another one.
    return kept if kept.place == (relay_database_url, relay_schema) else None


@pytest.fixture
def relay_clean(_relay_connections: Kept | None, relay_database_url: str, relay_schema: str) -> None:
    """The tables are empty when the test begins."""
    from relay.testing import empty_at

    if _relay_connections is None:
        empty_at(relay_database_url, schema=relay_schema)
    else:
        _relay_connections.empty()


@pytest.fixture
def relay_platform() -> Iterator[ScriptedPlatform]:
    """A platform of this test alone, which accepts everything until it is told otherwise."""
    from relay.testing import ScriptedPlatform

    platform = ScriptedPlatform()
    yield platform
    if unused := platform.unused():
        pytest.fail("\n".join(unused), pytrace=False)


@pytest.fixture
def relay_drain(
    relay_clean: None,
    relay_platform: ScriptedPlatform,
    _relay_connections: Kept | None,
    relay_database_url: str,
    relay_schema: str,
) -> Drain:
    """A worker: ``relay_drain()`` sends what is committed to ``relay_platform`` and gives the report back."""
    from relay.testing import Drain

    return Drain(relay_database_url, relay_platform, schema=relay_schema, kept=_relay_connections)
