"""Who may import what: floors inside the package (``.importlinter``), and libraries at its border (the table here)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import relay
from tests.architecture.trees import walked

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "relay"
SEE = "docs/architecture.md"  # at the end of every sentence here: where the reader finds the rule

SQL_ROOMS = {
    "accounts",
    "acting",
    "addresses",
    "assembly",
    "checks",
    "cli",
    "database",
    "demo",
    "exports",
    "holders",
    "lingering",
    "operators",
    "outbox",
    "reports",
    "readable",
    "revisions",
    "schema",
    "sessions",
    "settings",
    "sql",
    "store",
    "testing",
    "windows",
}

# Library -> the rooms that may import it, at whatever place in their files. A library that is not here is not used.
LIBRARIES = {
    "aiohttp": {"producers.posting", "producers.unreached"},
    "alembic": {"revisions"},
    "click": {"cli"},
    "django": {"integrations.django"},
    "fastapi": {"integrations.fastapi"},
    "jinja2": {"dashboard.rendering"},
    "httpx": {"producers.authorities", "producers.posting", "producers.tmc"},
    "markupsafe": {"dashboard"},
    "opentelemetry": {"observers.spans", "outbox.tracing"},
    "prometheus_client": {"observers"},
    "psycopg": {"addresses", "integrations.django", "outbox", "readable", "sessions", "store", "wakeups"},
    "pydantic": {"outbox.topic", "producers.options", "settings", "topics", "wording"},
    "pytest": {"testing.plugin"},
    "sqlalchemy": SQL_ROOMS,
    "starlette": {"dashboard", "integrations.starlette", "observers", "sandbox"},
    "structlog": {"observers"},
    "uvicorn": {"dashboard.serving", "observers", "sandbox"},
}

# Rooms that decide and never act: what they answer depends on their arguments alone.
PURE_ROOMS = {
    "backoff",
    "credential",
    "errors",
    "exports.lines",
    "exports.manifest",
    "message",
    "operators.statements",
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

# Where statements stand as texts, each with the reason for its shape.
SQL = ("relay.operators.statements", "relay.statements", "relay.store.claim.statements")

# Beside the floors: what a room must not know although it lies below, and what to do instead.
KEPT_APART = [
    ("worker", {"relay.schema", *SQL}, "the worker knows no SQL; add a method to Store"),
    ("worker", {"relay.tmc"}, "the worker knows no platform; a producer says in an Answer what happened"),
    ("worker", {"relay.outbox"}, "the worker inserts nothing; that is the application's side"),
    ("worker", {"signal", "os"}, "the worker lives in one event loop; signals and the process are the command's"),
    (
        "sandbox",
        {"relay.schema", "relay.store", *SQL, "relay.outbox", "relay.producers", "relay.tmc"},
        "the sandbox judges the relay, so it is written apart from it; write down here what the platform does",
    ),
    (
        "producers",
        {"relay.schema", *SQL, "relay.outbox"},
        "a producer knows no database; Batch is all that it is given",
    ),
    ("producers", {"relay.settings"}, "a producer is told its options by relay.assembly.producers"),
    (
        "outbox",
        {"relay.settings", "relay.backoff", "relay.outcomes", "relay.revisions"},
        "an application that inserts installs SQLAlchemy and nothing more; take it as an argument",
    ),
    ("tmc", {"relay.schema", "relay.settings"}, "the wire is functions of values; take it as an argument"),
    ("dashboard", {"relay.schema", *SQL}, "a page asks relay.reports; add a read model there"),
    (
        "dashboard.pages",
        {"relay.operators", "relay.dashboard.actions"},
        "a page reads; what people do is in relay/dashboard/actions/",
    ),
    ("assembly", {"signal"}, "assembly wires for applications too; signals are taken in relay.cli.run"),
    ("assembly", {"sys", "click"}, "assembly never prints; raise an error of relay.errors, or call warn"),
    (
        "cli",
        {"sqlalchemy.create_engine", "relay.accounts.query", "relay.accounts.sources", "relay.wakeups"},
        "a verb opens nothing by itself; ask relay.assembly",
    ),
]

# Beside the names of ``relay`` itself. Integrations with frameworks use nothing else: what they can do, anybody can.
PUBLIC_DOORS = {"relay.errors", "relay.settings", "relay.showing", "relay.testing"}

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


@cache
def imports(path: Path) -> tuple[str, ...]:
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    """Every imported module by its full name; ``from a import b`` may import the module a.b and counts as both."""
    for node in walked(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: relative imports hide the floor; write from relay.room import name"
            assert node.level == 0, f"{path}: relative imports hide the floor; write from relay.room import name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nobody"


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_imports_go_downwards_only() -> None:
    lint = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    remedy = "import from a lower floor, or move what both need down; .importlinter says which floor is which"
    assert lint.returncode == 0, f"{lint.stdout}{lint.stderr}\n{remedy}: {SEE}"


def test_every_library_stays_in_its_rooms() -> None:
    ours = sys.stdlib_module_names | {"relay", "__future__"}
    used = {(room_of(path), name.split(".")[0]) for path in modules() for name in imports(path)}
    wrong = [
        f"{room} imports {library}: that is for {_listed(LIBRARIES.get(library, set()))}; "
        f"ask one of them, or add the room to LIBRARIES and say why: {SEE}"
        for room, library in sorted(used)
        if library not in ours and not inside(room, LIBRARIES.get(library, set()))
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_rooms_decide_and_never_act() -> None:
    acting = [
        f"{room_of(path)} imports {name}: it decides as a function of values; "
        f"take what was read or the time as an argument, and act where it is called: {SEE}"
        for path in modules()
        if inside(room_of(path), PURE_ROOMS)
        for name in sorted(set(imports(path)))
        if inside(name, ACTING)
    ]
    assert not acting, "\n".join(acting)


@pytest.mark.parametrize(
    ("room", "forbidden", "remedy"), KEPT_APART, ids=[each[2].split(";")[0] for each in KEPT_APART]
)
def test_rooms_that_must_not_know_each_other(room: str, forbidden: set[str], remedy: str) -> None:
    found = [
        f"{room_of(path)} imports {name}: {remedy}, see {SEE}"
        for path in modules()
        if inside(room_of(path), {room})
        for name in sorted(set(imports(path)))
        if inside(name, forbidden)
    ]
    assert not found, "\n".join(found)


def test_every_room_of_statements_is_known() -> None:
    there = {f"relay.{room_of(path)}" for path in modules() if path.stem.endswith("statements")}
    assert there == set(SQL), f"name it in SQL, so that no room gets at statements past the store: {SEE}"


@pytest.mark.parametrize("table", ["LIBRARIES", "PURE_ROOMS", "KEPT_APART", "WIRED"])
def test_every_room_that_a_rule_names_is_there(table: str) -> None:
    """A room that moved would leave its rule behind, which then forbids nothing."""
    here = {room_of(path) for path in modules()}
    named = {
        "LIBRARIES": set[str]().union(*LIBRARIES.values()),
        "PURE_ROOMS": PURE_ROOMS,
        "KEPT_APART": {room for room, _, _ in KEPT_APART}
        | {name.removeprefix("relay.") for _, names, _ in KEPT_APART for name in names if name.startswith("relay.")},
        "WIRED": set[str]().union(*WIRED.values()),
    }[table]
    assert named <= here, f"{sorted(named - here)} moved: take the rule along, and {SEE}"


def test_integrations_use_the_doors_that_everybody_has() -> None:
    doors = {*PUBLIC_DOORS, "relay.integrations", *(f"relay.{name}" for name in relay.__all__)}
    for path in modules():
        if inside(room_of(path), {"integrations"}):
            wrong = {name for name in imports(path) if name.startswith("relay.") and not inside(name, doors)}
            assert not wrong, (
                f"{room_of(path)} imports {_listed(wrong)}: use what is in relay.__all__, or {_listed(PUBLIC_DOORS)}; "
                f"what is missing there is missing for everybody: {SEE}"
            )


@pytest.mark.parametrize("part", WIRED)
def test_only_assembly_wires(part: str) -> None:
    wirers = {room_of(path) for path in modules() if part in imports(path)}
    wrong = sorted(room for room in wirers if not inside(room, WIRED[part]))
    assert wrong == [], (
        f"{_listed(wrong)} imports {part}: ask relay.assembly, which opens everything from the settings, see {SEE}"
    )


def test_only_settings_reads_the_environment() -> None:
    readers = set()
    for path in modules():
        words = {node.attr for node in walked(path) if isinstance(node, ast.Attribute)}
        words |= {name.rpartition(".")[2] for name in imports(path) if name.startswith("os.")}
        if words & {"environ", "environb", "getenv", "getenvb"}:
            readers.add(room_of(path))
    # The authorities that TLS trusts are named by variables of OpenSSL's, which are no settings of the relay's.
    wrong = sorted(room for room in readers if not inside(room, {"settings", "producers.authorities"}))
    assert not wrong, f"{_listed(wrong)} reads the environment: make it an option, see {SEE}"


def test_no_thread_is_one_that_the_interpreter_waits_for() -> None:
    """asyncio.run brings an executor that is joined at the end; background.run brings one that is not."""
    waiting = {"asyncio.run(", "ThreadPoolExecutor("}
    callers = {room_of(path) for path in modules() if any(call in path.read_text() for call in waiting)}
    assert callers == {"background"}, "use relay.background: nobody waits for its threads when the process ends"


def test_one_table_of_sqlstates() -> None:
    """What PostgreSQL's errors mean is decided in one place; frozen DDL raises some of its own."""
    states = re.compile("0A000|(?:08|2[2-9]|3D|3F|4[02]|5[3-8]|P0|XX)[0-9A-Z]{3}")
    with_states = {
        room_of(path)
        for path in modules()
        for node in walked(path)
        if (isinstance(node, ast.Constant) and isinstance(node.value, str) and states.fullmatch(node.value))
        or (isinstance(node, ast.Constant) and node.value == "sqlstate")
    }
    frozen = {room for room in with_states if room.startswith("revisions.r0")}
    assert with_states - frozen == {"database_errors"}, "give it a name and a reason in relay/database_errors.py"


