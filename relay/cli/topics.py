"""``relay topics``: the typed messages of an application as JSON Schema, and what a new version of them breaks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from relay.cli.printing import say, say_exactly
from relay.showing import json_text

INCOMPATIBLE = 3


@click.command()
@click.option("--schema", "place", required=True, metavar="MODULE[:NAME]", help="Where the classes of relay.Topic are.")
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Print no schema: do these topics take all messages of the schemas saved in FILE?",
)
def topics(place: str, against: Path | None) -> None:
    """Print typed messages as JSON Schema, or what a new version breaks.

    With --against the exit code is 3 where a message that was right is not any more, or that cannot be told. The module
    is looked for from the folder you are in, and no database is asked.
    """
    from relay.topics import document, found, saved
    from relay.topics.comparing import compared

    now = json_text(document(found(place, str(Path.cwd()))), indent=2)
    if against is None:
        say_exactly(f"{now}\n")
        return
    before = saved(against)
    troubles = compared(before, json.loads(now))
    for trouble in troubles:
        say(str(trouble))
    if troubles:
        raise click.exceptions.Exit(INCOMPATIBLE)
    say(f"{len(before['topics'])} topics take all that they took", err=True)
