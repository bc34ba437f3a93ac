"""Who may import what: floors inside the package (``.importlinter``), and libraries at its border (the table here)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import relay

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "relay"

SQL_ROOMS = {
    "accounts",
    "acting",
    "addresses",
    "archive",
    "assembly",
    "checks",
    "cli",
    "database",
    "demo",
    "exports",
    "holders",
    "lingering",
    "operations",
    "operator_statements",
    "outbox",
    "reports",
    "readable",
    "revisions",
    "schema",
    "sessions",
    "settings",
    "sql",
    "store",
    "windows",
}

# Library -> the rooms that may import it, at whatever place in their files. A library that is not here is not used.
LIBRARIES = {
    "aiohttp": {"producers.posting", "producers.unreached"},
    "alembic": {"revisions"},
    "click": {"cli"},
    "fastapi": {"integrations.fastapi"},
    "httpx": {"producers.authorities", "producers.posting", "producers.tmc"},
    "prometheus_client": {"observers"},
    "psycopg": {"addresses", "outbox", "readable", "sessions", "store", "wakeups"},
    "pydantic": {"producers.options", "settings", "wording"},
    "pydantic_settings": {"settings"},
    "sqlalchemy": SQL_ROOMS,
    "starlette": {"integrations.starlette", "observers", "sandbox"},
    "structlog": {"observers"},
    "uvicorn": {"observers", "sandbox"},
}

# Rooms that decide and never act: what they answer depends on their arguments alone.
PURE_ROOMS = {
    "backoff",
    "credential",
    "errors",
    "exports.lines",
    "exports.manifest",
    "message",
    "operator_statements",
    "outcomes",
    "schema",
    "showing",
    "sql",
    "statements",
    "store.claim.batches",
    "store.claim.moods",
    "store.claim.statements",
    "store.claim.turns",
    "tmc",
    "windows",
    "worker.pacing",
}
ACTING = {"asyncio", "http", "os", "signal", "socket", "ssl", "subprocess", "threading", "urllib.request"}

SQL = ("relay.operator_statements", "relay.statements", "relay.store.claim.statements")

# Beside the floors: what a room must not know although it lies below.
KEPT_APART = [
    ("worker", {"signal", "os", "relay.schema", *SQL, "relay.outbox", "relay.tmc"}),
    ("sandbox", {"relay.schema", "relay.store", *SQL, "relay.outbox", "relay.producers", "relay.tmc"}),
    ("producers", {"relay.schema", *SQL, "relay.outbox", "relay.settings"}),
    ("outbox", {"relay.settings", "relay.backoff", "relay.outcomes", "relay.revisions"}),
    ("tmc", {"relay.schema", "relay.settings"}),
    ("assembly", {"signal", "sys", "click"}),  # it never prints
    ("cli", {"sqlalchemy.create_engine", "relay.accounts.query", "relay.accounts.sources", "relay.wakeups"}),
]

# Beside the names of ``relay`` itself. Integrations with frameworks use nothing else: what they can do, anybody can.
PUBLIC_DOORS = {"relay.errors", "relay.settings"}

# What the rest is made of -> the rooms that may name it. Whoever wants one asks relay.assembly.
WIRED = {
    "relay.worker.Worker": {"assembly"},
    "relay.store.Store": {"assembly", "worker"},
    "relay.producers.load": {"assembly"},
    "relay.producers.ProducerContext": {"assembly", "producers"},
    "relay.observers.metrics.Metrics": {"assembly"},
}


def room_of(path: Path) -> str:
    """``producers.tmc`` for relay/producers/tmc.py, ``producers`` for that package, empty for relay/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def inside(room: str, allowed: set[str]) -> bool:
    return any(room == name or room.startswith(name + ".") for name in allowed)