def test_no_module_changes_its_own_globals() -> None:
    changers = [path for path in modules() if any(isinstance(n, ast.Global) for n in walked(path))]
    assert changers == [], "two workers in one process would share it: keep it in an object that is handed on"


def test_an_application_that_inserts_loads_nothing_else() -> None:
    unwanted = {
        "aiohttp",
        "alembic",
        "click",
        "django",
        "httpx",
        "psycopg",
        "pydantic",
        "relay.settings",
        "relay.store",
    }
    script = "import sys, relay; relay.add; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    found = unwanted & set(loaded.stdout.split())
    assert not found, f"relay.add loads {_listed(found)}: import it in the function that needs it, or not at all"


def test_the_statements_and_the_store_know_no_revision() -> None:
    """Fifteen files of frozen DDL: read by whoever migrates, and by whoever asks which revision is there."""
    rooms = ("sql", "statements", "store", "reports", "operators.actions", "operators.archive")
    script = "import sys; " + "; ".join(f"import relay.{room}; print(*sys.modules)" for room in rooms)
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    for room, names in zip(rooms, loaded.stdout.splitlines(), strict=True):
        found = sorted(name for name in names.split() if name.startswith("relay.revisions"))
        assert found == [], f"relay.{room} loads {found}: what it needs of them belongs into relay.sql"


