"""``relay archive``: move what finished long ago out of the way, see which months there are, drop one of them."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from relay.cli.acting import count, ledger_options_with, ordered, summed
from relay.cli.options import duration, json_option, verb_in_use
from relay.cli.printing import print_facts, print_json, print_table, say
from relay.cli.removing import forgotten_keys
from relay.reasons import RETENTION

if TYPE_CHECKING:
    from relay.operators.archive import Archivable, Month
    from relay.operators.ledger import Order
    from relay.settings import Settings


def _month(text: str) -> str:
    """A month as ISO 8601 writes it."""
    from relay.operators.archive import bounds

    try:
        bounds(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no month; write 2026-01.") from None
    return text


@click.command()
@click.option("--older-than", type=duration, help="Move what finished longer ago than this, for example 30d.")
@click.option("--list", "listing", is_flag=True, help="The months in the archive. Reads the hash of every message.")
@click.option(
    "--drop", "dropping", type=_month, metavar="MONTH", help="Remove this month for good, for example 2026-01."
)
@click.option("--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, metavar="N")
@click.option("--yes", is_flag=True, help="With --drop: do not ask; needed where nobody can be asked.")
@ledger_options_with("With --drop required, unless --dry-run; else 'retention' if left out.")
@json_option
def archive(
    older_than: timedelta | None,
    listing: bool,
    dropping: str | None,
    batch: int,
    yes: bool,
    reason: str | None,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move finished messages to the archive; list and drop its months.

    They go with their attempts and calls, in small batches that hold nobody up, and the audit views go on showing them.
    The dedupe key stays known: a second insert with it does nothing, until RELAY_DEDUPE_KEEP_DAYS have passed. May be
    stopped and run again at any time. Nothing is deleted but by --drop, the oldest month first.
    """
    from relay.settings import FOR_TABLES, load_for

    if [older_than is not None, listing, dropping is not None].count(True) != 1:
        raise click.UsageError("say one of --older-than, --list, --drop")
    settings = load_for(FOR_TABLES)
    if listing:
        _list(settings, as_json)
    elif older_than is not None:
        order = ordered(reason or RETENTION.written(), actor, dry_run, {})
        _move(settings, older_than, order, batch, dry_run, as_json)
    elif dropping is not None:
        _drop(settings, dropping, ordered(reason, actor, dry_run, {}), dry_run, yes, as_json)


def _move(settings: Settings, older_than: timedelta, order: Order, batch: int, dry_run: bool, as_json: bool) -> None:
    from relay.assembly.database import opened
    from relay.operators import archive

    failed_holds = settings.on_failed_head == "hold"
    with opened(settings, who=verb_in_use()) as database, database.operating() as engine:
        if dry_run:
            with engine.connect() as connection:
                found = archive.archivable(connection, older_than, failed_holds=failed_holds)
            _tell_archivable(found, as_json)
            return
        batches = archive.archive(
            engine.begin, older_than, actor=order.actor, reason=order.reason, batch=batch,
            failed_holds=failed_holds,
        )  # fmt: skip
        moved = summed(batches, archive.Moved(), "archived")
        forgotten = forgotten_keys(engine, settings, order.actor, batch)
    if as_json:
        print_json(asdict(moved) | forgotten)
    else:
        facts = {"messages": moved.messages, "attempts": moved.attempts, "calls": moved.calls} | forgotten
        print_facts({name.replace("_", " "): value for name, value in facts.items()})
        if moved.busy:
            who = f" ({moved.archiver})" if moved.archiver else ""
            say(f"another archiver is at work{who}: the rest is left to it", err=True)


def _list(settings: Settings, as_json: bool) -> None:
    from relay.assembly.database import opened
    from relay.operators import archive

    with opened(settings, who=verb_in_use(), any_text=True) as database, database.reading() as connection:
        months = list(archive.months(connection))
    if as_json:
        print_json({"items": months})
    elif months:
        print_table(
            [name.replace("_", " ") for name in asdict(months[0])], (asdict(month).values() for month in months)
        )


def _drop(settings: Settings, month: str, order: Order, dry_run: bool, yes: bool, as_json: bool) -> None:
    from relay.assembly.database import opened
    from relay.operators import archive

    with opened(settings, who=verb_in_use()) as database, database.operating() as engine:
        with engine.connect() as connection:
            found = archive.droppable(connection, month)
        if not dry_run:
            if not yes:
                _confirm(found)
            with engine.begin() as connection:
                found = archive.drop_month(connection, month, actor=order.actor, reason=order.reason)
    if as_json:
        print_json(({"dry_run": True} if dry_run else {}) | asdict(found))
    else:
        print_facts({name.replace("_", " "): value for name, value in asdict(found).items()})
        say("dry run: nothing was dropped" if dry_run else f"{month} is gone from the archive", err=True)


def _confirm(month: Month) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(f"dropping {month.month} is for good: look with --dry-run, then add --yes")
    click.confirm(f"Drop {count(month.messages, 'message')} of {month.month} for good?", abort=True, err=True)


def _tell_archivable(found: Archivable, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True} | asdict(found))
        return
    oldest = None if found.oldest_seconds is None else timedelta(seconds=found.oldest_seconds)
    print_facts({"messages": found.messages, "oldest": oldest, "dedupe keys kept": found.dedupe_keys})
    say("dry run: nothing was moved", err=True)
