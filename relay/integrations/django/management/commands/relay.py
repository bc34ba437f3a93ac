"""``manage.py relay VERB``: the command ``relay`` on a database of Django's settings.

It is the same program: this process becomes it, so that a supervisor's signals, exit codes and the streams are those
of ``relay`` itself, and nothing of Django is kept in memory beside a worker. Only its environment knows the password,
which its owner alone can read; no argument and no output does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import REMAINDER
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from relay.errors import RelayError
from relay.integrations.django.places import schema, url_of

# Options of manage.py itself that have a value; they stand before the verb, what follows is the relay's.
_CALLED = "--called-as=manage.py relay"  # as its hints then say
_WITH_VALUE = ("--database", "--settings", "--pythonpath")


class Command(BaseCommand):
    """On the command line this process becomes ``relay``; ``call_command`` runs one beside it."""

    help = "The command relay, on a database of DATABASES. `manage.py relay --help` lists its verbs."
    requires_system_checks = ()

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="An alias of DATABASES; before the verb.")
        parser.add_argument("words", nargs=REMAINDER, metavar="VERB ...", help="As of relay.")

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """From the command line: what stands after the verb goes to the relay untouched."""
        alias, words = split(argv[2:])
        try:
            environment = environment_on(alias)
        except CommandError as error:
            sys.stderr.write(f"error: {error}\n")
            sys.exit(error.returncode)
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, _program(words), environment)  # noqa: S606 no shell is meant

    def handle(self, *_: Any, database: str, words: Sequence[str], **__: Any) -> None:
        """By ``call_command``, which has to come back."""
        done = subprocess.run(_program(words), env=environment_on(database), capture_output=True, encoding="utf-8")
        self.stdout.write(done.stdout, ending="")
        if done.returncode:
            raise CommandError(done.stderr.strip(), returncode=done.returncode)
        self.stderr.write(done.stderr, ending="")


def split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The alias of the database, and the words for the relay."""
    alias, rest = DEFAULT_DB_ALIAS, list(words)
    while rest and (name := rest[0].partition("=")[0]) in _WITH_VALUE:
        word = rest.pop(0)
        value = word.partition("=")[2] if "=" in word else rest.pop(0) if rest else ""
        alias = value if name == "--database" else alias
    return alias, rest


def environment_on(alias: str) -> dict[str, str]:
    """This process's, with that database and the schema of Django's settings."""
    if alias not in connections:
        raise CommandError(f'DATABASES has no "{alias}"; it has {", ".join(connections)}.', returncode=2)
    try:
        from relay.settings import environment_of
    except ModuleNotFoundError as error:
        hint = "pip install 'outbox-relay[worker]'"
        raise CommandError(f"{error.name} is not installed: {hint}", returncode=78) from error
    try:
        return environment_of(database_url=url_of(connections[alias]), schema=schema())
    except RelayError as error:
        raise CommandError(f"{error} {error.hint}", returncode=error.exit_code) from error


def _program(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "relay", _CALLED, *words]