def imports(path: Path) -> Iterator[str]:
    """Every imported module by its full name; ``from a import b`` may import the module a.b and counts as both."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: relative imports hide the floor"
            assert node.level == 0, f"{path}: relative imports hide the floor"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_imports_go_downwards_only() -> None:
    lint = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert lint.returncode == 0, lint.stdout + lint.stderr


@pytest.mark.parametrize("path", modules(), ids=room_of)
def test_every_library_stays_in_its_rooms(path: Path) -> None:
    ours = sys.stdlib_module_names | {"relay", "__future__"}
    used = {name.split(".")[0] for name in imports(path)} - ours
    wrong = {library for library in used if not inside(room_of(path), LIBRARIES.get(library, set()))}
    assert not wrong, f"{room_of(path)} imports {sorted(wrong)}; LIBRARIES says who may"


@pytest.mark.parametrize("path", modules(), ids=room_of)
def test_pure_rooms_decide_and_never_act(path: Path) -> None:
    if inside(room_of(path), PURE_ROOMS):
        assert not {name for name in imports(path) if inside(name, ACTING)}


@pytest.mark.parametrize(("room", "forbidden"), KEPT_APART, ids=[room for room, _ in KEPT_APART])
def test_rooms_that_must_not_know_each_other(room: str, forbidden: set[str]) -> None:
    for path in modules():
        if inside(room_of(path), {room}):
            assert not {name for name in imports(path) if inside(name, forbidden)}, path


def test_integrations_use_the_doors_that_everybody_has() -> None:
    doors = {*PUBLIC_DOORS, "relay.integrations", *(f"relay.{name}" for name in relay.__all__)}
    for path in modules():
        if inside(room_of(path), {"integrations"}):
            assert not {name for name in imports(path) if name.startswith("relay.") and not inside(name, doors)}, path


@pytest.mark.parametrize("part", WIRED)
def test_only_assembly_wires(part: str) -> None:
    wirers = {room_of(path) for path in modules() if part in imports(path)}
    wrong = sorted(room for room in wirers if not inside(room, WIRED[part]))
    assert wrong == [], f"{wrong} import {part}: ask relay.assembly, which opens everything from the settings"


def test_only_settings_reads_the_environment() -> None:
    readers = set()
    for path in modules():
        words = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        words |= {name.rpartition(".")[2] for name in imports(path) if name.startswith("os.")}
        if words & {"environ", "environb", "getenv", "getenvb"}:
            readers.add(room_of(path))
    # The authorities that TLS trusts are named by variables of OpenSSL's, which are no settings of the relay's.
    assert readers <= {"settings", "producers.authorities"}


def test_no_thread_is_one_that_the_interpreter_waits_for() -> None:
    """asyncio.run brings an executor that is joined at the end; background.run brings one that is not."""
    waiting = {"asyncio.run(", "ThreadPoolExecutor("}
    callers = {room_of(path) for path in modules() if any(call in path.read_text() for call in waiting)}
    assert callers == {"background"}, "see relay/background.py"


def test_one_table_of_sqlstates() -> None:
    """What PostgreSQL's errors mean is decided in one place; frozen DDL raises some of its own."""
    states = re.compile("0A000|(?:08|2[2-9]|3D|3F|4[02]|5[3-8]|P0|XX)[0-9A-Z]{3}")
    with_states = {
        room_of(path)
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Constant) and isinstance(node.value, str) and states.fullmatch(node.value))
        or (isinstance(node, ast.Constant) and node.value == "sqlstate")
    }
    frozen = {room for room in with_states if room.startswith("revisions.r0")}
    assert with_states - frozen == {"database_errors"}, "give it a name and a reason in relay/database_errors.py"


def test_no_module_changes_its_own_globals() -> None:
    changers = [
        path for path in modules() if any(isinstance(n, ast.Global) for n in ast.walk(ast.parse(path.read_text())))
    ]
    assert changers == []


def test_an_application_that_inserts_loads_nothing_else() -> None:
    unwanted = {"aiohttp", "alembic", "click", "httpx", "psycopg", "pydantic", "relay.settings", "relay.store"}
    script = "import sys, relay; relay.add; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not unwanted & set(loaded.stdout.split())


def test_the_statements_and_the_store_know_no_revision() -> None:
    """Fifteen files of frozen DDL: read by whoever migrates, and by whoever asks which revision is there."""
    for room in ("sql", "statements", "operator_statements", "store", "reports", "operations"):
        script = f"import sys, relay.{room}; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
        found = sorted(name for name in loaded.stdout.split() if name.startswith("relay.revisions"))
        assert found == [], f"relay.{room} loads {found}: what it needs of them belongs into relay.sql"


def test_importing_the_package_costs_nothing() -> None:
    script = "import sys, relay; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name for name in loaded.stdout.split() if name.startswith("relay")} == {"relay"}
    assert "sqlalchemy" not in loaded.stdout.split()
