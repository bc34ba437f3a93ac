"""The list of fixture plug-ins; each module under ``fixtures/`` says what it gives."""

import os
import signal
import sys

from hypothesis import settings

# Images of containers often tell Python to keep no bytecode. These tests start some hundred processes: each would
# compile the relay again (a third of a second), and every run all the assertions (ten seconds in each of its workers).
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell without job control has what it starts in the background ignore Ctrl-C; the processes of the tests would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.fixtures.hostility",
    "tests.fixtures.checked",
    "tests.fixtures.collecting",
    "tests.fixtures.database",
    "tests.fixtures.django_project",
    "tests.fixtures.golden",
    "tests.fixtures.plain",
    "tests.fixtures.processes",
    "tests.fixtures.recorded",
    "tests.fixtures.roles",
    "tests.fixtures.dashboard",
    "tests.fixtures.acting",
    "tests.fixtures.distribution",
    "tests.fixtures.wheel",
]

# A machine that is busy makes no example wrong.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