def test_importing_the_package_costs_nothing() -> None:
    script = "import sys, relay; print(*sys.modules); import relay.testing; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    first, second = map(str.split, loaded.stdout.splitlines())
    for loading, names, allowed in (("relay", first, set[str]()), ("relay.testing", second, {"relay.testing"})):
        found = {name for name in names if name.startswith(("relay.", "sqlalchemy"))} - allowed
        remedy = "hand it out by name, as relay/__init__.py does the others"
        assert not found, f"import {loading} loads {_listed(found)}: {remedy}"


# One producer's own words: its name, its settings, its codes. Whoever else needs something of it is told in words that
# fit any producer. Texts that name a topic or list the producers there are say nothing about how it works.
TMC_ROOMS = {"producers.tmc", "sandbox", "settings.tmc", "tmc"}
TMC = re.compile(r"tmc|taobao(?!_jds_TradeTrace)", re.IGNORECASE)
MAY_NAME_TMC = {
    "producers": "the registry of those that come with the relay",
    "revisions.r0004_comments": "frozen: the comment of a column",
    "settings": "its options are among the relay's own",
    "settings.places": "it is the default",
    "settings.producers": "and they have two names",
}


def words_of(path: Path) -> Iterator[str]:
    """Names, texts and imports; what is only a docstring is left out."""
    told = {id(node.value) for node in walked(path) if isinstance(node, ast.Expr)}
    for node in walked(path):
        match node:
            case ast.Attribute(attr=word) | ast.Name(id=word) | ast.arg(arg=word) | ast.keyword(arg=str(word)):
                yield word
            case ast.Constant(value=str(word)) if id(node) not in told:
                yield word
    yield from imports(path)


def test_words_of_one_producer_are_spoken_in_its_own_rooms() -> None:
    speakers = {
        room: sorted(words)[0]
        for path in modules()
        if not inside(room := room_of(path), TMC_ROOMS)
        if (words := {word for word in words_of(path) if TMC.search(word)})
    }
    remedy = "take it from context.options of the producer, or from relay.assembly.producers"
    wrong = [f"{room} says {speakers[room]!r}: {remedy}" for room in sorted(speakers.keys() - MAY_NAME_TMC.keys())]
    assert not wrong, f"{wrong}, see docs/producers.md"
    unused = MAY_NAME_TMC.keys() - speakers.keys()
    assert not unused, f"{_listed(unused)} says none any more: take it out of MAY_NAME_TMC"


def test_texts_for_a_reader_name_no_setting_of_one_producer() -> None:
    texts = [path for path in PACKAGE.rglob("*.toml") if not inside(room_of(path), TMC_ROOMS)]
    assert texts
    assert [str(path) for path in texts if TMC.search(path.read_text())] == []
