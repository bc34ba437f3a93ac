"""What people type for this command, where its hints are read: ``relay``, or ``manage.py relay``.

Django's command becomes this one and says with a first argument of its own how it was called. Sentences name verbs as
``relay VERB`` wherever they are written; only on their way to a person they become what that person can type.
"""

from __future__ import annotations

import re
import sys

import click

ARGUMENT = "--called-as="
_ITSELF = "relay"


def name_called() -> str:
    """What click is to call the program; the argument that says so is taken away."""
    if len(sys.argv) > 1 and sys.argv[1].startswith(ARGUMENT):
        return sys.argv.pop(1).removeprefix(ARGUMENT)
    return _ITSELF


def as_called(hint: str) -> str:
    """One of our own hints, with its verbs as whoever called this command types them."""
    context = click.get_current_context(silent=True)
    name = context.find_root().info_name if context else None
    if not name or name == _ITSELF:
        return hint
    from relay.cli.verbs import VERBS

    return re.sub(
        rf"(?<!{re.escape(name.removesuffix(_ITSELF))})\b{_ITSELF} (?=({'|'.join(VERBS)})\b)", f"{name} ", hint
    )
