"""``relay add``: one message by hand, for smoke tests and shells."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from relay.cli.options import json_option, time, verb_in_use
from relay.cli.printing import print_json, say


@click.command()
@click.argument("topic")
@click.argument("content", metavar="[JSON|-]", default="-")
@click.option("--account", help="Whose credentials produce it.  [default: default]")
@click.option("--ordering-key", metavar="KEY", help="Messages of one key are produced one after another.")
@click.option("--dedupe-key", metavar="KEY", help="A second message with this key is not inserted.")
@click.option("--available-at", type=time, help="Not before this time.")
@click.option("--deliver-before", type=time, help="Failed, and never sent, after this time.")
@click.option("--producer", metavar="NAME", help="Which program wrote it.")
@json_option
def add(topic: str, content: str, as_json: bool, **columns: Any) -> None:
    """Insert one message and print its id.

    The content is a JSON object, given as an argument or on standard input.
    """
    from relay.assembly.database import opened
    from relay.outbox import add as insert
    from relay.settings import FOR_TABLES, load_for

    settings = load_for(FOR_TABLES)
    data = _standard_input() if content == "-" else content
    given = {name: value for name, value in columns.items() if value is not None}
    _refuse_late(given.get("deliver_before"))
    with opened(settings, who=verb_in_use()) as database, database.acting() as engine, engine.begin() as connection:
        message_id = insert(connection, topic, data, schema=settings.schema_name, **given)
    if as_json:
        print_json({"id": message_id})
    elif message_id is not None:
        say(message_id)
    if message_id is None:
        say("a message with this dedupe key is already there: nothing was inserted", err=True)


def _refuse_late(deliver_before: datetime | None) -> None:
    """By hand it is a mistake; what an application inserts late is taken, and fails with relay.expired."""
    if deliver_before is not None and deliver_before <= datetime.now(UTC):
        raise click.BadParameter(
            f"{deliver_before.isoformat()} has passed, so the message could never be sent. Look at the time zone.",
            param_hint="--deliver-before",
        )


def _standard_input() -> str:
    """As bytes: JSON is UTF-8 whatever the locale says, perhaps with a mark before it, and all else is refused."""
    from relay.errors import MessageError
    from relay.texts import UnusableText, text_of

    try:
        return text_of(sys.stdin.buffer.read())
    except UnusableText as error:
        raise MessageError(f"content {error}", "Encode JSON text as UTF-8.") from None
