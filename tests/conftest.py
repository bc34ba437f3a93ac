"""The list of fixture plug-ins; each module under ``fixtures/`` says what it gives."""

from hypothesis import settings

pytest_plugins = [
    "tests.fixtures.hostility",
    "tests.fixtures.checked",
    "tests.fixtures.database",
    "tests.fixtures.django_project",
    "tests.fixtures.golden",
    "tests.fixtures.plain",
    "tests.fixtures.processes",
    "tests.fixtures.roles",
]

# A machine that is busy makes no example wrong.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
