"""The list of fixture plug-ins; each module under ``fixtures/`` says what it gives."""

pytest_plugins = [
    "tests.fixtures.hostility",
    "tests.fixtures.checked",
    "tests.fixtures.database",
    "tests.fixtures.golden",
    "tests.fixtures.plain",
    "tests.fixtures.processes",
    "tests.fixtures.roles",
]
